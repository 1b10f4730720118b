/* SPDX-License-Identifier: Apache-2.0 */
/*
 * talk: what every command of phoenixctl does the same way: ask the daemon, complain on stderr, print
 * data on stdout.
 */
#ifndef PHOENIX_CTL_TALK_H
#define PHOENIX_CTL_TALK_H

#include "ctl/command.h"

#include <jansson.h>

#define TALK_TIMEOUT_MS 15000u

/* "phoenixctl: …" on stderr. */
void talk_error(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line on stderr that is no error: progress, hints. */
void talk_note(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Lines that say what is wrong with a file, on stderr, as they are. */
void talk_lines(const struct ctl *ctl, const struct buf *lines);
/* Opens ctl->client for the daemon that the line, else the environment names. An exit status; it was said
 * why. */
int talk_connect(struct ctl *ctl, const struct ctl_line *line);

/* Columns that text for people is broken to: the terminal's, at most 100; 80 in a pipe. */
size_t talk_help_width(const struct ctl *ctl);

/* Writes `out` to stdout and frees it. CTL_DONE, or CTL_FAILED when it is incomplete or stdout is gone. */
int talk_write(const struct ctl *ctl, struct buf *out);
/* Prints JSON, indented and with a line end. */
int talk_json(const struct ctl *ctl, const json_t *json);
/* Appends JSON on one line, with its end. */
void talk_json_line(const json_t *json, struct buf *out);

/* A list of the daemon's as people read it. */
struct listing {
	const char *member; /* of the answer; "" = the answer is the list */
	struct {
		const char *title;
		bool right;
	} titles[TABLE_COLUMNS_MAX];
	size_t columns, spill; /* struct table */
	void (*row)(struct table *table, const json_t *item, size_t index);
	const char *empty; /* said when there is nothing to list */
};
/* The list as a table, its titles alone when it is empty. */
void talk_table(const struct ctl *ctl, const struct listing *listing, const json_t *list, struct buf *out);
/* Prints the answer: with -o json as it is, else its list as a table. An exit status. */
int talk_list(const struct ctl *ctl, const struct listing *listing, const json_t *answer);

/*
 * Sends a request and says on stderr what went wrong ("phoenixctl: WHAT: …"). Returns an exit status; with
 * CTL_DONE *out (when not NULL) is a new reference, JSON null when the answer was empty.
 */
int talk_request(const struct ctl *ctl, const char *what, const char *method, const char *path,
		 const json_t *body, json_t **out);
/* The same for a path about one route or migration: `format` has one %s for its id. An id that there is none
 * of is met with the nearest one there is, and CTL_USAGE. */
int talk_route(const struct ctl *ctl, const char *what, const char *method, const char *format,
	       const char *route, const json_t *body, json_t **out);
/*
 * After a 404 to a path below /admin/routes/ or /admin/migrations/: when the id is none of those there are,
 * notes the nearest one, and CTL_USAGE: what was typed is wrong. A 404 for another reason stays a failure.
 */
int talk_unknown_id(const struct ctl *ctl, const char *path, const char *id);
/* Appends a file's text, or stdin's for "-", to `text`. 0; -EFBIG when it is over max_bytes; -errno. */
int talk_read_text(const char *path, size_t max_bytes, struct buf *text);
/* Appends '; did you mean "NAME"?' when the folder of a file that is not there has one of nearly that name.
 */
void talk_nearest_file(const char *path, struct buf *hint);
/* Says why talk_read_text() failed. CTL_USAGE for a file that is not there, else CTL_FAILED. */
int talk_unreadable(const struct ctl *ctl, const char *path, int err, size_t max_bytes);
/* {"reason": …}, or {} without one. New reference. */
json_t *talk_reason(const struct ctl_line *line);

#endif
