/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth: who asks, and may they?
 *
 * A peer on the Unix socket is known by its uid (SO_PEERCRED): who may connect is decided by the socket's
 * mode. On TCP the Host must be one of ours (against DNS rebinding), a browser's Origin must be the page's
 * own, and with a token file a bearer token is needed (RFC 6750), compared in constant time.
 */
#ifndef PHOENIX_ADMIN_AUTH_H
#define PHOENIX_ADMIN_AUTH_H

#include "base/buf.h"
#include "config.h"

#define AUTH_TOKENS_MAX	      64
#define AUTH_TOKEN_BYTES_MAX  512
#define AUTH_TOKEN_BYTES_MIN  8
#define AUTH_TOKEN_NAME_BYTES 64

struct peer {
	bool unix_socket;
	uint32_t uid;
	char address[64]; /* "127.0.0.1:4711", "unix" */
	char who[80];	  /* "uid 0", "token deploy", "127.0.0.1" */
};

struct auth_token {
	char name[AUTH_TOKEN_NAME_BYTES];
	char secret[AUTH_TOKEN_BYTES_MAX + 1];
	size_t len;
};

struct auth {
	struct auth_token *tokens; /* NULL: no token is asked for */
	size_t token_count;
	char **hosts; /* Host values without port, lower case */
	size_t host_count;
};

/* Reads the token file and the hosts. 0 or -errno with `why`. */
int auth_init(struct auth *auth, const struct config *config, struct buf *why);
void auth_fini(struct auth *auth);
/* Fills in who connected. */
void peer_init(struct peer *peer, int fd, bool unix_socket);

/* Is the Host (port and case as they come) one of ours? */
bool auth_host_is_ours(const struct auth *auth, struct slice host);
/* Is the Origin the one of a page that was loaded from this Host? No Origin (empty) is fine. */
bool auth_origin_is_ours(struct slice origin, struct slice host);
/* Does the Authorization value carry a token of ours? On success peer->who names it. */
bool auth_token_is_ours(const struct auth *auth, struct slice authorization, struct peer *peer);

#endif
