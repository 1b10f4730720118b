/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunk scanner of the NIC path: by the grammar of RFC 9112 7.1, and against the daemon's decoder, which
 * takes fewer messages (extensions are understood, trailers limited): where both take one, it ends in the
 * same place.
 */
#include "unit.h"

#include "http/body.h"

#include <phoenix/chunk.h>

#include <stdint.h>

/* As bpf/scan.h drives it, over a message cut at `cut`. Returns the state; *used counts its bytes. */
static uint32_t scan(const char *bytes, size_t len, size_t cut, size_t *used)
{
	uint32_t state = PHX_CHUNK_SIZE_FIRST;
	__u64 left = 0;
	size_t at = 0;
	for (size_t end = cut; state < PHX_CHUNK_DONE; end = len) {
		while (at < end && state < PHX_CHUNK_DONE) {
			if (state == PHX_CHUNK_DATA) {
				size_t n = left < end - at ? (size_t)left : end - at;
				at += n;
				left -= n;
				if (!left)
					state = PHX_CHUNK_DATA_CR;
			} else {
				state = phx_chunk_byte(state, &left, (__u8)bytes[at++]);
			}
		}
		if (end == len)
			break;
	}
	*used = at;
	return state;
}

static const struct {
	const char *name, *bytes;
	uint32_t state;
	size_t behind; /* bytes behind the end */
} rows[] = {
	{"empty body", "0\r\n\r\n", PHX_CHUNK_DONE, 0},
	{"one chunk", "5\r\nhello\r\n0\r\n\r\n", PHX_CHUNK_DONE, 0},
	{"two chunks", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", PHX_CHUNK_DONE, 0},
	{"upper and lower case", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", PHX_CHUNK_DONE, 0},
	{"leading zeros", "0005\r\nhello\r\n000\r\n\r\n", PHX_CHUNK_DONE, 0},
	{"data that looks like an end", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", PHX_CHUNK_DONE, 0},
	{"extension", "5;a\r\nhello\r\n0;b=c\r\n\r\n", PHX_CHUNK_DONE, 0},
	{"quoted extension", "5;a=\"b;\\\"c\"\r\nhello\r\n0\r\n\r\n", PHX_CHUNK_DONE, 0},
	{"trailer", "0\r\nA: b\r\n\r\n", PHX_CHUNK_DONE, 0},
	{"trailers", "0\r\nA: b\r\nC:\r\n\r\n", PHX_CHUNK_DONE, 0},
	{"the next message behind it", "0\r\n\r\nHTTP/1.1 200 OK", PHX_CHUNK_DONE, 15},
	{"no size", "\r\n", PHX_CHUNK_REFUSED, 0},
	{"no hexadecimal digit", "g\r\n", PHX_CHUNK_REFUSED, 0},
	{"a sign", "-1\r\n", PHX_CHUNK_REFUSED, 0},
	{"0x", "0x5\r\n", PHX_CHUNK_REFUSED, 0},
	{"space before the size", " 5\r\n", PHX_CHUNK_REFUSED, 0},
	{"space behind the size", "5 \r\n", PHX_CHUNK_REFUSED, 0},
	{"bare LF behind the size", "5\nhello", PHX_CHUNK_REFUSED, 0},
	{"bare CR behind the size", "5\rhello", PHX_CHUNK_REFUSED, 0},
	{"longer than its size", "5\r\nhello!\r\n", PHX_CHUNK_REFUSED, 0},
	{"bare LF behind data", "5\r\nhello\n0\r\n\r\n", PHX_CHUNK_REFUSED, 0},
	{"control byte in an extension", "5;a=\001\r\n", PHX_CHUNK_REFUSED, 0},
	{"bare LF in an extension", "5;a\nb\r\n", PHX_CHUNK_REFUSED, 0},
	{"bare CR in an extension", "5;a\rb\r\n", PHX_CHUNK_REFUSED, 0},
	{"folded trailer", "0\r\nA: b\r\n c\r\n\r\n", PHX_CHUNK_REFUSED, 0},
	{"bare LF in a trailer", "0\r\nA: b\nC: d\r\n\r\n", PHX_CHUNK_REFUSED, 0},
	{"bare LF as the end", "0\r\n\n", PHX_CHUNK_REFUSED, 0},
	{"CR and another byte as the end", "0\r\n\rx", PHX_CHUNK_REFUSED, 0},
	{"size just within the limit", "FFFFFFFFFF\r\n", PHX_CHUNK_DATA, 0},
	{"size over the limit", "10000000000\r\n", PHX_CHUNK_REFUSED, 0},
	{"size that overflows", "10000000000000005\r\nhello\r\n0\r\n\r\n", PHX_CHUNK_REFUSED, 0},
	{"cut in the size", "5", PHX_CHUNK_SIZE, 0},
	{"cut in the data", "5\r\nhe", PHX_CHUNK_DATA, 0},
	{"cut before the last LF", "0\r\n\r", PHX_CHUNK_END_LF, 0},
};

TEST(grammar_in_any_two_pieces)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].bytes), used;
		for (size_t cut = 0; cut <= len; cut++) {
			uint32_t state = scan(rows[i].bytes, len, cut, &used);
			CHECK_MSG(state == rows[i].state, "%s cut at %zu: %u", rows[i].name, cut, state);
			CHECK_MSG(state != PHX_CHUNK_DONE || used == len - rows[i].behind,
				  "%s cut at %zu: ends after %zu", rows[i].name, cut, used);
		}
	}
}

static uint64_t state = 77;

static uint32_t random_below(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 20) % n;
}

/* Valid messages whose bytes are exchanged here and there. */
static size_t make_message(char out[512])
{
	static const char *const lines[] = {"0\r\n\r\n",
					    "1\r\nx\r\n",
					    "5;a=b\r\nhello\r\n",
					    "0\r\nA: b\r\n\r\n",
					    "3;q=\"a;\\\"\"\r\n\r\n\r\r\n",
					    "000A \r\n0123456789\r\n",
					    "2;x\r\nab\r\n",
					    "0;y\r\nB-c:\r\nD: e f\r\n\r\n"};
	static const char bytes[] = "0159afgAF;=\" \t\r\n:x\\\x01\x7f\x80";
	size_t len = 0;
	for (unsigned n = random_below(5) + 1; n > 0; n--) {
		const char *line = lines[n == 1 ? random_below(2) * 3 : random_below(8)];
		memcpy(out + len, line, strlen(line));
		len += strlen(line);
	}
	for (unsigned n = random_below(4); n > 0; n--)
		out[random_below((uint32_t)len)] = bytes[random_below(sizeof(bytes) - 1)];
	return len;
}

TEST(ends_where_the_daemon_ends_it)
{
	unsigned both = 0, wrong = 0;
	for (int i = 0; i < 300000; i++) {
		char message[512], copy[512];
		size_t len = make_message(message), used, consumed, produced;
		struct http_body body;
		uint32_t result = scan(message, len, random_below((uint32_t)len + 1), &used);
		memcpy(copy, message, len);
		http_body_init(&body, HTTP_BODY_CHUNKED, 0);
		enum http_body_result daemon = http_body_read(&body, copy, len, &consumed, &produced);
		http_body_fini(&body);
		if (daemon == HTTP_BODY_END && result == PHX_CHUNK_DONE) {
			both++;
			wrong += used != consumed;
		}
		/* One that says "more" while the other says "over" would wait for ever, or take the next
		 * message's bytes. */
		bool differ = (daemon == HTTP_BODY_END && result < PHX_CHUNK_DONE) ||
			      (daemon == HTTP_BODY_MORE && result == PHX_CHUNK_DONE);
		if (differ && wrong++ < 5)
			CHECK_MSG(0, "daemon %d, scanner %u: %.*s", daemon, result, (int)len, message);
	}
	CHECK_INT(wrong, 0);
	CHECK_MSG(both > 30000, "only %u of 300000 were taken by both", both);
}

TEST(nothing_comes_behind_the_end)
{
	__u64 left = 0;
	CHECK_INT(phx_chunk_byte(PHX_CHUNK_DONE, &left, '0'), PHX_CHUNK_REFUSED);
	CHECK_INT(phx_chunk_byte(PHX_CHUNK_REFUSED, &left, '0'), PHX_CHUNK_REFUSED);
	CHECK_INT(phx_chunk_byte(PHX_CHUNK_DATA, &left, '0'), PHX_CHUNK_REFUSED);
}

UNIT_MAIN
