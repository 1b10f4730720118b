/* SPDX-License-Identifier: Apache-2.0 */
/* talk: see talk.h. stdout is data and stderr is talk: only this file knows which stream is which. */
#include "ctl/talk.h"
#include "config_report.h"
#include "ctl/field.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void talk(const struct ctl *ctl, const char *prefix, enum tint tint, const char *format, va_list args)
{
	char *text = NULL;
	struct buf out = {0};

	if (vasprintf(&text, format, args) < 0)
		return;
	tint_printf(&out, ctl->err.colour, tint, "%s", prefix);
	buf_append_str(&out, text);
	buf_append_char(&out, '\n');
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

size_t talk_help_width(const struct ctl *ctl)
{
	size_t width = ctl->out.width ? ctl->out.width : 80;
	return width > 100 ? 100 : width < 40 ? 40 : width;
}

int talk_write(const struct ctl *ctl, struct buf *out)
{
	bool good = !out->failed;
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
		buf_printf(&out, "%s\n", text);
	else
		out.failed = true;
	free(text);
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

/* After a 404: the nearest id among the routes there are, or how many there are. */
static void explain_unknown_route(const struct ctl *ctl, const char *route)
{
	struct answer answer;
	if (client_call(ctl->client, "GET", "/admin/routes", NULL, NULL, TALK_TIMEOUT_MS, &answer) ==
	    CTL_DONE) {
		json_t *routes = field(answer.json, "routes"), *item;
		const char **ids = calloc(json_array_size(routes) + 1, sizeof(*ids));
		size_t i;
		if (ids) {
			json_array_foreach(routes, i, item) ids[i] = field_text(item, "id", "");
			const char *near = report_suggest(slice_str(route), ids);
			struct buf line = {0};
			if (near)
				format_clean(&line, near);
			if (near)
				talk_note(ctl, "did you mean \"%s\"?", buf_cstr(&line));
			else
				talk_note(ctl, "\"phoenixctl route ls\" lists the %zu routes there are",
					  json_array_size(routes));
			buf_fini(&line);
		}
		free(ids);
	}
	answer_fini(&answer);
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
			explain_unknown_route(ctl, route);
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

int talk_read_text(const char *path, size_t max_bytes, struct buf *text)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char chunk[4096];
	size_t n;
	if (!file)
		return -errno;
	text->max = max_bytes;
	while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0)
		buf_append(text, chunk, n);
	int err = ferror(file) ? -EIO : text->failed ? -EFBIG : 0;
	if (file != stdin)
		fclose(file);
	return err;
}
