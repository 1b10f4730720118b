/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace: what would happen to a request, asked of the real data path without sending one.
 *
 * The request is written as a client would send it and read by the gateway's own strict parser and route
 * table, so the answer cannot differ from what happens to the next real one.
 */
#include "control/datapath.h"
#include "control/value.h"
#include "control/view.h"
#include "http/parse.h"

static json_t *refused(const char *why)
{
	return json_pack("{s:n, s:s, s:s}", "route", "path", "daemon", "why", why);
}

static json_t *url_json(const struct config_url *url, const struct http_target *target)
{
	struct buf text = {0};
	buf_printf(&text, strchr(url->host, ':') ? "http://[%s]:%u" : "http://%s:%u", url->host, url->port);
	buf_append_str(&text, url->base_path);
	if (target->path_query.ptr[0] == '?')
		buf_append_char(&text, '/');
	buf_append_slice(&text, target->path_query);
	json_t *json = json_text(buf_slice(&text));
	buf_fini(&text);
	return json;
}

/* Where the next request of this route goes, in words. */
static void side_next(struct control *control, const struct route *route, char *out, size_t size)
{
	const struct route_config *config = route_config_of(route);
	uint32_t weight_bp = policy_weight_bp(&control->policy, route->slot);
	static const char *const by[] = {
		[SPLIT_BY_REQUEST] = "dealt out by request",
		[SPLIT_BY_CLIENT_IP] = "by client address",
		[SPLIT_BY_HEADER] = "by header",
		[SPLIT_BY_COOKIE] = "by cookie",
	};
	if (weight_bp == 0)
		snprintf(out, size, "legacy");
	else if (weight_bp >= PHX_WEIGHT_ONE)
		snprintf(out, size, "modern");
	else
		snprintf(out, size, "modern for %g%% of requests, legacy for the rest, %s%s%s",
			 weight_bp / 100.0, by[config->split_by], config->split_name ? " " : "",
			 config->split_name ? config->split_name : "");
}

/* What the loaded program says: it decides first, and its word is final where it serves. */
static void ask_fast_path(struct control *control, struct slice head, json_t *json)
{
	static const char *const sides[] = {"legacy", "modern"};
	struct phx_trace trace;
	if (!control->plane || !json)
		return;
	int err = dataplane_trace(control->plane, head, &trace);
	if (err) {
		json_object_set_new(json, "xdp", json_pack("{s:s}", "error", strerror(-err)));
		return;
	}
	bool serves = trace.reason == PHX_REASON_NONE && strcmp(data_path_word(control), "xdp") == 0;
	const struct route *route =
		trace.slot < PHX_ROUTE_SLOTS ? control->registry.by_slot[trace.slot] : NULL;
	json_object_set_new(json, "path", json_string(serves ? "xdp" : "daemon"));
	json_object_set_new(json, "xdp",
			    json_pack("{s:s, s:s, s:o, s:s, s:i, s:b}", "reason",
				      dataplane_reason_word(trace.reason), "help",
				      dataplane_reason_help(trace.reason), "route",
				      json_text_or_null(route ? route_config_of(route)->id : ""), "side",
				      sides[trace.side & 1], "weight_bp", (int)trace.weight_bp, "sampled",
				      trace.sampled != 0));
}

/* As a client sends it to a server (RFC 9112 3.2.1): a URL is taken apart into Host and path. */
static void write_origin_form(struct slice method, const struct http_target *target, struct buf *bytes)
{
	struct buf head = {.max = bytes->max};
	struct slice host = target->authority.len ? target->authority : SLICE("localhost");
	buf_printf(&head, "%.*s %s%.*s HTTP/1.1\r\nHost: %.*s\r\n\r\n", SLICE_ARG(method),
		   target->path_query.len && target->path_query.ptr[0] == '?' ? "/" : "",
		   SLICE_ARG(target->path_query), SLICE_ARG(host));
	buf_fini(bytes);
	*bytes = head;
}

json_t *view_trace(struct control *control, struct slice method, struct slice url)
{
	struct buf bytes = {.max = 16384};
	struct http_head head;
	struct http_target target = {.path_query = {NULL, 0}};
	buf_printf(&bytes, "%.*s %.*s HTTP/1.1\r\n%s\r\n", SLICE_ARG(method), SLICE_ARG(url),
		   url.len && url.ptr[0] == '/' ? "Host: localhost\r\n" : "Host: absolute\r\n");
	http_head_init(&head, 0, HTTP_FIELDS_MAX);
	enum http_parse_result result =
		bytes.failed ? HTTP_PARSE_MORE : http_head_parse(&head, bytes.data, bytes.len);
	json_t *json = NULL;
	if (result != HTTP_PARSE_DONE) {
		json = refused(result == HTTP_PARSE_MORE ? "the URL is too long"
							 : http_refusal_help(&head, result));
	} else if (http_target_parse(&head, bytes.data, &target)) {
		json = refused("the URL is not a path or http://host/path");
	} else {
		const char *id = control->gateway ? gateway_trace(control->gateway, method, target.authority,
								  target.path)
						  : NULL;
		struct route *route = id ? registry_find(&control->registry, slice_str(id)) : NULL;
		char side[128] = "";
		if (route)
			side_next(control, route, side, sizeof(side));
		json = !route ? refused("no route matches method, host and path")
			      : json_pack("{s:s, s:s, s:s, s:o, s:o}", "route", id, "side_next", side, "path",
					  "daemon", "url_legacy",
					  url_json(&route_config_of(route)->legacy, &target), "url_modern",
					  url_json(&route_config_of(route)->modern, &target));
	}
	if (target.path_query.ptr)
		write_origin_form(method, &target, &bytes);
	ask_fast_path(control, buf_slice(&bytes), json);
	buf_fini(&bytes);
	return json;
}
