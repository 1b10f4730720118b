/* SPDX-License-Identifier: Apache-2.0 */
/* What traffic scenarios are made from: logs, OpenAPI documents, HAR files, samples, routes; and what is
 * refused. */
#include "unit.h"

#include "trafficgen/collect.h"
#include "trafficgen/k6.h"
#include "trafficgen/sources.h"

#include <errno.h>

/* The scenario as one line of JSON, or the errors. Owned by the caller. */
static char *made_with(const char *from, const char *text, struct plan_options options, struct plan *plan)
{
	struct buf errors = {0};
	int err;
	plan_init(plan, &options);
	if (strcmp(from, "log") == 0) {
		struct log_source *source = log_source_create(plan, "f");
		struct slice rest = slice_str(text), line;
		while (slice_split(&rest, '\n', &line))
			CHECK_INT(log_source_line(source, line), 0);
		err = log_source_finish(source, &errors);
	} else if (strcmp(from, "har") == 0) {
		err = plan_from_har(plan, "f", slice_str(text), &errors);
	} else if (strcmp(from, "openapi") == 0) {
		err = plan_from_openapi(plan, "f", slice_str(text), &errors);
	} else {
		json_t *json = json_loads(text, 0, NULL);
		err = strcmp(from, "route") == 0 ? plan_from_route(plan, json, &errors)
						 : plan_from_samples(plan, json, &errors);
		json_decref(json);
	}
	char *out;
	if (err) {
		out = strdup(buf_cstr(&errors));
	} else {
		json_t *document = plan_document(plan, "n", "c"), *requests = json_object();
		json_object_set(requests, "v", json_object_get(document, "variables"));
		json_object_set(requests, "r", json_object_get(document, "requests"));
		out = json_dumps(requests, JSON_COMPACT);
		json_decref(requests);
		json_decref(document);
	}
	buf_fini(&errors);
	return out;
}

static char *made(const char *from, const char *text, bool unsafe)
{
	struct plan plan;
	char *out = made_with(from, text, (struct plan_options){.unsafe = unsafe}, &plan);
	plan_fini(&plan);
	return out;
}

#define LINE(request, status)                                                                                \
	"1.2.3.4 - - [28/Nov/2026:03:39:37 +0000] \"" request "\" " status " 12 \"-\" \"x\"\n"

TEST(log_lines)
{
	static const struct {
		const char *text;
		enum plan_omission why; /* PLAN_OMISSION_COUNT: taken */
	} rows[] = {
		{LINE("GET /a HTTP/1.1", "200"), PLAN_OMISSION_COUNT},
		{"h:80 1.2.3.4 - bob [28/Nov/2026:03:39:37 +0000] \"GET /a HTTP/2.0\" 200 12",
		 PLAN_OMISSION_COUNT},
		{"1 - - [x] \"GET /a\\x62 HTTP/1.1\" 200 -", PLAN_OMISSION_COUNT},
		{"{\"method\":\"GET\",\"target\":\"/a?b=1\",\"status\":200}", PLAN_OMISSION_COUNT},
		{"{\"method\":\"GET\",\"path\":\"/"
		 "a\",\"query\":\"b=1\",\"status\":404,\"at\":\"2026-01-31T12:00:00.5Z\"}",
		 PLAN_OMISSION_COUNT},
		{LINE("POST /a HTTP/1.1", "200"), PLAN_OMIT_UNSAFE},
		{LINE("CONNECT a:1 HTTP/1.1", "200"), PLAN_OMIT_METHOD},
		{LINE("G(T /a HTTP/1.1", "200"), PLAN_OMIT_METHOD},
		{LINE("GET http://x/ HTTP/1.1", "200"), PLAN_OMIT_TARGET},
		{LINE("GET /a b HTTP/1.1", "200"), PLAN_OMIT_TARGET},
		{LINE("GET /\\x0d\\x0aX: y HTTP/1.1", "200"), PLAN_OMIT_TARGET},
		{LINE("GET /\\\" HTTP/1.1", "200"), PLAN_OMIT_TARGET},
		{LINE("GET /\\xff HTTP/1.1", "200"), PLAN_OMIT_TARGET},
		{LINE("GET /a HTTP/1.1", "500"), PLAN_OMIT_FAILED},
		{"{\"method\":\"GET\",\"target\":\"/a\",\"status\":200,\"synthetic\":true}", PLAN_OMIT_OURS},
		{"{\"method\":\"GET\",\"target\":\"/a\",\"status\":200,\"shadow\":true}", PLAN_OMIT_OURS},
		{LINE("GET /a", "200"), PLAN_OMIT_LINE},
		{LINE("\\x16\\x03\\x01", "400"), PLAN_OMIT_LINE},
		{LINE("GET /a HTTP/1.1", "20"), PLAN_OMIT_LINE},
		{LINE("GET /a HTTP/1.1", "2000"), PLAN_OMIT_LINE},
		{LINE("GET /a HTTP/1.1", "099"), PLAN_OMIT_LINE},
		{"1 - - [x] \"GET /a HTTP/1.1", PLAN_OMIT_LINE},
		{"1 - - [x \"GET /a HTTP/1.1\" 200", PLAN_OMIT_LINE},
		{"{\"method\":\"GET\",\"target\":\"/a\"}", PLAN_OMIT_LINE},
		{"{\"method\":\"GET\",\"target\":\"/a\",\"status\":200", PLAN_OMIT_LINE},
		{"{\"method\":1,\"target\":[],\"status\":200}", PLAN_OMIT_METHOD},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct plan plan;
		struct buf text = {0};
		/* A good line beside it, so that the log as a whole is one. */
		buf_printf(&text, "%s\n%s", rows[i].text, LINE("GET /good HTTP/1.1", "200"));
		free(made_with("log", buf_cstr(&text), (struct plan_options){0}, &plan));
		bool taken = rows[i].why == PLAN_OMISSION_COUNT;
		CHECK_MSG(plan.taken == (taken ? 2 : 1), "%s: %llu taken", rows[i].text,
			  (unsigned long long)plan.taken);
		for (unsigned w = 0; w < PLAN_OMISSION_COUNT; w++)
			CHECK_MSG(plan.omitted[w] == (w == rows[i].why), "%s: %s", rows[i].text,
				  plan_omission_word((enum plan_omission)w));
		plan_fini(&plan);
		buf_fini(&text);
	}
}

TEST(log_that_is_none)
{
	char *out = made("log", "hello\nworld", false);
	CHECK_MSG(strncmp(out, "f:1: error: none of 2 lines", 27) == 0, "%s", out);
	free(out);
}

/* Ids become variables, values that came together stay together, and what is constant stays text. */
TEST(kinds)
{
	char *out =
		made("log",
		     LINE("GET /u/1/o/7?k=a&c=1 HTTP/1.1", "200") LINE("GET /u/2/o/8?k=b&c=1 HTTP/1.1", "404")
			     LINE("GET /u/2/o/8?k=b&c=1 HTTP/1.1", "200") LINE("GET /x HTTP/1.1", "200"),
		     false);
	CHECK_STR(out,
		  "{\"v\":{\"u_o\":[{\"u_id\":\"1\",\"o_id\":\"7\",\"k\":\"a\"},{\"u_id\":\"2\",\"o_id\":"
		  "\"8\",\"k\":"
		  "\"b\"},{\"u_id\":\"2\",\"o_id\":\"8\",\"k\":\"b\"}]},\"r\":[{\"name\":\"GET "
		  "/u/{u_id}/o/{o_id}\","
		  "\"method\":\"GET\",\"path\":\"/u/${u_o.u_id}/o/${u_o.o_id}?k=${u_o.k}&c=1\",\"weight\":3,"
		  "\"expect\":[200,404]},{\"name\":\"GET "
		  "/x\",\"method\":\"GET\",\"path\":\"/x\",\"expect\":200}]}");
	free(out);
}

/* A place that takes eight different words is one kind; seven are seven. */
TEST(words_become_a_variable)
{
	for (unsigned words = COLLECT_WORDS_MIN - 1; words <= COLLECT_WORDS_MIN; words++) {
		struct plan plan;
		struct buf text = {0};
		for (unsigned i = 0; i < words; i++)
			buf_printf(&text, "1 - - [x] \"GET /user/%c/posts/%u HTTP/1.1\" 200 1\n",
				   'a' + (int)i, i);
		char *out = made_with("log", buf_cstr(&text), (struct plan_options){0}, &plan);
		CHECK_INT(json_array_size(plan.requests), words < COLLECT_WORDS_MIN ? words : 1);
		CHECK_INT(plan.taken, words);
		if (words == COLLECT_WORDS_MIN)
			CHECK_MSG(strstr(out, "/user/${user_posts.user_id}/posts/${user_posts.post_id}"),
				  "%s", out);
		free(out);
		plan_fini(&plan);
		buf_fini(&text);
	}
}

/* Words go to where numbers are already. */
TEST(words_join_numbers)
{
	struct plan plan;
	struct buf text = {0};
	for (unsigned i = 0; i < COLLECT_WORDS_MIN; i++)
		buf_printf(&text,
			   "1 - - [x] \"GET /user/%c HTTP/1.1\" 200 1\n1 - - [x] \"GET /user/%u HTTP/1.1\" "
			   "404 1\n",
			   'a' + (int)i, i);
	char *out = made_with("log", buf_cstr(&text), (struct plan_options){0}, &plan);
	CHECK_INT(json_array_size(plan.requests), 1);
	CHECK_INT(plan.taken, 2 * COLLECT_WORDS_MIN);
	CHECK_MSG(strstr(out, "\"/user/${user_id}\",\"weight\":16,\"expect\":[200,404]"), "%s", out);
	free(out);
	plan_fini(&plan);
	buf_fini(&text);
}

/* The same input makes the same scenario, also when places could be merged in several ways. */
TEST(making_is_repeatable)
{
	struct buf text = {0};
	for (unsigned i = 0; i < 400; i++)
		buf_printf(&text, "1 - - [x] \"GET /w%c/x%c?q=%u HTTP/1.1\" 200 1\n", 'a' + (int)(i % 19),
			   'a' + (int)(i % 23), i);
	char *first = made("log", buf_cstr(&text), false), *second = made("log", buf_cstr(&text), false);
	CHECK_STR(first, second);
	free(first);
	free(second);
	buf_fini(&text);
}

/* Hostile: more kinds than there is room for. What does not fit is counted, nothing is lost silently. */
TEST(many_kinds_are_bounded)
{
	struct plan plan;
	struct plan_options options = {.requests_max = 5};
	plan_init(&plan, &options);
	struct log_source *source = log_source_create(&plan, "f");
	enum { COUNT = COLLECT_KINDS_MAX + 5000 };
	for (unsigned i = 0; i < COUNT; i++) {
		char line[128];
		snprintf(line, sizeof(line), "1 - - [x] \"GET /a?n%u HTTP/1.1\" 200 1", i);
		if (log_source_line(source, slice_str(line)))
			CHECK(false);
	}
	struct buf errors = {0};
	CHECK_INT(log_source_finish(source, &errors), 0);
	CHECK_INT(json_array_size(plan.requests), 5);
	CHECK_INT(plan.taken + plan.omitted[PLAN_OMIT_RARE] + plan.omitted[PLAN_OMIT_MEMORY], COUNT);
	CHECK_INT(plan.omitted[PLAN_OMIT_MEMORY], 5000);
	plan_fini(&plan);
	buf_fini(&errors);
}

TEST(openapi_that_is_refused)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{"{", "f:1:2: error: not JSON"},
		{"[]", "f:1:1: error: the document must be an object"},
		{"{}", "f:1:1: error: this is no OpenAPI 3 document"},
		{"{\"swagger\":\"2.0\"}", "f:1:12: error: this is Swagger 2"},
		{"{\"openapi\":\"4.0\"}", "f:1:12: error: this is no OpenAPI 3"},
		{"{\"openapi\":[]}", "f:1:12: error: this is no OpenAPI 3"},
		{"{\"openapi\":\"3.0.0\"}", "f:1:1: error: \"paths\" is missing"},
		{"{\"openapi\":\"3.0.0\",\"paths\":{\"a\":{}}}",
		 "f:1:29: error: paths: \"a\" must begin with"},
		{"{\"openapi\":\"3.0.0\",\"paths\":{\"/a/{b}\":{\"get\":{}}}}",
		 "f:1:29: error: the path parameter \"b\""},
		{"{\"openapi\":\"3.0.0\",\"paths\":{\"/a\":{\"get\":{\"parameters\":[\n{\"$ref\":\"#/"
		 "none\"}]}}}}",
		 "f:2:9: error: $ref \"#/none\" leads nowhere"},
		{"{\"openapi\":\"3.0.0\",\"paths\":{\"/"
		 "a\":{\"get\":{\"parameters\":[\n{\"$ref\":\"other.yaml\"}]}}}}",
		 "f:2:9: error: $ref \"other.yaml\" leads out of this document"},
		{"{\"openapi\":\"3.0.0\",\"paths\":{\"/a\":{\"$ref\":\"#/paths/~1b\"},\"/b\":{\"$ref\":\"#/"
		 "paths/~1a\"}}}",
		 "f:1:"},
		{"openapi: 3.0.0\npaths: &a\n", "f:2:8: error: anchors"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *out = made("openapi", rows[i].text, false);
		CHECK_MSG(strncmp(out, rows[i].error, strlen(rows[i].error)) == 0, "%s\n  said: %s",
			  rows[i].text, out);
		free(out);
	}
}

#define API(paths) "{\"openapi\":\"3.0.0\",\"paths\":{" paths "}}"

TEST(openapi_values)
{
	static const struct {
		const char *text, *made;
	} rows[] = {
		{API("\"/a/"
		     "{b}\":{\"get\":{\"parameters\":[{\"name\":\"b\",\"in\":\"path\",\"schema\":{\"type\":"
		     "\"integer\",\"maximum\":"
		     "3}}],\"responses\":{\"200\":{},\"404\":{},\"500\":{}}}}"),
		 "{\"v\":{\"b\":{\"from\":1,\"to\":3}},\"r\":[{\"name\":\"GET "
		 "/a/{b}\",\"method\":\"GET\",\"path\":\"/a/${b}\","
		 "\"expect\":[200,404]}]}"},
		{API("\"/a\":{\"get\":{\"parameters\":[{\"name\":\"q "
		     "r\",\"in\":\"query\",\"required\":true,\"example\":\"x y&\"},"
		     "{\"name\":\"o\",\"in\":\"query\"},{\"name\":\"H\",\"in\":\"header\",\"example\":\"${h}"
		     "\"},"
		     "{\"name\":\"Authorization\",\"in\":\"header\",\"example\":\"s\"}]}}"),
		 "{\"r\":[{\"name\":\"GET "
		 "/a\",\"method\":\"GET\",\"path\":\"/a?q%20r=x%20y%26\",\"headers\":{\"H\":\"$${h}\"}}]}"},
		/* The operation's parameter wins over the path's. */
		{API("\"/a/"
		     "{b}\":{\"parameters\":[{\"name\":\"b\",\"in\":\"path\",\"example\":1}],\"get\":{"
		     "\"parameters\":[{\"name\":"
		     "\"b\",\"in\":\"path\",\"example\":2}]}}"),
		 "{\"r\":[{\"name\":\"GET /a/{b}\",\"method\":\"GET\",\"path\":\"/a/2\"}]}"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *out = made("openapi", rows[i].text, false);
		CHECK_STR(out, rows[i].made);
		free(out);
	}
}

/* A schema that holds itself, one that doubles at each step, one that asks for the impossible: each ends. */
TEST(openapi_schemas_that_grow)
{
	struct buf text = {0};
	buf_append_str(&text, "{\"openapi\":\"3.0.0\",\"paths\":{\"/"
			      "a\":{\"post\":{\"requestBody\":{\"content\":{\"application/json\":{"
			      "\"schema\":{\"$ref\":\"#/s/s0\"}}}}}}},\"s\":{");
	for (unsigned i = 0; i < 40; i++)
		buf_printf(&text,
			   "\"s%u\":{\"required\":[\"a\",\"b\"],\"properties\":{\"a\":{\"$ref\":\"#/s/"
			   "s%u\"},\"b\":{\"$ref\":\"#/s/s%u\"}}},",
			   i, i + 1, i + 1);
	buf_append_str(&text,
		       "\"s40\":{\"required\":[\"me\"],\"properties\":{\"me\":{\"$ref\":\"#/s/s40\"}}}}}");
	char *out = made("openapi", buf_cstr(&text), true);
	CHECK_MSG(strncmp(out, "{\"r\":[", 6) == 0 || strstr(out, "over the limit"), "%.200s", out);
	free(out);
	buf_fini(&text);
	out = made("openapi",
		   API("\"/a\":{\"post\":{\"requestBody\":{\"content\":{\"application/"
		       "json\":{\"schema\":{\"type\":\"array\","
		       "\"minItems\":1e300,\"items\":{\"type\":\"string\",\"minLength\":1e300}}}}}}}"),
		   true);
	CHECK_MSG(strncmp(out, "{\"r\":[", 6) == 0, "%.200s", out);
	free(out);
}

TEST(har_files)
{
	static const struct {
		const char *text, *made;
	} rows[] = {
		{"{\"log\":{}}", "f:1:8: error: this is no HTTP Archive: /log/entries is missing\n"},
		{"{\"log\":{\"entries\":[]}}", "f:1:19: error: /log/entries has no request to an http URL\n"},
		{"{\"log\":{\"entries\":[{\"request\":{\"method\":\"GET\",\"url\":\"https://h:1/"
		 "a?b#c\",\"headers\":[{\"name\":\"Accept\","
		 "\"value\":\"x\"},{\"name\":\"Cookie\",\"value\":\"s\"},{\"name\":\"sec-ch-ua\",\"value\":"
		 "\"s\"}]},\"response\":{"
		 "\"status\":200}},{\"request\":{\"method\":\"GET\",\"url\":\"https://H:1/"
		 "a?b\",\"headers\":[]}},{\"request\":{"
		 "\"method\":\"GET\",\"url\":\"https://other/\"}}]}}",
		 "{\"r\":[{\"name\":\"GET "
		 "/a\",\"method\":\"GET\",\"path\":\"/a?b\",\"headers\":{\"Accept\":\"x\"},\"weight\":2,"
		 "\"expect\":200}]}"},
		/* Numbers that JSON libraries would change stay as they were recorded. */
		{"{\"log\":{\"entries\":[{\"request\":{\"method\":\"POST\",\"url\":\"http://h/"
		 "a\",\"postData\":{\"mimeType\":"
		 "\"application/json\",\"text\":\"{\\\"n\\\": 12345678901234567890123}\"}}}]}}",
		 "{\"r\":[{\"name\":\"POST "
		 "/a\",\"method\":\"POST\",\"path\":\"/a\",\"headers\":{\"Content-Type\":\"application/"
		 "json\"},"
		 "\"body\":\"{\\\"n\\\": 12345678901234567890123}\"}]}"},
		{"{\"log\":{\"entries\":[{\"request\":{\"method\":\"POST\",\"url\":\"http://h/"
		 "a\",\"postData\":{\"mimeType\":"
		 "\"application/json\",\"text\":\"{\\\"n\\\": \\\"${x}\\\"}\"}}}]}}",
		 "{\"r\":[{\"name\":\"POST "
		 "/a\",\"method\":\"POST\",\"path\":\"/a\",\"headers\":{\"Content-Type\":\"application/"
		 "json\"},"
		 "\"body\":{\"n\":\"$${x}\"}}]}"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *out = made("har", rows[i].text, true);
		CHECK_STR(out, rows[i].made);
		free(out);
	}
}

TEST(samples)
{
	struct plan plan;
	char *out = made_with(
		"samples",
		"{\"seen\":4,\"samples\":[{\"method\":\"GET\",\"target\":\"/"
		"a\",\"status\":200,\"request\":\"\",\"complete\":"
		"true},{\"method\":\"GET\",\"target\":\"/"
		"a?t=redacted:0123abcd\",\"status\":200},{\"method\":\"GET\","
		"\"target\":\"/b\",\"status\":200,\"complete\":false},{\"method\":\"GET\",\"target\":\"/"
		"c\",\"status\":200,"
		"\"synthetic\":true}]}",
		(struct plan_options){0}, &plan);
	CHECK_STR(out, "{\"r\":[{\"name\":\"GET /a\",\"method\":\"GET\",\"path\":\"/a\",\"expect\":200}]}");
	CHECK(plan.omitted[PLAN_OMIT_REDACTED] == 1 && plan.omitted[PLAN_OMIT_CUT] == 1 &&
	      plan.omitted[PLAN_OMIT_OURS] == 1);
	plan_fini(&plan);
	free(out);
	out = made("samples", "{\"samples\":[]}", false);
	CHECK_MSG(strstr(out, "no samples of this route"), "%s", out);
	free(out);
}

TEST(routes)
{
	char *out = made("route", "{\"method\":[\"GET\",\"POST\"],\"path\":\"/u/{id}/${x}\"}", false);
	CHECK_STR(out, "{\"v\":{\"id\":{\"from\":1,\"to\":100}},\"r\":[{\"name\":\"GET "
		       "/u/{id}/${x}\",\"method\":\"GET\","
		       "\"path\":\"/u/${id}/$${x}\"}]}");
	free(out);
}

/* Text of a scenario never becomes code of the script. */
TEST(k6_scripts_hold_data_only)
{
	json_t *scenario =
		json_loads("{\"name\":\"x\\n*/ evil(); "
			   "//\\u2028\",\"load\":{\"stages\":[{\"from\":1,\"to\":10,\"duration\":\"5s\"},"
			   "{\"rate\":2.5,\"duration\":\"1s\"}],\"connections\":3},\"requests\":[{\"path\":"
			   "\"/`${evil()}\"}],"
			   "\"thresholds\":[\"p99<200ms\",\"failed<1%\",\"unsent<=0\"]}",
			   0, NULL);
	struct buf out = {0}, notes = {0};
	CHECK(k6_write(scenario, &out, &notes));
	const char *text = buf_cstr(&out);
	CHECK(strstr(text, "scenarioName = \"x\\n*/ evil(); //\\u2028\";"));
	CHECK(!strstr(text, "\n*/ evil"));
	CHECK(strstr(text, "\"executor\": \"ramping-arrival-rate\"") && strstr(text, "\"timeUnit\": \"1m\""));
	CHECK(strstr(text, "\"startRate\": 60") && strstr(text, "\"target\": 600") &&
	      strstr(text, "\"target\": 150"));
	CHECK(strstr(text, "\"p(99)<200\"") && strstr(text, "\"rate>0.99\""));
	CHECK_STR(buf_cstr(&notes), "threshold unsent<=0 has no counterpart in k6 and is left out\n");
	buf_fini(&out);
	buf_fini(&notes);
	json_decref(scenario);
}

UNIT_MAIN
