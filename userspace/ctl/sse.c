/* SPDX-License-Identifier: Apache-2.0 */
/* sse: see sse.h. One line is collected at a time, then it changes the event in progress. */
#include "ctl/sse.h"

#include <stdio.h>

void sse_init(struct sse *sse)
{
	memset(sse, 0, sizeof(*sse));
	sse->line.max = sse->data.max = SSE_EVENT_BYTES_MAX;
}

static void forget_event(struct sse *sse)
{
	buf_reset(&sse->data);
	sse->type[0] = '\0';
	sse->has_data = sse->oversized = false;
}

void sse_restart(struct sse *sse)
{
	buf_reset(&sse->line);
	forget_event(sse);
}

void sse_fini(struct sse *sse)
{
	buf_fini(&sse->line);
	buf_fini(&sse->data);
}

static void take_field(struct sse *sse, struct slice name, struct slice value)
{
	if (slice_equal(name, SLICE("data"))) {
		if (sse->has_data)
			buf_append_char(&sse->data, '\n');
		buf_append_slice(&sse->data, value);
		sse->has_data = true;
	} else if (slice_equal(name, SLICE("event"))) {
		snprintf(sse->type, sizeof(sse->type), "%.*s", SLICE_ARG(value));
	} else if (slice_equal(name, SLICE("id")) && value.len <= SSE_ID_BYTES_MAX &&
		   (value.len == 0 || !memchr(value.ptr, '\0', value.len))) {
		snprintf(sse->last_id, sizeof(sse->last_id), "%.*s", SLICE_ARG(value));
	}
}

/* One line without its end; an empty one completes the event. */
static bool take_line(struct sse *sse, struct slice line,
		      bool (*on_event)(void *user, const struct sse_event *event), void *user)
{
	if (line.len == 0) {
		bool go_on = true;
		if (sse->has_data && !sse->oversized && !sse->data.failed) {
			struct sse_event event = {sse->type[0] ? sse->type : "message", buf_cstr(&sse->data)};
			go_on = on_event(user, &event);
		}
		forget_event(sse);
		return go_on;
	}
	if (line.ptr[0] == ':')
		return true;
	const char *colon = memchr(line.ptr, ':', line.len);
	struct slice name = slice_of(line.ptr, colon ? (size_t)(colon - line.ptr) : line.len);
	struct slice value = colon ? slice_of(colon + 1, line.len - name.len - 1) : SLICE("");
	if (value.len && value.ptr[0] == ' ')
		value.ptr++, value.len--;
	take_field(sse, name, value);
	return true;
}

bool sse_feed(struct sse *sse, const char *data, size_t len,
	      bool (*on_event)(void *user, const struct sse_event *event), void *user)
{
	while (len) {
		const char *end = memchr(data, '\n', len);
		size_t part = end ? (size_t)(end - data) : len;
		buf_append(&sse->line, data, part);
		sse->oversized = sse->oversized || sse->line.failed;
		data += part + (end != NULL);
		len -= part + (end != NULL);
		if (!end)
			continue;
		struct slice line = buf_slice(&sse->line);
		if (sse->line.failed)
			line = SLICE(":"); /* over the limit: skipped like a comment */
		else if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		bool go_on = take_line(sse, line, on_event, user);
		buf_reset(&sse->line);
		if (!go_on)
			return false;
	}
	return true;
}
