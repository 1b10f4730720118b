/* SPDX-License-Identifier: Apache-2.0 */
/* Specs: what is accepted means what it says; what is wrong is told with its place. */
#include "unit.h"

#include "pipeline/spec.h"

#include <errno.h>

#define ROUTE                                                                                                \
	"\"route\": {\"method\": \"GET\", \"path\": \"/u/*\", \"legacy_url\": \"http://127.0.0.1:9001\"}"
#define SERVICE "\"service\": {\"source\": {\"files\": {\"server.py\": \"x\"}}, \"port\": 9102}"

TEST(defaults_and_what_follows_from_others)
{
	struct spec *spec = NULL;
	struct buf errors = {0};
	const char *text = "{\"id\": \"users\", " ROUTE ", " SERVICE ", \"policy\": {\"min_samples\": 7}}";
	CHECK_MSG(spec_parse("s.json", slice_str(text), NULL, &spec, &errors) == 0, "%s", buf_cstr(&errors));
	if (spec) {
		CHECK_STR(spec->route->id, "users");
		CHECK_STR(spec->route->modern.text, "http://127.0.0.1:9102");
		CHECK_INT(spec->route->arbiter.min_samples, 7);
		CHECK_INT(spec->route->arbiter.step_bp, 1000);
		CHECK_INT(spec->deploy.kind, DEPLOY_AUTO);
		CHECK_STR(spec->deploy.project, "phoenix");
		CHECK(spec->service.files && json_object_size(spec->service.files) == 1);
		/* The document reads back as the same. */
		struct spec *again = NULL;
		char *dump = json_dumps(spec->document, 0);
		CHECK_INT(spec_parse("again.json", slice_str(dump), NULL, &again, &errors), 0);
		CHECK(again && json_equal(again->document, spec->document));
		CHECK_INT(again ? again->route->arbiter.min_samples : 0, 7);
		spec_destroy(again);
		free(dump);
	}
	spec_destroy(spec);
	buf_fini(&errors);
}

TEST(yaml_says_the_same)
{
	struct spec *spec = NULL;
	struct buf errors = {0};
	const char *text =
		"id: users\nroute:\n  method: GET\n  path: /u/*\n  legacy_url: http://127.0.0.1:9001\n"
		"  arbiter: {step: 0.5}\nservice:\n  source: {files: {server.py: x}}\n  port: 9102\n"
		"policy:\n  min_samples: 7\n";
	CHECK_MSG(spec_parse("s.yaml", slice_str(text), NULL, &spec, &errors) == 0, "%s", buf_cstr(&errors));
	CHECK_INT(spec ? spec->route->arbiter.min_samples : 0, 7);
	CHECK_INT(spec ? spec->route->arbiter.step_bp : 0, 5000);
	spec_destroy(spec);
	buf_fini(&errors);
}

TEST(errors_have_their_place)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"{}", "s.json:1:1: error: \"service\" must be an object"},
		{"{\n \"id\": \"u\", " ROUTE
		 ",\n \"service\": {\"source\": {\"files\": {\"../x\": \"\"}}, \"port\": 1}}",
		 "s.json:3:35: error: service.source.files: the path \"../x\" leads outside"},
		{"{\"id\": \"u\",\n" ROUTE ",\n" SERVICE ",\n\"polcy\": {}}",
		 "s.json:4:1: error: unknown key \"polcy\"; did you mean \"policy\"?"},
		{"{\"id\": \"u\",\n" ROUTE ",\n" SERVICE ",\n\"policy\": {\"stp\": 1}}",
		 "s.json:4:12: error: unknown key \"stp\" in route.arbiter; did you mean \"step\"?"},
		{"{\"id\": \"a/b\", " ROUTE ", " SERVICE "}",
		 "s.json:1:8: error: id \"a/b\" must be 1 to 64 of letters"},
		{"{\"id\": \"u\", " ROUTE ", " SERVICE ", \"deploy\": {\"directory\": \"rel\"}}",
		 "must be an absolute path"},
		{"{\"id\": \"u\", " ROUTE ", " SERVICE ", \"deploy\": {\"directory\": \"/a/../b\"}}",
		 "(\"..\")"},
		{"{\"id\": \"u\", \"route\": {\"path\": \"/u\", \"method\": \"GET\"}, " SERVICE "}",
		 "route: \"legacy_url\" is missing"},
		{"{\"id\": \"u\", \"route\": 7, " SERVICE "}", "route is a number, must be an object"},
		{"{\"id\": \"u\", " ROUTE ", " SERVICE ", \"policy\": 7}",
		 "policy is a number, must be an object"},
		{"{\"id\": \"u\", " ROUTE ", " SERVICE ", \"verify\": {}}", "verify must be a list"},
		{"{\"id\": \"u\", " ROUTE ", " SERVICE
		 ", \"verify\": [{\"request\": {\"path\": \"/\", \"headers\": {\"a b\": \"c\"}}}]}",
		 "\"a b\" is no header field"},
		{"{\"id\": \"u\", " ROUTE
		 ", \"service\": {\"source\": {\"files\": {\"a\": \"\"}}, \"port\": 9001}}",
		 "legacy service's own port"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct spec *spec = NULL;
		struct buf errors = {0};
		int err = spec_parse("s.json", slice_str(rows[i].text), NULL, &spec, &errors);
		CHECK_MSG(err == -EINVAL && !spec && strstr(buf_cstr(&errors), rows[i].want),
			  "row %zu: %d %s", i, err, buf_cstr(&errors));
		buf_fini(&errors);
	}
}

TEST(paths_within_a_source)
{
	static const struct {
		const char *path;
		bool fine;
	} rows[] = {
		{"a", true},	 {"a/b.c", true},     {".env", true},
		{"a..b", true},	 {"..a", true},	      {"", false},
		{"/a", false},	 {"..", false},	      {"../a", false},
		{"a/..", false}, {"a/../b", false},   {"./a", false},
		{"a//b", false}, {"a/", false},	      {"a\\b", false},
		{"a\nb", false}, {".phoenix", false}, {"a/.phoenix.x", false},
		{"a/.", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf why = {0};
		CHECK_MSG(source_path_check(slice_str(rows[i].path), &why) == rows[i].fine, "\"%s\": %s",
			  rows[i].path, buf_cstr(&why));
		CHECK(rows[i].fine == (why.len == 0));
		buf_fini(&why);
	}
	char longest[SPEC_PATH_BYTES_MAX + 2];
	memset(longest, 'a', sizeof(longest));
	struct buf why = {0};
	CHECK(!source_path_check(slice_of(longest, sizeof(longest)), &why));
	CHECK(!source_path_check(slice_of(longest, 201), &why));
	CHECK(source_path_check(slice_of(longest, 200), &why));
	buf_fini(&why);
}

UNIT_MAIN
