/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth: who asks, and what may they do?
 *
 * A peer on the Unix socket is known by its uid (SO_PEERCRED): root and the daemon's own user are admins,
 * members of admin.socket_group operators, everybody else is refused. On TCP the Host must be one of ours
 * (against DNS rebinding), a browser's Origin must be the page's own, and with a token file a bearer token is
 * needed (RFC 6750); without one, whoever reaches the (loopback) address is an admin. Wrong tokens are
 * limited by address (limiter.h).
 */
#ifndef PHOENIX_ADMIN_AUTH_H
#define PHOENIX_ADMIN_AUTH_H

#include "admin/limiter.h"
#include "admin/tokens.h"
#include "config.h"

struct peer {
	bool unix_socket;
	uint32_t uid;
	enum role role;	    /* of this request: auth_identify(); on a Unix socket always the same */
	uint8_t network[8]; /* for the limiter */
	char address[64];   /* "127.0.0.1:4711", "unix" */
	char ip[46];	    /* "127.0.0.1"; "" on a Unix socket */
	char who[80];	    /* "uid 0", "token deploy", "127.0.0.1" */
};

struct auth {
	struct tokens tokens;
	char *token_path; /* NULL: no token is asked for */
	struct limiter limiter;
	int64_t group; /* gid of admin.socket_group; -1 = none */
	char **hosts;  /* Host values without port, lower case */
	size_t host_count;
};

/* Reads the token file and the hosts. 0 or -errno with `why`. */
int auth_init(struct auth *auth, const struct config *config, struct buf *why);
void auth_fini(struct auth *auth);
/* The token file again; on failure nothing changed. */
int auth_read_again(const struct auth *auth, struct tokens *out, struct buf *why);
/* Fills in who connected. */
void peer_init(struct peer *peer, const struct auth *auth, int fd, bool unix_socket);

/* Is the Host (port and case as they come) one of ours? */
bool auth_host_is_ours(const struct auth *auth, struct slice host);
/* Is the Origin the one of a page that was loaded from this Host? No Origin (empty) is fine. */
bool auth_origin_is_ours(struct slice origin, struct slice host);

enum auth_result {
	AUTH_KNOWN,   /* peer->role is what it is; perhaps less than is needed */
	AUTH_MISSING, /* a token is needed and none came */
	AUTH_WRONG,   /* what came is no token of ours */
	AUTH_LIMITED, /* too many wrong ones came from there: this one was not even looked at */
};
/* Who asks with this Authorization value (empty = none)? Sets peer->who and peer->role. */
enum auth_result auth_identify(struct auth *auth, struct slice authorization, uint64_t now_ns,
			       struct peer *peer);

#endif
