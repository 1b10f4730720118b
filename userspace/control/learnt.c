/* SPDX-License-Identifier: Apache-2.0 */
/*
 * learnt: what becomes of the places where legacy disagrees with itself (noise.h, control.h: control_noise).
 *
 * They are told to people once. Where compare.noise is "apply" they go on the route's ignore list in the same
 * way as by REST: a new definition, so the evidence begins anew, it is stored, shown and can be taken back.
 */
#include "base/log.h"
#include "control/control.h"
#include "control/value.h"

#include <errno.h>
#include <stdlib.h>

/* "/a, /b and 3 more" */
static void append_pointers(struct buf *out, const json_t *pointers)
{
	size_t count = json_array_size(pointers);
	for (size_t i = 0; i < count && i < 5; i++)
		buf_printf(out, "%s%s", i ? ", " : "", json_string_value(json_array_get(pointers, i)));
	if (count > 5)
		buf_printf(out, " and %zu more", count - 5);
}

static void tell(struct control *control, struct route *route, const struct facts_view *view)
{
	json_t *noise = facts_noise(control->facts, route->slot, false);
	const char *id = route_config_of(route)->id;
	struct buf text = {0};
	append_pointers(&text, json_object_get(noise, "proposed"));
	events_emit(&control->events, EVENT_INFO, "noise", id, noise,
		    "legacy disagrees with itself (%llu of %llu answers) at %s: phoenixctl diff ignore %s "
		    "--proposed",
		    (unsigned long long)view->control_differing, (unsigned long long)view->control_samples,
		    buf_cstr(&text), id);
	buf_fini(&text);
}

/* The route's configuration with these pointers ignored as well; NULL when that is not possible. */
static struct route_config *with_ignored(const struct route *route, const json_t *pointers, struct buf *why)
{
	json_t *json = route_config_to_json(route_config_of(route));
	json_t *list = json_object_get(json_object_get(json, "compare"), "ignore");
	struct route_config *config = NULL;
	json_array_extend(list, (json_t *)pointers);
	char *text = json_dumps(json, JSON_REAL_PRECISION(15));
	if (!text || route_config_parse("noise", slice_str(text), &config, why))
		config = NULL;
	free(text);
	json_decref(json);
	return config;
}

static void apply(struct control *control, struct route *route, const json_t *pointers)
{
	struct buf why = {0}, text = {0};
	struct route_config *config = with_ignored(route, pointers, &why);
	int err = config ? control_route_put(control, config, true, "arbiter", &route, &why) : -EINVAL;
	append_pointers(&text, pointers);
	if (err) {
		route_config_destroy(config);
		log_error("noise", "%s: %s cannot be ignored: %s", route_config_of(route)->id,
			  buf_cstr(&text), buf_cstr(&why));
	} else {
		events_emit(&control->events, EVENT_WARN, "noise", route_config_of(route)->id, NULL,
			    "ignored from now on, because legacy disagrees with itself there "
			    "(compare.noise: apply): %s; take it back with phoenixctl diff ignore --remove",
			    buf_cstr(&text));
	}
	buf_fini(&why);
	buf_fini(&text);
}

void control_noise(struct control *control)
{
	struct list *link = control->registry.routes.next;
	if (!facts_noise_news(control->facts))
		return;
	while (link != &control->registry.routes) {
		struct route *route = container_of(link, struct route, link);
		struct facts_view view;
		link = link->next;
		if (!route_config_of(route)->mirror.control_bp)
			continue;
		facts_read(control->facts, route->slot, &view);
		if (view.proposals > route->watch.proposals_told)
			tell(control, route, &view);
		route->watch.proposals_told = view.proposals;
		json_t *pointers = facts_noise_to_apply(control->facts, route->slot);
		if (pointers)
			apply(control, route, pointers);
		json_decref(pointers);
	}
}
