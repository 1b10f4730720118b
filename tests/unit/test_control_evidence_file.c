/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was counted survives a restart: the file by itself (any damage is found), then processes that come and
 * go over one state, against an oracle: what was saved last and is still about the same is there, exactly
 * once; everything else is zero.
 */
#include "test_control_support.h"

#include <fcntl.h>
#include <sys/stat.h>

static struct fake fake;
static char directory[256], path[300];
static uint64_t seed = 7;

static uint32_t die(uint32_t n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33) % n;
}

/* --- the text ------------------------------------------------------------------------------------------- */

static const uint8_t key[SIPHASH_KEY_SIZE] = "0123456789abcde",
		     other_key[SIPHASH_KEY_SIZE] = "0123456789abcdf";

static int opens(const struct buf *text, const uint8_t *with, struct slice *lines)
{
	return evidence_text_open(with, buf_slice(text), lines);
}

TEST(every_damage_is_found)
{
	struct slice content = SLICE("a 1 0 0 7 101 2\nb 1 0 0 8 5 0\n"), lines = {0};
	struct buf text = {0}, bad = {0};
	evidence_text_write(key, content, &text);
	CHECK_INT(opens(&text, key, &lines), 0);
	CHECK(slice_equal(lines, content));
	CHECK_INT(opens(&text, other_key, &lines), -EBADMSG);
	for (size_t bit = 0; bit < 8 * text.len; bit++) {
		buf_reset(&bad);
		buf_append(&bad, text.data, text.len);
		bad.data[bit / 8] ^= (char)(1 << bit % 8);
		CHECK(opens(&bad, key, &lines) != 0);
	}
	for (size_t len = 0; len < text.len; len++) {
		struct slice part = slice_of(text.data, len);
		CHECK(evidence_text_open(key, part, &lines) != 0);
	}
	for (unsigned i = 0; i < 20000; i++) {
		buf_reset(&bad);
		buf_append(&bad, text.data, text.len);
		for (unsigned n = 1 + die(8); n; n--)
			bad.data[die((uint32_t)text.len)] = (char)die(256);
		if (die(2))
			buf_append(&bad, text.data, die((uint32_t)text.len) + 1);
		if (slice_equal(buf_slice(&bad), buf_slice(&text)))
			continue;
		CHECK(opens(&bad, key, &lines) != 0);
	}
	buf_fini(&bad);
	buf_fini(&text);
	text = (struct buf){0};
	buf_append_str(&text, "phoenix-evidence 2 x");
	CHECK_INT(opens(&text, key, &lines), -EPROTO);
	buf_fini(&text);
}

TEST(no_evidence_is_a_text_too)
{
	struct buf text = {0};
	struct slice lines = SLICE("?");
	evidence_text_write(key, (struct slice){0}, &text);
	CHECK_INT(opens(&text, key, &lines), 0);
	CHECK_INT(lines.len, 0);
	buf_fini(&text);
}

/* --- processes over one state --------------------------------------------------------------------------- */

static void begin(void)
{
	const char *parent = getenv("TMPDIR");
	snprintf(directory, sizeof(directory), "%s/phoenix-evidence-XXXXXX", parent ? parent : "/tmp");
	if (!mkdtemp(directory))
		abort();
	snprintf(path, sizeof(path), "%s/state.json.evidence", directory);
}

static void end(void)
{
	char command[300];
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	CHECK_INT(system(command), 0);
}

static void start_with(const char *more)
{
	char text[1200];
	snprintf(text, sizeof(text),
		 "{\"state\":{\"store\":\"file\",\"path\":\"%s/"
		 "state.json\"},\"routes\":[{\"id\":\"a\",\"path\":\"/a\"," FAKE_URLS
		 ",\"arbiter\":{\"min_samples\":100000,\"rollback_min_samples\":100000,\"interval_ms\":1000}%"
		 "s}]}",
		 directory, more);
	fake_start(&fake, text);
	fake.control->evidence.active = true;
}

/* As it is before an end that nobody foresaw. */
static void crash(void)
{
	fake.control->evidence.active = false;
	fake_stop(&fake);
}

static struct route *a(void)
{
	return fake_route(&fake, "a");
}

static struct facts_view view(void)
{
	struct facts_view v;
	facts_settle(fake.control->facts);
	facts_read(fake.control->facts, a()->slot, &v);
	return v;
}

static void check_counts(uint64_t samples, uint64_t mismatches)
{
	CHECK_INT(view().now.samples, samples);
	CHECK_INT(view().now.mismatches, mismatches);
	CHECK_INT(view().build_samples, samples);
	CHECK_INT(view().build_mismatches, mismatches);
}

TEST(a_clean_stop_keeps_all)
{
	begin();
	start_with("");
	fake_samples(&fake, a(), 40, 3);
	struct facts_view before = view();
	CHECK(before.watch > 4);
	fake_stop(&fake);
	for (unsigned i = 0; i < 3; i++) {
		start_with("");
		check_counts(43, 3);
		CHECK_INT(view().total.samples, 0);
		fake_stop(&fake);
	}
	start_with("");
	fake_samples(&fake, a(), 10, 1);
	check_counts(54, 4);
	CHECK_INT(view().top_shape, 54);
	CHECK_INT(view().shapes, 1);
	crash();
	start_with("");
	check_counts(43, 3);
	fake_stop(&fake);
	end();
}

TEST(evidence_about_something_else_is_left_out)
{
	begin();
	/* Another step, by an order. */
	start_with("");
	fake_samples(&fake, a(), 20, 1);
	evidence_save(fake.control);
	CHECK_INT(fake_weight(&fake, "a", 1000), 0);
	crash();
	start_with("");
	check_counts(0, 0);
	/* Other code behind the same addresses. */
	fake_samples(&fake, a(), 20, 1);
	evidence_save(fake.control);
	fake.now.wall_ns += NS_PER_SEC;
	engine_new_build(&fake.control->engine, a(), fake.now);
	crash();
	start_with("");
	check_counts(0, 0);
	/* Other rules, another service. */
	fake_samples(&fake, a(), 20, 1);
	fake_stop(&fake);
	start_with(",\"compare\":{\"ignore\":[\"/x\"]}");
	check_counts(0, 0);
	fake_stop(&fake);
	/* Another state beside it. */
	start_with("");
	fake_samples(&fake, a(), 20, 1);
	fake_stop(&fake);
	char state[300];
	snprintf(state, sizeof(state), "%s/state.json", directory);
	CHECK_INT(unlink(state), 0);
	start_with("");
	check_counts(0, 0);
	CHECK(fake_event(&fake, "is damaged, or belongs to another state"));
	fake_stop(&fake);
	end();
}

static void overwrite(const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
	CHECK_INT(write(fd, text, len), (ssize_t)len);
	close(fd);
}

TEST(bad_content_is_refused_loudly)
{
	static const char *const contents[] = {"", "{}", "phoenix-evidence 1 ",
					       "phoenix-evidence 1 0000000000000000\na 1 0"};
	begin();
	for (unsigned i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
		overwrite(contents[i], strlen(contents[i]));
		start_with("");
		check_counts(0, 0);
		CHECK(fake_event(&fake, "the evidence of before the restart is not used"));
		fake_samples(&fake, a(), 5, 0);
		fake_stop(&fake);
		start_with("");
		check_counts(5, 0);
		fake_stop(&fake);
	}
	overwrite("phoenix-evidence 2 x", 20);
	start_with("");
	CHECK(fake_event(&fake, "was written by a newer version"));
	crash();
	/* One that is no file, and one that cannot be replaced. */
	CHECK_INT(unlink(path), 0);
	CHECK_INT(mkdir(path, 0700), 0);
	start_with("");
	CHECK(fake_event(&fake, "the evidence of before the restart is not used"));
	fake_samples(&fake, a(), 5, 0);
	evidence_save(fake.control);
	CHECK(fake.control->evidence.failed);
	CHECK_INT(rmdir(path), 0);
	evidence_save(fake.control);
	CHECK(!fake.control->evidence.failed);
	crash();
	start_with("");
	check_counts(5, 0);
	fake_stop(&fake);
	end();
}

TEST(who_does_not_have_the_state_does_not_write)
{
	static const enum handover_state states[] = {HANDOVER_FROZEN, HANDOVER_DONE};
	begin();
	start_with("");
	fake_samples(&fake, a(), 20, 0);
	evidence_save(fake.control);
	for (unsigned i = 0; i < 2; i++) {
		fake_samples(&fake, a(), 10, 0);
		fake.control->handover.state = states[i];
		evidence_save(fake.control);
	}
	fake_stop(&fake);
	start_with("");
	check_counts(20, 0);
	fake_stop(&fake);
	end();
}

TEST(the_watch_goes_on)
{
	begin();
	start_with(",\"weight\":1.0");
	CHECK_STR(fake_state(&fake, "a"), "complete");
	fake_samples(&fake, a(), 0, 2);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_state(&fake, "a"), "complete");
	fake_stop(&fake);
	start_with(",\"weight\":1.0");
	CHECK(view().watch > 3.2 && view().watch < 3.3);
	fake_tick(&fake, 2000);
	CHECK_STR(fake_state(&fake, "a"), "complete");
	fake_samples(&fake, a(), 0, 3);
	fake_tick(&fake, 2000);
	CHECK_STR(fake_state(&fake, "a"), "rolled_back");
	fake_stop(&fake);
	end();
}

TEST(in_a_fleet_only_the_watch)
{
	begin();
	start_with("");
	fake_samples(&fake, a(), 0, 2);
	evidence_save(fake.control);
	double watch = view().watch;
	/* The next process, had it Redis. */
	facts_new_build(fake.control->facts, a()->slot);
	struct facts_view before = view();
	fake.control->state.shared = true;
	evidence_restore(fake.control);
	CHECK_INT(view().now.samples, before.now.samples);
	CHECK_INT(view().build_samples, 0);
	CHECK(view().watch > watch - 1e-5 && view().watch <= watch);
	fake_stop(&fake);
	end();
}

/* --- at random -------------------------------------------------------------------------------------------
 */

TEST(histories_at_random)
{
	uint64_t counted[2] = {0}, saved[2] = {0};
	bool same = true; /* what was saved is about what acts now */
	begin();
	start_with("");
	for (unsigned i = 0; i < 400; i++) {
		fake.now.wall_ns += NS_PER_MS;
		unsigned what = die(10), good = die(20), bad = die(5);
		if (what < 4) {
			fake_samples(&fake, a(), good, bad);
			counted[0] += good + bad;
			counted[1] += bad;
		} else if (what < 6) {
			evidence_save(fake.control);
			memcpy(saved, counted, sizeof(saved));
			same = true;
		} else if (what == 6) {
			CHECK_INT(fake_weight(&fake, "a", 100 + die(5000)), 0);
			engine_new_build(&fake.control->engine, a(), fake.now);
			memset(counted, 0, sizeof(counted));
			same = false;
		} else {
			if (what == 7) {
				memcpy(saved, counted, sizeof(saved));
				same = true;
				fake_stop(&fake);
			} else {
				crash();
			}
			start_with("");
			if (!same)
				memset(saved, 0, sizeof(saved));
			memcpy(counted, saved, sizeof(counted));
		}
		check_counts(counted[0], counted[1]);
	}
	fake_stop(&fake);
	end();
}

UNIT_MAIN
