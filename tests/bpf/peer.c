/* SPDX-License-Identifier: Apache-2.0 */
/* peer: see peer.h. */
#include "peer.h"

#include <stdlib.h>
#include <string.h>

#define RTO_FIRST 60u
#define RTO_MAX	  480u

void peer_fini(struct peer_tcp *peer)
{
	free(peer->out);
	free(peer->in);
	free(peer->have);
	*peer = (struct peer_tcp){0};
}

static void begin(struct peer_tcp *peer, enum peer_state state, uint32_t iss)
{
	struct peer_tcp old = *peer;
	*peer = (struct peer_tcp){
		.state = state,
		.iss = iss,
		.scale = old.scale,
		.sack = old.sack,
		.mss = old.mss,
		.segment = 536,
		.out = old.out ? old.out : malloc(PEER_BUFFER),
		.in = old.in ? old.in : malloc(PEER_BUFFER),
		.have = old.have ? old.have : malloc(PEER_BUFFER),
		.fin_at = UINT32_MAX,
		.window = 1460,
		.rto = RTO_FIRST,
	};
	if (!peer->out || !peer->in || !peer->have)
		abort();
	memset(peer->have, 0, PEER_BUFFER);
}

void peer_connect(struct peer_tcp *peer, uint32_t iss)
{
	begin(peer, PEER_SYN_SENT, iss);
}

/* What the other offered in its SYN or SYN-ACK. */
static void take_offer(struct peer_tcp *peer, const struct seen *syn)
{
	peer->other_scale = NO_SCALE;
	for (size_t i = 0; i < syn->options_len && syn->options[i];) {
		const uint8_t *option = syn->options + i;
		if (option[0] == 1) {
			i++;
			continue;
		}
		if (option[0] == 2)
			peer->segment = (uint32_t)option[2] << 8 | option[3];
		if (option[0] == 3)
			peer->other_scale = option[2];
		i += option[1];
	}
	peer->scaled = peer->other_scale != NO_SCALE && peer->scale != NO_SCALE;
	if (peer->mss < peer->segment)
		peer->segment = peer->mss;
	peer->window = syn->window;
	peer->irs = syn->seq;
}

void peer_accept(struct peer_tcp *peer, uint32_t iss, const struct seen *syn)
{
	begin(peer, PEER_SYN_RECEIVED, iss);
	take_offer(peer, syn);
}

void peer_adopt(struct peer_tcp *peer, const struct seen *first)
{
	begin(peer, PEER_OPEN, first->ack - 1);
	peer->irs = first->seq - 1;
	peer->window = first->window;
	peer->other_scale = NO_SCALE;
}

bool peer_write(struct peer_tcp *peer, const void *bytes, uint32_t len)
{
	if (peer->out_len + len > PEER_BUFFER || peer->fin_queued)
		return false;
	memcpy(peer->out + peer->out_len, bytes, len);
	peer->out_len += len;
	return true;
}

void peer_close(struct peer_tcp *peer)
{
	peer->fin_queued = true;
}

uint32_t peer_seq(const struct peer_tcp *peer)
{
	return peer->iss + 1 + peer->nxt;
}

uint32_t peer_ack(const struct peer_tcp *peer)
{
	return peer->irs + 1 + peer->in_len + peer->fin_came;
}

bool peer_done(const struct peer_tcp *peer)
{
	return peer->fin_acked && peer->fin_came;
}

static void take_ack(struct peer_tcp *peer, const struct seen *segment)
{
	uint32_t at = segment->ack - peer->iss - 1, end = peer->out_len + peer->fin_queued;
	if (at > end || at > peer->nxt)
		return;
	peer->window = peer->scaled ? (uint32_t)segment->window << peer->other_scale : segment->window;
	if (at <= peer->una)
		return;
	peer->una = at;
	peer->rto = RTO_FIRST;
	peer->timer = 0;
	peer->tries = 0;
	peer->fin_acked = peer->fin_queued && at == end;
}

static void take_bytes(struct peer_tcp *peer, const struct seen *segment)
{
	uint32_t at = segment->seq - peer->irs - 1;
	for (uint32_t i = 0; i < segment->payload_len; i++) {
		int64_t place = (int64_t)(int32_t)at + i;
		if (place < peer->in_len || place >= PEER_BUFFER || place >= peer->in_len + 2 * PEER_WINDOW ||
		    place >= peer->fin_at)
			continue;
		peer->in[place] = segment->payload[i];
		peer->have[place] = 1;
	}
	if ((segment->flags & FIN) && (int32_t)(at + segment->payload_len) >= (int32_t)peer->in_len)
		peer->fin_at = at + (uint32_t)segment->payload_len;
	while (peer->in_len < PEER_BUFFER && peer->have[peer->in_len])
		peer->in_len++;
	peer->fin_came |= peer->in_len == peer->fin_at;
	peer->ack_due |= segment->payload_len || (segment->flags & FIN);
}

void peer_input(struct peer_tcp *peer, const struct seen *segment)
{
	if (segment->flags & RST) {
		bool exact = peer->state == PEER_SYN_SENT
				     ? (segment->flags & ACK) && segment->ack == peer->iss + 1
				     : segment->seq == peer_ack(peer);
		if (exact && peer->state != PEER_CLOSED)
			peer->state = PEER_RESET;
		return;
	}
	if (peer->state == PEER_SYN_SENT) {
		if ((segment->flags & (SYN | ACK)) != (SYN | ACK) || segment->ack != peer->iss + 1)
			return;
		take_offer(peer, segment);
		peer->state = PEER_OPEN;
		peer->ack_due = true;
		peer->timer = 0;
		return;
	}
	if (segment->flags & SYN) { /* again, or somebody else's: RFC 5961 4 */
		peer->ack_due = peer->state == PEER_OPEN;
		return;
	}
	if (peer->state == PEER_SYN_RECEIVED && (segment->flags & ACK) && segment->ack == peer->iss + 1) {
		peer->state = PEER_OPEN;
		peer->timer = 0;
	}
	if (peer->state != PEER_OPEN || !(segment->flags & ACK))
		return;
	take_ack(peer, segment);
	take_bytes(peer, segment);
	if ((int32_t)(segment->seq - peer_ack(peer)) < 0 && !segment->payload_len)
		peer->ack_due = true; /* a keep-alive, or of before */
}

static uint32_t own_window(const struct peer_tcp *peer)
{
	return peer->scaled ? PEER_WINDOW >> peer->scale : PEER_WINDOW;
}

static void arm(struct peer_tcp *peer, uint64_t tick)
{
	peer->timer = tick + peer->rto;
}

static bool output_syn(struct peer_tcp *peer, uint64_t tick, struct peer_segment *out)
{
	if (peer->timer > tick)
		return false;
	if (peer->timer && peer->rto < RTO_MAX)
		peer->rto *= 2;
	peer->tries++;
	arm(peer, tick);
	*out = (struct peer_segment){
		.flags = peer->state == PEER_SYN_SENT ? SYN : SYN | ACK,
		.seq = peer->iss,
		.ack = peer->state == PEER_SYN_SENT ? 0 : peer->irs + 1,
		.window = PEER_WINDOW,
	};
	return true;
}

/* Bytes from a position on, as many as chance wants; the FIN when they are the last. */
static void fill(struct peer_tcp *peer, uint32_t at, uint32_t chance, struct peer_segment *out)
{
	uint32_t room = peer->una + peer->window - at, left = at < peer->out_len ? peer->out_len - at : 0;
	uint32_t len = left < peer->segment ? left : peer->segment;
	if (len > 1 && chance % 3 == 0)
		len = 1 + chance / 3 % len;
	if (at + len > peer->una + peer->window)
		len = room;
	bool fin = peer->fin_queued && at + len == peer->out_len && (chance / 7 % 2 || !left);
	*out = (struct peer_segment){
		.flags = (uint8_t)(ACK | (len ? PSH : 0) | (fin ? FIN : 0)),
		.seq = peer->iss + 1 + at,
		.ack = peer_ack(peer),
		.window = own_window(peer),
		.bytes = peer->out + at,
		.len = len,
	};
	if (at + len + fin > peer->nxt)
		peer->nxt = at + len + fin;
	peer->ack_due = false;
}

bool peer_output(struct peer_tcp *peer, uint64_t tick, uint32_t chance, struct peer_segment *out)
{
	if (peer->state == PEER_SYN_SENT || peer->state == PEER_SYN_RECEIVED)
		return output_syn(peer, tick, out);
	if (peer->state != PEER_OPEN)
		return false;
	uint32_t end = peer->out_len + peer->fin_queued;
	if (peer->nxt < end && peer->nxt < peer->una + peer->window) {
		if (!peer->timer)
			arm(peer, tick);
		fill(peer, peer->nxt, chance, out);
		return true;
	}
	if (peer->una < peer->nxt && peer->timer && peer->timer <= tick) {
		if (peer->rto < RTO_MAX)
			peer->rto *= 2;
		peer->tries++;
		arm(peer, tick);
		fill(peer, peer->una, chance, out);
		return true;
	}
	if (peer->una < peer->nxt && !peer->timer)
		arm(peer, tick);
	if (!peer->ack_due)
		return false;
	peer->ack_due = false;
	*out = (struct peer_segment){
		.flags = ACK, .seq = peer_seq(peer), .ack = peer_ack(peer), .window = own_window(peer)};
	return true;
}
