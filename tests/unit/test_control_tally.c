/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tally: histories made at random against an oracle that remembers everything: what each gateway published
 * last, of what arrived. Whatever is lost, repeated or late, nothing is counted twice, and what was published
 * is counted once all was read again.
 */
#include "control/tally.h"
#include "unit.h"

#include <errno.h>

#define MEMBERS	 24 /* processes over all time: a restart is a new one */
#define GATEWAYS 4
#define KEPT	 64 /* publications that may still arrive */
#define BUILD	 UINT64_C(0xfedcba9876543210)

static uint64_t seed = 1;

static uint32_t die(uint32_t n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33) % n;
}

static struct tally *fresh(void)
{
	struct tally *tally = NULL;
	CHECK_INT(tally_create(&tally), 0);
	return tally;
}

static int take(struct tally *tally, const char *member, const char *route, struct tally_report report)
{
	return tally_take(tally, slice_str(member), slice_str(route), &report);
}

static struct tally_report report_of(uint64_t number, uint32_t step, uint64_t samples)
{
	return (struct tally_report){.number = number,
				     .step = step,
				     .build = BUILD,
				     .counts = {.samples = samples, .build_samples = samples + 1}};
}

/* --- a history ------------------------------------------------------------------------------------------ */

struct published {
	unsigned member;
	struct tally_report report;
};

struct history {
	struct tally *tally;
	struct tally_report live[MEMBERS];     /* what the process has counted */
	struct tally_report in_redis[MEMBERS]; /* what it published last */
	struct tally_report arrived[MEMBERS];  /* the newest that arrived: the oracle */
	unsigned process[GATEWAYS];	       /* of each gateway, now */
	unsigned processes;
	uint32_t step; /* the fleet's */
	struct published sent[KEPT];
	unsigned sent_count;
	uint64_t truth_samples, truth_mismatches; /* taken by gateways in this step, published or not */
};

static const char *name_of(unsigned member)
{
	static char name[32];
	snprintf(name, sizeof(name), "host-%u:%u", member % GATEWAYS, 1000 + member);
	return name;
}

static void deliver(struct history *h, unsigned member, const struct tally_report *report)
{
	int got = take(h->tally, name_of(member), "r", *report);
	CHECK_INT(got, report->number > h->arrived[member].number);
	if (report->number > h->arrived[member].number)
		h->arrived[member] = *report;
}

static void sample(struct history *h)
{
	struct tally_report *live = &h->live[h->process[die(GATEWAYS)]];
	bool mismatch = die(10) == 0;
	live->counts.samples++;
	live->counts.mismatches += mismatch;
	live->counts.build_samples++;
	live->counts.not_comparable[die(FACTS_REASON_COUNT)]++;
	h->truth_samples += live->step == h->step;
	h->truth_mismatches += mismatch && live->step == h->step;
}

static void publish(struct history *h, unsigned member, bool arrives)
{
	h->live[member].number++;
	h->in_redis[member] = h->live[member];
	if (arrives)
		deliver(h, member, &h->in_redis[member]);
	h->sent[h->sent_count++ % KEPT] = (struct published){member, h->in_redis[member]};
}

/* The gateway hears of the step: its counters of the step begin anew. */
static void follow(struct history *h, unsigned member)
{
	struct tally_report *live = &h->live[member];
	if (live->step == h->step)
		return;
	uint64_t build_samples = live->counts.build_samples;
	memset(&live->counts, 0, sizeof(live->counts));
	live->counts.build_samples = build_samples;
	live->step = h->step;
}

static void restart(struct history *h)
{
	if (h->processes == MEMBERS)
		return;
	unsigned gateway = die(GATEWAYS), old = h->process[gateway];
	/* What was not published is lost, and so it is in the truth. */
	if (h->live[old].step == h->step) {
		uint64_t kept = h->in_redis[old].step == h->step ? h->in_redis[old].counts.samples : 0;
		uint64_t kept_bad = h->in_redis[old].step == h->step ? h->in_redis[old].counts.mismatches : 0;
		h->truth_samples -= h->live[old].counts.samples - kept;
		h->truth_mismatches -= h->live[old].counts.mismatches - kept_bad;
	}
	h->process[gateway] = h->processes;
	h->live[h->processes++] = (struct tally_report){.step = h->step, .build = BUILD};
}

static void expect_sum(struct history *h, bool whole)
{
	struct tally_counts got, want = {0};
	unsigned members, in_it = 0;
	tally_sum(h->tally, SLICE("r"), NULL, h->step, BUILD, &got, &members);
	for (unsigned i = 0; i < h->processes; i++) {
		const struct tally_report *last = &h->arrived[i];
		if (last->number == 0)
			continue;
		in_it++;
		want.build_samples += last->counts.build_samples;
		if (last->step != h->step)
			continue;
		want.samples += last->counts.samples;
		want.mismatches += last->counts.mismatches;
		for (unsigned r = 0; r < FACTS_REASON_COUNT; r++)
			want.not_comparable[r] += last->counts.not_comparable[r];
	}
	CHECK_INT(got.samples, want.samples);
	CHECK_INT(got.mismatches, want.mismatches);
	CHECK_INT(got.build_samples, want.build_samples);
	CHECK_INT(members, in_it);
	CHECK(memcmp(got.not_comparable, want.not_comparable, sizeof(want.not_comparable)) == 0);
	CHECK_MSG(got.samples <= h->truth_samples, "%llu samples of %llu", (unsigned long long)got.samples,
		  (unsigned long long)h->truth_samples);
	if (whole) {
		CHECK_INT(got.samples, h->truth_samples);
		CHECK_INT(got.mismatches, h->truth_mismatches);
	}
}

/* Everybody publishes and everything is read again, as the periodic read does; the dead are still there. */
static void read_all(struct history *h)
{
	for (unsigned i = 0; i < GATEWAYS; i++)
		publish(h, h->process[i], false);
	for (unsigned i = 0; i < h->processes; i++) {
		if (h->in_redis[i].number)
			deliver(h, i, &h->in_redis[i]);
	}
}

static void play(uint64_t with_seed)
{
	struct history h = {.tally = fresh(), .step = 1, .processes = GATEWAYS};
	seed = with_seed;
	for (unsigned i = 0; i < GATEWAYS; i++) {
		h.process[i] = i;
		h.live[i] = (struct tally_report){.step = 1, .build = BUILD};
	}
	for (unsigned i = 0; i < 600; i++) {
		switch (die(12)) {
		default:
			sample(&h);
			break;
		case 6: /* lost on the way */
		case 7:
			publish(&h, h.process[die(GATEWAYS)], die(2));
			break;
		case 8: /* once more, or late */
			if (h.sent_count) {
				struct published *old =
					&h.sent[die(h.sent_count < KEPT ? h.sent_count : KEPT)];
				deliver(&h, old->member, &old->report);
			}
			break;
		case 9:
			follow(&h, h.process[die(GATEWAYS)]);
			break;
		case 10:
			if (die(8) == 0)
				restart(&h);
			break;
		case 11: /* another leader: it knows nothing and reads all */
			if (die(8) == 0) {
				tally_clear(h.tally);
				memset(h.arrived, 0, sizeof(h.arrived));
				read_all(&h);
				expect_sum(&h, true);
			} else if (die(8) == 0) {
				h.step++;
				h.truth_samples = h.truth_mismatches = 0;
			}
			break;
		}
		expect_sum(&h, false);
	}
	read_all(&h);
	expect_sum(&h, true);
	tally_destroy(h.tally);
}

TEST(histories)
{
	for (uint64_t i = 1; i <= 200; i++)
		play(i);
}

/* --- single rules --------------------------------------------------------------------------------------- */

TEST(repeated_and_late)
{
	struct tally *tally = fresh();
	struct tally_counts sum;
	CHECK_INT(take(tally, "a", "r", report_of(1, 5, 10)), 1);
	CHECK_INT(take(tally, "a", "r", report_of(3, 5, 30)), 1);
	CHECK_INT(take(tally, "a", "r", report_of(2, 5, 20)), 0);
	CHECK_INT(take(tally, "a", "r", report_of(3, 5, 30)), 0);
	CHECK_INT(take(tally, "b", "r", report_of(1, 5, 7)), 1);
	CHECK_INT(take(tally, "b", "other", report_of(9, 5, 1000)), 1);
	tally_sum(tally, SLICE("r"), NULL, 5, BUILD, &sum, NULL);
	CHECK_INT(sum.samples, 37);
	tally_sum(tally, SLICE("r"), "a", 5, BUILD, &sum, NULL);
	CHECK_INT(sum.samples, 7);
	tally_sum(tally, SLICE("r"), "nobody", 5, BUILD, &sum, NULL);
	CHECK_INT(sum.samples, 37);
	tally_forget(tally, SLICE("r"));
	tally_sum(tally, SLICE("r"), NULL, 5, BUILD, &sum, NULL);
	CHECK_INT(sum.samples, 0);
	tally_sum(tally, SLICE("other"), NULL, 5, BUILD, &sum, NULL);
	CHECK_INT(sum.samples, 1000);
	tally_destroy(tally);
}

TEST(another_step_or_build)
{
	struct tally *tally = fresh();
	struct tally_counts sum;
	unsigned members;
	take(tally, "a", "r", report_of(1, 5, 10));
	take(tally, "b", "r", report_of(1, 6, 20));
	struct tally_report other = report_of(1, 5, 40);
	other.build++;
	take(tally, "c", "r", other);
	tally_sum(tally, SLICE("r"), NULL, 5, BUILD, &sum, &members);
	CHECK_INT(sum.samples, 10);
	CHECK_INT(sum.build_samples, 11 + 21);
	CHECK_INT(members, 2);
	tally_sum(tally, SLICE("r"), NULL, 5, BUILD + 1, &sum, &members);
	CHECK_INT(sum.samples, 40);
	CHECK_INT(members, 1);
	tally_destroy(tally);
}

TEST(variety_is_not_added_up)
{
	struct tally *tally = fresh();
	struct tally_counts sum;
	struct tally_report a = report_of(1, 1, 10), b = report_of(1, 1, 20);
	a.counts.shapes = 3, a.counts.top_shape = 8, a.counts.legacy_keys = 9, a.counts.modern_keys = 1;
	b.counts.shapes = 2, b.counts.top_shape = 5, b.counts.legacy_keys = 4, b.counts.modern_keys = 5;
	a.counts.watch_millionths = 1500000, b.counts.watch_millionths = 900000;
	take(tally, "a", "r", a);
	take(tally, "b", "r", b);
	tally_sum(tally, SLICE("r"), NULL, 1, BUILD, &sum, NULL);
	CHECK_INT(sum.shapes, 3);
	CHECK_INT(sum.top_shape, 13);
	CHECK_INT(sum.legacy_keys, 9);
	CHECK_INT(sum.modern_keys, 1);
	CHECK_INT(sum.watch_millionths, 1500000);
	tally_destroy(tally);
}

TEST(many_routes)
{
	struct tally *tally = fresh();
	struct tally_counts sum;
	char id[32];
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(id, sizeof(id), "route-%u", i);
		take(tally, "a", id, report_of(1, 1, i));
		take(tally, "b", id, report_of(1, 1, 1));
	}
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(id, sizeof(id), "route-%u", i);
		tally_sum(tally, slice_str(id), NULL, 1, BUILD, &sum, NULL);
		CHECK_INT(sum.samples, i + 1);
	}
	size_t bytes = tally_bytes(tally);
	CHECK(bytes > 6000 * sizeof(struct tally_report) &&
	      bytes < 6000 * 2 * sizeof(struct tally_report) + 2000000);
	tally_destroy(tally);
}

TEST(limits)
{
	struct tally *tally = fresh();
	char name[TALLY_MEMBER_SIZE + 8];
	for (unsigned i = 0; i < TALLY_MEMBERS_MAX; i++) {
		snprintf(name, sizeof(name), "m%u", i);
		CHECK_INT(take(tally, name, "r", report_of(1, 1, 1)), 1);
	}
	CHECK_INT(take(tally, "one-more", "r", report_of(1, 1, 1)), -ENOSPC);
	CHECK_INT(take(tally, "m7", "r", report_of(2, 1, 1)), 1);
	memset(name, 'x', sizeof(name));
	name[TALLY_MEMBER_SIZE] = '\0';
	tally_clear(tally);
	CHECK_INT(take(tally, name, "r", report_of(1, 1, 1)), -ENOSPC);
	CHECK_INT(take(tally, "", "r", report_of(1, 1, 1)), -ENOSPC);
	CHECK_INT(take(tally, "a", "", report_of(1, 1, 1)), -EINVAL);
	CHECK_INT(take(tally, "a", name, report_of(1, 1, 1)), -EINVAL);
	tally_destroy(tally);
	tally_destroy(NULL);
}

TEST(written_and_read)
{
	struct tally_report report = report_of(UINT64_MAX - 1, UINT32_MAX, INT64_MAX), back = {0};
	report.build = UINT64_MAX;
	report.counts.samples = INT64_MAX;
	report.counts.build_samples = 0;
	report.counts.not_comparable[FACTS_REASON_COUNT - 1] = 17;
	struct buf text = {0};
	tally_report_write(&report, &text);
	CHECK_INT(tally_report_read(buf_slice(&text), &back), 0);
	CHECK(memcmp(&report.counts, &back.counts, sizeof(back.counts)) == 0);
	CHECK(back.number == report.number && back.build == report.build && back.step == report.step);
	/* Every beginning of it is refused, and everything behind it. */
	struct tally_report untouched = back;
	for (size_t len = 0; len < text.len; len++) {
		if (text.data[len - (len > 0)] >= '0' && len + 2 >= text.len)
			break; /* the last number, shorter: still a number */
		CHECK(tally_report_read(slice_of(text.data, len), &back) != 0);
	}
	CHECK(memcmp(&untouched, &back, sizeof(back)) == 0);
	buf_append_str(&text, " 1");
	CHECK_INT(tally_report_read(buf_slice(&text), &back), -EBADMSG);
	buf_fini(&text);
}

TEST(unreadable)
{
	static const struct {
		const char *text;
		int want;
	} rows[] = {
		{"", -EBADMSG},		{"x", -EBADMSG},
		{"2 1 1 1", -EPROTO},	{"1", -EBADMSG},
		{"1 -1 1 1", -EBADMSG}, {"1 1 4294967296 1", -EBADMSG},
		{"1 1  1 1", -EBADMSG}, {"1 18446744073709551616 1 1", -EBADMSG},
		{"1\t1 1 1", -EBADMSG},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tally_report report;
		CHECK_MSG(tally_report_read(slice_str(rows[i].text), &report) == rows[i].want, "%s",
			  rows[i].text);
	}
}

UNIT_MAIN
