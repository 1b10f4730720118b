/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill: the kill switch, for when all is on fire: it must work whatever else does not.
 *
 * The pinned map comes first, since it needs nobody; a daemon reads the same word. Then the daemon is told,
 * for it writes down who and why, and it is the only way where there is no NIC path (or no root). Done is
 * what one of the two has read back.
 */
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/talk.h"
#include "dataplane/inspect.h"

#include <errno.h>

#define DAEMON_TIMEOUT_MS 3000u /* a daemon that hangs must not keep anybody waiting */

struct outcome {
	const char *pin_dir;
	int map; /* 0: set and read back; -errno */
	struct buf map_why;
	int daemon; /* an exit status */
	struct answer answer;
};

static void act(struct ctl *ctl, const struct ctl_line *line, bool on, struct outcome *outcome)
{
	bool is_on = false;
	outcome->pin_dir = line->argument_count ? line->arguments[0] : INSPECT_PIN_DIR;
	outcome->map = inspect_kill_switch(outcome->pin_dir, &on, &is_on, &outcome->map_why);
	if (!outcome->map && is_on != on) {
		buf_append_str(&outcome->map_why, "set, and not so when it was read back");
		outcome->map = -EIO;
	}
	json_t *body = talk_reason(line);
	json_object_set_new(body, "on", json_boolean(on));
	outcome->daemon = client_call(ctl->client, "POST", "/admin/kill-switch", body, NULL,
				      DAEMON_TIMEOUT_MS, &outcome->answer);
	if (outcome->daemon == CTL_DONE && field_true(outcome->answer.json, "on") != on)
		outcome->daemon = CTL_FAILED;
	json_decref(body);
}

static int print(struct ctl *ctl, bool on, const struct outcome *outcome)
{
	struct buf out = {0};
	if (ctl->json) {
		json_t *json = json_pack("{s:b, s:o, s:o}", "on", on, "map",
					 outcome->map ? json_null() : json_string(outcome->pin_dir), "daemon",
					 outcome->daemon == CTL_DONE ? json_incref(outcome->answer.json)
								     : json_null());
		int result = talk_json(ctl, json);
		json_decref(json);
		return result;
	}
	buf_printf(&out, "kill switch %s: %s\n", on ? "on" : "off",
		   on ? "every request goes to legacy, nothing is mirrored" : "the weights are in force");
	if (!outcome->map)
		buf_printf(&out, "fast path: read back from %s/phx_kill\n", outcome->pin_dir);
	if (outcome->daemon == CTL_DONE) {
		double highest = json_number_value(field(outcome->answer.json, "highest_set"));
		buf_printf(&out, "daemon: %llu routes, the highest weight in force is %g%%\n",
			   (unsigned long long)field_count(outcome->answer.json, "routes"), highest * 100);
	}
	return talk_write(ctl, &out);
}

int run_kill_switch(struct ctl *ctl, const struct ctl_line *line)
{
	bool on = !line->options[OPTION_OFF];
	struct outcome outcome = {0};
	act(ctl, line, on, &outcome);
	/* No fast path is no failure, unless it was named or nobody else did it. */
	bool no_path = outcome.map == -ENOENT && !line->argument_count;
	int result;
	if (outcome.map && outcome.daemon != CTL_DONE) {
		talk_error(ctl, "kill-switch: nothing was changed: %s; and the daemon: %s",
			   buf_cstr(&outcome.map_why), buf_cstr(&outcome.answer.message));
		result = outcome.map == -EPERM ? CTL_NOT_PERMITTED : outcome.daemon;
	} else {
		if (outcome.map && !no_path)
			talk_note(ctl, "the fast path's map was not written: %s", buf_cstr(&outcome.map_why));
		if (outcome.daemon != CTL_DONE)
			talk_note(ctl,
				  "the daemon was not told (%s): if it lives it obeys the map; nothing is in "
				  "its audit "
				  "log",
				  buf_cstr(&outcome.answer.message));
		result = print(ctl, on, &outcome);
		/* Told to a daemon that does not use this map: the fast path of the map was not turned. */
		if (result == CTL_DONE && outcome.map && !no_path && line->argument_count)
			result = CTL_FAILED;
	}
	buf_fini(&outcome.map_why);
	answer_fini(&outcome.answer);
	return result;
}
