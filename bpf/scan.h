/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * scan: reads what is in work.payload with the scanners that the daemon uses too (phoenix/head.h, chunk.h), a
 * byte a step inside bpf_loop(), and eight bytes a step where eight ordinary ones cannot change the state.
 */
#ifndef PHOENIX_BPF_SCAN_H
#define PHOENIX_BPF_SCAN_H

#include "frame.h"

#include <phoenix/swar.h>

static __always_inline __u64 word_at(const struct work *w, __u32 at)
{
	return *(const __u64 *)&w->payload[at & BYTES_MASK];
}

/* Bytes that are no letter and no "-". */
static __always_inline __u64 no_name(__u64 lower)
{
	__u64 low = lower & ~PHX_HIGHS;
	__u64 from_a = low + PHX_ONES * (0x80 - 'a'), behind_z = low + PHX_ONES * (0x7f - 'z');
	__u64 letter = (from_a ^ behind_z) & ~lower & PHX_HIGHS;
	__u64 dash = lower ^ (PHX_ONES * '-');
	__u64 is_dash = ~((((dash & ~PHX_HIGHS) + ~PHX_HIGHS) | dash)) & PHX_HIGHS; /* exact */
	return ~(letter | is_dash) & PHX_HIGHS;
}

/* The first n bytes of a word. */
static __always_inline __u64 first_bytes(__u64 word, __u32 n)
{
	return n >= 8 ? word : n ? word & (~0ULL >> (64 - 8 * n)) : 0;
}

/* A field of a request's head is complete: may it go on as it is? */
static __always_inline void note_field(struct work *w)
{
	struct phx_head *h = &w->head;
	switch (h->field) {
	case PHX_FIELD_HOST:
		w->host_off = w->scan_at - (h->pos - h->value_off);
		w->host_len = h->value_len;
		break;
	case PHX_FIELD_OTHER:
	case PHX_FIELD_CONTENT_LENGTH:
	case PHX_FIELD_CONNECTION:
	case PHX_FIELD_COOKIE:
	case PHX_FIELD_X_REQUEST_ID:
	case PHX_FIELD_X_PHOENIX_SYNTHETIC:
		break;
	default:
		w->odd = 1;
	}
}

/* Through a value that nobody reads, eight bytes a word: behind the last plain byte of at most 64. */
static __always_inline __u32 plain_end(const struct work *w, __u32 at)
{
#pragma unroll
	for (int i = 0; i < 8; i++) {
		__u64 mask = phx_outside(word_at(w, at), ' ');
		at += phx_before_first(mask);
		if (mask)
			break;
	}
	return at;
}

/*
 * A whole field line at once, when its name is letters and dashes, and nobody reads its value; when somebody
 * does, up to the value. What it leaves in the scanner's state is what phx_head_step() would have left. 1
 * when it moved on.
 */
static __always_inline int skip_field(struct work *w)
{
	struct phx_head *h = &w->head;
	__u32 at = w->scan_at;
	if (w->scan_end - at < 8)
		return 0;
	__u64 word0 = phx_lower_all(word_at(w, at)), word1 = phx_lower_all(word_at(w, at + 8)),
	      word2 = phx_lower_all(word_at(w, at + 16));
	__u32 n = phx_before_first(no_name(word0));
	if (n == 8)
		n += phx_before_first(no_name(word1));
	if (n == 16)
		n += phx_before_first(no_name(word2));
	if (n == 0 || n >= PHX_NAME_BYTES || at + n >= w->scan_end ||
	    w->payload[(at + n) & BYTES_MASK] != ':')
		return 0;
	h->word[0] = first_bytes(word0, n);
	h->word[1] = first_bytes(word1, n > 8 ? n - 8 : 0);
	h->word[2] = first_bytes(word2, n > 16 ? n - 16 : 0);
	h->token_len = n;
	h->token_gap = 0;
	h->name_off = h->pos;
	h->name_len = n;
	h->pos += n + 1;
	h->value_off = h->pos;
	h->value_len = 0;
	h->state = PHX_AT_OWS;
	at += n + 1;
	w->scan_at = at;
	int error = phx_head_named(h);
	if (error) {
		w->scan_result = phx_refuse(h, (enum phx_head_error)error);
		return 1;
	}
	if (phx_field_is_read(h->field))
		return 1;
	__u32 end = plain_end(w, at);
	if (end + 2 > w->scan_end || *(const __u16 *)&w->payload[end & BYTES_MASK] != bpf_htons(0x0d0a))
		return 1;
	h->pos += end + 2 - at;
	w->scan_at = end + 2;
	h->fields++;
	h->state = PHX_AT_FIELD_START;
	note_field(w);
	return 1;
}

/* The usual methods with their space. How many bytes; 0: another one. */
static __always_inline __u32 skip_method(struct phx_head *h, __u64 word)
{
	__u32 four = (__u32)word;
	if (h->pos)
		return 0;
	if (four == (__u32)PHX_LIT_WORD("GET ", 0)) {
		h->method = PHX_METHOD_GET;
		h->target_off = 4;
	} else if (four == (__u32)PHX_LIT_WORD("POST", 0) && (word >> 32 & 0xff) == ' ') {
		h->method = PHX_METHOD_POST;
		h->target_off = 5;
	} else if (four == (__u32)PHX_LIT_WORD("HEAD", 0) && (word >> 32 & 0xff) == ' ') {
		h->method = PHX_METHOD_HEAD;
		h->target_off = 5;
	} else if (four == (__u32)PHX_LIT_WORD("PUT ", 0)) {
		h->method = PHX_METHOD_PUT;
		h->target_off = 4;
	} else {
		return 0;
	}
	h->state = PHX_AT_TARGET;
	return h->target_off;
}

/* Bytes that are no letter, digit, "-" or ".": none of them changes what a Host's name may be. */
static __always_inline __u64 no_host_name(__u64 word)
{
	__u64 lower =
		word | PHX_ONES * 0x20; /* takes 0x0d to "-" and 0x0e to ".", which `below` takes back */
	__u64 low = lower & ~PHX_HIGHS;
	__u64 letter = (low + PHX_ONES * (0x80 - 'a')) & ~(low + PHX_ONES * (0x7f - 'z'));
	__u64 other = (low + PHX_ONES * (0x80 - '-')) & ~(low + PHX_ONES * (0x7f - '9'));
	__u64 slash = phx_equal_to(word, '/'), below = (word & ~PHX_HIGHS) + PHX_ONES * (0x80 - ' ');
	return (~(letter | other) | slash | ~below | word) & PHX_HIGHS;
}

/* A value that is read, where it is a usual one. How many bytes were taken. */
static __always_inline __u32 skip_read_value(struct work *w, __u64 word)
{
	struct phx_head *h = &w->head;
	if (h->field == PHX_FIELD_HOST && h->state == PHX_AT_VALUE && h->aux == PHX_HOST_NAME &&
	    !h->token_gap) {
		__u32 n = phx_before_first(no_host_name(word));
		if (n)
			h->value_len = h->pos + n - h->value_off;
		return n;
	}
	/* " keep-alive" and the line's end, where no other token came before. */
	if (h->field == PHX_FIELD_CONNECTION && h->state == PHX_AT_OWS && w->scan_end - w->scan_at >= 13 &&
	    phx_lower_all(word) == PHX_LIT_WORD(" keep-al", 0) &&
	    phx_lower_all(word_at(w, w->scan_at + 5)) == PHX_LIT_WORD("-alive\r\n", 0)) {
		h->flags |= PHX_HEAD_KEEP_ALIVE;
		h->fields++;
		h->state = PHX_AT_FIELD_START;
		return 13;
	}
	return 0;
}

/* 1 when the position moved over bytes whose effect on the scanner's state is known. */
static __always_inline int skip_plain(struct work *w)
{
	struct phx_head *h = &w->head;
	__u32 n = 0;
	if (h->state == PHX_AT_FIELD_START)
		return skip_field(w);
	if (w->scan_end - w->scan_at < 8)
		return 0;
	__u64 word = word_at(w, w->scan_at);
	if (h->state == PHX_AT_VALUE || h->state == PHX_AT_OWS) {
		if (phx_field_is_read(h->field))
			n = skip_read_value(w, word);
		else if (h->state == PHX_AT_VALUE)
			n = phx_before_first(phx_outside(word, ' '));
	} else if (h->state == PHX_AT_TARGET) {
		n = phx_before_first(phx_outside(word, '!') | phx_equal_to(word, '?') |
				     phx_equal_to(word, '#') | phx_equal_to(word, '"') |
				     phx_equal_to(word, '<') | phx_equal_to(word, '>') |
				     phx_equal_to(word, '\\'));
	} else if (h->state == PHX_AT_VERSION && h->aux == 0 && word == PHX_LIT_WORD("HTTP/1.1", 0)) {
		h->aux = 8;
		h->minor = 1;
		n = 8;
	} else if (h->state == PHX_AT_REASON) {
		n = phx_before_first(phx_outside(word, ' '));
	} else if (h->state == PHX_AT_START) {
		n = skip_method(h, word);
	}
	h->pos += n;
	w->scan_at += n;
	return n != 0;
}

/* One step. 1 when the head is over, or what there is of it. */
static __always_inline int head_step(struct work *w)
{
	struct phx_head *h = &w->head;
	if (w->scan_at >= w->scan_end)
		return 1;
	if (skip_plain(w))
		return h->state >= PHX_AT_DONE;
	int result = phx_head_step(h, w->payload[w->scan_at & BYTES_MASK]);
	w->scan_at++;
	/* The LF behind a CR, at once: what the step for it would do. */
	if (w->scan_at < w->scan_end && w->payload[w->scan_at & BYTES_MASK] == '\n') {
		if (h->state == PHX_AT_VALUE_LF) {
			h->fields++;
			result = PHX_HEAD_FIELD;
		}
		if (h->state == PHX_AT_VALUE_LF || h->state == PHX_AT_LINE_LF) {
			h->state = PHX_AT_FIELD_START;
			h->pos++;
			w->scan_at++;
		}
	}
	w->scan_result = result;
	if (result == PHX_HEAD_FIELD)
		note_field(w);
	return result >= PHX_HEAD_DONE;
}

/* Several steps a call: calls and their returns cost more than a step (return thunks). */
static long head_steps(__u32 i, struct work **argument)
{
	struct work *w = *argument;
	for (int k = 0; k < 8; k++) {
		if (head_step(w))
			return 1;
	}
	return 0;
}

/* Goes on with w->head from w->scan_at to w->scan_end at most. Returns enum phx_head_result. */
__noinline int scan_head(void)
{
	struct work *w = get_work(0);
	if (!w)
		return PHX_HEAD_REFUSED;
	w->scan_result = PHX_HEAD_MORE;
	bpf_loop(PHX_FRAME_BYTES, head_steps, &w, 0);
	return w->scan_result;
}

struct chunk_scan {
	struct work *w;
	struct phx_flow *flow;
};

static long chunk_step(__u32 i, struct chunk_scan *scan)
{
	struct work *w = scan->w;
	struct phx_flow *flow = scan->flow;
	__u32 left = w->scan_end - w->scan_at;
	if (w->scan_at >= w->scan_end || flow->chunk_state >= PHX_CHUNK_DONE)
		return 1;
	if (flow->chunk_state == PHX_CHUNK_DATA) {
		__u32 n = flow->chunk_left < left ? (__u32)flow->chunk_left : left;
		w->scan_at += n;
		flow->chunk_left -= n;
		if (flow->chunk_left == 0)
			flow->chunk_state = PHX_CHUNK_DATA_CR;
		return 0;
	}
	flow->chunk_state =
		phx_chunk_byte(flow->chunk_state, &flow->chunk_left, w->payload[w->scan_at & BYTES_MASK]);
	w->scan_at++;
	return 0;
}

/* Goes on with the flow's chunked body from w->scan_at to w->scan_end. */
__noinline int scan_chunks(__u32 index)
{
	struct work *w = get_work(0);
	struct phx_flow *flow = get_flow(index);
	if (!w || !flow)
		return 0;
	struct chunk_scan scan = {w, flow};
	bpf_loop(PHX_FRAME_BYTES, chunk_step, &scan, 0);
	return 0;
}

#endif
