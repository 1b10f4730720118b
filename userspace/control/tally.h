/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tally: what the gateways of a fleet have seen of a route, added up. Pure: no clock, no network.
 *
 * A gateway publishes cumulative counters: of the step it is in, and of the build (the code that answers now;
 * it is named by the step in which it came). Each publication replaces the one before it from the same
 * process, so one that is lost, repeated or late changes nothing, and nothing is counted twice. A process
 * that ended is a member that publishes no more: what it saw of this step goes on counting. A gateway that
 * was started again is another member.
 *
 * The sum over a step has only those who are in this step, by the counters that they had in it: who still
 * counts for the step before says nothing about this one.
 */
#ifndef PHOENIX_CONTROL_TALLY_H
#define PHOENIX_CONTROL_TALLY_H

#include "base/buf.h"
#include "control/facts.h"

#include <stdbool.h>
#include <stdint.h>

#define TALLY_MEMBER_SIZE 80   /* of a member's name, with its NUL */
#define TALLY_MEMBERS_MAX 1024 /* with those that ended and still count */

/* X(name): counters of the step; they are added up. */
#define TALLY_STEP(X)                                                                                        \
	X(samples)                                                                                           \
	X(mismatches) X(synthetic) X(synthetic_mismatches) X(errors) X(legacy_requests) X(modern_requests)
/* Of the step, and not to be added up: see tally_sum(). */
#define TALLY_VARIETY(X) X(shapes) X(top_shape) X(legacy_keys) X(modern_keys)
/* Of the build; they are added up. */
#define TALLY_BUILD(X) X(build_samples) X(build_mismatches) X(build_synthetic) X(build_synthetic_mismatches)

struct tally_counts {
#define X(name) uint64_t name;
	TALLY_STEP(X)
	TALLY_VARIETY(X)
	TALLY_BUILD(X)
#undef X
	uint64_t watch_millionths;		     /* CUSUM; the highest counts */
	uint64_t not_comparable[FACTS_REASON_COUNT]; /* of the step */
};

/* One publication about one route. */
struct tally_report {
	uint64_t number; /* grows with each of the same member */
	uint32_t step;
	uint64_t build;
	struct tally_counts counts;
};

/* As it travels: whole numbers separated by blanks, the first one the format's. */
void tally_report_write(const struct tally_report *report, struct buf *out);
/* -EBADMSG for anything else; *out untouched. A format of later versions is -EPROTO. */
int tally_report_read(struct slice text, struct tally_report *out);

struct tally;

int tally_create(struct tally **out);
void tally_destroy(struct tally *tally); /* NULL-safe */
/*
 * The member said this about the route. 1 when it is news, 0 when it is not newer than what is known of him,
 * -ENOSPC when there are too many members, -ENOMEM.
 */
int tally_take(struct tally *tally, struct slice member, struct slice route,
	       const struct tally_report *report);
/*
 * Adds up what all members but `except` (the caller, whose own counters are at hand; NULL: none) have seen of
 * the route in this step and of this build. shapes: of the member that saw most; top_shape: added up; keys:
 * of the member that saw most, by both sides. (Each of the three can only make the arbiter more cautious than
 * the truth.) *members (may be NULL): how many are in it.
 */
void tally_sum(const struct tally *tally, struct slice route, const char *except, uint32_t step,
	       uint64_t build, struct tally_counts *out, unsigned *members);
/* Forgets what is known of the route, or of everything. */
void tally_forget(struct tally *tally, struct slice route);
void tally_clear(struct tally *tally);
/* Bytes held. */
size_t tally_bytes(const struct tally *tally);
/* To *into by adding. */
void tally_add(struct tally_counts *into, const struct tally_counts *from);
/* What this gateway has seen, and the others: how varied samples are cannot be added up. */
void tally_add_to_view(struct facts_view *view, const struct tally_counts *others);
/* What this gateway has seen, but for requests; `current`: the view is of the present step. */
void tally_from_view(struct tally_counts *out, const struct facts_view *view, bool current);

#endif
