/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status: look once, keep looking (--watch), or look until something is so (--wait-for).
 *
 * Watching polls: one request about every half second over one kept connection, less often where the answer
 * is large. That survives a restart of the daemon by itself and never misses the present state; what
 * happened between two looks is what `events` is for. On a terminal the frame is rewritten in place with one
 * write, so nothing flickers; in a pipe a line is printed for each change and never a control code.
 */
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/parse.h"
#include "ctl/talk.h"
#include "ctl/screen.h"
#include "base/clock.h"
#include "config_report.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>
#include <stdlib.h>

#define LOOK_INTERVAL_MS 500u
#define LOOK_TIMEOUT_MS	 5000u

struct watch {
	struct ctl *ctl;
	const char *route;    /* NULL = all */
	bool show;	      /* --watch */
	char goal[32];	      /* state waited for, "" = none */
	uint64_t deadline_ns; /* of CLOCK_MONOTONIC; 0 = none */
	json_t *keys;	      /* route id -> key of the last line printed about it */
	bool away;	      /* the daemon does not answer just now */
	bool drew;
	unsigned frame_lines; /* of the frame that is on the terminal */ /* a frame stands on the terminal */
};

static const char *const goals[] = {"complete",	 "paused",    "holding", "rolled_back",
				    "migrating", "mirroring", "idle",	 NULL};

/* The state named by --wait-for; "rolled-back" and "rolled_back" are the same. */
static int read_goal(const struct ctl *ctl, const char *typed, char goal[32])
{
	snprintf(goal, 32, "%s", typed);
	for (char *p = goal; *p; p++)
		*p = *p == '-' ? '_' : *p;
	for (size_t i = 0; goals[i]; i++)
		if (strcmp(goals[i], goal) == 0)
			return CTL_DONE;
	const char *near = report_suggest(slice_str(goal), goals);
	talk_error(
		ctl,
		"--wait-for %s: the states are complete, paused, holding, rolled-back, migrating, mirroring, "
		"idle%s%s%s",
		quote(slice_str(typed)).text, near ? "; did you mean \"" : "", near ? near : "",
		near ? "\"?" : "");
	return CTL_USAGE;
}

/* The routes of an answer, whether it was about one or all. Borrowed from it or a new array: new reference.
 */
static json_t *routes_of(const struct watch *watch, json_t *answer)
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
	int status = CTL_DONE;

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
			char *json = watch->ctl->json
					     ? json_dumps(route, JSON_COMPACT | JSON_REAL_PRECISION(15))
					     : NULL;
			if (json && watch->show)
				buf_printf(&out, "%s\n", json);
			else
				buf_printf(&out, "%s %s\n", now, buf_cstr(&line));
			free(json);
		}
		buf_fini(&key);
		buf_fini(&line);
	}
	if (watch->show)
		return talk_write(watch->ctl, &out);
	if (out.len)
		fwrite(out.data, 1, out.len, stderr);
	buf_fini(&out);
	return status;
}

static int draw_frame(struct watch *watch, const json_t *answer)
{
	struct ctl *ctl = watch->ctl;
	struct buf text = {0}, cut = {0}, frame = {0};

	ctl->out = style_of(stdout); /* the window may have another size now */
	if (watch->route)
		screen_route(answer, &ctl->out, false, &text);
	else
		screen_status(answer, &ctl->out, &text);
	if (*watch->goal) {
		buf_append_char(&text, '\n');
		tint_printf(&text, ctl->out.colour, TINT_DIM, "waiting for: %s", watch->goal);
		buf_append_char(&text, '\n');
	}
	screen_cut(buf_slice(&text), ctl->out.width, ctl->out.height - 1, &cut);
	/* Hide the cursor and begin where it stands, so that what was on the terminal stays; later frames go
	 * up over the one before. Each line clears its own rest, the last one what is below. */
	if (!watch->drew)
		buf_append_str(&frame, "\033[?25l");
	else if (watch->frame_lines)
		buf_printf(&frame, "\033[%uA", watch->frame_lines);
	buf_append_char(&frame, '\r');
	watch->frame_lines = 0;
	for (size_t i = 0; i < cut.len; i++) {
		if (cut.data[i] == '\n') {
			buf_append_str(&frame, "\033[K");
			watch->frame_lines++;
		}
		buf_append_char(&frame, cut.data[i]);
	}
	buf_append_str(&frame, "\033[J");
	watch->drew = true;
	buf_fini(&text);
	buf_fini(&cut);
	return talk_write(ctl, &frame);
}

static void leave_frame(struct watch *watch)
{
	if (watch->drew) {
		fputs("\033[?25h", stdout);
		fflush(stdout);
	}
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

/* One good answer: show it, judge it. -1: go on. */
static int look(struct watch *watch, json_t *answer)
{
	json_t *routes = routes_of(watch, answer);
	int status = CTL_DONE;

	if (watch->show && watch->ctl->out.terminal && !watch->ctl->json)
		status = draw_frame(watch, answer);
	else
		status = print_changes(watch, routes);
	if (status == CTL_DONE)
		status = *watch->goal ? check_goal(watch, routes) : -1;
	json_decref(routes);
	return status;
}

/* The last word after waiting: the state on stdout, and on stderr why it ended. */
static int conclude(struct watch *watch, int status, json_t *answer)
{
	struct ctl *ctl = watch->ctl;
	struct buf out = {0};

	leave_frame(watch);
	if (*watch->goal && answer && !watch->show) {
		if (ctl->json) {
			talk_json(ctl, answer);
		} else {
			json_t *routes = routes_of(watch, answer), *route;
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
	if (status == CTL_ROLLED_BACK)
		talk_error(ctl, "rolled back while waiting for %s", watch->goal);
	else if (status == CTL_TIMED_OUT)
		talk_error(ctl, "the time is over and the state is not %s%s",
			   *watch->goal ? watch->goal : "known",
			   watch->away ? "; the daemon is not reachable" : "");
	/* Ctrl-C is how one stops watching; waiting was cut short by it. */
	return status == CTL_INTERRUPTED && !*watch->goal ? CTL_DONE : status;
}

static int watch_loop(struct watch *watch, const char *path)
{
	struct ctl *ctl = watch->ctl;
	json_t *last = NULL;
	int status = -1;

	while (status < 0) {
		struct answer answer;
		uint64_t began = clock_now_ns();
		int got = client_call(ctl->client, "GET", path, NULL, NULL, LOOK_TIMEOUT_MS, &answer);
		if (got == CTL_DONE) {
			if (watch->away)
				talk_note(ctl, "daemon reachable again");
			watch->away = false;
			json_decref(last);
			last = json_incref(answer.json);
			status = look(watch, answer.json);
		} else if (*ctl->interrupted) {
			status = CTL_INTERRUPTED;
		} else if (last && (got == CTL_UNREACHABLE || answer.status >= 500)) {
			if (!watch->away)
				talk_note(ctl, "daemon not reachable, retrying");
			watch->away = true;
			watch->frame_lines =
				0; /* the note stands below the frame: draw the next one under it */
		} else {
			leave_frame(watch);
			watch->drew = false;
			talk_error(ctl, "status: %s", buf_cstr(&answer.message));
			status = got;
		}
		answer_fini(&answer);
		if (status >= 0)
			break;
		/* Leave the daemon at least three quarters of the time for its work. */
		uint64_t took_ms = (clock_now_ns() - began) / NS_PER_MS;
		if (!sleep_ms(watch, took_ms * 3 > LOOK_INTERVAL_MS ? took_ms * 3 : LOOK_INTERVAL_MS))
			status = CTL_FAILED;
		else if (*ctl->interrupted)
			status = CTL_INTERRUPTED;
		else if (watch->deadline_ns && clock_now_ns() >= watch->deadline_ns)
			status = *watch->goal ? CTL_TIMED_OUT : CTL_DONE;
	}
	status = conclude(watch, status, last);
	json_decref(last);
	return status;
}

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
			screen_status(answer, &ctl->out, &out);
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
	if (goal && read_goal(ctl, goal, watch.goal) != CTL_DONE)
		return CTL_USAGE;
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
	watch.keys = json_object();
	int status = path && watch.keys ? watch_loop(&watch, path) : CTL_FAILED;
	json_decref(watch.keys);
	free(path);
	return status;
}
