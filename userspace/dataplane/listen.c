/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen: the addresses that clients connect to, as the programs know them: wildcards expanded over what the
 * machine has at the moment.
 */
#include "dataplane/plane.h"

#include "dataplane/netlink.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define LISTEN_KEYS_MAX 256

bool plane_parse_literal(const char *host, struct phx_addr *out)
{
	struct in_addr v4;
	if (inet_pton(AF_INET, host, &v4) == 1) {
		*out = phx_addr_v4(v4.s_addr);
		return true;
	}
	return inet_pton(AF_INET6, host, out) == 1;
}

/* Makes a hash map hold exactly these keys and values. */
void plane_map_sync(int fd, size_t key_size, size_t value_size, const void *keys, const void *values,
		    size_t count)
{
	char key[64], gone[64][64];
	size_t gone_count;
	_Static_assert(sizeof(struct phx_listen_key) <= 64, "a key fits");
	do {
		gone_count = 0;
		for (int end = bpf_map_get_next_key(fd, NULL, key); !end && gone_count < 64;
		     end = bpf_map_get_next_key(fd, key, key)) {
			bool wanted = false;
			for (size_t i = 0; i < count && !wanted; i++)
				wanted = memcmp((const char *)keys + i * key_size, key, key_size) == 0;
			if (!wanted)
				memcpy(gone[gone_count++], key, key_size);
		}
		for (size_t i = 0; i < gone_count; i++)
			bpf_map_delete_elem(fd, gone[i]);
	} while (gone_count == 64);
	for (size_t i = 0; i < count; i++)
		bpf_map_update_elem(fd, (const char *)keys + i * key_size,
				    (const char *)values + i * value_size, BPF_ANY);
}

struct listen_keys {
	struct phx_listen_key key[LISTEN_KEYS_MAX];
	size_t count;
};

/* Loopback never comes by a device, and a link-local address means something else on each. */
static bool is_reachable(const struct phx_addr *addr)
{
	if (phx_addr_is_v4(addr))
		return (ntohl(addr->word[3]) >> 24) != 127;
	const struct in6_addr *v6 = (const struct in6_addr *)(const void *)addr;
	return !IN6_IS_ADDR_LOOPBACK(v6) && !IN6_IS_ADDR_LINKLOCAL(v6);
}

static void listen_add(struct listen_keys *keys, const struct phx_addr *addr, uint32_t port)
{
	struct phx_listen_key key = {*addr, port};
	if (!is_reachable(addr) || keys->count == LISTEN_KEYS_MAX)
		return;
	for (size_t i = 0; i < keys->count; i++) {
		if (memcmp(&keys->key[i], &key, sizeof(key)) == 0)
			return;
	}
	keys->key[keys->count++] = key;
}

static void listen_add_all(struct listen_keys *keys, int family, uint32_t port)
{
	struct ifaddrs *list;
	if (getifaddrs(&list))
		return;
	for (const struct ifaddrs *a = list; a; a = a->ifa_next) {
		struct phx_addr addr;
		if (!a->ifa_addr || a->ifa_addr->sa_family != family)
			continue;
		if (family == AF_INET)
			addr = phx_addr_v4(
				((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr.s_addr);
		else
			memcpy(&addr, &((const struct sockaddr_in6 *)(const void *)a->ifa_addr)->sin6_addr,
			       16);
		listen_add(keys, &addr, port);
	}
	freeifaddrs(list);
}

/* "192.0.2.1:80", "0.0.0.0:80", "[::]:80"; others are not for the fast path. */
static void listen_expand(struct listen_keys *keys, const char *text)
{
	char host[64];
	struct phx_addr addr;
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	if (!len || len >= sizeof(host))
		return;
	bool bracket = text[0] == '[' && text[len - 1] == ']';
	snprintf(host, sizeof(host), "%.*s", (int)(bracket ? len - 2 : len), bracket ? text + 1 : text);
	uint32_t port = (uint32_t)strtoul(colon + 1, NULL, 10);
	if (!port || !plane_parse_literal(host, &addr))
		return;
	if (phx_addr_is_v4(&addr) && addr.word[3] == 0)
		listen_add_all(keys, AF_INET, port);
	else if (IN6_IS_ADDR_UNSPECIFIED((const struct in6_addr *)(const void *)&addr))
		listen_add_all(keys, AF_INET6, port);
	else
		listen_add(keys, &addr, port);
}

void plane_listen_refresh(struct dataplane *plane)
{
	struct listen_keys keys = {.count = 0};
	uint32_t ones[LISTEN_KEYS_MAX];
	for (size_t i = 0; i < plane->listen_count; i++)
		listen_expand(&keys, plane->listen[i]);
	for (size_t i = 0; i < keys.count; i++)
		ones[i] = 1;
	plane_map_sync(plane->maps.fd[PLANE_MAP_listen], sizeof(struct phx_listen_key), sizeof(uint32_t),
		       keys.key, ones, keys.count);
}
