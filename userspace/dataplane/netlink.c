/* SPDX-License-Identifier: Apache-2.0 */
/* netlink: see netlink.h. Requests are answered at once; a lost answer ends in a timeout of a second. */
#include "dataplane/netlink.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct request {
	struct nlmsghdr header;
	union {
		struct rtmsg route;
		struct ndmsg neighbour;
	};
	char attributes[64];
};

int netlink_open(void)
{
	struct timeval limit = {.tv_sec = 1};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static void add_address(struct request *request, unsigned short type, const struct phx_addr *address)
{
	bool v4 = phx_addr_is_v4(address);
	unsigned short len = v4 ? 4 : 16;
	struct rtattr *attribute = (void *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));
	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(attribute), v4 ? &address->word[3] : &address->word[0], len);
	request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

/* The answer to the request into `answer`; its length or -errno. An acknowledgement is 0. */
static int ask(int fd, struct request *request, void *answer, size_t size)
{
	static uint32_t sequence;
	request->header.nlmsg_seq = ++sequence;
	if (send(fd, request, request->header.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t got = recv(fd, answer, size, 0);
		if (got < 0)
			return -errno;
		const struct nlmsghdr *header = answer;
		if (!NLMSG_OK(header, (size_t)got))
			return -EBADMSG;
		if (header->nlmsg_seq != sequence)
			continue;
		if (header->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(header))->error;
		return (int)got;
	}
}

static struct phx_addr address_of(const struct rtattr *attribute)
{
	struct phx_addr address = {{0}};
	if (RTA_PAYLOAD(attribute) == 4) {
		__be32 v4;
		memcpy(&v4, RTA_DATA(attribute), 4);
		return phx_addr_v4(v4);
	}
	if (RTA_PAYLOAD(attribute) == 16)
		memcpy(&address, RTA_DATA(attribute), 16);
	return address;
}

/* RTA_VIA: a next hop of the other family. */
static struct phx_addr address_of_via(const struct rtattr *attribute)
{
	const struct rtvia *via = RTA_DATA(attribute);
	struct phx_addr address = {{0}};
	if (via->rtvia_family == AF_INET6)
		memcpy(&address, via->rtvia_addr, 16);
	return address;
}

int netlink_route(int fd, const struct phx_addr *to, struct netlink_route *out)
{
	_Alignas(8) char answer[4096];
	bool v4 = phx_addr_is_v4(to);
	struct request request = {
		.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
			   .nlmsg_type = RTM_GETROUTE,
			   .nlmsg_flags = NLM_F_REQUEST},
		.route = {.rtm_family = v4 ? AF_INET : AF_INET6, .rtm_dst_len = v4 ? 32 : 128},
	};
	add_address(&request, RTA_DST, to);
	int len = ask(fd, &request, answer, sizeof(answer));
	if (len <= 0)
		return len ? len : -EBADMSG;
	const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
	const struct rtmsg *route = NLMSG_DATA(header);
	struct netlink_route found = {.unicast = route->rtm_type == RTN_UNICAST, .gateway = *to};
	size_t rest = RTM_PAYLOAD(header);
	for (const struct rtattr *a = (const void *)((const char *)route + NLMSG_ALIGN(sizeof(*route)));
	     rest >= sizeof(*a) && a->rta_len >= sizeof(*a) && a->rta_len <= rest;
	     a = (const void *)((const char *)a + RTA_ALIGN(a->rta_len))) {
		if (a->rta_type == RTA_OIF)
			memcpy(&found.ifindex, RTA_DATA(a), sizeof(found.ifindex));
		else if (a->rta_type == RTA_PREFSRC)
			found.source = address_of(a);
		else if (a->rta_type == RTA_GATEWAY)
			found.gateway = address_of(a);
		else if (a->rta_type == RTA_VIA)
			found.gateway = address_of_via(a);
		rest -= RTA_ALIGN(a->rta_len) < rest ? RTA_ALIGN(a->rta_len) : rest;
	}
	*out = found;
	return 0;
}

/* A request about the neighbour. */
static struct request neighbour_request(uint16_t type, uint16_t flags, uint32_t ifindex,
					const struct phx_addr *address)
{
	struct request request = {
		.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ndmsg)),
			   .nlmsg_type = type,
			   .nlmsg_flags = NLM_F_REQUEST | flags},
		.neighbour = {.ndm_family = phx_addr_is_v4(address) ? AF_INET : AF_INET6,
			      .ndm_ifindex = (int)ifindex},
	};
	add_address(&request, NDA_DST, address);
	return request;
}

/* What the kernel knows of the neighbour: NUD_ bits, 0 when nothing. */
static uint16_t neighbour_state(int fd, uint32_t ifindex, const struct phx_addr *address)
{
	_Alignas(8) char answer[1024];
	struct request request = neighbour_request(RTM_GETNEIGH, 0, ifindex, address);
	int len = ask(fd, &request, answer, sizeof(answer));
	if (len < (int)NLMSG_LENGTH(sizeof(struct ndmsg)))
		return 0;
	return ((const struct ndmsg *)NLMSG_DATA((const struct nlmsghdr *)answer))->ndm_state;
}

int netlink_neighbour_use(int fd, uint32_t ifindex, const struct phx_addr *address)
{
	_Alignas(8) char answer[1024];
	/* NTF_USE would begin anew with an entry that needs no looking up, and take a static one away. */
	if (neighbour_state(fd, ifindex, address) &
	    (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_DELAY | NUD_PROBE))
		return 0;
	struct request request = neighbour_request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_ACK, ifindex, address);
	request.neighbour.ndm_flags = NTF_USE;
	int got = ask(fd, &request, answer, sizeof(answer));
	return got < 0 ? got : 0;
}
