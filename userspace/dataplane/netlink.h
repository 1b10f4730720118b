/* SPDX-License-Identifier: Apache-2.0 */
/* netlink: the few questions that the NIC path asks the kernel's routing (rtnetlink(7)). One thread at a
 * time. */
#ifndef PHOENIX_DATAPLANE_NETLINK_H
#define PHOENIX_DATAPLANE_NETLINK_H

#include <phoenix/flow.h>

#include <stdbool.h>
#include <stdint.h>

/* A descriptor, or -errno. */
int netlink_open(void);

/* The way to an address. */
struct netlink_route {
	uint32_t ifindex;
	bool unicast;		 /* false: this machine's own address, or unreachable */
	struct phx_addr source;	 /* what this machine would call itself */
	struct phx_addr gateway; /* the next hop; the address itself when it is on the link */
};
/* 0 or -errno (-ENETUNREACH, ...). */
int netlink_route(int fd, const struct phx_addr *to, struct netlink_route *out);
/* Makes the kernel look the neighbour up, or refresh what it knows, as if something were sent. An entry that
 * is good is left alone, static ones above all. */
int netlink_neighbour_use(int fd, uint32_t ifindex, const struct phx_addr *address);

/* Is the address an IPv4 one, mapped (RFC 4291 2.5.5.2)? */
static inline bool phx_addr_is_v4(const struct phx_addr *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == __builtin_bswap32(0xffff);
}
static inline struct phx_addr phx_addr_v4(__be32 address)
{
	return (struct phx_addr){{0, 0, __builtin_bswap32(0xffff), address}};
}

#endif
