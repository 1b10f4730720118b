/* SPDX-License-Identifier: Apache-2.0 */
/* writes: the handlers of the REST API that change something (api.h). The checks of api.c are behind them. */
#include "admin/api.h"
#include "control/killswitch.h"
#include "control/pipeline.h"
#include "control/value.h"
#include "control/view.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct route *route_of(const struct request *request)
{
	return registry_find(&request->control->registry, slice_str(request->id));
}

/* If-Match (RFC 9110 13.1.1): false and a 412 that names who changed what. */
static bool precondition(const struct request *request, const struct route *route, struct response *response)
{
	if (request->if_match.len == 0 || slice_equal(request->if_match, SLICE("*")))
		return true;
	char etag[ETAG_SIZE];
	view_etag(route, etag);
	struct slice rest = request->if_match, tag;
	while (slice_split(&rest, ',', &tag)) {
		if (slice_equal(tag, slice_str(etag)))
			return true;
	}
	const struct migration *m = &route->migration;
	char at[CLOCK_RFC3339_SIZE];
	clock_rfc3339(m->changed_wall_ns, at);
	struct buf text = {0};
	buf_printf(&text, "the route is not what it was: last changed by %s at %s, weight now ",
		   m->changed_by, at);
	append_percent(&text, m->weight_bp);
	if (m->changed_reason[0])
		buf_printf(&text, " (%s)", m->changed_reason);
	buf_printf(&text, "; its ETag is %s", etag);
	respond_problem(response, 412, buf_cstr(&text), NULL);
	snprintf(response->etag, sizeof(response->etag), "%s", etag);
	buf_fini(&text);
	return false;
}

/* The route as it is now. */
static void respond_route(const struct request *request, struct response *response, int status,
			  struct route *route)
{
	respond_json(response, status, view_route(request->control, route, true));
	view_etag(route, response->etag);
}

/* An order was refused or could not be stored. */
static void respond_refused(const struct request *request, struct response *response, struct route *route,
			    int err, struct buf *why)
{
	if (err == -ESTALE) {
		/* The route is already what the other one made of it. */
		respond_problem_format(response, request->if_match.len ? 412 : 409,
				       "nothing of this was applied: %s", buf_cstr(why));
		view_etag(route, response->etag);
	} else if (err == -EPERM)
		respond_problem(
			response, 409, buf_cstr(why),
			json_pack("{s:o, s:s}", "possible", view_verbs(request->control, route), "state",
				  migration_state_word(engine_state(&request->control->engine, route))));
	else
		respond_problem_format(response, 503, "refused, nothing changed: %s", buf_cstr(why));
}

void handle_verb(struct request *request, struct response *response)
{
	struct route *route = route_of(request);
	enum verb verb;
	if (verb_parse(slice_str(request->verb), &verb)) {
		respond_problem(response, 404, "there is no such verb", NULL);
		return;
	}
	/* A rollback is for emergencies: what changed meanwhile must not stop it. */
	if (verb != VERB_ROLLBACK && !precondition(request, route, response))
		return;
	struct buf why = {0};
	/* A route whose service was undone begins again where its code is verified. */
	int err = verb == VERB_RETRY && route->migration.latched
			  ? pipeline_retry(request->control->pipeline, request->id, request->peer->who, &why)
			  : -ENOENT;
	if (!err) {
		respond_route(request, response, 200, route);
		buf_fini(&why);
		return;
	}
	if (err != -ENOENT) {
		respond_problem_format(response, 409, "refused, nothing changed: %s", buf_cstr(&why));
		buf_fini(&why);
		return;
	}
	err = engine_verb(&request->control->engine, route, verb, request->peer->who, request->reason,
			  moment_now(), &why);
	if (err)
		respond_refused(request, response, route, err, &why);
	else
		respond_route(request, response, 200, route);
	buf_fini(&why);
}

/* A fraction of whole basis points, exactly; answers when it is none. */
static bool weight_parse(const json_t *value, uint32_t *bp, struct response *response)
{
	double weight = json_number_value(value);
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	bool fine = false;
	double scaled = weight * PHX_WEIGHT_ONE;
	if (!(weight >= 0 && weight <= 1)) {
		respond_problem_format(response, 422, "weight %s is not between 0 and 1", text ? text : "?");
	} else if (fabs(scaled - round(scaled)) > 1e-6) {
		respond_problem_format(
			response, 422,
			"weight %s has more than four decimals: weights are whole basis points "
			"(0.0001); nearest: %.4f",
			text ? text : "?", round(scaled) / PHX_WEIGHT_ONE);
	} else {
		*bp = (uint32_t)round(scaled);
		fine = true;
	}
	free(text);
	return fine;
}

void handle_weight_set(struct request *request, struct response *response)
{
	struct route *route = route_of(request);
	uint32_t weight_bp, previous_bp = route->migration.weight_bp;
	if (!weight_parse(json_object_get(request->body, "weight"), &weight_bp, response) ||
	    !precondition(request, route, response))
		return;
	struct buf why = {0};
	int err = engine_set_weight(&request->control->engine, route, weight_bp, request->peer->who,
				    request->reason, moment_now(), &why);
	if (err) {
		respond_refused(request, response, route, err, &why);
	} else {
		json_t *json = view_weight(request->control, route);
		if (json)
			json_object_set_new(json, "previous", json_ratio(previous_bp));
		if (json && why.len)
			json_object_set_new(json, "warning", json_text(buf_slice(&why)));
		respond_json(response, 200, json);
		view_etag(route, response->etag);
	}
	buf_fini(&why);
}

/* --- routes ----------------------------------------------------------------------------------------------
 */

void respond_errors(struct response *response, const struct request *request, const char *detail,
		    struct slice lines)
{
	json_t *list = json_array(), *parsed;
	struct slice line;
	while (slice_split(&lines, '\n', &line)) {
		if (line.len)
			json_array_append_new(list, json_text(line));
	}
	parsed = json_loadb(request->text.ptr, request->text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	respond_problem(response, parsed ? 422 : 400, detail, json_pack("{s:o}", "errors", list));
	json_decref(parsed);
}

static void put_route(struct request *request, struct response *response, struct slice text, bool replace)
{
	struct route_config *config;
	struct buf errors = {0};
	int err = route_config_parse("body", text, &config, &errors);
	if (err) {
		respond_errors(response, request, "the route has errors, nothing changed",
			       buf_slice(&errors));
		buf_fini(&errors);
		return;
	}
	buf_reset(&errors);
	struct route *route, *old = registry_find(&request->control->registry, slice_str(config->id));
	if (old)
		route_config_unmask(config, route_config_of(old));
	if (replace && strcmp(config->id, request->id) != 0) {
		respond_problem_format(response, 422,
				       "the body's id \"%s\" is not the one of the path, \"%s\"", config->id,
				       request->id);
		err = -EINVAL;
	} else if (replace && old && !precondition(request, old, response)) {
		err = -EINVAL;
	} else if (replace && !old && request->if_match.len) {
		respond_problem(response, 412, "there is no such route (any more)", NULL);
		err = -EINVAL;
	} else {
		err = control_route_put(request->control, config, replace, request->peer->who, &route,
					&errors);
		if (err) {
			int status = err == -EEXIST || err == -ESTALE ? 409
				     : err == -ENOSPC		      ? 507
				     : err == -EINVAL		      ? 422
								      : 503;
			respond_problem(response, status, buf_cstr(&errors), NULL);
		}
	}
	if (err) {
		route_config_destroy(config);
	} else {
		respond_route(request, response, old ? 200 : 201, route);
		snprintf(response->location, sizeof(response->location), "/admin/routes/%s",
			 route_config_of(route)->id);
	}
	buf_fini(&errors);
}

void handle_route_create(struct request *request, struct response *response)
{
	put_route(request, response, request->text, false);
}

/* The id may be left out of the body: the path has it. */
void handle_route_replace(struct request *request, struct response *response)
{
	json_t *body = json_loadb(request->text.ptr, request->text.len, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(body) && !json_object_get(body, "id")) {
		json_object_set_new(body, "id", json_text(slice_str(request->id)));
		char *text = json_dumps(body, JSON_REAL_PRECISION(15));
		put_route(request, response, slice_str(text ? text : ""), true);
		free(text);
	} else {
		put_route(request, response, request->text, true);
	}
	json_decref(body);
}

void handle_route_delete(struct request *request, struct response *response)
{
	struct route *route = route_of(request);
	if (!precondition(request, route, response))
		return;
	struct buf why = {0};
	int err = control_route_delete(request->control, route, request->peer->who, &why);
	if (err)
		respond_problem_format(response, err == -ESTALE ? 409 : 503, "refused, nothing changed: %s",
				       buf_cstr(&why));
	else
		response->status = 204;
	buf_fini(&why);
}

/* --- ignored pointers ------------------------------------------------------------------------------------
 */

static json_t *strings_json(const struct string_list *strings)
{
	json_t *list = json_array();
	for (size_t i = 0; list && i < strings->count; i++)
		json_array_append_new(list, json_text(slice_str(strings->items[i])));
	return list;
}

/* The route's configuration with another list; NULL when it was refused (answered). */
static struct route_config *config_with_ignore(struct request *request, const struct route *route,
					       json_t *ignore, struct response *response)
{
	json_t *json = route_config_to_json(route_config_of(route));
	json_t *compare = json_object_get(json, "compare");
	char *text = NULL;
	struct route_config *config = NULL;
	struct buf errors = {0};
	if (compare && json_object_set(compare, "ignore", ignore) == 0)
		text = json_dumps(json, JSON_REAL_PRECISION(15));
	if (!text)
		respond_json(response, 500, NULL);
	else if (route_config_parse("ignore", slice_str(text), &config, &errors)) {
		respond_errors(response, request, "a pointer is wrong, nothing changed", buf_slice(&errors));
		config = NULL;
	}
	buf_fini(&errors);
	free(text);
	json_decref(json);
	return config;
}

void handle_ignore(struct request *request, struct response *response)
{
	struct route *route = route_of(request);
	json_t *ignore = json_object_get(request->body, "ignore");
	char text[8] = "";
	bool dry_run = query_get(request->query, "dry_run", text, sizeof(text)) &&
		       (strcmp(text, "true") == 0 || strcmp(text, "1") == 0 || text[0] == '\0');
	if (!precondition(request, route, response))
		return;
	struct route_config *config = config_with_ignore(request, route, ignore, response);
	if (!config)
		return;
	const char *why = "";
	json_t *change =
		facts_ignore_preview(request->control->facts, route->slot, config->compare.ignore.items,
				     config->compare.ignore.count, &why);
	if (!change)
		change = json_null();
	json_t *answer = json_pack("{s:o, s:o, s:b, s:o}", "ignore", strings_json(&config->compare.ignore),
				   "previous", strings_json(&route_config_of(route)->compare.ignore),
				   "dry_run", dry_run, "would_change", change);
	struct buf errors = {0};
	int err = 0;
	if (dry_run)
		route_config_destroy(config);
	else
		err = control_route_put(request->control, config, true, request->peer->who, &route, &errors);
	if (err) {
		route_config_destroy(config);
		json_decref(answer);
		respond_problem_format(response,
				       err == -EINVAL	? 422
				       : err == -ESTALE ? 409
							: 503,
				       "refused, nothing changed: %s", buf_cstr(&errors));
	} else {
		respond_json(response, 200, answer);
		view_etag(route, response->etag);
	}
	buf_fini(&errors);
}

void handle_reload(struct request *request, struct response *response)
{
	json_t *report = NULL;
	struct buf why = {0};
	if (control_reload(request->control, request->peer->who, &report, &why)) {
		json_t *list = json_array();
		struct slice rest = buf_slice(&why), line;
		while (slice_split(&rest, '\n', &line)) {
			if (line.len)
				json_array_append_new(list, json_text(line));
		}
		respond_problem(response, 422, "the configuration was not taken over, nothing changed",
				json_pack("{s:o}", "errors", list));
	} else {
		respond_json(response, 200, report);
	}
	buf_fini(&why);
}

void handle_kill_switch_set(struct request *request, struct response *response)
{
	bool on = json_is_true(json_object_get(request->body, "on"));
	if (kill_switch_set(request->control, on, request->peer->who, request->reason) == on)
		respond_json(response, 200, kill_switch_json(request->control));
	else
		respond_problem(response, 500,
				"set, and not so when it was read back: somebody else turned it", NULL);
}
