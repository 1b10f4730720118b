/* SPDX-License-Identifier: Apache-2.0 */
/* The states, their exact words, and which verb is possible in which of them. */
#include "control/machine.h"
#include "unit.h"

#include <errno.h>

static const char *headline(const struct migration *m, const struct migration_view *view)
{
	static struct buf out;
	buf_reset(&out);
	migration_headline(m, view, &out);
	return buf_cstr(&out);
}

TEST(headlines_are_the_contract)
{
	static const struct {
		struct migration m;
		struct migration_view view;
		enum migration_state state;
		const char *words;
	} rows[] = {
		{{0}, {0}, MIGRATION_IDLE, "Not Started: 100% on Legacy"},
		{{0}, {.deploying = "building"}, MIGRATION_DEPLOYING, "Deploying Modern: building"},
		{{.started = true}, {0}, MIGRATION_MIRRORING, "Mirroring: 0% Traffic Shifted"},
		{{.started = true, .weight_bp = 3000},
		 {.set_bp = 3000},
		 MIGRATION_MIGRATING,
		 "Migration in Progress: 30% Traffic Shifted"},
		{{.started = true, .weight_bp = 50},
		 {.set_bp = 50},
		 MIGRATION_MIGRATING,
		 "Migration in Progress: 0.5% Traffic Shifted"},
		{{.started = true, .weight_bp = 1234},
		 {.set_bp = 1234},
		 MIGRATION_MIGRATING,
		 "Migration in Progress: 12.34% Traffic Shifted"},
		{{.started = true, .weight_bp = 10000},
		 {.set_bp = 10000},
		 MIGRATION_MIGRATING,
		 "Migration in Progress: 100% Traffic Shifted"},
		{{.started = true, .weight_bp = 3000},
		 {.set_bp = 3000, .holding = true, .reason = "12 of 100 samples seen"},
		 MIGRATION_HOLDING,
		 "Holding at 30%: 12 of 100 samples seen"},
		{{.weight_bp = 3000}, {.set_bp = 3000}, MIGRATION_HOLDING, "Holding at 30%: set by hand"},
		{{.weight_bp = 3000, .started = true},
		 {.killed = true},
		 MIGRATION_HOLDING,
		 "Holding at 30%: the kill switch is on"},
		{{.started = true},
		 {.killed = true},
		 MIGRATION_HOLDING,
		 "Holding at 0%: the kill switch is on"},
		{{.weight_bp = 10000, .complete = true},
		 {.killed = true},
		 MIGRATION_HOLDING,
		 "Holding at 100%: the kill switch is on"},
		{{0}, {.killed = true}, MIGRATION_IDLE, "Not Started: 100% on Legacy"},
		{{.weight_bp = 3000, .started = true},
		 {.set_bp = 5000},
		 MIGRATION_HOLDING,
		 "Holding at 30%: the data path has 50%"},
		{{.weight_bp = 3000, .started = true, .paused = true, .pause_by = "uid 0"},
		 {.set_bp = 3000},
		 MIGRATION_PAUSED,
		 "Paused at 30% by uid 0"},
		{{.started = true, .latched = true}, {0}, MIGRATION_ROLLED_BACK, "Rollback triggered"},
		{{.started = true, .latched = true, .paused = true, .pause_by = "x"},
		 {.deploying = "x"},
		 MIGRATION_DEPLOYING,
		 "Deploying Modern: x"},
		{{.started = true, .complete = true, .weight_bp = 10000},
		 {.set_bp = 10000},
		 MIGRATION_COMPLETE,
		 "Migration Complete"},
		/* complete only when wanted = set = 100 % */
		{{.started = true, .complete = true, .weight_bp = 10000},
		 {.set_bp = 0},
		 MIGRATION_HOLDING,
		 "Holding at 100%: the data path has 0%"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_STR(headline(&rows[i].m, &rows[i].view), rows[i].words);
		CHECK_INT(migration_state(&rows[i].m, &rows[i].view), rows[i].state);
	}
}

TEST(verbs_by_state)
{
	/*                                 start pause resume promote rollback retry */
	static const char *const possible[MIGRATION_STATE_COUNT] = {
		[MIGRATION_IDLE] = "s...b.",	    [MIGRATION_DEPLOYING] = "....b.",
		[MIGRATION_MIRRORING] = ".p.mb.",   [MIGRATION_MIGRATING] = ".p.mb.",
		[MIGRATION_HOLDING] = ".p.mb.",	    [MIGRATION_PAUSED] = "..r.b.",
		[MIGRATION_ROLLED_BACK] = "....by", [MIGRATION_COMPLETE] = "....b.",
	};
	for (unsigned state = 0; state < MIGRATION_STATE_COUNT; state++) {
		for (unsigned verb = 0; verb < VERB_COUNT; verb++)
			CHECK_MSG(machine_allows((enum migration_state)state, (enum verb)verb) ==
					  (possible[state][verb] != '.'),
				  "%s in %s", verb_word((enum verb)verb),
				  migration_state_word((enum migration_state)state));
		CHECK(machine_allows((enum migration_state)state, VERB_ROLLBACK));
	}
}

TEST(verbs_are_words)
{
	enum verb verb = VERB_COUNT;
	CHECK_INT(verb_parse(SLICE("rollback"), &verb), 0);
	CHECK_INT(verb, VERB_ROLLBACK);
	CHECK_INT(verb_parse(SLICE("explode"), &verb), -ENOENT);
	CHECK_INT(verb_parse(SLICE(""), &verb), -ENOENT);
	CHECK_INT(verb, VERB_ROLLBACK);
}

TEST(worst_state_speaks_first)
{
	static const enum migration_state order[] = {
		MIGRATION_ROLLED_BACK, MIGRATION_HOLDING,   MIGRATION_DEPLOYING, MIGRATION_MIGRATING,
		MIGRATION_PAUSED,      MIGRATION_MIRRORING, MIGRATION_IDLE,	 MIGRATION_COMPLETE};
	for (unsigned i = 1; i < MIGRATION_STATE_COUNT; i++)
		CHECK(migration_state_rank(order[i - 1]) > migration_state_rank(order[i]));
}

TEST(texts_are_cut_whole)
{
	char field[8];
	text_copy(field, sizeof(field), SLICE("abcdefghij"));
	CHECK_STR(field, "abcdefg");
	text_copy(field, sizeof(field), SLICE("abcde\xc3\xa4\xc3\xa4"));
	CHECK_STR(field, "abcde\xc3\xa4");
	text_copy(field, sizeof(field), SLICE("abcdef\xc3\xa4"));
	CHECK_STR(field, "abcdef");
	text_copy(field, sizeof(field), SLICE("a\nb\x1b[1m"));
	CHECK_STR(field, "a b [1m");
	text_copy(field, sizeof(field), (struct slice){0});
	CHECK_STR(field, "");
}

UNIT_MAIN
