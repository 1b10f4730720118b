/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow that another CPU, or the daemon's sweep, holds for longer than a program waits: the packet is
 * dropped and nothing of the flow has changed, so that the same packet, sent again, is served as if nothing
 * had been.
 */
#include "rows.h"

#include <string.h>

/* The bytes of the flow apart from its lock. */
static bool same_flow(struct phx_flow a, struct phx_flow b)
{
	a.lock = b.lock = 0;
	return memcmp(&a, &b, sizeof(a)) == 0;
}

/* Plays the packet with the flow locked, then, as its sender would, again. */
static void twice(struct talk *t, struct packet packet, struct expect expect)
{
	struct talk before = *t;
	struct phx_flow *flow = talk_flow(t), held;
	flow->lock = 1;
	held = *flow;
	play(t, packet, (struct expect)DROPS(BUSY));
	talk_checks += 2;
	if (!same_flow(*flow, held))
		talk_fail(t, "a flow that was not ours has changed");
	if (flow->lock != 1)
		talk_fail(t, "the lock of another was taken away");
	flow->lock = 0;
	before.failed = t->failed;
	*t = before;
	play(t, packet, expect);
	talk_checks++;
	if (flow->lock)
		talk_fail(t, "the lock was kept");
}

#define BUSY(id, state, ...)                                                                                 \
	static void id(struct talk *t)                                                                       \
	{                                                                                                    \
		state(t);                                                                                    \
		twice(t, __VA_ARGS__);                                                                       \
	}

BUSY(next_request, between, (struct packet){.text = GET("/legacy")},
     (struct expect)GOES_TO(UPSTREAM0, REQUEST))
BUSY(other_request, between, (struct packet){.text = GET("/modern")}, (struct expect)NEW_SYN(UPSTREAM1))
BUSY(hand_over, between, (struct packet){.text = GET("/nowhere")}, (struct expect)HANDS_OVER(NO_ROUTE))
BUSY(body, posting, (struct packet){.text = "56789"}, (struct expect)GOES_TO(UPSTREAM0, REQUEST_BODY))
BUSY(ack_up, answered, (struct packet){.flags = ACK}, (struct expect)GOES_TO(UPSTREAM0, ACK_UP))
BUSY(client_fin, between, (struct packet){.flags = FIN | ACK},
     (struct expect)ANSWERS(CLIENT, CLIENT_FIN, FIN | ACK))
BUSY(client_rst, between, (struct packet){.flags = RST | ACK},
     (struct expect){XDP_DROP, PHX_VERDICT_CLIENT_RST})
BUSY(syn_ack, syn_sent, (struct packet){.from = UPSTREAM0, .flags = SYN | ACK},
     (struct expect)ANSWERS(UPSTREAM0, REPLAY, PSH | ACK, .text = GET("/legacy")))
BUSY(response, request_sent, (struct packet){.from = UPSTREAM0, .text = OK5},
     (struct expect)GOES_TO(CLIENT, RESPONSE))
BUSY(rest, half_answered, (struct packet){.from = UPSTREAM0, .text = "llo"},
     (struct expect)GOES_TO(CLIENT, RESPONSE))
BUSY(ack_down, request_sent, (struct packet){.from = UPSTREAM0}, (struct expect)GOES_TO(CLIENT, ACK_DOWN))
BUSY(upstream_fin, between, (struct packet){.from = UPSTREAM0, .flags = FIN | ACK},
     (struct expect)ANSWERS(UPSTREAM0, UPSTREAM_FIN, RST | ACK))

#define SCRIPT(name, function)                                                                               \
	{                                                                                                    \
		name, function, .script = true                                                               \
	}

static const struct row busy_rows[] = {
	SCRIPT("next-request", next_request),
	SCRIPT("request-to-another", other_request),
	SCRIPT("hand-over", hand_over),
	SCRIPT("body", body),
	SCRIPT("ack-up", ack_up),
	SCRIPT("client-fin", client_fin),
	SCRIPT("client-rst", client_rst),
	SCRIPT("syn-ack", syn_ack),
	SCRIPT("response", response),
	SCRIPT("rest-of-response", rest),
	SCRIPT("ack-down", ack_down),
	SCRIPT("upstream-fin", upstream_fin),
};

ROWS_MAIN(TABLE(busy_rows))
