/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay: every decision of a ledger decided again from its own record (judge/record.h).
 *
 * The records come from a file (the daemon's ledger, state.decisions.jsonl, or what `decisions ROUTE -o json`
 * printed), from stdin, or of a route from the daemon. The arbiter is this program's own: no daemon has a
 * part in it, so a ledger can be checked on another machine, or by another version.
 */
#include "config_report.h"
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/talk.h"
#include "judge/record.h"

#include <inttypes.h>
#include <unistd.h>

#define LEDGER_BYTES_MAX (64u << 20)

/* One JSON text: {"decisions": […]}, […] or a single record. NULL when it is none of these. */
static json_t *records_of_text(struct slice text)
{
	json_t *json = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, NULL);
	json_t *list = json_is_array(json)		    ? json
		       : json_object_get(json, "decisions") ? json_object_get(json, "decisions")
							    : NULL;
	json_t *records = NULL;
	if (json_is_array(list))
		records = json_incref(list);
	else if (json_is_object(json) && !json_object_get(json, "decisions"))
		records = json_pack("[O]", json);
	json_decref(json);
	return records;
}

/* One record a line. A last line without its end was cut by a crash, which is no fault of the ledger's. */
static json_t *records_of_lines(const struct ctl *ctl, const char *path, struct slice text)
{
	json_t *records = json_array();
	for (size_t line = 1; text.len; line++) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end ? (size_t)(end - text.ptr) : text.len;
		json_error_t error;
		json_t *record = len ? json_loadb(text.ptr, len, JSON_REJECT_DUPLICATES, &error) : NULL;
		if (record) {
			json_array_append_new(records, record);
		} else if (len && !end) {
			talk_note(ctl, "%s:%zu: the last line is cut and left out", path, line);
		} else if (len) {
			talk_error(ctl, "%s:%zu: no record of a ledger: %s", path, line, error.text);
			json_decref(records);
			return NULL;
		}
		text.ptr += len + (end != NULL);
		text.len -= len + (end != NULL);
	}
	return records;
}

static int read_records(const struct ctl *ctl, const char *path, json_t **out)
{
	struct buf text = {0};
	json_t *records = NULL;
	int err = talk_read_text(path, LEDGER_BYTES_MAX, &text);
	int status = err ? talk_unreadable(ctl, path, err, LEDGER_BYTES_MAX) : CTL_DONE;
	if (status == CTL_DONE) {
		records = records_of_text(buf_slice(&text));
		if (!records)
			records = records_of_lines(ctl, path, buf_slice(&text));
		if (records && json_array_size(records) == 0)
			talk_error(ctl, "%s: there is no decision in it", path);
		if (json_array_size(records) == 0)
			status = CTL_FAILED;
	}
	buf_fini(&text);
	*out = records;
	return status;
}

struct replay {
	size_t same, by_people;
	json_t *different; /* the first one, NULL = none */
};

static void replay_all(const struct ctl *ctl, const json_t *records, struct replay *replay)
{
	json_t *record;
	size_t i;
	json_array_foreach(records, i, record)
	{
		struct buf why = {0};
		enum record_result result = RECORD_DIFFERS;
		if (json_is_object(record))
			result = record_replay(record, &why);
		else
			buf_append_str(&why, "it is no record");
		replay->same += result == RECORD_SAME;
		replay->by_people += result == RECORD_PERSON;
		if (result == RECORD_DIFFERS)
			replay->different = json_pack(
				"{s:I, s:s, s:s, s:s, s:s}", "number", (json_int_t)i + 1, "route",
				field_text(record, "route", "?"), "at", field_text(record, "at", "?"),
				"action", field_text(record, "action", "?"), "why", buf_cstr(&why));
		buf_fini(&why);
		if (result == RECORD_DIFFERS)
			break;
	}
}

static int report(const struct ctl *ctl, const json_t *records, const struct replay *replay)
{
	const json_t *d = replay->different;
	struct buf out = {0};
	int status = CTL_DONE;
	if (ctl->json) {
		json_t *json = json_pack(
			"{s:I, s:I, s:I, s:O?}", "decisions", (json_int_t)json_array_size(records), "same",
			(json_int_t)replay->same, "by_people", (json_int_t)replay->by_people, "different", d);
		status = talk_json(ctl, json);
		json_decref(json);
	} else {
		buf_printf(&out, "%zu decisions decided again and the same, %zu by people\n", replay->same,
			   replay->by_people);
		status = talk_write(ctl, &out);
	}
	if (!d)
		return status;
	talk_error(ctl, "decision %" PRIu64 " differs (%s, %s, %s): %s", field_count(d, "number"),
		   field_text(d, "route", "?"), field_text(d, "at", "?"), field_text(d, "action", "?"),
		   field_text(d, "why", "?"));
	return CTL_FAILED;
}

int run_decisions_replay(struct ctl *ctl, const struct ctl_line *line)
{
	const char *what = line->arguments[0];
	struct replay replay = {0};
	json_t *answer = NULL, *records = NULL;
	/* Ids of routes have no slash and no file of that name is likely; who means a file writes ./NAME. */
	bool is_file = strcmp(what, "-") == 0 || strchr(what, '/') || access(what, R_OK) == 0;
	int status;
	if (is_file) {
		status = read_records(ctl, what, &records);
	} else {
		status = talk_route(ctl, "decisions of", "GET", "/admin/routes/%s/decisions?limit=100000",
				    what, NULL, &answer);
		records = json_incref(field(answer, "decisions"));
	}
	if (status == CTL_DONE) {
		replay_all(ctl, records, &replay);
		status = report(ctl, records, &replay);
	}
	json_decref(replay.different);
	json_decref(records);
	json_decref(answer);
	return status;
}
