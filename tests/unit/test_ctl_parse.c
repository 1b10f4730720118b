/* SPDX-License-Identifier: Apache-2.0 */
/* Values on the command line of phoenixctl: what is taken, to the basis point, and what is refused how. */
#include "ctl/parse.h"
#include "unit.h"

#include <errno.h>

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

TEST(weight_is_exact)
{
	static const struct {
		const char *text;
		uint32_t bp;
	} rows[] = {
		{"0", 0},	  {"1", 10000},	   {"0.35", 3500},   {"35%", 3500},    {".5", 5000},
		{"1.0", 10000},	  {"100%", 10000}, {"0%", 0},	     {"0.0001", 1},    {"0.01%", 1},
		{"12.34%", 1234}, {"0.29", 2900},  {"0.57", 5700},   {"0.1234", 1234}, {"0.35000", 3500},
		{"-0", 0},	  {"00.3", 3000},  {"99.99%", 9999},
	};
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf why = {0};
		uint32_t bp = 77777;
		int rc = parse_weight(rows[i].text, &bp, &why);
		CHECK_MSG(rc == 0 && bp == rows[i].bp, "%s: rc %d, %u bp, %s", rows[i].text, rc, bp,
			  buf_cstr(&why));
		buf_fini(&why);
	}
}

/* Each basis point survives the way through text in both notations. */
TEST(weight_round_trip)
{
	for (uint32_t bp = 0; bp <= 10000; bp++) {
		char fraction[16], percentage[16];
		struct buf why = {0};
		uint32_t a = 77777, b = 77777;
		snprintf(fraction, sizeof(fraction), "%u.%04u", bp / 10000, bp % 10000);
		snprintf(percentage, sizeof(percentage), "%u.%02u%%", bp / 100, bp % 100);
		parse_weight(fraction, &a, &why);
		parse_weight(percentage, &b, &why);
		CHECK_MSG(a == bp && b == bp, "%s and %s gave %u and %u", fraction, percentage, a, b);
		buf_fini(&why);
	}
}

TEST(weight_refusals_name_value_and_limit)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"", "is not a number"},
		{"%", "is not a number"},
		{".", "is not a number"},
		{"abc", "\"abc\" is not a number"},
		{"0.3x", "is not a number"},
		{"0,3", "is not a number"},
		{" 0.3", "is not a number"},
		{"1e-1", "is not a number"},
		{"0x1", "is not a number"},
		{"nan", "is not a number"},
		{"--1", "is not a number"},
		{"1.2", "weight 1.2 is over the limit of 1 (100%)"},
		{"35", "did you mean 35%?"},
		{"100", "did you mean 100%?"},
		{"101", "over the limit of 1 (100%)"},
		{"100.01%", "weight 100.01% is over the limit of 100%"},
		{"1.00001", "over the limit of 1"},
		{"99999999999999999999", "over the limit"},
		{"-0.1", "weight -0.1 is below the limit of 0"},
		{"-0.00001", "below the limit of 0"},
		{"0.00005", "finer than the smallest step of 0.0001"},
		{"0.001%", "finer than the smallest step"},
		{"0.30000000000000000000000000000000000000000000000000000000000000000", "is not a number"},
	};
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf why = {0};
		uint32_t bp = 77777;
		int rc = parse_weight(rows[i].text, &bp, &why);
		CHECK_MSG(rc == -EINVAL && bp == 77777, "%s: rc %d, %u bp", rows[i].text, rc, bp);
		CHECK_MSG(strstr(buf_cstr(&why), rows[i].says), "%s: \"%s\" does not say \"%s\"",
			  rows[i].text, buf_cstr(&why), rows[i].says);
		buf_fini(&why);
	}
}

TEST(durations)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t ms;
	} rows[] = {
		{"30m", 0, 1800000},
		{"90s", 0, 90000},
		{"500ms", 0, 500},
		{"1h30m", 0, 5400000},
		{"2d", 0, 172800000},
		{"45", 0, 45000},
		{"1m500ms", 0, 60500},
		{"0s", 0, 0},
		{"366d", 0, PARSE_DURATION_MAX_MS},
		{"", -EINVAL, 0},
		{"m", -EINVAL, 0},
		{"-1s", -EINVAL, 0},
		{"1s1m", -EINVAL, 0},
		{"1m1m", -EINVAL, 0},
		{"1.5h", -EINVAL, 0},
		{"1 m", -EINVAL, 0},
		{"1m30", -EINVAL, 0},
		{"1hm", -EINVAL, 0},
		{"5sm", -EINVAL, 0},
		{"366d1ms", -EINVAL, 0},
		{"99999999999999999999999d", -EINVAL, 0},
		{"1w", -EINVAL, 0},
	};
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf why = {0};
		uint64_t ms = 4711;
		int rc = parse_duration(rows[i].text, &ms, &why);
		CHECK_MSG(rc == rows[i].rc, "%s: rc %d", rows[i].text, rc);
		CHECK_MSG(ms == (rc ? 4711 : rows[i].ms), "%s: %llu ms", rows[i].text,
			  (unsigned long long)ms);
		CHECK_MSG((why.len > 0) == (rc != 0), "%s: says \"%s\"", rows[i].text, buf_cstr(&why));
		buf_fini(&why);
	}
}

TEST(counts)
{
	struct buf why = {0};
	uint64_t n = 4711;
	CHECK_INT(parse_count("--limit", "20", 1, 100, &n, &why), 0);
	CHECK_INT(n, 20);
	CHECK_INT(parse_count("--limit", "101", 1, 100, &n, &why), -EINVAL);
	CHECK_STR(buf_cstr(&why), "--limit \"101\" is not a whole number from 1 to 100");
	CHECK_INT(parse_count("--limit", "0", 1, 100, &n, &why), -EINVAL);
	CHECK_INT(parse_count("--limit", "", 0, 100, &n, &why), -EINVAL);
	CHECK_INT(parse_count("--limit", "1x", 0, 100, &n, &why), -EINVAL);
	CHECK_INT(parse_count("--limit", "18446744073709551617", 0, UINT64_MAX, &n, &why), -EINVAL);
	CHECK_INT(n, 20);
	buf_fini(&why);
}

TEST(admin_addresses)
{
	static const struct {
		const char *text;
		int rc;
		const char *base_url, *socket_path;
	} rows[] = {
		{"unix:/run/phoenix/admin.sock", 0, "http://localhost", "/run/phoenix/admin.sock"},
		{"/run/a", 0, "http://localhost", "/run/a"},
		{"http://127.0.0.1:9900", 0, "http://127.0.0.1:9900", ""},
		{"http://127.0.0.1:9900/", 0, "http://127.0.0.1:9900", ""},
		{"https://gateway:9900", 0, "https://gateway:9900", ""},
		{"http://[::1]:9900", 0, "http://[::1]:9900", ""},
		{"localhost:9900", 0, "http://localhost:9900", ""},
		{"", -EINVAL, NULL, NULL},
		{"unix:", -EINVAL, NULL, NULL},
		{"status", -EINVAL, NULL, NULL},
		{"http://", -EINVAL, NULL, NULL},
		{"ftp://a:1", -EINVAL, NULL, NULL},
		{"http://a:1/admin", -EINVAL, NULL, NULL},
		{"http://user@a:1", -EINVAL, NULL, NULL},
		{"http://a:1\r\nX: y", -EINVAL, NULL, NULL},
		{"unix:/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
		 "567890123456789012345678901234567890",
		 -EINVAL, NULL, NULL},
	};
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct admin_address address = {.base_url = "untouched"};
		struct buf why = {0};
		int rc = parse_admin_address(rows[i].text, &address, &why);
		CHECK_MSG(rc == rows[i].rc, "%s: rc %d, %s", rows[i].text, rc, buf_cstr(&why));
		CHECK_STR(address.base_url, rc ? "untouched" : rows[i].base_url);
		CHECK_STR(address.socket_path, rc ? "" : rows[i].socket_path);
		buf_fini(&why);
	}
}

TEST(tokens)
{
	struct buf token = {0}, why = {0};
	CHECK_INT(parse_token(SLICE(" s3cret\r\n"), &token, &why), 0);
	CHECK_STR(buf_cstr(&token), "s3cret");
	buf_reset(&token);
	CHECK_INT(parse_token(SLICE(" \n"), &token, &why), -EINVAL);
	CHECK_INT(parse_token(SLICE("a\r\nHost: b"), &token, &why), -EINVAL);
	CHECK_INT(parse_token(SLICE("a\0b"), &token, &why), -EINVAL);
	CHECK_INT(token.len, 0);
	CHECK(!strstr(buf_cstr(&why), "Host")); /* a bad secret is not printed */
	buf_fini(&token);
	buf_fini(&why);
}

TEST(pointers)
{
	static const struct {
		const char *text;
		int rc;
	} rows[] = {{"", 0},	    {"/", 0},	      {"/a/b", 0},	{"/data/*/fee", 0}, {"/a~1b~0c", 0},
		    {"a", -EINVAL}, {"a/b", -EINVAL}, {"/a~", -EINVAL}, {"/a~2", -EINVAL},  {"$.a", -EINVAL}};
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf why = {0};
		CHECK_MSG(parse_pointer(rows[i].text, &why) == rows[i].rc, "%s", rows[i].text);
		buf_fini(&why);
	}
}

UNIT_MAIN
