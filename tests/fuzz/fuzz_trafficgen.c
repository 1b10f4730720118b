/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What traffic is made from: an access log, an OpenAPI document or a HAR file, whatever the input looks like.
 * It is refused with a message, or becomes a scenario that the traffic client takes, whose text says the same
 * as its JSON, and every request of which is one that our own parser understands and marks as synthetic.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "http/parse.h"
#include "traffic/scenario.h"
#include "trafficgen/k6.h"
#include "trafficgen/sources.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static void check_requests(const struct scenario *s)
{
	struct buf body = {0}, out = {0};
	for (uint64_t k = 0; k < 6; k++) {
		struct http_head head;
		struct http_target target;
		const struct scenario_request *request = scenario_compose(s, 1, k, &body, &out);
		FUZZ_CHECK(!out.failed);
		char *bytes = fuzz_copy(out.data, out.len);
		http_head_init(&head, 0, HTTP_FIELDS_MAX);
		enum http_parse_result result = http_head_parse(&head, bytes, out.len);
		FUZZ_CHECK(result == HTTP_PARSE_DONE);
		FUZZ_CHECK(http_target_parse(&head, bytes, &target) == 0);
		FUZZ_CHECK(head.scan.flags & PHX_HEAD_SYNTHETIC);
		FUZZ_CHECK(out.len - head.scan.pos == body.len);
		FUZZ_CHECK(!(head.scan.flags & PHX_HEAD_HAS_LENGTH) == !request->has_body);
		free(bytes);
	}
	buf_fini(&body);
	buf_fini(&out);
}

static void check_scenario(const json_t *document)
{
	static char host[] = "127.0.0.1", base_path[] = "";
	static const struct config_url target = {.host = host, .port = 8080, .base_path = base_path};
	struct buf text = {0}, script = {0}, notes = {0};
	char path[64];
	plan_write_document(document, &text);
	FUZZ_CHECK(!text.failed);
	json_t *again = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	FUZZ_CHECK(again && json_equal(again, document));
	json_decref(again);
	FUZZ_CHECK(k6_write(document, &script, &notes));
	int fd = memfd_create("scenario", MFD_CLOEXEC);
	if (fd < 0 || write(fd, text.data, text.len) != (ssize_t)text.len)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	struct scenario s;
	FUZZ_CHECK(scenario_read(&s, path, &(struct scenario_options){&target, true, NULL, 0}) == 0);
	check_requests(&s);
	scenario_fini(&s);
	close(fd);
	buf_fini(&text);
	buf_fini(&script);
	buf_fini(&notes);
}

static int read_log(struct plan *plan, struct slice text, struct buf *errors)
{
	struct log_source *source = log_source_create(plan, "f");
	int err = 0;
	while (text.len && !err) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end ? (size_t)(end - text.ptr) + 1 : text.len;
		err = log_source_line(source, slice_of(text.ptr, len));
		text = slice_of(text.ptr + len, text.len - len);
	}
	int finished = log_source_finish(source, errors);
	return err ? err : finished;
}

FUZZ_TARGET(trafficgen)
{
	char *copy = fuzz_copy(data, size);
	struct slice text = slice_of(copy, size);
	uint64_t seed = fuzz_seed(data, size);
	for (int source = 0; source < 4; source++) {
		struct plan plan;
		struct plan_options options = {.unsafe = fuzz_random(&seed) & 1,
					       .requests_max = fuzz_random(&seed) % 20};
		struct buf errors = {0};
		int err;
		plan_init(&plan, &options);
		if (source == 0)
			err = read_log(&plan, text, &errors);
		else if (source == 1)
			err = plan_from_har(&plan, "f.har", text, &errors);
		else
			err = plan_from_openapi(&plan, source == 2 ? "f.json" : "f.yaml", text, &errors);
		FUZZ_CHECK(err == 0 || err == -EINVAL);
		FUZZ_CHECK(!err || (errors.len && errors.data[errors.len - 1] == '\n'));
		json_t *document = err ? NULL : plan_document(&plan, "fuzz", "fuzz");
		FUZZ_CHECK(!plan.failed);
		if (document)
			check_scenario(document);
		json_decref(document);
		plan_fini(&plan);
		buf_fini(&errors);
	}
	free(copy);
}
