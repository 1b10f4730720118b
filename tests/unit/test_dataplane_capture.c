/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the NIC path -> exchanges: whole, or lost and said so; never half. */
#include "unit.h"

#include "base/clock.h"
#include "dataplane/capture.h"

#define REQUEST	 "GET /users/7?x=1 HTTP/1.1\r\nHost: a\r\nX-Request-Id: abc\r\n\r\n"
#define RESPONSE "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
#define CHUNKED                                                                                              \
	"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "               \
	"chunked\r\n\r\n"                                                                                    \
	"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"

struct fixture {
	struct exchange_budget budget;
	struct capture *capture;
	struct exchange *got[64];
	unsigned count;
	uint64_t number;
	uint64_t body_max;
};

static uint64_t body_max(void *context, uint32_t slot)
{
	return ((struct fixture *)context)->body_max;
}

static void on_captured(void *context, struct exchange *exchange)
{
	struct fixture *f = context;
	if (f->count < 64)
		f->got[f->count++] = exchange;
	else
		exchange_destroy(exchange);
}

static void begin(struct fixture *f)
{
	*f = (struct fixture){.number = 1000, .body_max = 1000};
	f->budget.max_bytes = 1 << 20;
	struct capture_options options = {&f->budget, 4096, body_max, on_captured, f};
	CHECK_INT(capture_create(&options, &f->capture), 0);
}

static void end(struct fixture *f)
{
	for (unsigned i = 0; i < f->count; i++)
		exchange_destroy(f->got[i]);
	capture_destroy(f->capture);
	CHECK_INT(f->budget.used_bytes, 0);
}

static void send(struct fixture *f, struct phx_record record, const char *bytes, size_t len)
{
	char memory[sizeof(record) + 4096];
	record.len = (uint32_t)len;
	record.exchange = record.exchange ? record.exchange : f->number;
	record.begun_ns = 5000;
	record.method = PHX_METHOD_GET;
	memcpy(memory, &record, sizeof(record));
	if (len)
		memcpy(memory + sizeof(record), bytes, len);
	capture_record(f->capture, memory, sizeof(record) + len, 10 * NS_PER_SEC);
}

static void piece(struct fixture *f, enum phx_record_kind kind, const char *message, size_t from, size_t to)
{
	send(f,
	     (struct phx_record){
		     .kind = kind, .offset = (uint32_t)from, .slot = 3, .generation = 2, .step = 4},
	     message + from, to - from);
}

static void finish(struct fixture *f, enum phx_end how, enum phx_side side, size_t request, size_t response)
{
	send(f,
	     (struct phx_record){
		     .kind = PHX_RECORD_END,
		     .slot = 3,
		     .generation = 2,
		     .step = 4,
		     .side = side,
		     .end = how,
		     .served_ns = 8000,
		     .request_len = (uint32_t)request,
		     .response_len = (uint32_t)response,
	     },
	     NULL, 0);
}

static void whole(struct fixture *f, const char *request, const char *response)
{
	piece(f, PHX_RECORD_REQUEST, request, 0, strlen(request));
	piece(f, PHX_RECORD_RESPONSE, response, 0, strlen(response));
	finish(f, PHX_END_WHOLE, PHX_LEGACY, strlen(request), strlen(response));
}

static int outcome(const struct fixture *f)
{
	return f->count == 1 ? (int)f->got[0]->outcome : -1;
}

TEST(a_whole_exchange)
{
	struct fixture f;
	begin(&f);
	whole(&f, REQUEST, RESPONSE);
	CHECK_INT(outcome(&f), EXCHANGE_COMPARABLE);
	const struct exchange *e = f.got[0];
	CHECK_INT(e->slot, 3);
	CHECK_INT(e->generation, 2);
	CHECK_INT(e->step, 4);
	CHECK_INT(e->side, PHX_LEGACY);
	CHECK_INT(e->served_ns, 3000);
	CHECK_INT(e->served.status, 200);
	CHECK_STR(e->request_id, "abc");
	CHECK(slice_equal(buf_slice(&e->method_name), SLICE("GET")));
	CHECK(slice_equal(buf_slice(&e->target), SLICE("/users/7?x=1")));
	CHECK(slice_equal(exchange_field(&e->request, SLICE("host")), SLICE("a")));
	CHECK(slice_equal(exchange_field(&e->served, SLICE("content-type")), SLICE("text/plain")));
	CHECK(exchange_field(&e->served, SLICE("content-length")).ptr == NULL);
	CHECK(slice_equal(buf_slice(&e->served.body), SLICE("hello")));
	end(&f);
}

TEST(interim_and_chunks_are_taken_off)
{
	struct fixture f;
	begin(&f);
	whole(&f, REQUEST, CHUNKED);
	CHECK_INT(outcome(&f), EXCHANGE_COMPARABLE);
	CHECK(slice_equal(buf_slice(&f.got[0]->served.body), SLICE("hello world")));
	CHECK_INT(f.got[0]->served.status, 200);
	end(&f);
}

/* Every way to cut a response in three, in every order, with one piece twice. */
TEST(pieces_in_any_order)
{
	static const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
					      {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	struct fixture f;
	size_t len = strlen(RESPONSE);
	begin(&f);
	for (size_t a = 1; a < len - 1; a += 7) {
		for (size_t b = a + 1; b < len; b += 5) {
			size_t cut[4] = {0, a, b, len};
			for (unsigned o = 0; o < 6; o++) {
				f.number++;
				piece(&f, PHX_RECORD_REQUEST, REQUEST, 0, strlen(REQUEST));
				for (unsigned i = 0; i < 3; i++)
					piece(&f, PHX_RECORD_RESPONSE, RESPONSE, cut[orders[o][i]],
					      cut[orders[o][i] + 1]);
				piece(&f, PHX_RECORD_RESPONSE, RESPONSE, cut[orders[o][0]], len);
				finish(&f, PHX_END_WHOLE, PHX_MODERN, strlen(REQUEST), len);
				CHECK_MSG(outcome(&f) == EXCHANGE_COMPARABLE &&
						  slice_equal(buf_slice(&f.got[0]->served.body),
							      SLICE("hello")),
					  "cut at %zu and %zu, order %u: outcome %d", a, b, o, outcome(&f));
				exchange_destroy(f.got[0]);
				f.count = 0;
			}
		}
	}
	end(&f);
}

TEST(a_gap_is_lost)
{
	struct fixture f;
	size_t q = strlen(REQUEST), r = strlen(RESPONSE);
	static const struct {
		size_t skip_from, skip_to; /* of the response */
	} rows[] = {{0, 5}, {20, 21}, {70, 75}};
	for (unsigned i = 0; i < 3; i++) {
		begin(&f);
		piece(&f, PHX_RECORD_REQUEST, REQUEST, 0, q);
		if (rows[i].skip_from)
			piece(&f, PHX_RECORD_RESPONSE, RESPONSE, 0, rows[i].skip_from);
		if (rows[i].skip_to < r)
			piece(&f, PHX_RECORD_RESPONSE, RESPONSE, rows[i].skip_to, r);
		finish(&f, PHX_END_WHOLE, PHX_LEGACY, q, r);
		CHECK_INT(outcome(&f), EXCHANGE_LOST);
		end(&f);
	}
	/* No request, no response, nothing at all but the end. */
	for (unsigned i = 0; i < 3; i++) {
		begin(&f);
		if (i == 1)
			piece(&f, PHX_RECORD_REQUEST, REQUEST, 0, q);
		if (i == 2)
			piece(&f, PHX_RECORD_RESPONSE, RESPONSE, 0, r);
		finish(&f, PHX_END_WHOLE, PHX_LEGACY, q, r);
		CHECK_INT(outcome(&f), EXCHANGE_LOST);
		CHECK(f.count && f.got[0]->method_name.len == 3);
		end(&f);
	}
}

TEST(what_the_parser_refuses_is_lost)
{
	static const char *const responses[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"HTTP/2 200\r\n\r\n",
	};
	for (unsigned i = 0; i < 4; i++) {
		struct fixture f;
		begin(&f);
		whole(&f, REQUEST, responses[i]);
		CHECK_MSG(outcome(&f) == EXCHANGE_LOST, "response %u: %d", i, outcome(&f));
		end(&f);
	}
}

TEST(ends_other_than_whole)
{
	static const struct {
		enum phx_end how;
		enum phx_side side;
		enum exchange_outcome want;
	} rows[] = {
		{PHX_END_CLIENT_GONE, PHX_MODERN, EXCHANGE_CLIENT_GONE},
		{PHX_END_UPSTREAM_CUT, PHX_MODERN, EXCHANGE_MODERN_FAILED},
		{PHX_END_UPSTREAM_CUT, PHX_LEGACY, EXCHANGE_SERVED_FAILED},
		{PHX_END_INVALID, PHX_MODERN, EXCHANGE_MODERN_FAILED},
		{PHX_END_TIMEOUT, PHX_LEGACY, EXCHANGE_SERVED_FAILED},
		{(enum phx_end)77, PHX_LEGACY, EXCHANGE_LOST},
	};
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;
		begin(&f);
		piece(&f, PHX_RECORD_REQUEST, REQUEST, 0, strlen(REQUEST));
		finish(&f, rows[i].how, rows[i].side, strlen(REQUEST), 0);
		CHECK_MSG(outcome(&f) == (int)rows[i].want, "row %u: %d", i, outcome(&f));
		end(&f);
	}
	/* Evidence without a sample: only the end came. */
	struct fixture f;
	begin(&f);
	finish(&f, PHX_END_UPSTREAM_CUT, PHX_MODERN, 10, 0);
	CHECK_INT(outcome(&f), EXCHANGE_MODERN_FAILED);
	end(&f);
}

TEST(limits)
{
	struct fixture f;
	char body[3000];
	begin(&f);
	f.body_max = 4;
	whole(&f, REQUEST, RESPONSE);
	CHECK_INT(outcome(&f), EXCHANGE_BODY_OVER_CAP);
	end(&f);
	/* A piece far away is not believed, and costs nothing. */
	begin(&f);
	piece(&f, PHX_RECORD_REQUEST, REQUEST, 0, strlen(REQUEST));
	send(&f, (struct phx_record){.kind = PHX_RECORD_RESPONSE, .offset = 0xffffff00, .slot = 3}, "x", 1);
	CHECK(f.budget.used_bytes < 10000);
	finish(&f, PHX_END_WHOLE, PHX_LEGACY, strlen(REQUEST), 1);
	CHECK_INT(outcome(&f), EXCHANGE_BODY_OVER_CAP);
	end(&f);
	/* The budget: what does not fit is dropped, and what was held comes back. */
	begin(&f);
	f.budget.max_bytes = 3000;
	memset(body, 'x', sizeof(body));
	piece(&f, PHX_RECORD_RESPONSE, body, 0, sizeof(body));
	CHECK(f.budget.used_bytes <= 3000);
	end(&f);
}

TEST(what_never_ends_is_given_up)
{
	struct fixture f;
	begin(&f);
	piece(&f, PHX_RECORD_REQUEST, REQUEST, 0, strlen(REQUEST));
	capture_age(f.capture, 10 * NS_PER_SEC + CAPTURE_AGE_NS - 1);
	CHECK_INT(f.count, 0);
	capture_age(f.capture, 10 * NS_PER_SEC + CAPTURE_AGE_NS);
	CHECK_INT(outcome(&f), EXCHANGE_LOST);
	end(&f);
}

TEST(never_more_than_so_many_open)
{
	struct fixture f;
	struct capture_stats stats;
	begin(&f);
	f.budget.max_bytes = 64 << 20;
	for (unsigned i = 0; i < CAPTURE_OPEN_MAX + 5; i++) {
		f.number++;
		piece(&f, PHX_RECORD_REQUEST, REQUEST, 0, 4);
	}
	capture_stats(f.capture, &stats);
	CHECK_INT(stats.open, CAPTURE_OPEN_MAX);
	CHECK_INT(f.count, 5);
	CHECK_INT(f.got[4]->outcome, EXCHANGE_LOST);
	end(&f);
}

TEST(damaged_records_are_passed_over)
{
	struct fixture f;
	struct capture_stats stats;
	begin(&f);
	struct phx_record record = {.kind = PHX_RECORD_REQUEST, .len = 1};
	capture_record(f.capture, &record, sizeof(record), 0); /* says that there is a byte behind it */
	capture_record(f.capture, &record, sizeof(record) - 1, 0);
	record.len = 0;
	record.slot = PHX_ROUTE_SLOTS;
	capture_record(f.capture, &record, sizeof(record), 0);
	record.slot = 0;
	record.side = (enum phx_side)2;
	capture_record(f.capture, &record, sizeof(record), 0);
	capture_stats(f.capture, &stats);
	CHECK_INT(stats.open, 0);
	CHECK_INT(stats.records, 0);
	end(&f);
}

UNIT_MAIN
