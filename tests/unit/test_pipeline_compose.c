/* SPDX-License-Identifier: Apache-2.0 */
/* One service of a docker-compose.yml is exchanged; everything else stays byte for byte. */
#include "unit.h"

#include "pipeline/deploy.h"

static const char block[] = "  users:\n    image: \"phoenix-users:2\"\n    labels:\n      a: b\n";

/* Splices and compares; `former` NULL: there was none. */
static void check_splice(const char *what, const char *text, const char *put, const char *want,
			 const char *former)
{
	struct buf out = {0}, why = {0};
	char *lines = NULL;
	int err = compose_splice(slice_str(text), "users", put, &out, &lines, &why);
	CHECK_MSG(err == 0, "%s: %s", what, buf_cstr(&why));
	CHECK_MSG(strcmp(buf_cstr(&out), want) == 0, "%s: got\n%s", what, buf_cstr(&out));
	CHECK_MSG((lines == NULL) == (former == NULL) && (!former || strcmp(lines, former) == 0),
		  "%s: former\n%s", what, lines ? lines : "(none)");
	/* Taking it back gives the text that was there (with a last line end, where that was missing). */
	if (put && *text && text[strlen(text) - 1] == '\n' && strstr(text, "services:\n")) {
		struct buf again = {0};
		char *mine = NULL;
		CHECK(compose_splice(buf_slice(&out), "users", lines, &again, &mine, &why) == 0);
		CHECK_MSG(strcmp(buf_cstr(&again), text) == 0, "%s: taken back\n%s", what, buf_cstr(&again));
		free(mine);
		buf_fini(&again);
	}
	free(lines);
	buf_fini(&out);
	buf_fini(&why);
}

TEST(a_service_is_added)
{
	check_splice("empty", "", block,
		     "services:\n  users:\n    image: \"phoenix-users:2\"\n    labels:\n      a: b\n", NULL);
	check_splice("other sections", "version: \"3\"\nnetworks:\n  n: {}", block,
		     "version: \"3\"\nnetworks:\n  n: {}\nservices:\n  users:\n    image: "
		     "\"phoenix-users:2\"\n    labels:\n      a: b\n",
		     NULL);
	check_splice(
		"services without one", "services:\nvolumes: {}\n", block,
		"services:\n  users:\n    image: \"phoenix-users:2\"\n    labels:\n      a: b\nvolumes: {}\n",
		NULL);
	check_splice("after the others, before what follows",
		     "# mine\nservices:\n  legacy:   # old\n    image: old\n    command: [\"a\", \"b\"]\n\n# "
		     "volumes follow\nvolumes:\n  v:\n",
		     block,
		     "# mine\nservices:\n  legacy:   # old\n    image: old\n    command: [\"a\", \"b\"]\n"
		     "  users:\n    image: \"phoenix-users:2\"\n    labels:\n      a: b\n\n# volumes "
		     "follow\nvolumes:\n  v:\n",
		     NULL);
	check_splice("with the file's own indentation", "services:\n    legacy:\n        image: old\n", block,
		     "services:\n    legacy:\n        image: old\n    users:\n      image: "
		     "\"phoenix-users:2\"\n      labels:\n        a: b\n",
		     NULL);
}

TEST(a_service_is_changed)
{
	check_splice("the first of two",
		     "services:\n  users:\n    image: old\n    ports: [\"1:1\"]\n  legacy:\n    image: l\n",
		     block,
		     "services:\n  users:\n    image: \"phoenix-users:2\"\n    labels:\n      a: b\n  "
		     "legacy:\n    image: l\n",
		     "  users:\n    image: old\n    ports: [\"1:1\"]\n");
	check_splice(
		"the last, comments of the next section stay",
		"services:\n  legacy:\n    image: l\n  users:\n    image: old\n\n  # end\nnetworks: {}\n",
		block,
		"services:\n  legacy:\n    image: l\n  users:\n    image: \"phoenix-users:2\"\n    labels:\n "
		"     a: b\n\n  # end\nnetworks: {}\n",
		"  users:\n    image: old\n");
	check_splice("a name that only begins so", "services:\n  users2:\n    image: x\n", block,
		     "services:\n  users2:\n    image: x\n  users:\n    image: \"phoenix-users:2\"\n    "
		     "labels:\n      a: b\n",
		     NULL);
	check_splice("a section of that name is not a service",
		     "users:\n  a: b\nservices:\n  legacy:\n    image: l\n", block,
		     "users:\n  a: b\nservices:\n  legacy:\n    image: l\n  users:\n    image: "
		     "\"phoenix-users:2\"\n    labels:\n      a: b\n",
		     NULL);
	check_splice("after a key that is a mapping itself", "? v:\nservices:\n  legacy:\n    image: l\n",
		     block,
		     "? v:\nservices:\n  legacy:\n    image: l\n  users:\n    image: "
		     "\"phoenix-users:2\"\n    labels:\n      a: b\n",
		     NULL);
	check_splice("with CR LF", "services:\r\n  users:\r\n    image: x\r\nvolumes: {}\r\n", block,
		     "services:\r\n  users:\n    image: \"phoenix-users:2\"\n    labels:\n      a: "
		     "b\nvolumes: {}\r\n",
		     "  users:\r\n    image: x\r\n");
	check_splice("an inner key of that name",
		     "services:\n  legacy:\n    labels:\n      users: x\n    image: l\n", block,
		     "services:\n  legacy:\n    labels:\n      users: x\n    image: l\n  users:\n    image: "
		     "\"phoenix-users:2\"\n    labels:\n      a: b\n",
		     NULL);
}

TEST(a_service_is_removed)
{
	check_splice("of two", "services:\n  legacy:\n    image: l\n  users:\n    image: old\n", NULL,
		     "services:\n  legacy:\n    image: l\n", "  users:\n    image: old\n");
	check_splice("not there, no last line end", "services:\n  legacy:\n    image: l", NULL,
		     "services:\n  legacy:\n    image: l", NULL);
	check_splice("not there", "services:\n  legacy:\n    image: l\n", NULL,
		     "services:\n  legacy:\n    image: l\n", NULL);
	check_splice("the only one", "services:\n  users:\n    image: old\n", NULL, "services:\n",
		     "  users:\n    image: old\n");
}

TEST(what_is_not_understood_is_refused)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{"services: {legacy: {image: l}}\n", "written in braces"},
		{"services:\n  - legacy\n", "no mapping"},
		{"services: many\n", "no mapping"},
		{"services:\n  a: [\n", "no YAML: line"},
		{"\tservices:\n", "no YAML: line"},
		{"services:\n  a: {}\r  b: {}\n", "neither LF nor CR LF"},
		{"services:\n  users: &u\n    image: x\n  b:\n    <<: *u\n",
		 "without anchors that others use"},
		{"services:\n  users: {}\n  users: {}\n", "cannot be changed without touching others"},
		{"a: b\n---\nservices:\n  users: {}\n", "cannot be changed without touching others"},
		{"services:\n  a: {}\nservices:\n  users: {}\n", "cannot be changed without touching others"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = {0}, why = {0};
		char *former = NULL;
		int err = compose_splice(slice_str(rows[i].text), "users", block, &out, &former, &why);
		CHECK_MSG(err < 0 && strstr(buf_cstr(&why), rows[i].words), "%s: %d %s", rows[i].text, err,
			  buf_cstr(&why));
		CHECK(former == NULL);
		buf_fini(&out);
		buf_fini(&why);
	}
}

UNIT_MAIN
