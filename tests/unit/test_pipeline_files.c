/* SPDX-License-Identifier: Apache-2.0 */
/* Folders of code that nobody vouches for, and releases that change places. */
#include "unit.h"

#include "pipeline/deploy.h"
#include "pipeline/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char *scratch(void)
{
	static char path[64];
	snprintf(path, sizeof(path), "/tmp/phx-unit-XXXXXX");
	CHECK(mkdtemp(path) != NULL);
	return path;
}

static void remove_scratch(const char *path)
{
	int parent = open("/tmp", O_RDONLY | O_DIRECTORY);
	CHECK_INT(files_remove(parent, path + 5), 0);
	close(parent);
	CHECK(access(path, F_OK) != 0);
}

static int open_in(const char *base, const char *name)
{
	char path[200];
	struct buf why = {0};
	snprintf(path, sizeof(path), "%s/%s", base, name);
	int fd = files_open_folder(path, true, &why);
	CHECK_MSG(fd >= 0, "%s", buf_cstr(&why));
	buf_fini(&why);
	return fd;
}

static const struct files_limits wide = {.bytes_max = 1 << 20, .file_bytes_max = 1 << 19, .entries_max = 100};

/* Copies base/from to base/to; the result, with the reason's words checked. */
static int copy(const char *base, struct files_limits limits, const char *words)
{
	struct buf why = {0};
	int from = open_in(base, "from"), parent = open_in(base, "."), to;
	files_remove(parent, "to");
	to = open_in(base, "to");
	int err = files_copy(NULL, from, to, &limits, &why);
	CHECK_MSG(words ? strstr(buf_cstr(&why), words) != NULL : why.len == 0, "%s", buf_cstr(&why));
	buf_fini(&why);
	close(from);
	close(to);
	close(parent);
	return err;
}

TEST(copy_takes_files_folders_and_inner_links)
{
	char *base = scratch(), text[64] = "", target[64];
	struct buf why = {0}, read = {0};
	int from = open_in(base, "from");
	CHECK_INT(files_write(from, "a/b/c.txt", SLICE("hello"), 0644, &why), 0);
	CHECK_INT(files_write(from, "run.sh", SLICE("#!/bin/sh\n"), 0755, &why), 0);
	CHECK_INT(files_write(from, ".git/config", SLICE("secret"), 0644, &why), 0);
	CHECK_INT(symlinkat("b/c.txt", from, "a/link"), 0);
	CHECK_INT(symlinkat("../run.sh", from, "a/up"), 0);
	CHECK_INT(copy(base, wide, NULL), 0);
	int to = open_in(base, "to");
	CHECK_INT(files_read(to, "a/up", 100, &read, &why), 0);
	snprintf(text, sizeof(text), "%.*s", (int)read.len, read.data);
	CHECK_STR(text, "#!/bin/sh\n");
	ssize_t n = readlinkat(to, "a/link", target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	CHECK_STR(target, "b/c.txt");
	struct stat info;
	CHECK(fstatat(to, "run.sh", &info, 0) == 0 && (info.st_mode & 0111));
	CHECK(faccessat(to, ".git", F_OK, 0) != 0);
	buf_fini(&read);
	buf_fini(&why);
	close(from);
	close(to);
	remove_scratch(base);
}

TEST(copy_refuses_what_leads_out_or_is_too_much)
{
	char *base = scratch(), path[200];
	struct buf why = {0};
	static const char *const targets[] = {"/etc/passwd", "../outside", "nowhere", "a/../../outside",
					      "/proc/self/root"};
	int from = open_in(base, "from"), parent = open_in(base, ".");
	CHECK_INT(files_write(parent, "outside", SLICE("x"), 0644, &why), 0);
	CHECK_INT(files_write(from, "a/file", SLICE("0123456789"), 0644, &why), 0);
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		CHECK_INT(symlinkat(targets[i], from, "link"), 0);
		CHECK_INT(copy(base, wide, "link is a link that leads outside"), -EXDEV);
		unlinkat(from, "link", 0);
	}
	/* A loop leads nowhere. */
	CHECK_INT(symlinkat("loop", from, "loop"), 0);
	CHECK(copy(base, wide, "loop is a link") < 0);
	unlinkat(from, "loop", 0);
	CHECK_INT(mkfifoat(from, "pipe", 0600), 0);
	CHECK_INT(copy(base, wide, "neither a file nor a folder"), -EINVAL);
	unlinkat(from, "pipe", 0);
	CHECK_INT(files_write(from, "a/.phoenix.json", SLICE("{}"), 0644, &why), 0);
	CHECK_INT(copy(base, wide, "Phoenix's own"), -EINVAL);
	unlinkat(from, "a/.phoenix.json", 0);
	CHECK_INT(copy(base, wide, NULL), 0);
	CHECK_INT(copy(base, (struct files_limits){.bytes_max = 100, .file_bytes_max = 9, .entries_max = 9},
		       "too large"),
		  -EFBIG);
	CHECK_INT(copy(base, (struct files_limits){.bytes_max = 9, .file_bytes_max = 100, .entries_max = 9},
		       "too large"),
		  -EFBIG);
	CHECK_INT(copy(base, (struct files_limits){.bytes_max = 99, .file_bytes_max = 99, .entries_max = 1},
		       "more than 1 files"),
		  -E2BIG);
	CHECK_INT(copy(base, (struct files_limits){.bytes_max = 10, .file_bytes_max = 10, .entries_max = 2},
		       NULL),
		  0);
	int at = dup(from);
	for (unsigned i = 0; i <= FILES_DEPTH_MAX; i++) {
		CHECK_INT(mkdirat(at, "d", 0755), 0);
		int inner = openat(at, "d", O_RDONLY | O_DIRECTORY);
		close(at);
		at = inner;
	}
	close(at);
	CHECK_INT(copy(base, wide, "nested deeper"), -ELOOP);
	snprintf(path, sizeof(path), "%s/outside", base);
	CHECK(access(path, F_OK) == 0);
	close(from);
	close(parent);
	buf_fini(&why);
	remove_scratch(base);
}

TEST(read_and_write_stay_below)
{
	char *base = scratch();
	struct buf why = {0}, out = {0};
	int root = open_in(base, "root"), parent = open_in(base, ".");
	CHECK_INT(files_write(parent, "secret", SLICE("s"), 0600, &why), 0);
	CHECK_INT(symlinkat("..", root, "up"), 0);
	CHECK(files_read(root, "up/secret", 10, &out, &why) < 0 && strstr(buf_cstr(&why), "leads outside"));
	CHECK(files_read(root, "../secret", 10, &out, &why) < 0);
	CHECK(files_read(root, "/etc/passwd", 10, &out, &why) < 0);
	CHECK(files_write(root, "up/new", SLICE("x"), 0644, &why) < 0);
	CHECK(faccessat(parent, "new", F_OK, 0) != 0);
	CHECK_INT(files_write(root, "big", SLICE("0123456789"), 0644, &why), 0);
	buf_reset(&why);
	CHECK(files_read(root, "big", 9, &out, &why) == -EFBIG && strstr(buf_cstr(&why), "limit of 9 bytes"));
	buf_reset(&out);
	CHECK_INT(files_replace(root, "big", SLICE("new"), &why), 0);
	CHECK_INT(files_read(root, "big", 9, &out, &why), 0);
	CHECK(slice_equal(buf_slice(&out), SLICE("new")));
	close(root);
	close(parent);
	buf_fini(&why);
	buf_fini(&out);
	remove_scratch(base);
}

/* --- releases --- */

static struct spec *spec_for(const char *base, const char *text)
{
	char *json = NULL;
	struct spec *spec = NULL;
	struct buf errors = {0};
	CHECK(asprintf(&json,
		       "{\"id\": \"users\", \"route\": {\"method\": \"GET\", \"path\": \"/u\", "
		       "\"legacy_url\": \"http://127.0.0.1:1\"},"
		       "\"service\": {\"source\": {\"files\": {\"server.py\": \"%s\"}}, \"port\": 9102},"
		       "\"deploy\": {\"kind\": \"process\", \"directory\": \"%s/d\"}}",
		       text, base) > 0);
	CHECK_MSG(spec_parse("s.json", slice_str(json), NULL, &spec, &errors) == 0, "%s", buf_cstr(&errors));
	buf_fini(&errors);
	free(json);
	return spec;
}

static void check_content(struct deployment *d, bool next, const char *want)
{
	struct buf text = {0}, why = {0};
	int err = release_read_file(d, next, "server.py", 1000, &text, &why);
	if (want)
		CHECK_MSG(err == 0 && slice_equal(buf_slice(&text), slice_str(want)), "%s: %.*s", want,
			  (int)text.len, text.data);
	else
		CHECK(err < 0);
	buf_fini(&text);
	buf_fini(&why);
}

static void init(struct deployment *d, const struct spec *spec, const char *base, unsigned number)
{
	CHECK_INT(deployment_init(d, spec, spec->deploy.directory, base, number), 0);
	d->deployer = &process_deployer;
}

TEST(releases_change_places_and_back)
{
	char *base = scratch();
	struct buf why = {0};
	struct spec *first = spec_for(base, "one"), *second = spec_for(base, "two");
	struct deployment a, b;
	init(&a, first, base, 1);
	init(&b, second, base, 2);
	CHECK_INT(release_prepare(&a, NULL, &why), 0);
	CHECK_INT(a.former, 0);
	check_content(&a, false, NULL);
	check_content(&a, true, "one");
	CHECK_INT(release_place(&a, &why), 0);
	CHECK_INT(release_place(&a, &why), 0); /* again is no error, and changes nothing */
	check_content(&a, false, "one");
	check_content(&a, true, NULL);

	CHECK_INT(release_prepare(&b, NULL, &why), 0);
	CHECK_INT(b.former, 1);
	CHECK_INT(release_place(&b, &why), 0);
	CHECK_INT(release_place(&b, &why), 0);
	check_content(&b, false, "two");
	check_content(&b, true, "one");
	release_discard(&b); /* it is in place: what lies beside is the former one, and stays */
	check_content(&b, true, "one");
	CHECK_INT(release_displace(&b, &why), 0);
	CHECK_INT(release_displace(&b, &why), 0);
	check_content(&b, false, "one");
	check_content(&b, true, "two");
	release_discard(&b);
	check_content(&b, true, NULL);

	CHECK_INT(release_displace(&a, &why), 0); /* the first of all: nothing is in place then */
	check_content(&a, false, NULL);
	release_discard(&a);
	check_content(&a, true, NULL);
	CHECK_MSG(why.len == 0, "%s", buf_cstr(&why));
	deployment_fini(&a);
	deployment_fini(&b);
	spec_destroy(first);
	spec_destroy(second);
	buf_fini(&why);
	remove_scratch(base);
}

TEST(what_is_not_ours_is_left_alone)
{
	char *base = scratch();
	struct buf why = {0};
	struct spec *spec = spec_for(base, "one");
	struct deployment d;
	init(&d, spec, base, 1);
	int folder = open_in(base, "d/users");
	CHECK_INT(files_write(folder, "precious", SLICE("x"), 0644, &why), 0);
	CHECK_INT(release_prepare(&d, NULL, &why), -EEXIST);
	CHECK(strstr(buf_cstr(&why), "was not made by Phoenix") != NULL);
	CHECK(faccessat(folder, "precious", F_OK, 0) == 0);
	close(folder);
	deployment_fini(&d);
	spec_destroy(spec);
	buf_fini(&why);
	remove_scratch(base);
}

/* --- templates --- */

#define HEAD "# Written by Phoenix from its template; a Dockerfile of your own wins.\n"

/* `names`: the files of the source, divided by spaces. */
static void check_dockerfile(const char *language, const char *names, const char *more, const char *want)
{
	char *base = scratch(), *json = NULL;
	struct spec *spec = NULL;
	struct buf errors = {0}, why = {0};
	struct recipe recipe = {0};
	CHECK(asprintf(&json,
		       "{\"id\": \"u\", \"route\": {\"method\": \"GET\", \"path\": \"/u\", \"legacy_url\": "
		       "\"http://127.0.0.1:1\"},"
		       "\"service\": {\"source\": {\"files\": {\"x\": \"\"}}, \"language\": \"%s\", "
		       "\"port\": 9102%s}}",
		       language, more) > 0);
	CHECK_MSG(spec_parse("s.json", slice_str(json), NULL, &spec, &errors) == 0, "%s", buf_cstr(&errors));
	int folder = open_in(base, "code");
	char name[64];
	for (int used; sscanf(names, "%63s%n", name, &used) == 1; names += used)
		CHECK_INT(files_write(folder, name, SLICE("x"), 0644, &why), 0);
	if (spec) {
		int err = recipe_make(spec, folder, true, &recipe, &why);
		CHECK_MSG(err == 0 && strcmp(buf_cstr(&recipe.dockerfile), want) == 0, "%s: %s\n%s", language,
			  buf_cstr(&why), buf_cstr(&recipe.dockerfile));
		CHECK_INT(recipe.from_template, strncmp(want, HEAD, strlen(HEAD)) == 0);
		recipe_fini(&recipe);
	}
	close(folder);
	spec_destroy(spec);
	buf_fini(&errors);
	buf_fini(&why);
	free(json);
	remove_scratch(base);
}

TEST(dockerfiles_of_the_languages)
{
	check_dockerfile("auto", "a.c", "",
			 HEAD "FROM scratch\nCOPY service /service\nEXPOSE 9102\nCMD [\"/service\"]\n");
	check_dockerfile("auto", "server.py", "",
			 HEAD "FROM python:3-slim\nWORKDIR /app\nCOPY . .\nENV PYTHONUNBUFFERED=1\nEXPOSE "
			      "9102\nCMD [\"python3\", "
			      "\"server.py\"]\n");
	check_dockerfile("python", "odd.py", ", \"image\": \"local/py:1\"",
			 HEAD "FROM local/py:1\nWORKDIR /app\nCOPY . .\nENV PYTHONUNBUFFERED=1\nEXPOSE "
			      "9102\nCMD [\"python3\", \"odd.py\"]\n");
	check_dockerfile(
		"auto", "index.js", "",
		HEAD
		"FROM node:lts-slim\nWORKDIR /app\nCOPY . .\nEXPOSE 9102\nCMD [\"node\", \"index.js\"]\n");
	check_dockerfile(
		"auto", "main.go", "",
		HEAD "FROM golang:1 AS build\nWORKDIR /src\nCOPY . .\nENV CGO_ENABLED=0\n"
		     "RUN [\"go\", \"build\", \"-buildvcs=false\", \"-o\", \"/service\", \"./main.go\"]\n"
		     "FROM scratch\nCOPY --from=build /service /service\nEXPOSE 9102\nCMD [\"/service\"]\n");
	/* Without go.mod: the files of the folder itself, and no tests. */
	check_dockerfile(
		"auto", "b.go a.go a_test.go sub/c.go", "",
		HEAD
		"FROM golang:1 AS build\nWORKDIR /src\nCOPY . .\nENV CGO_ENABLED=0\n"
		"RUN [\"go\", \"build\", \"-buildvcs=false\", \"-o\", \"/service\", \"./a.go\", \"./b.go\"]\n"
		"FROM scratch\nCOPY --from=build /service /service\nEXPOSE 9102\nCMD [\"/service\"]\n");
	check_dockerfile(
		"auto", "b.go a.go go.mod", ", \"image\": \"local/go:1\"",
		HEAD "FROM local/go:1 AS build\nWORKDIR /src\nCOPY . .\nENV CGO_ENABLED=0\n"
		     "RUN [\"go\", \"build\", \"-buildvcs=false\", \"-o\", \"/service\", \".\"]\n"
		     "FROM scratch\nCOPY --from=build /service /service\nEXPOSE 9102\nCMD [\"/service\"]\n");
	check_dockerfile("auto", "Main.java", "",
			 HEAD "FROM eclipse-temurin:21\nWORKDIR /app\nCOPY . .\n"
			      "RUN [\"javac\", \"-encoding\", \"UTF-8\", \"./Main.java\"]\nEXPOSE 9102\n"
			      "CMD [\"java\", \"-cp\", \".\", \"Main\"]\n");
	check_dockerfile("auto", "server.py", ", \"command\": [\"python3\", \"-m\", \"a \\\"b\\\"\"]",
			 HEAD "FROM python:3-slim\nWORKDIR /app\nCOPY . .\nENV PYTHONUNBUFFERED=1\nEXPOSE "
			      "9102\nCMD [\"python3\", "
			      "\"-m\", \"a \\\"b\\\"\"]\n");
	check_dockerfile("auto", "Dockerfile", "", ""); /* the source's own wins */
	check_dockerfile("auto", "a.c", ", \"dockerfile\": \"FROM mine\\n\"", "FROM mine\n");
}

UNIT_MAIN
