/* SPDX-License-Identifier: Apache-2.0 */
/* status: look once, keep looking (--watch), or look until something is so (--wait-for): watch.h. */
#include "ctl/handlers.h"
#include "ctl/parse.h"
#include "ctl/screen.h"
#include "ctl/talk.h"
#include "ctl/watch.h"
#include "base/clock.h"

#include <stdlib.h>

static int status_once(struct ctl *ctl, const char *route)
{
	struct buf out = {0};
	json_t *answer = NULL;
	int status = route ? talk_route(ctl, "status of", "GET", "/admin/routes/%s", route, NULL, &answer)
			   : talk_request(ctl, "status", "GET", "/admin/status", NULL, &answer);
	if (status)
		return status;
	if (ctl->json) {
		status = talk_json(ctl, answer);
	} else {
		if (route)
			screen_route(answer, &ctl->out, false, &out);
		else
			screen_status(answer, &ctl->out, NULL, &out);
		status = talk_write(ctl, &out);
	}
	json_decref(answer);
	return status;
}

int run_status(struct ctl *ctl, const struct ctl_line *line)
{
	struct watch watch = {.ctl = ctl, .show = line->options[OPTION_WATCH] != NULL};
	const char *goal = line->options[OPTION_WAIT_FOR], *timeout = line->options[OPTION_TIMEOUT];
	struct buf why = {0};
	uint64_t timeout_ms = 0;

	watch.route = line->argument_count ? line->arguments[0] : NULL;
	snprintf(watch.goal, sizeof(watch.goal), "%s", goal ? goal : "");
	for (char *p = watch.goal; *p; p++)
		*p = *p == '-' ? '_' : *p; /* as the API writes it */
	if (timeout && parse_duration(timeout, &timeout_ms, &why) < 0) {
		talk_error(ctl, "--timeout: %s", buf_cstr(&why));
		buf_fini(&why);
		return CTL_USAGE;
	}
	if (timeout && !goal && !watch.show) {
		talk_error(ctl, "--timeout needs --wait-for or --watch");
		return CTL_USAGE;
	}
	if (!goal && !watch.show)
		return status_once(ctl, watch.route);
	if (timeout)
		watch.deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
	if (watch.route) { /* a misspelt route gets its explanation at once */
		json_t *answer = NULL;
		int status =
			talk_route(ctl, "status of", "GET", "/admin/routes/%s", watch.route, NULL, &answer);
		json_decref(answer);
		if (status)
			return status;
	}
	char *path = watch.route ? client_path("/admin/routes/%s", watch.route) : strdup("/admin/status");
	watch.path = path;
	int status = watch_run(&watch);
	free(path);
	return status;
}
