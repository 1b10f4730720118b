/* SPDX-License-Identifier: Apache-2.0 */
/* packet: see packet.h. */
#include "dataplane/packet.h"

#include "dataplane/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <unistd.h>

#define IP_TCP 6
#define TTL    64

static uint8_t *put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
	return at + 2;
}

static uint8_t *put32(uint8_t *at, uint32_t value)
{
	return put16(put16(at, value >> 16), value);
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

/* The Internet checksum's sum (RFC 1071), not folded. */
static uint32_t sum(const uint8_t *bytes, size_t len, uint32_t start)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		start += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	return len % 2 ? start + ((uint32_t)bytes[len - 1] << 8) : start;
}

static uint16_t fold(uint32_t value)
{
	while (value >> 16)
		value = (value & 0xffff) + (value >> 16);
	return (uint16_t)~value;
}

static uint8_t *put_ether(uint8_t *at, const struct packet *packet, bool v4)
{
	at = put(put(at, packet->dmac, 6), packet->smac, 6);
	if (packet->vlan)
		at = put16(put16(at, ETH_P_8021Q), packet->vlan - 1);
	return put16(at, v4 ? ETH_P_IP : ETH_P_IPV6);
}

static uint8_t *put_ip(uint8_t *at, const struct packet *packet, bool v4, size_t tcp_len)
{
	uint8_t *start = at;
	if (!v4) {
		at = put16(put32(at, 6u << 28), (uint32_t)tcp_len);
		*at++ = IP_TCP;
		*at++ = TTL;
		return put(put(at, &packet->src, 16), &packet->dst, 16);
	}
	at = put16(put16(at, 0x4500), (uint32_t)(20 + tcp_len));
	at = put16(put16(at, 0), 0x4000); /* don't fragment (RFC 791 3.1) */
	*at++ = TTL;
	*at++ = IP_TCP;
	at = put(put(put16(at, 0), &packet->src.word[3], 4), &packet->dst.word[3], 4);
	put16(start + 10, fold(sum(start, 20, 0)));
	return at;
}

size_t packet_write(const struct packet *packet, uint8_t *out, size_t size)
{
	bool v4 = phx_addr_is_v4(&packet->dst);
	size_t tcp_len = 20 + packet->payload.len;
	if (size < PACKET_HEADERS_MAX + packet->payload.len || tcp_len > 0xffff - 20)
		return 0;
	uint8_t *tcp = put_ip(put_ether(out, packet, v4), packet, v4, tcp_len), *at = tcp;
	at = put16(put16(at, packet->sport), packet->dport);
	at = put32(put32(at, packet->seq), packet->ack);
	*at++ = 5 << 4;
	*at++ = packet->flags;
	at = put32(put16(at, packet->window), 0);
	if (packet->payload.len)
		at = put(at, packet->payload.ptr, packet->payload.len);
	uint32_t pseudo = (uint32_t)tcp_len + IP_TCP;
	pseudo = v4 ? sum((const uint8_t *)&packet->src.word[3], 4, pseudo)
		    : sum((const uint8_t *)&packet->src, 16, pseudo);
	pseudo = v4 ? sum((const uint8_t *)&packet->dst.word[3], 4, pseudo)
		    : sum((const uint8_t *)&packet->dst, 16, pseudo);
	put16(tcp + 16, fold(sum(tcp, tcp_len, pseudo)));
	return (size_t)(at - out);
}

int packet_open(void)
{
	/* Protocol 0: it sends and never receives. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

int packet_send(int fd, const struct packet *packet)
{
	uint8_t frame[PACKET_HEADERS_MAX + 256];
	size_t len = packet_write(packet, frame, sizeof(frame));
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_ifindex = (int)packet->ifindex,
		.sll_halen = 6,
	};
	if (!len)
		return -EMSGSIZE;
	memcpy(to.sll_addr, packet->dmac, 6);
	return sendto(fd, frame, len, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

void packet_to_client(struct packet *packet, const struct phx_flow *flow)
{
	*packet = (struct packet){
		.src = flow->key.gateway,
		.dst = flow->key.client,
		.sport = flow->key.gateway_port,
		.dport = flow->key.client_port,
		.vlan = flow->vlan,
		.ifindex = flow->ifindex,
		.seq = flow->sent,
		.ack = flow->request_end,
	};
	memcpy(packet->dmac, flow->dmac, 6);
	memcpy(packet->smac, flow->smac, 6);
}

void packet_to_leg(struct packet *packet, const struct phx_leg *leg, uint16_t gateway_port)
{
	*packet = (struct packet){
		.src = leg->source,
		.dst = leg->addr,
		.sport = gateway_port,
		.dport = leg->port,
		.vlan = leg->vlan,
		.ifindex = leg->ifindex,
		.seq = leg->snd_nxt,
		.ack = leg->rcv_nxt,
	};
	memcpy(packet->dmac, leg->dmac, 6);
	memcpy(packet->smac, leg->smac, 6);
}
