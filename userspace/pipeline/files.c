/* SPDX-License-Identifier: Apache-2.0 */
/* files: see files.h. */
#include "pipeline/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COPY_BYTES 65536

static int fail(struct buf *why, int err, const char *what, const char *path)
{
	buf_printf(why, "%s %s: %s", what, path,
		   err == -ENOSPC ? "the disk is full (No space left on device)" : strerror(-err));
	return err;
}

static int open_beneath(int root, const char *path, uint64_t flags)
{
	struct open_how how = {.flags = flags | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

int files_open_folder(const char *path, bool create, struct buf *why)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	if (path[0] != '/' || len >= sizeof(part))
		return fail(why, -EINVAL, "not an absolute path:", path);
	for (size_t i = 1; create && i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return fail(why, -errno, "cannot make the folder", part);
	}
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? fail(why, -errno, "cannot open the folder", path) : fd;
}

int files_make_folder(int root, const char *name, struct buf *why)
{
	if (mkdirat(root, name, 0755))
		return fail(why, -errno, "cannot make the folder", name);
	int fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? fail(why, -errno, "cannot open the folder", name) : fd;
}

static int write_all(int fd, struct slice text)
{
	while (text.len) {
		ssize_t n = write(fd, text.ptr, text.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text.ptr += n;
		text.len -= (size_t)n;
	}
	return 0;
}

int files_write(int root, const char *path, struct slice text, mode_t mode, struct buf *why)
{
	int at = dup(root);
	const char *piece = path;
	for (const char *slash; at >= 0 && (slash = strchr(piece, '/')); piece = slash + 1) {
		char name[NAME_MAX + 1];
		snprintf(name, sizeof(name), "%.*s", (int)(slash - piece), piece);
		if (mkdirat(at, name, 0755) && errno != EEXIST) {
			int err = -errno;
			close(at);
			return fail(why, err, "cannot make the folder of", path);
		}
		int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int err = -errno;
		close(at);
		if (next < 0)
			return fail(why, err, "cannot open the folder of", path);
		at = next;
	}
	int fd = at < 0 ? -1 : openat(at, piece, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	int err = fd < 0 ? -errno : write_all(fd, text);
	if (fd >= 0 && close(fd) && !err)
		err = -errno;
	if (at >= 0)
		close(at);
	return err ? fail(why, err, "cannot write", path) : 0;
}

int files_replace(int folder, const char *name, struct slice text, struct buf *why)
{
	char temporary[NAME_MAX + 1];
	snprintf(temporary, sizeof(temporary), "%s.new", name);
	unlinkat(folder, temporary, 0);
	int fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	int err = fd < 0 ? -errno : write_all(fd, text);
	if (!err && fsync(fd))
		err = -errno;
	if (fd >= 0 && close(fd) && !err)
		err = -errno;
	if (!err && renameat(folder, temporary, folder, name))
		err = -errno;
	if (err) {
		unlinkat(folder, temporary, 0);
		return fail(why, err, "cannot write", name);
	}
	fsync(folder);
	return 0;
}

/* Up to `max` bytes; -EFBIG when there is more. */
static int read_all(int fd, size_t max, struct buf *out)
{
	for (;;) {
		if (!buf_reserve(out, COPY_BYTES))
			return -ENOMEM;
		ssize_t n = read(fd, out->data + out->len, COPY_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		out->len += (size_t)n;
		if (out->len > max)
			return -EFBIG;
	}
}

int files_read(int root, const char *path, size_t max, struct buf *out, struct buf *why)
{
	struct stat info;
	int fd = open_beneath(root, path, O_RDONLY | O_NONBLOCK);
	int err = fd < 0 ? fd : fstat(fd, &info) ? -errno : !S_ISREG(info.st_mode) ? -EINVAL : 0;
	if (!err)
		err = read_all(fd, max, out);
	if (fd >= 0)
		close(fd);
	if (err == -EXDEV || err == -ELOOP)
		buf_printf(why, "%s leads outside its folder", path);
	else if (err == -EFBIG)
		buf_printf(why, "%s is larger than the limit of %zu bytes", path, max);
	else if (err)
		return fail(why, err, "cannot read", path);
	return err;
}

/* --- trees --- */

struct walk {
	struct job *job;
	struct files_limits *limits;
	struct buf *why;
	char path[PATH_MAX]; /* of what is being looked at, relative */
	int root;
};

static int copy_file(struct walk *w, int from, int to, const char *name, const struct stat *seen)
{
	struct files_limits *limits = w->limits;
	int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int out = in < 0 ? -1
			 : openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
				  0644 | (seen->st_mode & 0111));
	int err = out < 0 ? -errno : 0;
	uint64_t bytes = 0;
	char data[COPY_BYTES];
	ssize_t n;
	while (!err && (n = read(in, data, sizeof(data))) != 0) {
		if (n < 0) {
			err = -errno;
			break;
		}
		bytes += (uint64_t)n;
		limits->bytes += (uint64_t)n;
		if (bytes > limits->file_bytes_max || limits->bytes > limits->bytes_max) {
			buf_printf(w->why,
				   "%s: the source is too large: at most %llu bytes a file and %llu in all",
				   w->path, (unsigned long long)limits->file_bytes_max,
				   (unsigned long long)limits->bytes_max);
			err = -EFBIG;
			break;
		}
		err = write_all(out, slice_of(data, (size_t)n));
		if (!err)
			err = job_check(w->job);
	}
	if (in >= 0)
		close(in);
	if (out >= 0 && close(out) && !err)
		err = -errno;
	return err && w->why->len == 0 ? fail(w->why, err, "cannot copy", w->path) : err;
}

static int copy_link(struct walk *w, int from, int to, const char *name)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(from, name, target, sizeof(target) - 1);
	if (len < 0)
		return fail(w->why, -errno, "cannot read the link", w->path);
	target[len] = '\0';
	int fd = target[0] == '/' ? -EXDEV : open_beneath(w->root, w->path, O_PATH);
	if (fd < 0) {
		buf_printf(w->why, "%s is a link that leads outside the source (or nowhere): it is refused",
			   w->path);
		return -EXDEV;
	}
	close(fd);
	return symlinkat(target, to, name) ? fail(w->why, -errno, "cannot copy the link", w->path) : 0;
}

static int copy_folder(struct walk *w, int from, int to, unsigned depth);

static int copy_entry(struct walk *w, int from, int to, const char *name, unsigned depth)
{
	struct stat info;
	if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW))
		return fail(w->why, -errno, "cannot look at", w->path);
	if (S_ISLNK(info.st_mode))
		return copy_link(w, from, to, name);
	if (S_ISREG(info.st_mode))
		return copy_file(w, from, to, name, &info);
	if (!S_ISDIR(info.st_mode)) {
		buf_printf(w->why, "%s is neither a file nor a folder nor a link: it is refused", w->path);
		return -EINVAL;
	}
	if (depth >= FILES_DEPTH_MAX) {
		buf_printf(w->why, "%s: folders are nested deeper than %d", w->path, FILES_DEPTH_MAX);
		return -ELOOP;
	}
	int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int out = in < 0 ? -1 : files_make_folder(to, name, w->why);
	int err = in < 0 ? fail(w->why, -errno, "cannot open", w->path) : out < 0 ? out : 0;
	if (!err)
		err = copy_folder(w, in, out, depth + 1);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return err;
}

/* Opens the folder once more, for reading its names. */
static DIR *names_of(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *names = fd < 0 ? NULL : fdopendir(fd);
	if (!names && fd >= 0)
		close(fd);
	return names;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int copy_folder(struct walk *w, int from, int to, unsigned depth)
{
	DIR *names = names_of(from);
	if (!names)
		return fail(w->why, -errno, "cannot read the folder", w->path[0] ? w->path : ".");
	size_t len = strlen(w->path);
	int err = 0;
	struct dirent *entry;
	while (!err && (entry = readdir(names))) {
		if (is_dots(entry->d_name) || strcmp(entry->d_name, ".git") == 0)
			continue;
		int n = snprintf(w->path + len, sizeof(w->path) - len, "%s%s", len ? "/" : "", entry->d_name);
		if (n < 0 || (size_t)n >= sizeof(w->path) - len) {
			w->path[len] = '\0';
			err = fail(w->why, -ENAMETOOLONG, "a path below", w->path);
		} else if (strncmp(entry->d_name, ".phoenix", 8) == 0) {
			buf_printf(w->why, "%s: names that begin with \".phoenix\" are Phoenix's own",
				   w->path);
			err = -EINVAL;
		} else if (++w->limits->entries > w->limits->entries_max) {
			buf_printf(w->why, "the source has more than %u files and folders",
				   w->limits->entries_max);
			err = -E2BIG;
		} else {
			err = copy_entry(w, from, to, entry->d_name, depth);
		}
		w->path[len] = '\0';
	}
	closedir(names);
	return err;
}

int files_copy(struct job *job, int from, int to, struct files_limits *limits, struct buf *why)
{
	struct walk walk = {.job = job, .limits = limits, .why = why, .root = from};
	return copy_folder(&walk, from, to, 0);
}

static int remove_below(int folder, unsigned depth)
{
	DIR *names = names_of(folder);
	if (!names)
		return -errno;
	int err = 0;
	struct dirent *entry;
	while ((entry = readdir(names))) {
		if (is_dots(entry->d_name))
			continue;
		if (unlinkat(folder, entry->d_name, 0) == 0)
			continue;
		int inner = depth > 4 * FILES_DEPTH_MAX
				    ? -1
				    : openat(folder, entry->d_name,
					     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (inner >= 0) {
			remove_below(inner, depth + 1);
			close(inner);
		}
		if (unlinkat(folder, entry->d_name, AT_REMOVEDIR))
			err = -errno;
	}
	closedir(names);
	return err;
}

int files_remove(int folder, const char *name)
{
	if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
		return 0;
	int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (inner < 0)
		return -errno;
	int err = remove_below(inner, 0);
	close(inner);
	return unlinkat(folder, name, AT_REMOVEDIR) ? -errno : err;
}

static int give_below(int folder, uid_t user, gid_t group, unsigned depth)
{
	DIR *names = names_of(folder);
	int err = names ? 0 : -errno;
	struct dirent *entry;
	while (names && !err && (entry = readdir(names))) {
		if (is_dots(entry->d_name))
			continue;
		if (fchownat(folder, entry->d_name, user, group, AT_SYMLINK_NOFOLLOW))
			err = -errno;
		int inner = err || depth > FILES_DEPTH_MAX
				    ? -1
				    : openat(folder, entry->d_name,
					     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (inner >= 0) {
			err = give_below(inner, user, group, depth + 1);
			close(inner);
		}
	}
	if (names)
		closedir(names);
	return err;
}

int files_give(int folder, uid_t user, gid_t group, struct buf *why)
{
	int err = fchown(folder, user, group) ? -errno : give_below(folder, user, group, 0);
	return err ? fail(why, err, "cannot give the code to", "deploy.user") : 0;
}

static bool each_below(int folder, char *path, size_t len, unsigned depth,
		       bool (*visit)(void *context, const char *path), void *context)
{
	DIR *names = names_of(folder);
	bool more = true;
	struct dirent *entry;
	while (names && more && (entry = readdir(names))) {
		struct stat info;
		int n = snprintf(path + len, PATH_MAX - len, "%s%s", len ? "/" : "", entry->d_name);
		if (is_dots(entry->d_name) || n < 0 || (size_t)n >= PATH_MAX - len ||
		    fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW))
			continue;
		if (S_ISREG(info.st_mode)) {
			more = visit(context, path);
		} else if (S_ISDIR(info.st_mode) && depth < FILES_DEPTH_MAX) {
			int inner = openat(folder, entry->d_name,
					   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (inner >= 0) {
				more = each_below(inner, path, len + (size_t)n, depth + 1, visit, context);
				close(inner);
			}
		}
	}
	if (names)
		closedir(names);
	return more;
}

void files_each(int folder, bool (*visit)(void *context, const char *path), void *context)
{
	char path[PATH_MAX] = "";
	each_below(folder, path, 0, 0, visit, context);
}
