/* SPDX-License-Identifier: Apache-2.0 */
/* evidence_file: see evidence_file.h. */
#include "control/evidence_file.h"

#include "base/log.h"
#include "control/control.h"
#include "control/value.h"
#include "store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define MAGIC	 "phoenix-evidence 1 "
#define FAMILY	 "phoenix-evidence "
#define EVERY_MS 2000
#define HEADER	 (sizeof(MAGIC) - 1 + 17) /* the seal as 16 digits, and the line's end */

/* --- the text ------------------------------------------------------------------------------------------- */

uint64_t evidence_text_seal(const uint8_t key[SIPHASH_KEY_SIZE], struct slice lines)
{
	return siphash24(key, lines.ptr, lines.len);
}

void evidence_text_write(const uint8_t key[SIPHASH_KEY_SIZE], struct slice lines, struct buf *out)
{
	buf_printf(out, MAGIC "%016" PRIx64 "\n", evidence_text_seal(key, lines));
	buf_append_slice(out, lines);
}

int evidence_text_open(const uint8_t key[SIPHASH_KEY_SIZE], struct slice text, struct slice *lines)
{
	struct buf header = {0};
	bool ours = text.len >= sizeof(MAGIC) - 1 && memcmp(text.ptr, MAGIC, sizeof(MAGIC) - 1) == 0;
	if (!ours && text.len >= sizeof(FAMILY) - 1 && memcmp(text.ptr, FAMILY, sizeof(FAMILY) - 1) == 0)
		return -EPROTO;
	if (!ours || text.len < HEADER)
		return -EBADMSG;
	struct slice rest = slice_of(text.ptr + HEADER, text.len - HEADER);
	buf_printf(&header, MAGIC "%016" PRIx64 "\n", evidence_text_seal(key, rest));
	bool sealed = !header.failed && memcmp(text.ptr, header.data, HEADER) == 0;
	buf_fini(&header);
	if (!sealed)
		return -EBADMSG;
	*lines = rest;
	return 0;
}

/* --- what it is about ----------------------------------------------------------------------------------- */

static bool path_of(const struct control *control, const char *suffix, char *out, size_t size)
{
	const struct state_config *state = &control->config->state;
	return state->kind != STORE_MEMORY && state->path &&
	       snprintf(out, size, "%s.evidence%s", state->path, suffix) < (int)size;
}

/*
 * The same before and after a restart, and another one as soon as a step, a build, an order or a definition
 * came between. Made from what is stored, not from what acts: what acts unstored is not there after a
 * restart.
 */
static uint64_t about(const struct control *control, const struct route *route)
{
	const char *id = route_config_of(route)->id;
	const json_t *record = state_migration(&control->state, id);
	const json_t *definition = state_definition(&control->state, id);
	struct buf text = {0};
	buf_printf(&text, "%s %s %" PRIu32, id, route->definition->print, route->migration.weight_bp);
	buf_printf(&text, " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
		   json_get_u64(record, "step"), json_get_u64(record, "step_at_ns"),
		   json_get_u64(json_object_get(record, "changed"), "at_ns"),
		   json_get_u64(record, "build_at_ns"), json_get_u64(definition, "at_ns"));
	uint64_t hash = siphash24(control->policy.key, text.data, text.len);
	bool failed = text.failed;
	buf_fini(&text);
	return failed ? 0 : hash;
}

/* --- reading -------------------------------------------------------------------------------------------- */

static bool restore_route(struct control *control, struct slice id, struct slice text)
{
	struct tally_report report;
	struct route *route = registry_find(&control->registry, id);
	if (!route || tally_report_read(text, &report) || !report.build ||
	    report.build != about(control, route))
		return false;
	struct facts_view seen = {0};
	tally_add_to_view(&seen, &report.counts);
	if (control->state.shared)
		seen = (struct facts_view){.watch = seen.watch};
	facts_restore(control->facts, route->slot, &seen);
	return true;
}

static void refuse(struct control *control, const char *path, const char *what)
{
	events_emit(&control->events, EVENT_ALERT, "alert", NULL, NULL,
		    "the evidence of before the restart is not used, counting begins anew: %s %s", path,
		    what);
}

static void take_in(struct control *control, const char *path, struct slice text)
{
	struct slice lines, line, id;
	unsigned taken = 0, left = 0;
	int err = evidence_text_open(control->policy.key, text, &lines);
	if (err) {
		refuse(control, path,
		       err == -EPROTO ? "was written by a newer version"
				      : "is damaged, or belongs to another state");
		return;
	}
	while (slice_split(&lines, '\n', &line)) {
		if (!line.len)
			continue;
		slice_split(&line, ' ', &id);
		if (restore_route(control, id, line))
			taken++;
		else
			left++;
	}
	if (taken + left)
		log_info("evidence", "%u of %u routes go on with the %s of before the restart", taken,
			 taken + left, control->state.shared ? "CUSUM" : "evidence");
}

void evidence_restore(struct control *control)
{
	char path[FILE_PATH_MAX + 32];
	if (!path_of(control, "", path, sizeof(path)))
		return;
	struct buf text = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int err = fd < 0 ? -errno : file_read_all(fd, EVIDENCE_FILE_MAX, &text);
	if (fd >= 0)
		close(fd);
	if (!err)
		take_in(control, path, buf_slice(&text));
	else if (err != -ENOENT)
		refuse(control, path, strerror(-err));
	buf_fini(&text);
}

/* --- writing -------------------------------------------------------------------------------------------- */

static bool is_worth(const struct tally_counts *counts)
{
	uint64_t all = counts->samples | counts->build_samples | counts->watch_millionths;
	for (unsigned i = 0; i < FACTS_REASON_COUNT; i++)
		all |= counts->not_comparable[i];
	return all != 0;
}

static void write_lines(struct control *control, struct buf *out)
{
	registry_each(&control->registry, route)
	{
		struct facts_view view;
		struct tally_report report = {.build = about(control, route)};
		facts_read(control->facts, route->slot, &view);
		tally_from_view(&report.counts, &view, view.step == route->migration.step);
		if (!is_worth(&report.counts))
			continue;
		buf_printf(out, "%s ", route_config_of(route)->id);
		tally_report_write(&report, out);
		buf_append_str(out, "\n");
	}
}

/* Not synced: a power cut may cost what was counted, and is found out by the seal. */
static int replace(const char *path, const char *temporary, struct slice text)
{
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	int err = fd < 0 ? -errno : file_write_all(fd, text);
	if (fd >= 0 && close(fd) && !err)
		err = -errno;
	if (!err && rename(temporary, path))
		err = -errno;
	if (err)
		unlink(temporary);
	return err;
}

static void tell_result(struct control *control, const char *path, int err)
{
	struct evidence_file *file = &control->evidence;
	if (err && !file->failed)
		log_error("evidence",
			  "%s cannot be written: %s; a restart would begin to count anew; trying again", path,
			  strerror(-err));
	if (!err && file->failed)
		log_info("evidence", "%s can be written again", path);
	file->failed = err != 0;
}

void evidence_save(struct control *control)
{
	struct evidence_file *file = &control->evidence;
	char path[FILE_PATH_MAX + 32], temporary[FILE_PATH_MAX + 32];
	if (!file->active || handover_is_frozen(&control->handover) ||
	    control->handover.state == HANDOVER_DONE || !path_of(control, "", path, sizeof(path)) ||
	    !path_of(control, ".tmp", temporary, sizeof(temporary)))
		return;
	struct buf lines = {0}, text = {0};
	write_lines(control, &lines);
	uint64_t seal = evidence_text_seal(control->policy.key, buf_slice(&lines));
	if (seal != file->seal) {
		evidence_text_write(control->policy.key, buf_slice(&lines), &text);
		int err = lines.failed || text.failed ? -ENOMEM : replace(path, temporary, buf_slice(&text));
		/* What lies there gets older and older: rather nothing than that. */
		if (err)
			unlink(path);
		file->seal = err ? 0 : seal;
		tell_result(control, path, err);
	}
	buf_fini(&lines);
	buf_fini(&text);
}

void evidence_tick(struct control *control, uint64_t now_ns)
{
	if (now_ns < control->evidence.next_ns)
		return;
	control->evidence.next_ns = now_ns + EVERY_MS * NS_PER_MS;
	evidence_save(control);
}
