/* SPDX-License-Identifier: Apache-2.0 */
/* machine: see machine.h. The table of verbs is read by people too: one row a state, one column a verb. */
#include "control/machine.h"

#include <errno.h>

static const struct {
	const char *word, *help;
	unsigned rank;
} states[] = {
#define X(name, word, rank, help) {word, help, rank},
	MIGRATION_STATES(X)
#undef X
};

static const struct {
	const char *word, *help;
} verbs[] = {
#define X(name, word, help) {word, help},
	VERBS(X)
#undef X
};

/* A second rollback is no error: who is in a hurry must not be told that somebody was faster. */
static const bool allowed[MIGRATION_STATE_COUNT][VERB_COUNT] = {
	/*                      start  pause  resume promote rollback retry */
	[MIGRATION_IDLE] = {true, false, false, false, true, false},
	[MIGRATION_DEPLOYING] = {false, false, false, false, true, false},
	[MIGRATION_MIRRORING] = {false, true, false, true, true, false},
	[MIGRATION_MIGRATING] = {false, true, false, true, true, false},
	[MIGRATION_HOLDING] = {false, true, false, true, true, false},
	[MIGRATION_PAUSED] = {false, false, true, false, true, false},
	[MIGRATION_ROLLED_BACK] = {false, false, false, false, true, true},
	[MIGRATION_COMPLETE] = {false, false, false, false, true, false},
};

const char *migration_state_word(enum migration_state state)
{
	return states[state].word;
}

const char *migration_state_help(enum migration_state state)
{
	return states[state].help;
}

unsigned migration_state_rank(enum migration_state state)
{
	return states[state].rank;
}

const char *verb_word(enum verb verb)
{
	return verbs[verb].word;
}

const char *verb_help(enum verb verb)
{
	return verbs[verb].help;
}

int verb_parse(struct slice word, enum verb *verb)
{
	for (unsigned i = 0; i < VERB_COUNT; i++) {
		if (slice_equal(word, slice_str(verbs[i].word))) {
			*verb = (enum verb)i;
			return 0;
		}
	}
	return -ENOENT;
}

bool machine_allows(enum migration_state state, enum verb verb)
{
	return allowed[state][verb];
}

enum migration_state migration_state(const struct migration *migration, const struct migration_view *view)
{
	/* Deployed anew after a rollback: who waits for the end is not told of the last one's. */
	if (view->deploying)
		return MIGRATION_DEPLOYING;
	if (migration->latched)
		return MIGRATION_ROLLED_BACK;
	if (migration->paused)
		return MIGRATION_PAUSED;
	if (view->killed && (migration->started || migration->complete))
		return MIGRATION_HOLDING;
	/* Somebody else wrote to the policy (bpftool): what is shown must not claim otherwise. */
	if (view->set_bp != migration->weight_bp)
		return MIGRATION_HOLDING;
	if (migration->complete)
		return MIGRATION_COMPLETE;
	if (!migration->started)
		return migration->weight_bp ? MIGRATION_HOLDING : MIGRATION_IDLE;
	if (view->holding)
		return MIGRATION_HOLDING;
	return migration->weight_bp ? MIGRATION_MIGRATING : MIGRATION_MIRRORING;
}

void append_percent(struct buf *out, uint32_t bp)
{
	if (bp % 100 == 0)
		buf_printf(out, "%u%%", bp / 100);
	else if (bp % 10 == 0)
		buf_printf(out, "%u.%u%%", bp / 100, bp % 100 / 10);
	else
		buf_printf(out, "%u.%02u%%", bp / 100, bp % 100);
}

void text_copy(char *to, size_t size, struct slice from)
{
	size_t len = from.len < size ? from.len : size - 1;
	/* Not in the middle of a UTF-8 sequence. */
	while (len && len < from.len && ((unsigned char)from.ptr[len] & 0xc0) == 0x80)
		len--;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)from.ptr[i];
		to[i] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
	}
	to[len] = '\0';
}

void migration_headline(const struct migration *migration, const struct migration_view *view, struct buf *out)
{
	switch (migration_state(migration, view)) {
	case MIGRATION_IDLE:
		buf_append_str(out, "Not Started: 100% on Legacy");
		break;
	case MIGRATION_DEPLOYING:
		buf_printf(out, "Deploying Modern: %s", view->deploying);
		break;
	case MIGRATION_MIRRORING:
		buf_append_str(out, "Mirroring: 0% Traffic Shifted");
		break;
	case MIGRATION_MIGRATING:
		buf_append_str(out, "Migration in Progress: ");
		append_percent(out, migration->weight_bp);
		buf_append_str(out, " Traffic Shifted");
		break;
	case MIGRATION_HOLDING:
		buf_append_str(out, "Holding at ");
		append_percent(out, migration->weight_bp);
		if (view->killed) {
			buf_append_str(out, ": the kill switch is on");
		} else if (view->set_bp != migration->weight_bp) {
			buf_append_str(out, ": the data path has ");
			append_percent(out, view->set_bp);
		} else {
			buf_printf(out, ": %s",
				   migration->started && view->reason ? view->reason : "set by hand");
		}
		break;
	case MIGRATION_PAUSED:
		buf_append_str(out, "Paused at ");
		append_percent(out, migration->weight_bp);
		buf_printf(out, " by %s", migration->pause_by);
		break;
	case MIGRATION_ROLLED_BACK:
		buf_append_str(out, "Rollback triggered");
		break;
	case MIGRATION_COMPLETE:
		buf_append_str(out, "Migration Complete");
		break;
	case MIGRATION_STATE_COUNT:
		break;
	}
}
