/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cookie: the sequence number of a SYN-ACK that keeps no state: 24 bits of a keyed hash over the addresses,
 * the ports and the epoch, and 8 bits that say what the client's SYN offered.
 *
 *   31          20 19        8 7        5 4    1 0
 *   [ connection  | ISN        | MSS class | scale | SACK ]        scale 15: no window scaling
 *
 * (After Bernstein's SYN cookies, 1996.) The second twelve bits depend on the client's initial sequence
 * number too: both right, and this is the first segment behind the handshake; only the first twelve right,
 * and the first segment was lost, which TCP repairs. A cookie is taken for PHX_COOKIE_EPOCHS epochs. Two keys
 * reign in turn; the daemon replaces the one that does not.
 */
#ifndef PHOENIX_BPF_COOKIE_H
#define PHOENIX_BPF_COOKIE_H

#include "work.h"

#define NO_SCALE 15u

static __always_inline __u32 mss_of_class(__u32 class)
{
	switch (class) {
	case 0:
		return 536;
	case 1:
		return 1160;
	case 2:
		return 1220;
	case 3:
		return 1300;
	case 4:
		return 1360;
	case 5:
		return 1400;
	case 6:
		return 1440;
	default:
		return 1460;
	}
}

/* The largest class that is not over the client's MSS. */
static __always_inline __u32 class_of_mss(__u32 mss)
{
	return mss >= 1460   ? 7
	       : mss >= 1440 ? 6
	       : mss >= 1400 ? 5
	       : mss >= 1360 ? 4
	       : mss >= 1300 ? 3
	       : mss >= 1220 ? 2
	       : mss >= 1160 ? 1
			     : 0;
}

/* Of the connection, as the client's packets name it, and of the low byte, so that nobody acknowledges
 * another offer than was made. */
static __always_inline __u64 cookie_hash(const struct work *w, const struct phx_config *config, __u64 epoch,
					 __u32 offer)
{
	struct phx_sip sip;
	__u32 key = (epoch >> PHX_KEY_SHIFT) & 1;
	phx_sip_begin(&sip, config->cookie[key][0], config->cookie[key][1]);
	phx_sip_word(&sip, (__u64)w->src.word[0] << 32 | w->src.word[1]);
	phx_sip_word(&sip, (__u64)w->src.word[2] << 32 | w->src.word[3]);
	phx_sip_word(&sip, (__u64)w->dst.word[0] << 32 | w->dst.word[1]);
	phx_sip_word(&sip, (__u64)w->dst.word[2] << 32 | w->dst.word[3]);
	phx_sip_word(&sip,
		     (__u64)w->sport << 48 | (__u64)w->dport << 32 | (__u32)(epoch << 8) | (offer & 0xff));
	return phx_sip_end(&sip, 0, 40);
}

static __always_inline __u32 cookie_bits(__u64 hash, __u32 client_isn)
{
	return (__u32)(hash >> 52) << 20 | (__u32)(phx_mix64(hash ^ client_isn) >> 52) << 8;
}

static __always_inline __u32 cookie_make(const struct work *w, const struct phx_config *config)
{
	__u32 offer = class_of_mss(w->mss) << 5 | (w->scaled ? w->scale : NO_SCALE) << 1 | (w->sack ? 1 : 0);
	return cookie_bits(cookie_hash(w, config, w->now >> PHX_CLOCK_SHIFT, offer), w->seq) | offer;
}

enum cookie_result {
	COOKIE_WRONG,
	COOKIE_LATER, /* of a connection that shook hands, but not its first segment */
	COOKIE_FIRST,
};

struct cookie_search {
	struct work *w;
	const struct phx_config *config;
	__u64 epoch;
	__u32 cookie, client_isn;
	__u32 result;
};

static long cookie_try(__u32 i, struct cookie_search *search)
{
	if (i > search->epoch)
		return 1;
	__u64 hash = cookie_hash(search->w, search->config, search->epoch - i, search->cookie);
	__u32 bits = cookie_bits(hash, search->client_isn);
	__u32 differ = bits ^ (search->cookie & 0xffffff00);
	if (differ == 0)
		search->result = COOKIE_FIRST;
	else if (differ >> 20 == 0)
		search->result = COOKIE_LATER;
	return search->result == COOKIE_FIRST;
}

/*
 * Whose is this segment of a connection that we know nothing about? Returns enum cookie_result; COOKIE_FIRST:
 * what the client offered is in w.
 */
static __always_inline int cookie_check(struct work *w, const struct phx_config *config)
{
	struct cookie_search search = {w,	   config,     w->now >> PHX_CLOCK_SHIFT,
				       w->ack - 1, w->seq - 1, COOKIE_WRONG};
	bpf_loop(PHX_COOKIE_EPOCHS, cookie_try, &search, 0);
	if (search.result != COOKIE_FIRST)
		return search.result;
	__u32 scale = search.cookie >> 1 & 15;
	w->mss = mss_of_class(search.cookie >> 5 & 7);
	w->scaled = scale != NO_SCALE;
	w->scale = w->scaled ? scale : 0;
	w->sack = search.cookie & 1;
	return COOKIE_FIRST;
}

#endif
