/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files: folders of code whose names and links nobody vouches for.
 *
 * Everything is done relative to the descriptor of a folder, with openat2(RESOLVE_BENEATH) or name by name
 * with O_NOFOLLOW: no name, link or race leads outside. Limits on count, size and depth hold while copying,
 * not before. All return 0 (or a descriptor) or -errno with a sentence in `why`.
 */
#ifndef PHOENIX_PIPELINE_FILES_H
#define PHOENIX_PIPELINE_FILES_H

#include "base/buf.h"
#include "pipeline/job.h"

#include <sys/types.h>

#define FILES_DEPTH_MAX 32

/* What a copy may hold at most, and what it held. */
struct files_limits {
	uint64_t bytes_max, file_bytes_max;
	uint32_t entries_max;
	uint64_t bytes;
	uint32_t entries;
};

/* Opens an absolute path as a folder, made with its parents (0755) when `create`. A descriptor or -errno. */
int files_open_folder(const char *path, bool create, struct buf *why);
/* Makes and opens a folder below `root`, which must not exist. */
int files_make_folder(int root, const char *name, struct buf *why);
/* A new file at a relative path that was checked (source_path_check); its folders are made. */
int files_write(int root, const char *path, struct slice text, mode_t mode, struct buf *why);
/* Replaces (or makes) a file of the folder itself: new content durable, or the old one. */
int files_replace(int folder, const char *name, struct slice text, struct buf *why);
/* A regular file below `root` (links that stay below are followed) of at most `max` bytes, into out. */
int files_read(int root, const char *path, size_t max, struct buf *out, struct buf *why);
/*
 * Copies the tree below `from` into the empty folder `to`: regular files and folders, and links that stay
 * below `from`. Anything else, a name that begins with ".phoenix", and more than the limits, is refused.
 * ".git" is left out.
 */
int files_copy(struct job *job, int from, int to, struct files_limits *limits, struct buf *why);
/* Removes `name` and all that is below it, without following anything. 0 also when there is nothing. */
int files_remove(int folder, const char *name);
/* Gives everything below the folder (and itself) to this user, links themselves included. */
int files_give(int folder, uid_t user, gid_t group, struct buf *why);
/* Calls visit for each regular file: its relative path. Stops when it returns false. */
void files_each(int folder, bool (*visit)(void *context, const char *path), void *context);

#endif
