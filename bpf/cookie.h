/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cookie: the sequence number of a SYN-ACK that keeps no state: 24 bits of a keyed hash over the addresses,
 * the ports, the client's sequence number and the epoch, and 8 bits that say what the client's SYN offered.
 *
 *   31            8 7        5 4    1 0
 *   [ hash         | MSS class | scale | SACK ]        scale 15: no window scaling
 *
 * (After Bernstein's SYN cookies, 1996.) A cookie is taken for PHX_COOKIE_EPOCHS epochs. Two keys reign in
 * turn; the daemon replaces the one that does not.
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
	return mss >= 1460 ? 7
	       : mss >= 1440 ? 6
	       : mss >= 1400 ? 5
	       : mss >= 1360 ? 4
	       : mss >= 1300 ? 3
	       : mss >= 1220 ? 2
	       : mss >= 1160 ? 1
			     : 0;
}

/* bits: the cookie's low byte, so that nobody acknowledges another one than was made. */
static __always_inline __u32 cookie_hash(const struct work *w, const struct phx_config *config, __u64 epoch,
					 __u32 client_isn, __u32 bits)
{
	struct phx_sip sip;
	__u32 key = (epoch >> PHX_KEY_SHIFT) & 1;
	phx_sip_begin(&sip, config->cookie[key][0], config->cookie[key][1]);
	phx_sip_word(&sip, (__u64)w->src.word[0] << 32 | w->src.word[1]);
	phx_sip_word(&sip, (__u64)w->src.word[2] << 32 | w->src.word[3]);
	phx_sip_word(&sip, (__u64)w->dst.word[0] << 32 | w->dst.word[1]);
	phx_sip_word(&sip, (__u64)w->dst.word[2] << 32 | w->dst.word[3]);
	phx_sip_word(&sip, (__u64)w->sport << 48 | (__u64)w->dport << 32 | client_isn);
	return (__u32)(phx_sip_end(&sip, (epoch & 0xffffffffffffULL) << 8 | (bits & 0xff), 47) >> 40);
}

static __always_inline __u32 cookie_make(const struct work *w, const struct phx_config *config)
{
	__u32 bits = class_of_mss(w->mss) << 5 | (w->scaled ? w->scale : NO_SCALE) << 1 | (w->sack ? 1 : 0);
	return cookie_hash(w, config, w->now >> PHX_CLOCK_SHIFT, w->seq, bits) << 8 | bits;
}

struct cookie_search {
	struct work *w;
	const struct phx_config *config;
	__u64 epoch;
	__u32 cookie, client_isn;
	__u32 valid;
};

static long cookie_try(__u32 i, struct cookie_search *search)
{
	if (i > search->epoch)
		return 1;
	if (cookie_hash(search->w, search->config, search->epoch - i, search->client_isn, search->cookie) !=
	    search->cookie >> 8)
		return 0;
	search->valid = 1;
	return 1;
}

/*
 * Is this packet the first one behind a handshake with a cookie? Then its MSS, scale and SACK are in w. A
 * client's FIN or a cut-off first segment does not change seq and ack, so they are checked the same way.
 */
static __always_inline int cookie_check(struct work *w, const struct phx_config *config)
{
	struct cookie_search search = {w, config, w->now >> PHX_CLOCK_SHIFT, w->ack - 1, w->seq - 1, 0};
	bpf_loop(PHX_COOKIE_EPOCHS, cookie_try, &search, 0);
	if (!search.valid)
		return 0;
	__u32 scale = search.cookie >> 1 & 15;
	w->mss = mss_of_class(search.cookie >> 5 & 7);
	w->scaled = scale != NO_SCALE;
	w->scale = w->scaled ? scale : 0;
	w->sack = search.cookie & 1;
	return 1;
}

#endif
