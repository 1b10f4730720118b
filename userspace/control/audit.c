/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit: who changed what, and who was not let in (control.h).
 *
 * Two journals, so that strangers at the door cannot push out what was changed; both end in the same ledger,
 * the strangers' at most DENIED_PER_MINUTE a minute, for each line is a disk write.
 */
#include "base/log.h"
#include "control/control.h"
#include "control/value.h"
#include "control/view.h"

#define DENIED_PER_MINUTE 30
#define MINUTE_NS	  (60 * NS_PER_SEC)

static bool is_denied(int status)
{
	return status == 401 || status == 403 || status == 415 || status == 429;
}

/* May this one of a stranger's go to the disk? Others are only counted, with the next that may. */
static bool may_store(struct control *control, json_t *json)
{
	struct audit_denied *denied = &control->audit_denied;
	uint64_t now_ns = clock_now_ns();
	if (!denied->minute_ns || now_ns - denied->minute_ns >= MINUTE_NS) {
		denied->minute_ns = now_ns;
		denied->stored = 0;
	}
	if (denied->stored >= DENIED_PER_MINUTE) {
		denied->left_out++;
		return false;
	}
	denied->stored++;
	if (denied->left_out)
		json_object_set_new(json, "left_out", json_integer((json_int_t)denied->left_out));
	denied->left_out = 0;
	return true;
}

void control_audit(struct control *control, const struct audit_entry *entry)
{
	json_t *json =
		json_pack("{s:o, s:o, s:s, s:o, s:o, s:o, s:i, s:o}", "at", json_time(clock_wall_ns()), "who",
			  json_text(slice_str(entry->who)), "role", entry->role, "peer",
			  json_text(slice_str(entry->peer)), "method", json_text(slice_str(entry->method)),
			  "path", json_text(slice_str(entry->path)), "status", entry->status, "reason",
			  json_text_or_null(entry->reason));
	if (!json)
		return;
	struct buf why = {0};
	bool denied = is_denied(entry->status);
	if (control->store && (!denied || may_store(control, json)) &&
	    store_append(control->store, "audit", json, &why))
		log_warn("audit", "%s", buf_cstr(&why));
	buf_fini(&why);
	log_line(denied ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "audit", "%s %s by %s (%s, %s): %d%s%s",
		 entry->method, entry->path, entry->who, entry->role, entry->peer, entry->status,
		 entry->reason && entry->reason[0] ? ": " : "", entry->reason ? entry->reason : "");
	journal_add(denied ? &control->audit_denied.journal : &control->audit, json);
}

void control_audit_load(struct control *control, json_t *record)
{
	bool denied = is_denied((int)json_get_u64(record, "status"));
	journal_add(denied ? &control->audit_denied.journal : &control->audit, json_incref(record));
}

/* --- reading it ----------------------------------------------------------------------------------------- */

/* "409" or "4xx" */
static bool status_fits(const char *wanted, int status)
{
	char text[16], class[16];
	snprintf(text, sizeof(text), "%d", status);
	snprintf(class, sizeof(class), "%dxx", status / 100);
	return strcmp(wanted, text) == 0 || strcmp(wanted, class) == 0;
}

static bool fits(const json_t *entry, const struct audit_filter *filter)
{
	const char *path = json_get_str(entry, "path");
	return (!filter->who[0] || strcmp(json_get_str(entry, "who"), filter->who) == 0) &&
	       (!filter->path[0] || strncmp(path, filter->path, strlen(filter->path)) == 0) &&
	       (!filter->since[0] || strcmp(json_get_str(entry, "at"), filter->since) >= 0) &&
	       (!filter->status[0] || status_fits(filter->status, (int)json_get_u64(entry, "status")));
}

json_t *view_audit(struct control *control, const struct audit_filter *filter)
{
	const struct journal *a = &control->audit, *b = &control->audit_denied.journal;
	size_t i = a->count, j = b->count;
	json_t *newest_first = json_array(), *list = json_array();
	while ((i || j) && (!filter->limit || json_array_size(newest_first) < filter->limit)) {
		json_t *x = i ? journal_at(a, i - 1) : NULL, *y = j ? journal_at(b, j - 1) : NULL;
		bool first = x && (!y || strcmp(json_get_str(x, "at"), json_get_str(y, "at")) >= 0);
		json_t *entry = first ? x : y;
		i -= first;
		j -= !first;
		if (fits(entry, filter))
			json_array_append(newest_first, entry);
	}
	for (size_t n = json_array_size(newest_first); n; n--)
		json_array_append(list, json_array_get(newest_first, n - 1));
	json_decref(newest_first);
	return json_pack("{s:o}", "entries", list);
}
