/* SPDX-License-Identifier: Apache-2.0 */
/* capture: see capture.h. Open exchanges are in a hash table, and in a list in the order of their last
 * record. */
#include "dataplane/capture.h"

#include "base/clock.h"
#include "base/list.h"
#include "http/body.h"

#include <errno.h>
#include <stdlib.h>

#define TABLE_SIZE    (2 * CAPTURE_OPEN_MAX)
#define PIECES_MAX    32
#define FRAMING_BYTES 65536 /* of chunks, beyond the body's own bytes */

struct piece {
	uint32_t from, to;
};

/* Bytes that came, anywhere; pieces are sorted and do not touch. */
struct message {
	struct buf bytes;
	struct piece pieces[PIECES_MAX];
	unsigned count;
};

struct open {
	struct list link;
	uint64_t number;
	uint64_t seen_ns;
	struct open *next; /* of the same place in the table */
	struct message request, response;
	uint64_t charged_bytes;
	enum exchange_outcome outcome; /* COMPARABLE as long as nothing went wrong */
	struct phx_record about;       /* the first record */
};

struct capture {
	struct capture_options options;
	struct list opens;
	struct capture_stats stats;
	struct open *table[TABLE_SIZE];
};

int capture_create(const struct capture_options *options, struct capture **out)
{
	struct capture *capture = calloc(1, sizeof(*capture));
	if (!capture)
		return -ENOMEM;
	capture->options = *options;
	list_init(&capture->opens);
	*out = capture;
	return 0;
}

/* --- the table ------------------------------------------------------------------------------------------ */

static struct open **place_of(struct capture *capture, uint64_t number)
{
	struct open **at = &capture->table[phx_mix64(number) % TABLE_SIZE];
	while (*at && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

static bool charge(struct capture *capture, struct open *open, uint64_t bytes)
{
	struct exchange_budget *budget = capture->options.budget;
	if (atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed) + bytes >
	    budget->max_bytes) {
		atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
		return false;
	}
	open->charged_bytes += bytes;
	return true;
}

static void drop_bytes(struct capture *capture, struct open *open)
{
	atomic_fetch_sub_explicit(&capture->options.budget->used_bytes, open->charged_bytes,
				  memory_order_relaxed);
	open->charged_bytes = 0;
	buf_fini(&open->request.bytes);
	buf_fini(&open->response.bytes);
	open->request.count = open->response.count = 0;
}

static void open_remove(struct capture *capture, struct open *open)
{
	struct open **at = place_of(capture, open->number);
	*at = open->next;
	list_remove(&open->link);
	capture->stats.open--;
	drop_bytes(capture, open);
	free(open);
}

void capture_destroy(struct capture *capture)
{
	if (!capture)
		return;
	while (!list_empty(&capture->opens))
		open_remove(capture, container_of(capture->opens.next, struct open, link));
	free(capture);
}

void capture_stats(const struct capture *capture, struct capture_stats *out)
{
	*out = capture->stats;
}

/* --- pieces --------------------------------------------------------------------------------------------- */

/* Adds [from, to) to the set. False when it would have too many holes. */
static bool pieces_add(struct message *message, uint32_t from, uint32_t to)
{
	unsigned first = 0, last;
	while (first < message->count && message->pieces[first].to < from)
		first++;
	for (last = first; last < message->count && message->pieces[last].from <= to; last++) {
		from = message->pieces[last].from < from ? message->pieces[last].from : from;
		to = message->pieces[last].to > to ? message->pieces[last].to : to;
	}
	if (first == last && message->count == PIECES_MAX)
		return false;
	memmove(&message->pieces[first + 1], &message->pieces[last],
		(message->count - last) * sizeof(message->pieces[0]));
	message->count = message->count - (last - first) + 1;
	message->pieces[first] = (struct piece){from, to};
	return true;
}

static bool is_whole(const struct message *message, uint32_t len)
{
	return len && message->count == 1 && message->pieces[0].from == 0 && message->pieces[0].to == len;
}

/* Why the piece could not be kept, or COMPARABLE. */
static enum exchange_outcome message_put(struct capture *capture, struct open *open, struct message *message,
					 uint32_t offset, struct slice bytes)
{
	uint64_t end = (uint64_t)offset + bytes.len;
	uint64_t max = capture->options.body_max_bytes(capture->options.context, open->about.slot);
	if (end > max + capture->options.head_bytes + FRAMING_BYTES || end > UINT32_MAX)
		return EXCHANGE_BODY_OVER_CAP;
	if (end > message->bytes.len) {
		size_t cap = message->bytes.cap;
		if (!buf_reserve(&message->bytes, end - message->bytes.len))
			return EXCHANGE_MEMORY;
		if (message->bytes.cap > cap && !charge(capture, open, message->bytes.cap - cap))
			return EXCHANGE_MEMORY;
		memset(message->bytes.data + message->bytes.len, 0, end - message->bytes.len);
		message->bytes.len = end;
	}
	if (!pieces_add(message, offset, (uint32_t)end))
		return EXCHANGE_LOST;
	memcpy(message->bytes.data + offset, bytes.ptr, bytes.len);
	return EXCHANGE_COMPARABLE;
}

/* --- a whole exchange ----------------------------------------------------------------------------------- */

static const char *method_word(uint32_t method)
{
	static const char *const words[] = {
#define X(name) #name,
		PHX_METHODS(X)
#undef X
	};
	return method < PHX_METHOD_OTHER ? words[method] : "OTHER";
}

static struct exchange *exchange_begin(struct capture *capture, const struct phx_record *about,
				       uint64_t now_ns)
{
	uint64_t max = capture->options.body_max_bytes(capture->options.context, about->slot);
	struct exchange *exchange = exchange_create(capture->options.budget, max);
	if (!exchange)
		return NULL;
	exchange->slot = about->slot;
	exchange->generation = about->generation;
	exchange->step = about->step;
	exchange->side = about->side;
	exchange->synthetic = about->synthetic != 0;
	exchange->method =
		(enum phx_method)(about->method < PHX_METHOD_COUNT ? about->method : PHX_METHOD_OTHER);
	exchange->wall_ns = clock_wall_ns() - (now_ns > about->begun_ns ? now_ns - about->begun_ns : 0);
	snprintf(exchange->request_id, sizeof(exchange->request_id), "%016llx",
		 (unsigned long long)about->exchange);
	return exchange;
}

/* X-Request-Id as the client sent it, when it is a usable one. */
static void take_request_id(struct exchange *exchange)
{
	struct slice id = exchange_field(&exchange->request, SLICE("x-request-id"));
	if (id.len == 0 || id.len >= sizeof(exchange->request_id))
		return;
	memcpy(exchange->request_id, id.ptr, id.len);
	exchange->request_id[id.len] = 0;
}

static bool parse_head(struct http_head *head, uint32_t flags, const struct buf *bytes, size_t from)
{
	http_head_init(head, flags, HTTP_FIELDS_MAX);
	return http_head_parse(head, bytes->data + from, bytes->len - from) == HTTP_PARSE_DONE;
}

/* The body behind a head: `from` is where it begins. Takes the coding off in place. */
static enum exchange_outcome take_body(struct exchange *exchange, struct exchange_message *message,
				       struct http_body *body, struct buf *bytes, size_t from)
{
	size_t consumed = 0, produced = 0;
	enum http_body_result result =
		http_body_read(body, bytes->data + from, bytes->len - from, &consumed, &produced);
	bool whole = result == HTTP_BODY_END || (result == HTTP_BODY_MORE && http_body_ends_at_eof(body));
	if (!whole || from + consumed != bytes->len)
		return EXCHANGE_LOST;
	if (produced && !exchange_add_body(exchange, message, slice_of(bytes->data + from, produced)))
		return exchange->outcome;
	return EXCHANGE_COMPARABLE;
}

static enum exchange_outcome take_request(struct exchange *exchange, struct buf *bytes)
{
	struct http_head head;
	struct http_body body;
	if (!parse_head(&head, 0, bytes, 0))
		return EXCHANGE_LOST;
	buf_append_slice(&exchange->method_name, http_head_method(&head, bytes->data));
	buf_append_slice(&exchange->target, http_head_target(&head, bytes->data));
	if (exchange->method_name.failed || exchange->target.failed ||
	    !exchange_add_fields(exchange, &exchange->request, &head, bytes->data))
		return EXCHANGE_MEMORY;
	take_request_id(exchange);
	http_body_of_request(&body, &head);
	enum exchange_outcome outcome = take_body(exchange, &exchange->request, &body, bytes, head.scan.pos);
	http_body_fini(&body);
	return outcome;
}

/* Interim responses (RFC 9110 15.2) are passed over. */
static enum exchange_outcome take_response(struct exchange *exchange, struct buf *bytes)
{
	struct http_head head;
	struct http_body body;
	size_t at = 0;
	do {
		if (!parse_head(&head, PHX_HEAD_RESPONSE, bytes, at))
			return EXCHANGE_LOST;
		if (head.scan.status == 101)
			return EXCHANGE_STREAM;
		at += head.scan.pos;
	} while (head.scan.status < 200);
	exchange->served.status = head.scan.status;
	if (!exchange_add_fields(exchange, &exchange->served, &head, bytes->data + at - head.scan.pos))
		return EXCHANGE_MEMORY;
	http_body_of_response(&body, &head, exchange->method == PHX_METHOD_HEAD);
	enum exchange_outcome outcome = take_body(exchange, &exchange->served, &body, bytes, at);
	http_body_fini(&body);
	return outcome;
}

/* What an exchange is that the programs say ended so. */
static enum exchange_outcome outcome_of(const struct phx_record *end)
{
	switch (end->end) {
	case PHX_END_WHOLE:
		return EXCHANGE_COMPARABLE;
	case PHX_END_CLIENT_GONE:
		return EXCHANGE_CLIENT_GONE;
	case PHX_END_UPSTREAM_CUT:
	case PHX_END_INVALID:
	case PHX_END_TIMEOUT:
		return end->side == PHX_MODERN ? EXCHANGE_MODERN_FAILED : EXCHANGE_SERVED_FAILED;
	}
	return EXCHANGE_LOST;
}

static void hand_on(struct capture *capture, struct exchange *exchange, enum exchange_outcome outcome)
{
	if (outcome == EXCHANGE_COMPARABLE)
		capture->stats.whole++;
	else if (outcome == EXCHANGE_LOST)
		capture->stats.lost++;
	else
		capture->stats.failed++;
	exchange->outcome = outcome;
	capture->options.captured(capture->options.context, exchange);
}

/* `open` may be NULL: nothing but the end came. */
static void finish(struct capture *capture, struct open *open, const struct phx_record *end,
		   enum exchange_outcome outcome, uint64_t now_ns)
{
	const struct phx_record *about = open ? &open->about : end;
	struct exchange *exchange = exchange_begin(capture, about, now_ns);
	if (!exchange) {
		capture->stats.memory++;
		return;
	}
	if (open && open->outcome != EXCHANGE_COMPARABLE && outcome == EXCHANGE_COMPARABLE)
		outcome = open->outcome;
	bool request = open && is_whole(&open->request, end->request_len);
	if (outcome == EXCHANGE_COMPARABLE && !(request && is_whole(&open->response, end->response_len)))
		outcome = EXCHANGE_LOST;
	if (request) {
		enum exchange_outcome taken = take_request(exchange, &open->request.bytes);
		outcome = outcome == EXCHANGE_COMPARABLE ? taken : outcome;
	}
	if (!exchange->method_name.len)
		buf_append_str(&exchange->method_name, method_word(about->method));
	if (outcome == EXCHANGE_COMPARABLE)
		outcome = take_response(exchange, &open->response.bytes);
	exchange->served_ns = end->served_ns > about->begun_ns ? end->served_ns - about->begun_ns : 0;
	hand_on(capture, exchange, outcome);
}

/* --- records -------------------------------------------------------------------------------------------- */

static void lose(struct capture *capture, struct open *open, uint64_t now_ns)
{
	struct phx_record end = open->about;
	end.served_ns = end.request_len = end.response_len = 0;
	finish(capture, open, &end, EXCHANGE_LOST, now_ns);
	open_remove(capture, open);
}

static struct open *open_get(struct capture *capture, const struct phx_record *record, uint64_t now_ns)
{
	struct open *open = *place_of(capture, record->exchange);
	if (open)
		return open;
	if (capture->stats.open == CAPTURE_OPEN_MAX)
		lose(capture, container_of(capture->opens.next, struct open, link), now_ns);
	open = calloc(1, sizeof(*open));
	if (!open || !charge(capture, open, sizeof(*open))) {
		free(open);
		capture->stats.memory++;
		return NULL;
	}
	open->number = record->exchange;
	open->about = *record;
	struct open **place = place_of(capture, record->exchange);
	*place = open;
	list_push_back(&capture->opens, &open->link);
	capture->stats.open++;
	return open;
}

static void take_end(struct capture *capture, const struct phx_record *end, uint64_t now_ns)
{
	struct open *open = *place_of(capture, end->exchange);
	finish(capture, open, end, outcome_of(end), now_ns);
	if (open)
		open_remove(capture, open);
}

static void take_piece(struct capture *capture, const struct phx_record *record, struct slice payload,
		       uint64_t now_ns)
{
	struct open *open = open_get(capture, record, now_ns);
	if (!open)
		return;
	open->seen_ns = now_ns;
	list_remove(&open->link);
	list_push_back(&capture->opens, &open->link);
	if (open->outcome != EXCHANGE_COMPARABLE || payload.len == 0)
		return;
	struct message *message = record->kind == PHX_RECORD_REQUEST ? &open->request : &open->response;
	open->outcome = message_put(capture, open, message, record->offset, payload);
	if (open->outcome != EXCHANGE_COMPARABLE)
		drop_bytes(capture, open);
}

void capture_record(struct capture *capture, const void *bytes, size_t len, uint64_t now_ns)
{
	struct phx_record record;
	if (len < sizeof(record))
		return;
	memcpy(&record, bytes, sizeof(record));
	if (record.len > len - sizeof(record) || record.slot >= PHX_ROUTE_SLOTS ||
	    (record.side != PHX_LEGACY && record.side != PHX_MODERN))
		return;
	capture->stats.records++;
	if (record.kind == PHX_RECORD_END)
		take_end(capture, &record, now_ns);
	else if (record.kind == PHX_RECORD_REQUEST || record.kind == PHX_RECORD_RESPONSE)
		take_piece(capture, &record, slice_of((const char *)bytes + sizeof(record), record.len),
			   now_ns);
}

void capture_cut(struct capture *capture, const struct phx_record *end, uint64_t now_ns)
{
	take_end(capture, end, now_ns);
}

void capture_age(struct capture *capture, uint64_t now_ns)
{
	while (!list_empty(&capture->opens)) {
		struct open *open = container_of(capture->opens.next, struct open, link);
		if (now_ns < open->seen_ns + CAPTURE_AGE_NS)
			return;
		lose(capture, open, now_ns);
	}
}
