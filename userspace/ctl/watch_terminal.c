/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_terminal: `status --watch` for somebody who looks: the state drawn in place, and keys to stop it.
 *
 * One route is the chosen one; r and p act on it. Rolling back asks once more, since the key is next to
 * others; pausing does not, it can be taken back by the same key. What a key did is said above the keys. When
 * the daemon does not answer, the last state stays with its age on top of it.
 */
#include "ctl/watch.h"

#include "base/clock.h"
#include "ctl/field.h"
#include "ctl/figure.h"
#include "ctl/screen.h"

#include <stdlib.h>

#define NOTE_MS	     8000u
#define REASON	     "by key in status --watch"
#define AROUND_LINES 7 /* of a long list, what is not routes: headline, daemon, titles, keys */

struct scene {
	struct watch *watch;
	struct frame frame;
	char selected[80]; /* id of the chosen route, "" = none */
	bool asking;	   /* whether to roll back */
	struct buf note;   /* what the last key did */
	uint64_t note_ns;
	enum tint note_tint;
};

/* The chosen route of the last answer, or the first one when the chosen one is gone. Borrowed; NULL = none.
 */
static json_t *chosen(struct scene *scene, const json_t *routes, size_t *index)
{
	json_t *route;
	size_t i;
	json_array_foreach(routes, i, route)
	{
		if (strcmp(field_text(route, "id", ""), scene->selected) == 0) {
			*index = i;
			return route;
		}
	}
	*index = 0;
	route = json_array_get(routes, 0);
	snprintf(scene->selected, sizeof(scene->selected), "%s", field_text(route, "id", ""));
	return route;
}

static void draw_footer(struct scene *scene, const json_t *route, struct buf *out)
{
	const struct style *style = &scene->watch->ctl->out;
	bool paused = strcmp(field_text(route, "state", ""), "paused") == 0;
	struct buf text = {0};

	if (scene->asking) {
		buf_printf(&text, "Roll %s back, all requests to legacy? y = yes, any other key = no",
			   scene->selected);
	} else if (scene->note.len && clock_now_ns() - scene->note_ns < NOTE_MS * NS_PER_MS) {
		buf_append_slice(&text, buf_slice(&scene->note));
	} else if (scene->frame.keys) {
		buf_append_str(&text, "q quit");
		if (route)
			buf_printf(&text, "   r roll back   p %s", paused ? "go on" : "pause");
		if (!scene->watch->route)
			buf_append_str(&text, "   up/down choose");
	} else {
		buf_append_str(&text, "Ctrl-C ends");
	}
	enum tint tint = scene->asking ? TINT_RED : scene->note.len ? scene->note_tint : TINT_DIM;
	tint_begin(out, style->colour, tint);
	format_clean(out, buf_cstr(&text));
	tint_end(out, style->colour, tint);
	buf_fini(&text);
}

/* Of more routes than the window has room for, those around the chosen one. New reference. */
static json_t *visible(const json_t *answer, json_t *routes, size_t index, size_t height, struct buf *more)
{
	size_t count = json_array_size(routes),
	       room = height > AROUND_LINES + 1 ? height - AROUND_LINES - 1 : 1;
	if (count <= room)
		return json_incref((json_t *)answer);
	size_t first = index < room / 2 ? 0 : index - room / 2;
	if (first > count - room)
		first = count - room;
	json_t *shown = json_array(), *copy = json_copy((json_t *)answer);
	for (size_t i = first; i < first + room; i++)
		json_array_append(shown, json_array_get(routes, i));
	json_object_set_new(copy, "routes", shown);
	buf_printf(more, "routes %zu to %zu of %zu\n", first + 1, first + room, count);
	return copy;
}

static bool draw(struct scene *scene)
{
	struct watch *watch = scene->watch;
	struct ctl *ctl = watch->ctl;
	json_t *routes = watch_routes(watch, watch->last), *route;
	struct buf text = {0}, more = {0}, footer = {0};
	size_t index;

	ctl->out = style_of(stdout); /* the window may have another size now */
	route = chosen(scene, routes, &index);
	if (watch->away) {
		struct figure age = figure_span((clock_now_ns() - watch->last_ns) / NS_PER_MS);
		tint_printf(&text, ctl->out.colour, TINT_RED, "daemon not reachable; this is from %s ago",
			    age.text);
		buf_append_char(&text, '\n');
	}
	if (*watch->goal) {
		tint_printf(&text, ctl->out.colour, TINT_DIM, "waiting for: %s", watch->goal);
		buf_append_char(&text, '\n');
	}
	if (watch->route) {
		screen_route(watch->last, &ctl->out, false, &text);
	} else {
		json_t *answer = visible(watch->last, routes, index, ctl->out.height, &more);
		screen_status(answer, &ctl->out, scene->frame.keys ? scene->selected : NULL, &text);
		buf_append_slice(&text, buf_slice(&more));
		json_decref(answer);
	}
	draw_footer(scene, route, &footer);
	bool good = frame_draw(&scene->frame, &ctl->out, buf_slice(&text), buf_slice(&footer));
	json_decref(routes);
	buf_fini(&text);
	buf_fini(&more);
	buf_fini(&footer);
	return good;
}

/* Sends a verb about the chosen route and keeps what came of it as the note. */
static void act(struct scene *scene, const char *verb)
{
	char format[64];
	struct answer answer;
	json_t *body = json_pack("{s:s}", "reason", REASON);

	snprintf(format, sizeof(format), "/admin/routes/%%s/%s", verb);
	char *path = client_path(format, scene->selected);
	int status = path ? client_call(scene->watch->ctl->client, "POST", path, body, NULL, TALK_TIMEOUT_MS,
					&answer)
			  : CTL_FAILED;
	buf_reset(&scene->note);
	if (path && status == CTL_DONE)
		screen_line(answer.json, &scene->note);
	else if (path)
		buf_printf(&scene->note, "%s %s: %s", verb, scene->selected, buf_cstr(&answer.message));
	scene->note_tint = status == CTL_DONE ? TINT_GREEN : TINT_RED;
	scene->note_ns = clock_now_ns();
	if (path)
		answer_fini(&answer);
	json_decref(body);
	free(path);
}

static void choose(struct scene *scene, int step)
{
	json_t *routes = watch_routes(scene->watch, scene->watch->last), *route;
	size_t index, count = json_array_size(routes);
	chosen(scene, routes, &index);
	if (count && !(step < 0 && index == 0) && !(step > 0 && index + 1 >= count)) {
		route = json_array_get(routes, index + (size_t)step);
		snprintf(scene->selected, sizeof(scene->selected), "%s", field_text(route, "id", ""));
	}
	json_decref(routes);
}

/* -1: go on. *again: the state is worth another look at once. */
static int on_key(struct scene *scene, int key, bool *again)
{
	json_t *routes = watch_routes(scene->watch, scene->watch->last);
	size_t index;
	bool paused = strcmp(field_text(chosen(scene, routes, &index), "state", ""), "paused") == 0;

	json_decref(routes);
	if (key != FRAME_KEY_RESIZED)
		buf_reset(&scene->note);
	if (scene->asking && key != FRAME_KEY_RESIZED) {
		scene->asking = false;
		*again = key == 'y' || key == 'Y';
		if (*again)
			act(scene, "rollback");
		return -1;
	}
	switch (key) {
	case 'q':
	case 'Q':
		return *scene->watch->goal ? CTL_INTERRUPTED : CTL_DONE;
	case 'r':
	case 'R':
		scene->asking = *scene->selected != '\0';
		break;
	case 'p':
	case 'P':
		if (*scene->selected)
			act(scene, paused ? "resume" : "pause");
		*again = true;
		break;
	case 'k':
	case FRAME_KEY_UP:
		choose(scene, -1);
		break;
	case 'j':
	case FRAME_KEY_DOWN:
		choose(scene, 1);
		break;
	default:
		break;
	}
	return -1;
}

int watch_terminal(struct watch *watch)
{
	struct scene scene = {.watch = watch};
	uint64_t began = clock_now_ns();
	int status = watch_look(watch); /* what is wrong from the start is said on the usual screen */
	uint64_t next_ns = began + LOOK_INTERVAL_MS * NS_PER_MS;

	if (status < 0)
		frame_open(&scene.frame);
	while (status < 0) {
		if (!draw(&scene)) {
			status = CTL_FAILED;
			break;
		}
		uint64_t now = clock_now_ns();
		int key = frame_key(&scene.frame,
				    next_ns > now ? (unsigned)((next_ns - now) / NS_PER_MS + 1) : 0);
		bool again = false;
		if (*watch->ctl->interrupted)
			status = CTL_INTERRUPTED;
		else if (key != FRAME_KEY_NONE)
			status = on_key(&scene, key, &again);
		if (status < 0 && (again || clock_now_ns() >= next_ns)) {
			began = clock_now_ns();
			status = watch_look(watch);
			uint64_t took_ns = clock_now_ns() - began, interval_ns = LOOK_INTERVAL_MS * NS_PER_MS;
			next_ns = clock_now_ns() + (took_ns * 3 > interval_ns ? took_ns * 3 : interval_ns);
		}
	}
	frame_close(&scene.frame);
	buf_fini(&scene.note);
	return status;
}
