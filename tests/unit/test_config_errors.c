/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config, the bad ones: every line of every complaint, letter by letter, with its line and column.
 *
 * Most cases are data: tests/config/errors.txt holds small texts, tests/config/bad/ whole files with a
 * FILE.expected beside each. Here are those that an editor would spoil, and the limits.
 */
#include "unit.h"

#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static char *read_file(const char *path, size_t *len)
{
	FILE *file = fopen(path, "r");
	char *text = NULL;
	if (!file) {
		fprintf(stderr, "%s: %s (tests run in the project's directory)\n", path, strerror(errno));
		exit(2);
	}
	fseek(file, 0, SEEK_END);
	*len = (size_t)ftell(file);
	rewind(file);
	text = malloc(*len + 1);
	if (!text || fread(text, 1, *len, file) != *len)
		exit(2);
	text[*len] = 0;
	fclose(file);
	return text;
}

/* Parses from a block of exactly the text's size, so that a read past its end is seen by the sanitizer. */
static int parse(const char *name, const char *text, size_t len, struct buf *errors)
{
	struct config *config = NULL;
	char *exact = malloc(len ? len : 1);
	memcpy(exact, text, len);
	int err = config_parse(name, slice_of(exact, len), &config, errors);
	free(exact);
	CHECK((err == 0) == (config != NULL));
	config_destroy(config);
	return err;
}

static void check_bad(const char *name, const char *text, size_t len, struct slice expected)
{
	struct buf errors = {0};
	CHECK_INT(parse(name, text, len, &errors), -EINVAL);
	CHECK_MSG(slice_equal(buf_slice(&errors), expected),
		  "\n--- text\n%.*s\n--- got\n%s--- expected\n%.*s", (int)len, text, buf_cstr(&errors),
		  SLICE_ARG(expected));
	buf_fini(&errors);
}

/* The next line with its newline; empty at the end. */
static struct slice next_line(struct slice *rest)
{
	const char *newline = rest->len ? memchr(rest->ptr, '\n', rest->len) : NULL;
	struct slice line = slice_of(rest->ptr, newline ? (size_t)(newline - rest->ptr) + 1 : rest->len);
	rest->ptr += line.len;
	rest->len -= line.len;
	return line;
}

static bool is_comment(struct slice line)
{
	return line.len == 1 || (line.len && line.ptr[0] == '#');
}

TEST(table_of_bad_texts)
{
	size_t len, cases = 0;
	char *text = read_file("tests/config/errors.txt", &len);
	struct slice rest = slice_of(text, len), line = next_line(&rest);
	while (line.len) {
		if (is_comment(line)) {
			line = next_line(&rest);
			continue;
		}
		bool yaml = slice_equal(line, SLICE("=== yaml\n"));
		CHECK_MSG(yaml || slice_equal(line, SLICE("=== json\n")), "%.*s", SLICE_ARG(line));
		struct slice input = slice_of(rest.ptr, 0), expected;
		for (line = next_line(&rest); line.len && !slice_equal(line, SLICE(">>>\n"));
		     line = next_line(&rest))
			input.len += line.len;
		expected = slice_of(rest.ptr, 0);
		for (line = next_line(&rest); slice_starts(line, SLICE("c.")); line = next_line(&rest))
			expected.len += line.len;
		CHECK(expected.len > 0);
		check_bad(yaml ? "c.yaml" : "c.json", input.ptr, input.len, expected);
		cases++;
	}
	CHECK_MSG(cases >= 300, "only %zu cases", cases);
	free(text);
}

TEST(bytes_that_are_no_text)
{
#define BAD(name, text, expected) check_bad(name, text, sizeof(text) - 1, SLICE(expected))
	BAD("c.json",
	    "{\n  \"listen\": [\"a\x01"
	    "b\"]\n}",
	    "c.json:2:16: error: not JSON: control character in a string; write it as an escape\n");
	BAD("c.json", "\xef\xbb\xbf{\"workers\":}", "c.json:1:12: error: not JSON: expected a value\n");
	BAD("c.json", "{\"listen\":[\"\xff\"]}", "c.json:1:13: error: not JSON: not well-formed UTF-8\n");
	BAD("c.json", "{\"workers\":1}\0", "c.json:1:14: error: not JSON: more text after the value\n");
	/* Columns count characters, not bytes. */
	BAD("c.json", "{\"\xe2\x82\xac\xc3\xa9\": 1, \"b\": 2}",
	    "c.json:1:2: error: unknown key \"\xe2\x82\xac\xc3\xa9\"\nc.json:1:11: error: unknown key "
	    "\"b\"\n");
	BAD("c.yaml", "{\"\xe2\x82\xac\xc3\xa9\": 1, \"b\": 2}",
	    "c.yaml:1:2: error: unknown key \"\xe2\x82\xac\xc3\xa9\"\nc.yaml:1:11: error: unknown key "
	    "\"b\"\n");
	BAD("c.yaml", "a: \x01\n", "c.yaml:1:4: error: not YAML: control characters are not allowed\n");
	BAD("c.yaml", "workers: \xff\n", "c.yaml:1:10: error: not YAML: invalid leading UTF-8 octet\n");
	BAD("c.yaml", "\xef\xbb\xbfworkers: x\n",
	    "c.yaml:1:10: error: workers is a string, must be a whole number from 0 to 256\n");
	BAD("c.yaml", "workers: 1\r\nlisten: x\r\n",
	    "c.yaml:2:9: error: listen is a string, must be a list of addresses such as "
	    "\"127.0.0.1:8080\"\n");
#undef BAD
}

static bool has_end(const char *name, const char *end)
{
	size_t name_len = strlen(name), end_len = strlen(end);
	return name_len > end_len && strcmp(name + name_len - end_len, end) == 0;
}

/* Loads each file of a directory and compares with FILE.expected, which is empty when it is not there. */
static unsigned check_directory(const char *directory, int wanted)
{
	unsigned files = 0;
	DIR *entries = opendir(directory);
	CHECK(entries != NULL);
	for (struct dirent *entry; entries && (entry = readdir(entries));) {
		char path[600];
		size_t len = 0;
		if (entry->d_name[0] == '.' || has_end(entry->d_name, ".expected") ||
		    has_end(entry->d_name, ".md"))
			continue;
		snprintf(path, sizeof(path), "%s/%s.expected", directory, entry->d_name);
		char *expected = access(path, F_OK) == 0 ? read_file(path, &len) : strdup("");
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		struct config *config = NULL;
		struct buf errors = {0};
		CHECK_INT(config_load(path, &config, &errors), wanted);
		CHECK_STR(buf_cstr(&errors), expected);
		config_destroy(config);
		buf_fini(&errors);
		free(expected);
		files++;
	}
	if (entries)
		closedir(entries);
	return files;
}

TEST(sample_files)
{
	CHECK(check_directory("tests/config/bad", -EINVAL) >= 4);
	CHECK(check_directory("tests/config/good", 0) >= 4);
}

TEST(files_that_cannot_be_read)
{
	struct config *config = NULL;
	struct buf errors = {0};
	CHECK_INT(config_load("tests/config/missing.json", &config, &errors), -ENOENT);
	CHECK_STR(buf_cstr(&errors),
		  "tests/config/missing.json: error: cannot be read: No such file or directory\n");
	buf_reset(&errors);
	CHECK_INT(config_load("tests/config", &config, &errors), -EISDIR);
	CHECK_STR(buf_cstr(&errors), "tests/config: error: cannot be read: Is a directory\n");
	CHECK(config == NULL);
	buf_fini(&errors);
}

TEST(what_is_too_large)
{
	size_t len = (32u << 20) + 1;
	struct buf errors = {0};
	char *text = malloc(len);
	memset(text, ' ', len);
	CHECK_INT(parse("c.json", text, len, &errors), -EINVAL);
	CHECK_STR(buf_cstr(&errors),
		  "c.json:1:1: error: the text is 33554433 bytes long, at most 33554432 are possible\n");
	/* More values than the tree takes: [0,0,0,… */
	buf_reset(&errors);
	for (size_t i = 0; i < len; i++)
		text[i] = i % 2 ? '0' : ',';
	text[0] = '[';
	text[5000001] = ']';
	memset(text + 5000002, ' ', len - 5000002);
	text[5000000] = '0';
	text[4999999] = ' ';
	CHECK_INT(parse("c.json", text, len - 1, &errors), -EINVAL);
	CHECK_STR(buf_cstr(&errors),
		  "c.json:1:4000000: error: the file holds more than 2000000 values; split "
		  "the work over several gateways\n");
	buf_reset(&errors);
	CHECK_INT(parse("c.yaml", text, 5000002, &errors), -EINVAL);
	CHECK(strstr(buf_cstr(&errors), "error: the file holds more than 2000000 values") != NULL);
	/* Deep, in both notations; the parsers must not follow. */
	memset(text, '[', len - 1);
	buf_reset(&errors);
	CHECK_INT(parse("c.json", text, len - 1, &errors), -EINVAL);
	CHECK_STR(buf_cstr(&errors),
		  "c.json:1:33: error: nested too deeply (at most 32 levels and 2000000 values "
		  "are possible)\n");
	buf_reset(&errors);
	CHECK_INT(parse("c.yaml", text, len - 1, &errors), -EINVAL);
	CHECK_STR(buf_cstr(&errors), "c.yaml:1:33: error: nested deeper than 32 levels\n");
	free(text);
	buf_fini(&errors);
}

TEST(too_many_routes)
{
	struct buf text = {0}, errors = {0};
	buf_append_str(&text, "{\"routes\": [");
	for (int i = 0; i <= CONFIG_ROUTES_MAX; i++)
		buf_printf(&text, "%s{}", i ? "," : "");
	buf_append_str(&text, "]}");
	CHECK_INT(parse("c.json", text.data, text.len, &errors), -EINVAL);
	CHECK_STR(buf_cstr(&errors),
		  "c.json:1:12: error: routes has 16385 items, at most 16384 are possible\n");
	buf_fini(&text);
	buf_fini(&errors);
}

/* A hundred lines, then the number of the rest; also when there are more than are kept. */
TEST(very_many_errors)
{
	struct buf text = {0}, errors = {0};
	buf_append_str(&text, "{");
	for (int i = 0; i < 12345; i++)
		buf_printf(&text, "%s\n\"bad%d\": 1", i ? "," : "", i);
	buf_append_str(&text, "}");
	CHECK_INT(parse("c.json", text.data, text.len, &errors), -EINVAL);
	const char *said = buf_cstr(&errors),
		   *last = strstr(said, "c.json:101:1: error: unknown key \"bad99\"\n");
	CHECK(strncmp(said, "c.json:2:1: error: unknown key \"bad0\"\n", 38) == 0);
	CHECK(last != NULL);
	CHECK_STR(last ? strchr(last, '\n') + 1 : "", "c.json: error: and 12245 more errors\n");
	buf_fini(&text);
	buf_fini(&errors);
}

/* The best that a file can do with equal routes: still quick, and one line each. */
TEST(thousands_of_equal_routes)
{
	struct buf text = {0}, errors = {0};
	buf_append_str(&text, "{\"routes\": [");
	for (int i = 0; i < 10000; i++)
		buf_printf(&text,
			   "%s\n{\"id\":\"a\",\"path\":\"/{x%d}\",\"legacy_url\":\"http://l\",\"modern_url\":"
			   "\"http://m\"}",
			   i ? "," : "", i);
	buf_append_str(&text, "]}");
	CHECK_INT(parse("c.json", text.data, text.len, &errors), -EINVAL);
	CHECK(strncmp(buf_cstr(&errors),
		      "c.json:3:7: error: routes[1].id \"a\" is already the id of routes[0] "
		      "(line 2)\n",
		      70) == 0);
	CHECK(strstr(buf_cstr(&errors), "c.json: error: and 19898 more errors\n") != NULL);
	buf_fini(&text);
	buf_fini(&errors);
}

static void check_bad_route(const char *text, const char *expected)
{
	struct route_config *route = NULL;
	struct buf errors = {0};
	CHECK_INT(route_config_parse("request.yaml", slice_str(text), &route, &errors), -EINVAL);
	CHECK_STR(buf_cstr(&errors), expected);
	CHECK(route == NULL);
	buf_fini(&errors);
}

TEST(bad_routes_by_themselves)
{
	check_bad_route("{\n\"wieght\": 1}", "request.yaml:1:1: error: \"id\" is missing\n"
					     "request.yaml:1:1: error: \"path\" is missing\n"
					     "request.yaml:1:1: error: \"legacy_url\" is missing\n"
					     "request.yaml:1:1: error: \"modern_url\" is missing\n"
					     "request.yaml:2:1: error: unknown key \"wieght\"; did you mean "
					     "\"weight\"?\n");
	check_bad_route("id: x\n", "request.yaml:1:1: error: not JSON: expected a value\n");
	check_bad_route("", "request.yaml:1:1: error: the file is empty; for all defaults write {}\n");
	check_bad_route(
		"{\"id\":\"a\",\"path\":\"/\",\"legacy_url\":\"http://l\",\"modern_url\":\"http://m\","
		"\"mirror\":{\"smaple\":1},\"split\":{\"by\":\"x\"}}",
		"request.yaml:1:80: error: unknown key \"smaple\" in mirror; did you mean \"sample\"?\n"
		"request.yaml:1:106: error: split.by \"x\" must be \"request\", \"client_ip\", "
		"\"header:NAME\" or \"cookie:NAME\"\n");
}

UNIT_MAIN
