/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet: TCP segments made from what a flow remembers, for the sweeper (which ends flows that ended
 * silently) and for the trace. Pure but for packet_send().
 */
#ifndef PHOENIX_DATAPLANE_PACKET_H
#define PHOENIX_DATAPLANE_PACKET_H

#include "base/slice.h"

#include <phoenix/flow.h>

#define PACKET_HEADERS_MAX 78 /* Ethernet, VLAN tag, IPv6, TCP */

#define PACKET_FIN 0x01
#define PACKET_RST 0x04
#define PACKET_PSH 0x08
#define PACKET_ACK 0x10

struct packet {
	struct phx_addr src, dst; /* both of one family */
	uint16_t sport, dport;
	uint8_t smac[6], dmac[6];
	uint32_t vlan; /* tag + 1; 0 = none */
	uint32_t ifindex;
	uint32_t seq, ack;
	uint16_t window;
	uint8_t flags;
	struct slice payload;
};

/* Writes the frame, checksums included. Its length, or 0 when `size` is too small. */
size_t packet_write(const struct packet *packet, uint8_t *out, size_t size);
/* A socket for packet_send, or -errno (-EPERM without CAP_NET_RAW). */
int packet_open(void);
int packet_send(int fd, const struct packet *packet);

/* Towards the flow's client, and towards the upstream of a leg; seq and ack are what each expects next. */
void packet_to_client(struct packet *packet, const struct phx_flow *flow);
void packet_to_leg(struct packet *packet, const struct phx_leg *leg, uint16_t gateway_port);

#endif
