/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A traffic scenario: refused, or its requests are requests that our own parser understands, with a body as
 * long as they say, and the same when composed again.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "http/body.h"
#include "traffic/scenario.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* Fields are the author's own: only a scenario that sets none that matters, in plain text, must parse. */
static bool is_plain(const struct scenario *s)
{
	static const char *const own[] = {"host", "transfer-encoding", "connection", "expect"};
	size_t i;
	json_t *request, *value;
	const char *name;
	/* A value may be put into a path, where these must not be. */
	for (i = 0; i < s->variable_count; i++) {
		for (size_t k = 0;
		     s->variables[i].values && k < s->variables[i].count * s->variables[i].column_count;
		     k++) {
			if (strpbrk(s->variables[i].values[k], "#<>"))
				return false;
		}
	}
	json_array_foreach(json_object_get(s->document, "requests"), i, request)
	{
		json_object_foreach(json_object_get(request, "headers"), name, value)
		{
			for (const char *p = json_string_value(value); *p; p++) {
				if ((unsigned char)*p < ' ' || *p == 0x7f)
					return false;
			}
			for (size_t k = 0; k < sizeof(own) / sizeof(own[0]); k++) {
				if (strcasecmp(name, own[k]) == 0)
					return false;
			}
		}
		name = json_string_value(json_object_get(request, "method"));
		if (name && strcmp(name, "CONNECT") == 0)
			return false;
		if (strpbrk(json_string_value(json_object_get(request, "path")), "#<>"))
			return false;
	}
	return true;
}

static void check_request(const struct scenario_request *request, struct slice out, struct slice body)
{
	struct http_head head;
	struct http_target target;
	char *bytes = fuzz_copy(out.ptr, out.len);
	http_head_init(&head, 0, HTTP_FIELDS_MAX);
	enum http_parse_result result = http_head_parse(&head, bytes, out.len);
	FUZZ_CHECK(result == HTTP_PARSE_DONE || result == HTTP_PARSE_TOO_MANY);
	if (result == HTTP_PARSE_DONE) {
		FUZZ_CHECK(http_target_parse(&head, bytes, &target) == 0);
		FUZZ_CHECK(out.len - head.scan.pos == body.len);
		FUZZ_CHECK(!(head.scan.flags & PHX_HEAD_HAS_LENGTH) == !request->has_body);
		FUZZ_CHECK(!request->has_body || head.scan.content_length == body.len);
		FUZZ_CHECK(head.scan.flags & PHX_HEAD_SYNTHETIC);
	}
	free(bytes);
}

FUZZ_TARGET(scenario)
{
	static char host[] = "127.0.0.1", base_path[] = "/base";
	static const struct config_url target = {.host = host, .port = 8080, .base_path = base_path};
	char path[64];
	int fd = memfd_create("scenario", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* What is wrong is said on stderr, a hundred thousand times a minute. */
	FILE *saved = stderr, *nowhere = fmemopen(NULL, 4096, "w");
	struct scenario s;
	stderr = nowhere;
	int err = scenario_read(&s, path, &(struct scenario_options){&target, true, NULL, 0});
	stderr = saved;
	fclose(nowhere);
	FUZZ_CHECK(err == 0 || err == -EINVAL);
	bool plain = !err && is_plain(&s);
	struct buf body = {0}, out = {0}, again = {0};
	for (uint64_t k = 0; !err && k < 8; k++) {
		const struct scenario_request *request = scenario_compose(&s, 1, k, &body, &out);
		FUZZ_CHECK(request >= s.requests && request < s.requests + s.request_count);
		FUZZ_CHECK(!out.failed && out.len > body.len);
		if (plain)
			check_request(request, buf_slice(&out), buf_slice(&body));
		FUZZ_CHECK(scenario_compose(&s, 1, k, &body, &again) == request);
		FUZZ_CHECK(slice_equal(buf_slice(&out), buf_slice(&again)));
	}
	buf_fini(&body);
	buf_fini(&out);
	buf_fini(&again);
	scenario_fini(&s);
	close(fd);
}
