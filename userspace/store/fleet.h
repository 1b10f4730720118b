/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fleet: what gateways that share a Redis tell each other besides records: who leads, who is there, and what
 * each has seen. A thread of its own with a connection of its own, so that nobody waits for Redis here.
 *
 * Who leads is a lease: a key with a time to live, renewed several times within it. Each new holder gets a
 * fence, a number that only grows, and the writes that a lease allows carry it (store.h): Redis refuses those
 * of a holder who was replaced while he slept. A lease is good until a moment of this machine's clock that
 * was taken before Redis was asked, so its holder always stops before another one can begin, if he looks at
 * the clock; if not, there is the fence.
 *
 * What a gateway has seen is a text for each route, made and understood by control/. It replaces the one
 * before. The holder of the lease reads the others': what is new of each, and everything when he begins or
 * missed something.
 */
#ifndef PHOENIX_STORE_FLEET_H
#define PHOENIX_STORE_FLEET_H

#include "base/buf.h"
#include "store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define FLEET_NAME_SIZE	       80 /* of a member, with its NUL */
#define FLEET_MEMBERS_MAX      1024
#define FLEET_REPORT_BYTES_MAX 1024
#define FLEET_TAKE_MAX	       4096 /* reports handed out at once: control has other things to do */
#define FLEET_KEEP_S	       3600 /* what a member that ended had seen is kept for so long */

struct fleet_link;

struct fleet_link_options {
	struct store *store; /* a Redis; borrowed until fleet_link_close() */
	uint32_t lease_ms;
	const char *instance; /* of this process; [A-Za-z0-9._:-] */
	const char *about;    /* one line for others: where it listens, its version */
};

/* Starts the thread; Redis need not be there. 0 or -errno with `why`. */
int fleet_link_open(const struct fleet_link_options *options, struct fleet_link **out, struct buf *why);
/* Gives a lease up and leaves. NULL-safe. */
void fleet_link_close(struct fleet_link *link);

struct fleet_lease {
	bool reachable;		      /* Redis answered the last time it was asked */
	bool known;		      /* who leads is known */
	uint64_t fence;		      /* of our lease; 0 = we do not lead */
	uint64_t until_ns;	      /* CLOCK_MONOTONIC: our lease ends */
	char leader[FLEET_NAME_SIZE]; /* "" = nobody */
	uint64_t left_ms;	      /* of the leader's lease, when Redis was asked */
	uint64_t answered_ns;	      /* when it answered last; 0 = never */
	uint64_t takeovers;	      /* how often this process got the lease */
	uint64_t losses;	      /* how often Redis had forgotten what we had published: say all again */
	char error[256];	      /* why it is not reachable */
};
void fleet_link_lease(struct fleet_link *link, struct fleet_lease *out);
/* Does not ask for the lease, or no longer (it is given up), until it wants to again: while another daemon
 * takes over. */
void fleet_link_want(struct fleet_link *link, bool want);

/* What this gateway has seen of the route, from now on; sent within a moment. -ENOMEM, -EINVAL. */
int fleet_link_publish(struct fleet_link *link, struct slice route, struct slice text);
/* Does nothing that was said before count any more (we lead anew, or something was missed)? Everything
 * follows. */
bool fleet_link_again(struct fleet_link *link);
/* The next of what others said, at most FLEET_TAKE_MAX, in the order of each: only while we lead. Returns how
 * many. */
size_t fleet_link_take(struct fleet_link *link,
		       void (*on_report)(void *context, struct slice member, struct slice route,
					 struct slice text),
		       void *context);
/* [{"id", "about", "age_ms", "reports"}]: as Redis had them a moment ago; a new reference. */
json_t *fleet_link_members(struct fleet_link *link);
/* Commands sent to Redis so far. */
uint64_t fleet_link_commands(const struct fleet_link *link);

#endif
