/* SPDX-License-Identifier: Apache-2.0 */
/* killswitch: see killswitch.h. */
#include "control/killswitch.h"

#include "base/log.h"
#include "control/value.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* --- remembered ------------------------------------------------------------------------------------------
 */

/* Beside the state of this gateway, shared or not: "state.json.kill-switch". There while it is on. */
static bool path_of(const struct control *control, char *out, size_t size)
{
	const struct state_config *state = &control->config->state;
	return state->kind != STORE_MEMORY && state->path &&
	       snprintf(out, size, "%s.kill-switch", state->path) < (int)size;
}

/* A restart must not end it: with the NIC path its map remembers, unless the machine was started anew. */
static void remember(const struct control *control, bool on)
{
	char path[4200];
	if (!path_of(control, path, sizeof(path)))
		return;
	int err = 0;
	if (on) {
		const struct kill_note *note = &control->kill_note;
		int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
		if (fd < 0 || dprintf(fd, "on by %s: %s\n", note->by, note->reason) < 0 || fsync(fd))
			err = -errno;
		if (fd >= 0)
			close(fd);
	} else if (unlink(path) && errno != ENOENT) {
		err = -errno;
	}
	if (err)
		log_error("control",
			  "the kill switch acts, but %s cannot be %s: %s; a restart may not know of it", path,
			  on ? "written" : "removed", strerror(-err));
}

void kill_switch_restore(struct control *control)
{
	char path[4200];
	struct dataplane_info info = {0};
	if (control->plane)
		dataplane_info(control->plane, &info);
	if (info.adopted || !path_of(control, path, sizeof(path)) || access(path, F_OK))
		return;
	kill_switch_set(control, true, "a restart", "it was on when the daemon ended");
}

/* --- turned ----------------------------------------------------------------------------------------------
 */

static void tell(struct control *control, bool on, const char *who, const char *reason)
{
	struct kill_note *note = &control->kill_note;
	note->on = on;
	note->since_wall_ns = clock_wall_ns();
	text_copy(note->by, sizeof(note->by), slice_str(who));
	text_copy(note->reason, sizeof(note->reason), slice_str(reason));
	remember(control, on);
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
