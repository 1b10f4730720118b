/* SPDX-License-Identifier: Apache-2.0 */
/* talk: see talk.h. stdout is data and stderr is talk: only this file knows which stream is which. */
#include "ctl/talk.h"
#include "config_report.h"
#include "ctl/field.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX 1000 /* of a folder are looked at for a misspelt name */

static void talk(const struct ctl *ctl, const char *prefix, enum tint tint, const char *format, va_list args)
{
	char *text = NULL;
	struct buf out = {0};

	if (vasprintf(&text, format, args) < 0)
		return;
	tint_printf(&out, ctl->err.colour, tint, "%s", prefix);
	format_clean_lines(&out, text); /* whoever wrote it: nothing of it moves a cursor */
	buf_append_char(&out, '\n');
	if (ctl->err.terminal && !ctl->err.unicode)
		format_ascii(&out);
	fwrite(out.data, 1, out.len, stderr);
	fflush(stderr);
	buf_fini(&out);
	free(text);
}

void talk_error(const struct ctl *ctl, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	talk(ctl, "phoenixctl: ", TINT_RED, format, args);
	va_end(args);
}

void talk_note(const struct ctl *ctl, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	talk(ctl, "", TINT_NONE, format, args);
	va_end(args);
}

void talk_lines(const struct ctl *ctl, const struct buf *lines)
{
	if (lines->len)
		talk_note(ctl, "%.*s", (int)lines->len - (lines->data[lines->len - 1] == '\n'), lines->data);
}

size_t talk_help_width(const struct ctl *ctl)
{
	size_t width = ctl->out.width ? ctl->out.width : 80;
	return width > 100 ? 100 : width < 40 ? 40 : width;
}

int talk_write(const struct ctl *ctl, struct buf *out)
{
	bool good = !out->failed;
	if (ctl->out.terminal && !ctl->out.unicode)
		format_ascii(out);
	if (!good)
		talk_error(ctl, "out of memory while printing");
	else if (out->len && (fwrite(out->data, 1, out->len, stdout) != out->len || fflush(stdout) != 0))
		good = false; /* the reader is gone (head, less): nobody to tell */
	buf_fini(out);
	return good ? CTL_DONE : CTL_FAILED;
}

int talk_json(const struct ctl *ctl, const json_t *json)
{
	struct buf out = {0};
	char *text = json_dumps(json ? json : json_null(),
				JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	if (text)
		format_json(&out, text);
	else
		out.failed = true;
	buf_append_char(&out, '\n');
	free(text);
	return talk_write(ctl, &out);
}

void talk_json_line(const json_t *json, struct buf *out)
{
	char *text = json_dumps(json ? json : json_null(),
				JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	if (text)
		format_json(out, text);
	else
		out->failed = true;
	buf_append_char(out, '\n');
	free(text);
}

void talk_table(const struct ctl *ctl, const struct listing *listing, const json_t *list, struct buf *out)
{
	struct table table = {.spill = listing->spill};
	json_t *item;
	size_t i;

	for (size_t c = 0; c < listing->columns; c++)
		table_column(&table, listing->titles[c].title, listing->titles[c].right);
	json_array_foreach(list, i, item) listing->row(&table, item, i);
	table_render(&table, &ctl->out, out);
	table_fini(&table);
}

int talk_list(const struct ctl *ctl, const struct listing *listing, const json_t *answer)
{
	json_t *list = *listing->member ? field(answer, listing->member) : (json_t *)answer;
	struct buf out = {0};

	if (ctl->json)
		return talk_json(ctl, answer);
	if (json_array_size(list) == 0) {
		talk_note(ctl, "%s", listing->empty);
		return CTL_DONE;
	}
	talk_table(ctl, listing, list, &out);
	return talk_write(ctl, &out);
}

int talk_request(const struct ctl *ctl, const char *what, const char *method, const char *path,
		 const json_t *body, json_t **out)
{
	struct answer answer;
	int status = client_call(ctl->client, method, path, body, NULL, TALK_TIMEOUT_MS, &answer);
	if (status)
		talk_error(ctl, "%s: %s", what, buf_cstr(&answer.message));
	else if (out)
		*out = answer.json ? json_incref(answer.json) : json_null();
	answer_fini(&answer);
	return status;
}

/* What there are ids of, and where they are listed. */
static const struct known {
	const char *below, *path, *list, *command, *what;
} known_things[] = {
	{"/admin/routes/", "/admin/routes", "routes", "route ls", "routes"},
	{"/admin/migrations/", "/admin/migrations", "migrations", "migration ls", "migrations"},
};

int talk_unknown_id(const struct ctl *ctl, const char *path, const char *id)
{
	const struct known *known = known_things;
	struct answer answer;
	int status = CTL_FAILED;

	while (strncmp(path, known->below, strlen(known->below)) != 0)
		if (++known == known_things + sizeof(known_things) / sizeof(known_things[0]))
			return status;
	if (client_call(ctl->client, "GET", known->path, NULL, NULL, TALK_TIMEOUT_MS, &answer) == CTL_DONE) {
		json_t *list = field(answer.json, known->list), *item;
		const char **ids = calloc(json_array_size(list) + 1, sizeof(*ids));
		struct buf hint = {0};
		bool there = false;
		size_t i;
		json_array_foreach(list, i, item)
		{
			if (ids)
				ids[i] = field_text(item, "id", "");
			there = there || strcmp(field_text(item, "id", ""), id) == 0;
		}
		if (ids && !there) {
			status = CTL_USAGE;
			if (option_suggest(id, ids, "", &hint))
				talk_note(ctl, "%s", buf_cstr(&hint) + strlen("; "));
			talk_note(ctl, "\"phoenixctl %s\" lists the %zu %s there are", known->command,
				  json_array_size(list), known->what);
		}
		buf_fini(&hint);
		free(ids);
	}
	answer_fini(&answer);
	return status;
}

int talk_route(const struct ctl *ctl, const char *what, const char *method, const char *format,
	       const char *route, const json_t *body, json_t **out)
{
	struct answer answer;
	char *path = client_path(format, route);
	if (!path) {
		talk_error(ctl, "out of memory");
		return CTL_FAILED;
	}
	int status = client_call(ctl->client, method, path, body, NULL, TALK_TIMEOUT_MS, &answer);
	if (status) {
		struct buf name = {0};
		format_clean(&name, route);
		talk_error(ctl, "%s %s: %s", what, buf_cstr(&name), buf_cstr(&answer.message));
		if (answer.status == 404)
			status = talk_unknown_id(ctl, format, route);
		buf_fini(&name);
	} else if (out) {
		*out = answer.json ? json_incref(answer.json) : json_null();
	}
	answer_fini(&answer);
	free(path);
	return status;
}

json_t *talk_reason(const struct ctl_line *line)
{
	json_t *body = json_object();
	if (line->options[OPTION_REASON])
		json_object_set_new(body, "reason", json_string(line->options[OPTION_REASON]));
	return body;
}

void talk_nearest_file(const char *path, struct buf *hint)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	const char *names[FILES_MAX + 1];
	struct dirent **entries = NULL;
	int count = folder ? scandir(folder, &entries, NULL, alphasort) : 0, used = 0;

	for (int i = 0; i < count && used < FILES_MAX; i++)
		names[used++] = entries[i]->d_name;
	names[used] = NULL;
	option_suggest(name, names, "", hint);
	for (int i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
	free(folder);
}

int talk_unreadable(const struct ctl *ctl, const char *path, int err, size_t max_bytes)
{
	struct buf hint = {0};
	if (err == -ENOENT)
		talk_nearest_file(path, &hint);
	if (err == -EFBIG)
		talk_error(ctl, "cannot read %s: larger than the limit of %zu MiB", path, max_bytes >> 20);
	else
		talk_error(ctl, "cannot read %s: %s%s", path, strerror(-err), buf_cstr(&hint));
	buf_fini(&hint);
	return err == -ENOENT ? CTL_USAGE : CTL_FAILED;
}

int talk_read_text(const char *path, size_t max_bytes, struct buf *text)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char chunk[65536];
	size_t n;
	if (!file)
		return -errno;
	text->max = max_bytes;
	errno = 0;
	while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0 && !text->failed)
		buf_append(text, chunk, n);
	int err = ferror(file) ? (errno ? -errno : -EIO) : text->failed ? -EFBIG : 0;
	if (file != stdin)
		fclose(file);
	return err;
}
