/* SPDX-License-Identifier: Apache-2.0 */
/* killswitch: see killswitch.h. */
#include "control/killswitch.h"

#include "control/value.h"

static void tell(struct control *control, bool on, const char *who, const char *reason)
{
	struct kill_note *note = &control->kill_note;
	note->on = on;
	note->since_wall_ns = clock_wall_ns();
	text_copy(note->by, sizeof(note->by), slice_str(who));
	text_copy(note->reason, sizeof(note->reason), slice_str(reason));
	registry_each(&control->registry, route) route->revision++;
	events_emit(&control->events, on ? EVENT_ALERT : EVENT_INFO, on ? "alert" : "state", NULL,
		    json_pack("{s:b, s:o, s:o}", "kill_switch", on, "by", json_text(slice_str(note->by)),
			      "reason", json_text(slice_str(note->reason))),
		    "kill switch %s by %s%s%s: %s", on ? "on" : "off", note->by, note->reason[0] ? ": " : "",
		    note->reason,
		    on ? "every request goes to legacy, nothing is mirrored"
		       : "the weights are in force again");
}

bool kill_switch_set(struct control *control, bool on, const char *who, const char *reason)
{
	__atomic_store_n(&control->policy.kill_switch->to_legacy, on, __ATOMIC_SEQ_CST);
	bool is_on = policy_is_killed(&control->policy);
	if (is_on != control->kill_note.on)
		tell(control, is_on, who, reason);
	return is_on;
}

void kill_switch_watch(struct control *control)
{
	bool is_on = policy_is_killed(&control->policy);
	if (is_on != control->kill_note.on)
		tell(control, is_on, "somebody with access to the map", "");
}

json_t *kill_switch_json(struct control *control)
{
	const struct kill_note *note = &control->kill_note;
	uint32_t highest_bp = 0;
	registry_each(&control->registry, route)
	{
		uint32_t set_bp = traffic_set_bp(&control->engine.traffic, route);
		highest_bp = set_bp > highest_bp ? set_bp : highest_bp;
	}
	return json_pack("{s:b, s:o, s:o, s:o, s:I, s:o}", "on", policy_is_killed(&control->policy), "by",
			 json_text_or_null(note->by), "reason", json_text_or_null(note->reason), "since",
			 json_time(note->since_wall_ns), "routes", (json_int_t)control->registry.count,
			 "highest_set", json_ratio(highest_bp));
}
