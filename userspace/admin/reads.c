/* SPDX-License-Identifier: Apache-2.0 */
/* reads: the GET handlers of the REST API (api.h). They look and change nothing. */
#include "admin/api.h"
#include "control/killswitch.h"
#include "control/value.h"
#include "control/view.h"

#include <stdio.h>
#include <stdlib.h>

static struct route *route_of(const struct request *request)
{
	return registry_find(&request->control->registry, slice_str(request->id));
}

/* ?limit=: at least 1; 0 = none was given. */
static size_t limit_of(const struct request *request)
{
	char text[16];
	if (!query_get(request->query, "limit", text, sizeof(text)))
		return 0;
	long limit = strtol(text, NULL, 10);
	return limit < 1 ? 1 : (size_t)limit;
}

/* The buffer's memory becomes the answer's. */
static void respond_text(struct response *response, const char *type, struct buf *text)
{
	if (text->failed) {
		buf_fini(text);
		respond_problem(response, 500, "out of memory", NULL);
		return;
	}
	response->status = 200;
	response->type = type;
	response->body = text->data;
	response->body_bytes = text->len;
}

void handle_status(struct request *request, struct response *response)
{
	struct buf text = {0}, rest = {0};
	/* Who asks is told here only: the status of the event stream is the same for all who listen. */
	buf_append_str(&text, "{\"you\":{\"name\":");
	buf_append_json(&text, slice_str(request->peer->who));
	buf_printf(&text, ",\"role\":\"%s\"},", role_word(request->peer->role));
	view_status(request->control, 0, &rest);
	if (rest.len)
		buf_append(&text, rest.data + 1, rest.len - 1); /* behind its opening brace */
	text.failed |= rest.failed;
	buf_fini(&rest);
	respond_text(response, "application/json", &text);
}

void handle_routes(struct request *request, struct response *response)
{
	struct buf text = {0};
	view_routes(request->control, &text);
	respond_text(response, "application/json", &text);
}

void handle_route(struct request *request, struct response *response)
{
	struct route *route = route_of(request);
	char etag[ETAG_SIZE];
	view_etag(route, etag);
	if (request->if_none_match.len && slice_equal(request->if_none_match, slice_str(etag)))
		response->status = 304;
	else
		respond_json(response, 200, view_route(request->control, route, true));
	snprintf(response->etag, sizeof(response->etag), "%s", etag);
}

void handle_weight(struct request *request, struct response *response)
{
	struct route *route = route_of(request);
	respond_json(response, 200, view_weight(request->control, route));
	view_etag(route, response->etag);
}

void handle_diffs(struct request *request, struct response *response)
{
	respond_json(response, 200, view_differences(request->control, route_of(request)));
}

void handle_samples(struct request *request, struct response *response)
{
	respond_json(response, 200, view_samples(request->control, route_of(request)));
}

void handle_decisions(struct request *request, struct response *response)
{
	respond_json(response, 200, view_decisions(request->control, route_of(request), limit_of(request)));
}

void handle_series(struct request *request, struct response *response)
{
	respond_json(response, 200, view_series(request->control, route_of(request), limit_of(request)));
}

/* An id of ours is a number below 2^53; anything else means nothing. */
static bool event_id_parse(struct slice text, uint64_t *id)
{
	uint64_t value = 0;
	if (text.len == 0 || text.len > 16)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	*id = value;
	return true;
}

static bool wants_stream(struct slice accept)
{
	struct slice element;
	while (slice_split(&accept, ',', &element)) {
		struct slice type = {0};
		slice_split(&element, ';', &type);
		if (slice_equal_nocase(type, SLICE("text/event-stream")))
			return true;
	}
	return false;
}

void handle_events(struct request *request, struct response *response)
{
	char text[24];
	uint64_t since = 0;
	bool given = query_get(request->query, "since", text, sizeof(text));
	if (given && !event_id_parse(slice_str(text), &since)) {
		respond_problem(response, 400, "since must be the id of an event, a whole number", NULL);
		return;
	}
	if (!wants_stream(request->accept)) {
		respond_json(response, 200, view_events(request->control, since, limit_of(request)));
		return;
	}
	uint64_t last;
	if (event_id_parse(request->last_event_id, &last)) {
		since = last;
		given = true;
	}
	response->status = 200;
	response->type = "text/event-stream";
	response->stream = true;
	response->since = given ? since : UINT64_MAX;
	response->changes = query_get(request->query, "cursor", text, sizeof(text));
	if (response->changes && !event_id_parse(slice_str(text), &response->cursor))
		response->cursor = 0;
}

void handle_data_path(struct request *request, struct response *response)
{
	respond_json(response, 200, view_data_path(request->control));
}

void handle_trace(struct request *request, struct response *response)
{
	char method[64], url[8192];
	if (!query_get(request->query, "url", url, sizeof(url)))
		strcpy(url, "/");
	if (!query_get(request->query, "method", method, sizeof(method)))
		strcpy(method, "GET");
	respond_json(response, 200, view_trace(request->control, slice_str(method), slice_str(url)));
}

void handle_kill_switch(struct request *request, struct response *response)
{
	respond_json(response, 200, kill_switch_json(request->control));
}

void handle_config(struct request *request, struct response *response)
{
	respond_json(response, 200, view_config(request->control));
}

void handle_audit(struct request *request, struct response *response)
{
	struct audit_filter filter = {.limit = limit_of(request)};
	query_get(request->query, "who", filter.who, sizeof(filter.who));
	query_get(request->query, "path", filter.path, sizeof(filter.path));
	query_get(request->query, "since", filter.since, sizeof(filter.since));
	query_get(request->query, "status", filter.status, sizeof(filter.status));
	respond_json(response, 200, view_audit(request->control, &filter));
}

void handle_healthz(struct request *request, struct response *response)
{
	respond_json(response, 200, json_pack("{s:s}", "status", "alive"));
}

void handle_readyz(struct request *request, struct response *response)
{
	const struct control *control = request->control;
	if (!control->published)
		respond_problem(response, 503, "no routes are published yet", NULL);
	else if (control->stopping)
		respond_problem(response, 503, "shutting down", NULL);
	else if (control->share.trouble[0])
		/* It serves, with the weights it has; to take it out of service would help nobody. */
		respond_json(response, 200,
			     json_pack("{s:s, s:s, s:s}", "status", "ready", "store", control->share.trouble,
				       "effect", "promotions hold; rollback and weights by hand act here"));
	else if (!control->state.ok && !control->state.shared)
		respond_problem(response, 503, control->state.error, NULL);
	else
		respond_json(response, 200, json_pack("{s:s}", "status", "ready"));
}

void handle_metrics(struct request *request, struct response *response)
{
	response->status = 200;
	response->type = METRICS_TYPE;
	response->scrape = true;
}
