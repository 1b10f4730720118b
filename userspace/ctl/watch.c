/* SPDX-License-Identifier: Apache-2.0 */
/* watch: see watch.h. Here is what is the same everywhere, and the loop for a pipe: a line for each change.
 */
#include "ctl/watch.h"

#include "base/clock.h"
#include "ctl/field.h"
#include "ctl/screen.h"

#include <poll.h>
#include <unistd.h>

json_t *watch_routes(const struct watch *watch, json_t *answer)
{
	if (!watch->route)
		return json_incref(json_is_array(field(answer, "routes")) ? field(answer, "routes")
									  : json_null());
	json_t *one = json_array();
	json_array_append(one, answer);
	return one;
}

/* Prints a line for each route that changed since the last look: to stdout, or to stderr while waiting. */
static int print_changes(struct watch *watch, const json_t *routes)
{
	struct buf out = {0};
	char now[CLOCK_RFC3339_SIZE];
	json_t *route;
	size_t i;

	clock_rfc3339(clock_wall_ns(), now);
	json_array_foreach(routes, i, route)
	{
		struct buf key = {0}, line = {0};
		const char *id = field_text(route, "id", "?");
		const char *before = json_string_value(json_object_get(watch->keys, id));
		screen_key(route, &key);
		if (!before || strcmp(before, buf_cstr(&key)) != 0) {
			json_object_set_new(watch->keys, id, json_string(buf_cstr(&key)));
			screen_line(route, &line);
			if (watch->ctl->json && watch->show)
				talk_json_line(route, &out);
			else
				buf_printf(&out, "%s %s\n", now, buf_cstr(&line));
		}
		buf_fini(&key);
		buf_fini(&line);
	}
	if (watch->show)
		return talk_write(watch->ctl, &out);
	talk_lines(watch->ctl, &out);
	buf_fini(&out);
	return CTL_DONE;
}

/* CTL_DONE: reached; CTL_ROLLED_BACK: never will be; -1: go on waiting. */
static int check_goal(const struct watch *watch, const json_t *routes)
{
	size_t reached = 0, i;
	json_t *route;

	json_array_foreach(routes, i, route)
	{
		const char *state = field_text(route, "state", "");
		if (strcmp(state, watch->goal) == 0)
			reached++;
		else if (strcmp(state, "rolled_back") == 0)
			return CTL_ROLLED_BACK;
	}
	return reached && reached == json_array_size(routes) ? CTL_DONE : -1;
}

int watch_look(struct watch *watch)
{
	struct ctl *ctl = watch->ctl;
	struct answer answer;
	int got = client_call(ctl->client, "GET", watch->path, NULL, NULL, LOOK_TIMEOUT_MS, &answer),
	    status = -1;

	if (got == CTL_DONE) {
		json_decref(watch->last);
		watch->last = json_incref(answer.json);
		watch->last_ns = clock_now_ns();
		watch->away = false;
		json_t *routes = watch_routes(watch, answer.json);
		status = *watch->goal ? check_goal(watch, routes) : -1;
		json_decref(routes);
	} else if (*ctl->interrupted) {
		status = CTL_INTERRUPTED;
	} else if (watch->last && (got == CTL_UNREACHABLE || answer.status >= 500)) {
		watch->away = true;
	} else {
		buf_append_slice(&watch->why, buf_slice(&answer.message));
		status = got;
	}
	answer_fini(&answer);
	if (status < 0 && watch->deadline_ns && clock_now_ns() >= watch->deadline_ns)
		status = *watch->goal ? CTL_TIMED_OUT : CTL_DONE;
	return status;
}

/* Sleeps, unless a signal comes. False when nobody reads what is printed any more (`… | head -1`), which a
 * watch that has nothing to say would never find out by writing. */
static bool sleep_ms(const struct watch *watch, uint64_t duration_ms)
{
	struct pollfd reader = {.fd = watch->show ? STDOUT_FILENO : -1};
	uint64_t now = clock_now_ns();
	uint64_t left_ms = watch->deadline_ns > now ? (watch->deadline_ns - now) / NS_PER_MS + 1 : 0;
	if (watch->deadline_ns && left_ms < duration_ms)
		duration_ms = left_ms;
	/* The signal handler's flag is looked at often enough that no race with it matters. */
	while (duration_ms && !*watch->ctl->interrupted) {
		uint64_t part = duration_ms < 100 ? duration_ms : 100;
		if (poll(&reader, 1, (int)part) > 0)
			return false;
		duration_ms -= part;
	}
	return true;
}

static int watch_lines(struct watch *watch)
{
	struct ctl *ctl = watch->ctl;

	for (;;) {
		bool was_away = watch->away;
		uint64_t began = clock_now_ns();
		int status = watch_look(watch);
		if (watch->away != was_away)
			talk_note(ctl,
				  watch->away ? "daemon not reachable, retrying" : "daemon reachable again");
		if (watch->last_ns >= began) {
			json_t *routes = watch_routes(watch, watch->last);
			int printed = print_changes(watch, routes);
			json_decref(routes);
			if (printed != CTL_DONE)
				return printed;
		}
		if (status >= 0)
			return status;
		/* Leave the daemon at least three quarters of the time for its work. */
		uint64_t took_ms = (clock_now_ns() - began) / NS_PER_MS;
		if (!sleep_ms(watch, took_ms * 3 > LOOK_INTERVAL_MS ? took_ms * 3 : LOOK_INTERVAL_MS))
			return CTL_FAILED;
		if (*ctl->interrupted)
			return CTL_INTERRUPTED;
	}
}

/* The last word after waiting: the state on stdout, and on stderr why it ended. */
static int conclude(struct watch *watch, int status, bool was_drawn)
{
	struct ctl *ctl = watch->ctl;
	struct buf out = {0};

	if (*watch->goal && watch->last && (!watch->show || was_drawn)) {
		if (ctl->json) {
			talk_json(ctl, watch->last);
		} else {
			json_t *routes = watch_routes(watch, watch->last), *route;
			size_t i;
			json_array_foreach(routes, i, route)
			{
				screen_line(route, &out);
				buf_append_char(&out, '\n');
			}
			json_decref(routes);
			talk_write(ctl, &out);
		}
	}
	if (watch->why.len)
		talk_error(ctl, "status: %s", buf_cstr(&watch->why));
	if (status == CTL_ROLLED_BACK)
		talk_error(ctl, "rolled back while waiting for %s", watch->goal);
	else if (status == CTL_TIMED_OUT)
		talk_error(ctl, "the time is over and the state is not %s%s",
			   *watch->goal ? watch->goal : "known",
			   watch->away ? "; the daemon is not reachable" : "");
	/* Ctrl-C is how one stops watching; waiting was cut short by it. */
	return status == CTL_INTERRUPTED && !*watch->goal ? CTL_DONE : status;
}

int watch_run(struct watch *watch)
{
	bool draw = watch->show && watch->ctl->out.redraws && !watch->ctl->json;
	int status = CTL_FAILED;

	watch->keys = json_object();
	if (watch->path && watch->keys)
		status = draw ? watch_terminal(watch) : watch_lines(watch);
	status = conclude(watch, status, draw);
	json_decref(watch->keys);
	json_decref(watch->last);
	buf_fini(&watch->why);
	return status;
}
