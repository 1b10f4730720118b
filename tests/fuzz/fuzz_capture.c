/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capture of the NIC path. The input is a request and a response, divided by RS. Cut into records at any
 * place, sent in any order, some twice, they make the same exchange as sent whole; with a byte missing they
 * never make one that would be compared. And the input itself, taken as a record, does no harm.
 */
#include "fuzz.h"

#include "dataplane/capture.h"

#include <phoenix/flow.h>

#define PIECES_MAX 24

struct result {
	int outcome; /* -1: none came */
	int status;
	struct buf body, target;
};

struct trial {
	struct exchange_budget budget;
	struct capture *capture;
	struct result *result;
};

static uint64_t body_max(void *context, uint32_t slot)
{
	return 1 << 16;
}

static void on_captured(void *context, struct exchange *exchange)
{
	struct trial *trial = context;
	struct result *result = trial->result;
	FUZZ_CHECK(result->outcome == -1);
	FUZZ_CHECK(exchange->method_name.len > 0);
	result->outcome = (int)exchange->outcome;
	result->status = exchange->served.status;
	buf_append_slice(&result->body, buf_slice(&exchange->served.body));
	buf_append_slice(&result->target, buf_slice(&exchange->target));
	exchange_destroy(exchange);
}

static void trial_begin(struct trial *trial, struct result *result)
{
	*trial = (struct trial){.result = result};
	*result = (struct result){.outcome = -1};
	trial->budget.max_bytes = 16 << 20;
	struct capture_options options = {&trial->budget, 4096, body_max, on_captured, trial};
	FUZZ_CHECK(capture_create(&options, &trial->capture) == 0);
}

static void trial_end(struct trial *trial)
{
	capture_destroy(trial->capture);
	FUZZ_CHECK(trial->budget.used_bytes == 0);
}

static void result_fini(struct result *result)
{
	buf_fini(&result->body);
	buf_fini(&result->target);
}

static void send(struct trial *trial, enum phx_record_kind kind, struct slice message, size_t from, size_t to)
{
	struct phx_record record = {
		.kind = kind, .offset = (uint32_t)from, .len = (uint32_t)(to - from), .exchange = 7};
	struct buf bytes = {0};
	buf_append(&bytes, &record, sizeof(record));
	buf_append(&bytes, message.ptr + from, to - from);
	/* In memory of exactly its size, as ASan watches it. */
	char *copy = fuzz_copy((const uint8_t *)bytes.data, bytes.len);
	capture_record(trial->capture, copy, bytes.len, 1);
	free(copy);
	buf_fini(&bytes);
}

static void send_end(struct trial *trial, struct slice request, struct slice response)
{
	struct phx_record end = {
		.kind = PHX_RECORD_END,
		.exchange = 7,
		.request_len = (uint32_t)request.len,
		.response_len = (uint32_t)response.len,
	};
	capture_record(trial->capture, &end, sizeof(end), 1);
}

/* One message in pieces and in disorder; `hole` (when below its length) is in none of them. */
static void send_cut(struct trial *trial, enum phx_record_kind kind, struct slice message, size_t hole,
		     uint64_t *random)
{
	size_t cuts[PIECES_MAX + 2] = {0}, count = 1 + fuzz_random(random) % PIECES_MAX;
	for (size_t i = 1; i < count; i++)
		cuts[i] = message.len ? fuzz_random(random) % message.len : 0;
	for (size_t i = 1; i < count; i++) {
		for (size_t j = i; j > 0 && cuts[j] < cuts[j - 1]; j--) {
			size_t swap = cuts[j];
			cuts[j] = cuts[j - 1];
			cuts[j - 1] = swap;
		}
	}
	cuts[count] = message.len;
	size_t start = fuzz_random(random) % count;
	for (size_t n = 0; n < count + 2; n++) {
		size_t i = n < count ? (start + n) % count : fuzz_random(random) % count;
		size_t from = cuts[i], to = cuts[i + 1];
		if (hole >= from && hole < to) {
			send(trial, kind, message, from, hole);
			send(trial, kind, message, hole + 1, to);
		} else {
			send(trial, kind, message, from, to);
		}
	}
}

FUZZ_TARGET(capture)
{
	struct slice request = slice_of((const char *)data, size), response = {"", 0};
	const char *part = size ? memchr(data, FUZZ_PART, size) : NULL;
	uint64_t random = fuzz_seed(data, size);
	struct trial trial;
	struct result whole, cut, lost;
	if (part) {
		request.len = (size_t)(part - request.ptr);
		response = slice_of(part + 1, size - request.len - 1);
	}
	trial_begin(&trial, &whole);
	send(&trial, PHX_RECORD_REQUEST, request, 0, request.len);
	send(&trial, PHX_RECORD_RESPONSE, response, 0, response.len);
	send_end(&trial, request, response);
	trial_end(&trial);
	FUZZ_CHECK(whole.outcome >= 0);
	FUZZ_CHECK(whole.outcome != EXCHANGE_COMPARABLE || whole.status >= 200);

	trial_begin(&trial, &cut);
	send_cut(&trial, PHX_RECORD_RESPONSE, response, SIZE_MAX, &random);
	send_cut(&trial, PHX_RECORD_REQUEST, request, SIZE_MAX, &random);
	send_end(&trial, request, response);
	trial_end(&trial);
	FUZZ_CHECK(cut.outcome == whole.outcome && cut.status == whole.status);
	FUZZ_CHECK(slice_equal(buf_slice(&cut.body), buf_slice(&whole.body)));
	FUZZ_CHECK(slice_equal(buf_slice(&cut.target), buf_slice(&whole.target)));

	trial_begin(&trial, &lost);
	size_t hole =
		request.len + response.len ? fuzz_random(&random) % (request.len + response.len) : SIZE_MAX;
	send_cut(&trial, PHX_RECORD_REQUEST, request, hole, &random);
	send_cut(&trial, PHX_RECORD_RESPONSE, response, hole < request.len ? SIZE_MAX : hole - request.len,
		 &random);
	send_end(&trial, request, response);
	FUZZ_CHECK(hole == SIZE_MAX || lost.outcome != EXCHANGE_COMPARABLE);
	char *copy = fuzz_copy(data, size);
	lost.outcome = -1;
	capture_record(trial.capture, copy, size, 1);
	free(copy);
	trial_end(&trial);
	result_fini(&whole);
	result_fini(&cut);
	result_fini(&lost);
}
