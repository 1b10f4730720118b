/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handover: a new daemon takes the place of the one that runs, and no request notices.
 *
 * What is handed over are the listening sockets themselves (SCM_RIGHTS over a Unix socket beside the admin
 * socket), so that a connection that waits in one of their queues is simply accepted by the other process.
 * Both sides of the conversation are here:
 *
 *   new  `phoenixd --takeover`: reads its configuration, then asks.
 *   old  sends its sockets, lets go of the state's lock, decides and writes nothing any more; requests go on.
 *   new  opens the state, starts its workers on the sockets and its admin interface, then says that it
 * serves. old  accepts no more, answers what it has begun (each connection's next answer says "Connection:
 * close"), and ends.
 *
 * A new one that fails or dies on the way is no harm: the old one takes the lock back and goes on.
 */
#ifndef PHOENIX_CONTROL_HANDOVER_H
#define PHOENIX_CONTROL_HANDOVER_H

#include "base/buf.h"
#include "config.h"

#include <stdbool.h>
#include <stdint.h>

struct control;

/* What a socket was for the old daemon. */
enum handover_kind {
	HANDOVER_REQUESTS,   /* of a worker; which address, it knows itself */
	HANDOVER_ADMIN_UNIX, /* admin.socket */
	HANDOVER_ADMIN_TCP,  /* admin.listen */
	HANDOVER_TAKEOVER,   /* the one that the next daemon will ask at */
	HANDOVER_KIND_COUNT,
};

/* The new daemon's side: sockets that nobody has claimed yet. */
struct inheritance {
	int connection; /* to the old daemon; -1 = nothing was inherited */
	int old_pid;
	struct inherited {
		int fd; /* -1 = claimed */
		enum handover_kind kind;
	} * sockets;
	size_t count;
};

/* Asks the daemon that runs with this configuration for its sockets. 0 or -errno with `why`; blocks, at most
 * for some seconds. */
int inheritance_take(const struct config *config, struct inheritance *out, struct buf *why);
/* The next unclaimed socket of that kind, which is the caller's from now on; -1 when there is none.
 * NULL-safe. */
int inheritance_claim(struct inheritance *inheritance, enum handover_kind kind);
/* "We serve": the old daemon goes. 0 or -errno with `why` (it is gone already, or took everything back). */
int inheritance_confirm(struct inheritance *inheritance, struct buf *why);
/* Closes what nobody claimed. Harmless for a zeroed one with connection -1. */
void inheritance_fini(struct inheritance *inheritance);

/* The old daemon's side, on the control thread. */
enum handover_state {
	HANDOVER_WAITS,	 /* nobody has asked */
	HANDOVER_ASKED,	 /* somebody is connected */
	HANDOVER_FROZEN, /* the sockets are out: nothing is decided or stored here */
	HANDOVER_DONE,	 /* the other one serves */
};

struct handover {
	int listener;	/* -1 = no admin.socket, so nobody can ask */
	int connection; /* -1 = none */
	int other_pid;
	enum handover_state state;
	uint64_t deadline_ns;
	int admin_fds[2]; /* Unix, TCP; borrowed from the admin server; -1 = none */
	char *path;	  /* of the listener, to be removed at the end */
};

void handover_init(struct handover *handover);
/* Listens beside admin.socket, or takes over the inherited listener. 0 or -errno with `why`. */
int handover_open(struct control *control, struct inheritance *inheritance, struct buf *why);
/* Takes what has come since the last tick; sets control->stopping when the other daemon serves. */
void handover_tick(struct control *control);
/* Nothing may be changed here any more (or for the moment). */
static inline bool handover_is_frozen(const struct handover *handover)
{
	return handover->state >= HANDOVER_FROZEN;
}
void handover_fini(struct handover *handover);

#endif
