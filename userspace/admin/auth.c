/* SPDX-License-Identifier: Apache-2.0 */
/* auth: see auth.h. */
#include "admin/auth.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define GROUPS_MAX 1024

static void host_add(struct auth *auth, const char *host)
{
	if (!host || !*host)
		return;
	char **hosts = realloc(auth->hosts, (auth->host_count + 1) * sizeof(*hosts));
	char *copy = hosts ? strdup(host) : NULL;
	if (hosts)
		auth->hosts = hosts;
	if (!copy)
		return;
	for (char *c = copy; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
	auth->hosts[auth->host_count++] = copy;
}

static int find_group(struct auth *auth, const char *name, struct buf *why)
{
	auth->group = -1;
	if (!name)
		return 0;
	errno = 0;
	const struct group *group = getgrnam(name);
	if (!group) {
		buf_printf(why, "admin.socket_group \"%s\": %s; create it with: addgroup --system %s", name,
			   errno ? strerror(errno) : "there is no such group", name);
		return errno ? -errno : -ENOENT;
	}
	auth->group = group->gr_gid;
	return 0;
}

int auth_init(struct auth *auth, const struct config *config, struct buf *why)
{
	*auth = (struct auth){0};
	host_add(auth, "localhost");
	host_add(auth, "127.0.0.1");
	host_add(auth, "::1");
	host_add(auth, config->admin.listen.host);
	for (size_t i = 0; i < config->admin.allowed_hosts.count; i++)
		host_add(auth, config->admin.allowed_hosts.items[i]);
	int err = find_group(auth, config->admin.socket_group, why);
	if (!err && getrandom(auth->limiter.key, sizeof(auth->limiter.key), 0) != sizeof(auth->limiter.key))
		err = -EIO;
	if (!err && config->admin.token_file) {
		auth->token_path = strdup(config->admin.token_file);
		err = auth->token_path ? tokens_load(auth->token_path, &auth->tokens, why) : -ENOMEM;
	}
	if (err)
		auth_fini(auth);
	return err;
}

int auth_read_again(const struct auth *auth, struct tokens *out, struct buf *why)
{
	*out = (struct tokens){0};
	return auth->token_path ? tokens_load(auth->token_path, out, why) : 0;
}

void auth_fini(struct auth *auth)
{
	tokens_fini(&auth->tokens);
	free(auth->token_path);
	for (size_t i = 0; i < auth->host_count; i++)
		free(auth->hosts[i]);
	free(auth->hosts);
	*auth = (struct auth){.group = -1};
}

/* --- who connected -------------------------------------------------------------------------------------- */

/* Is the peer in this group, by its first group or one of the others (SO_PEERGROUPS)? */
static bool in_group(int fd, gid_t first, int64_t group)
{
	gid_t groups[GROUPS_MAX];
	socklen_t bytes = sizeof(groups);
	if (group < 0)
		return false;
	if (first == (gid_t)group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes))
		return false;
	for (size_t i = 0; i < bytes / sizeof(groups[0]); i++) {
		if (groups[i] == (gid_t)group)
			return true;
	}
	return false;
}

static void local_peer(struct peer *peer, const struct auth *auth, int fd)
{
	struct ucred credentials = {.uid = (uid_t)-1, .gid = (gid_t)-1};
	socklen_t len = sizeof(credentials);
	bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) == 0;
	peer->uid = credentials.uid;
	if (known && (credentials.uid == 0 || credentials.uid == geteuid()))
		peer->role = ROLE_ADMIN;
	else if (known && in_group(fd, credentials.gid, auth->group))
		peer->role = ROLE_OPERATOR;
	snprintf(peer->address, sizeof(peer->address), "unix");
	snprintf(peer->who, sizeof(peer->who), "uid %u", credentials.uid);
}

void peer_init(struct peer *peer, const struct auth *auth, int fd, bool unix_socket)
{
	memset(peer, 0, sizeof(*peer));
	peer->unix_socket = unix_socket;
	if (unix_socket) {
		local_peer(peer, auth, fd);
		return;
	}
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);
	unsigned port = 0;
	snprintf(peer->ip, sizeof(peer->ip), "?");
	if (getpeername(fd, (struct sockaddr *)&address, &len) == 0) {
		if (address.ss_family == AF_INET) {
			const struct sockaddr_in *in = (const void *)&address;
			inet_ntop(AF_INET, &in->sin_addr, peer->ip, sizeof(peer->ip));
			limiter_network((const uint8_t *)&in->sin_addr, 4, peer->network);
			port = ntohs(in->sin_port);
		} else if (address.ss_family == AF_INET6) {
			const struct sockaddr_in6 *in = (const void *)&address;
			inet_ntop(AF_INET6, &in->sin6_addr, peer->ip, sizeof(peer->ip));
			limiter_network((const uint8_t *)&in->sin6_addr, 16, peer->network);
			port = ntohs(in->sin6_port);
		}
	}
	snprintf(peer->address, sizeof(peer->address), "%s:%u", peer->ip, port);
	snprintf(peer->who, sizeof(peer->who), "%s", peer->ip);
}

/* The host without port and brackets. */
static struct slice host_name(struct slice host)
{
	if (host.len && host.ptr[0] == '[') {
		const char *end = memchr(host.ptr, ']', host.len);
		return end ? slice_of(host.ptr + 1, (size_t)(end - host.ptr) - 1) : host;
	}
	const char *colon = host.len ? memchr(host.ptr, ':', host.len) : NULL;
	return colon ? slice_of(host.ptr, (size_t)(colon - host.ptr)) : host;
}

bool auth_host_is_ours(const struct auth *auth, struct slice host)
{
	struct slice name = host_name(host);
	for (size_t i = 0; i < auth->host_count; i++) {
		if (slice_equal_nocase(name, slice_str(auth->hosts[i])) ||
		    slice_equal_nocase(host, slice_str(auth->hosts[i])))
			return true;
	}
	return false;
}

bool auth_origin_is_ours(struct slice origin, struct slice host)
{
	if (!origin.ptr)
		return true;
	if (!slice_starts(origin, SLICE("http://")))
		return false;
	return slice_equal_nocase(slice_of(origin.ptr + 7, origin.len - 7), host);
}

enum auth_result auth_identify(struct auth *auth, struct slice authorization, uint64_t now_ns,
			       struct peer *peer)
{
	if (peer->unix_socket)
		return AUTH_KNOWN;
	/* Whoever the last request of this connection was from. */
	snprintf(peer->who, sizeof(peer->who), "%s", peer->ip);
	peer->role = auth->tokens.items ? ROLE_NONE : ROLE_ADMIN;
	if (!auth->tokens.items)
		return AUTH_KNOWN;
	if (authorization.len == 0)
		return AUTH_MISSING;
	if (limiter_wait_ms(&auth->limiter, peer->network, now_ns))
		return AUTH_LIMITED;
	const struct token *token = NULL;
	if (authorization.len > 7 && strncasecmp(authorization.ptr, "Bearer ", 7) == 0)
		token = tokens_find(&auth->tokens,
				    slice_trim(slice_of(authorization.ptr + 7, authorization.len - 7)));
	if (!token) {
		limiter_fail(&auth->limiter, peer->network, now_ns);
		return AUTH_WRONG;
	}
	peer->role = token->role;
	snprintf(peer->who, sizeof(peer->who), "token%s%s", token->name[0] ? " " : "", token->name);
	return AUTH_KNOWN;
}
