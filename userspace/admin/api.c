/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api: see api.h.
 *
 * The order of the questions a request is asked: is the Host ours, does the path exist, with this method, may
 * this peer, does the browser's page belong here, is the body JSON and does it say only what we know. Every
 * write that got as far as an endpoint is in the audit log, refused ones too.
 */
#include "admin/api.h"

#include "base/clock.h"
#include "base/hex.h"
#include "config_report.h"
#include "control/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct body_key reason_keys[] = {
	{"reason", "string", "why; goes into ledger, events and audit log", false},
	{0},
};
static const struct body_key weight_keys[] = {
	{"weight", "number", "share for modern, 0 to 1 in steps of 0.0001", true},
	{"reason", "string", "why; goes into ledger, events and audit log", false},
	{0},
};
static const struct body_key kill_keys[] = {
	{"on", "boolean", "true: every request to legacy; false: the weights are in force again", true},
	{"reason", "string", "why; goes into events and audit log", false},
	{0},
};
static const struct body_key ignore_keys[] = {
	{"ignore", "array", "RFC 6901 pointers, \"*\" for any element or member; replaces the list", true},
	{"reason", "string", "why; goes into the audit log", false},
	{0},
};

#define VERB(word, text)                                                                                     \
	{                                                                                                    \
		"POST", "/admin/routes/{id}/" word, ROLE_OPERATOR, ENDPOINT_ROUTE, reason_keys, text,        \
			"the route as it is now", handle_verb                                                \
	}

const struct endpoint api_endpoints[] = {
	{"GET", "/admin/status", ROLE_VIEWER, 0, NULL, "All the first page needs",
	 "gateway, totals and all routes", handle_status},
	{"GET", "/admin/routes", ROLE_VIEWER, 0, NULL, "All routes", "the routes", handle_routes},
	{"POST", "/admin/routes", ROLE_ADMIN, ENDPOINT_RAW, NULL, "Creates a route", "the route",
	 handle_route_create},
	{"GET", "/admin/routes/{id}", ROLE_VIEWER, ENDPOINT_ROUTE, NULL, "One route with its configuration",
	 "the route", handle_route},
	{"PUT", "/admin/routes/{id}", ROLE_ADMIN, ENDPOINT_RAW, NULL, "Replaces a route, or creates it",
	 "the route", handle_route_replace},
	{"DELETE", "/admin/routes/{id}", ROLE_ADMIN, ENDPOINT_ROUTE | ENDPOINT_EMPTY, NULL, "Deletes a route",
	 "nothing", handle_route_delete},
	{"GET", "/admin/routes/{id}/weight", ROLE_VIEWER, ENDPOINT_ROUTE, NULL,
	 "The weight: wanted, set and seen", "three numbers", handle_weight},
	{"POST", "/admin/routes/{id}/weight", ROLE_OPERATOR, ENDPOINT_ROUTE, weight_keys,
	 "Sets the weight, from the next request on", "wanted, set (read back) and seen", handle_weight_set},
	{"PUT", "/admin/routes/{id}/weight", ROLE_OPERATOR, ENDPOINT_ROUTE, weight_keys, "The same as POST",
	 "wanted, set (read back) and seen", handle_weight_set},
	VERB("start", "Begins the migration: mirror, compare, then move the weight"),
	VERB("pause", "Keeps the weight where it is"),
	VERB("resume", "Goes on after a pause"),
	VERB("promote", "Raises the weight by one step, whatever the samples say"),
	VERB("rollback", "All requests to legacy, latched until a retry"),
	VERB("retry", "Begins again after a rollback"),
	{"GET", "/admin/routes/{id}/diffs", ROLE_VIEWER, ENDPOINT_ROUTE, NULL,
	 "Differences, grouped, with redacted examples; the smallest failing pair of each; noise; shapes",
	 "the groups", handle_diffs},
	{"GET", "/admin/routes/{id}/samples", ROLE_VIEWER, ENDPOINT_ROUTE, NULL,
	 "Some of its real requests, redacted: to make traffic from", "the requests", handle_samples},
	{"GET", "/admin/routes/{id}/decisions", ROLE_VIEWER, ENDPOINT_ROUTE, NULL,
	 "The evidence ledger (?limit=)", "the decisions, newest last", handle_decisions},
	{"GET", "/admin/routes/{id}/series", ROLE_VIEWER, ENDPOINT_ROUTE, NULL,
	 "Chart data: a point a second, older ones further apart (?limit=)", "the points", handle_series},
	{"PUT", "/admin/routes/{id}/ignore", ROLE_OPERATOR, ENDPOINT_ROUTE, ignore_keys,
	 "Sets the pointers to ignore (?dry_run=true: only says what that would change)", "old and new list",
	 handle_ignore},
	{"GET", "/admin/migrations", ROLE_VIEWER, 0, NULL, "The pipeline: what is and was deployed",
	 "the migrations", handle_migrations},
	{"POST", "/admin/migrations", ROLE_ADMIN, ENDPOINT_RAW, NULL,
	 "Begins with a spec: verify, deploy, traffic, migrate (?until=healthy: only deploys)",
	 "the migration", handle_migration_create},
	{"GET", "/admin/migrations/{id}", ROLE_VIEWER, 0, NULL,
	 "One migration with its log (?since= a line's number)", "the migration", handle_migration},
	{"DELETE", "/admin/migrations/{id}", ROLE_ADMIN, ENDPOINT_EMPTY, NULL,
	 "Stops, undoes and forgets a migration; not one whose service answers users", "nothing",
	 handle_migration_delete},
	{"GET", "/admin/events", ROLE_VIEWER, 0, NULL,
	 "Events (?since=, ?limit=); with Accept: text/event-stream a stream with Last-Event-ID and "
	 "the status (?cursor= of an earlier one: with many routes only those that changed)",
	 "the events", handle_events},
	{"GET", "/admin/datapath", ROLE_VIEWER, 0, NULL, "Workers, connections, upstreams", "the data path",
	 handle_data_path},
	{"GET", "/admin/trace", ROLE_VIEWER, 0, NULL, "What would happen to a request (?method=GET, ?url=/)",
	 "its route, the next side, and where it would go", handle_trace},
	{"GET", "/admin/kill-switch", ROLE_VIEWER, 0, NULL, "Is everything forced to legacy?",
	 "the kill switch", handle_kill_switch},
	{"POST", "/admin/kill-switch", ROLE_OPERATOR, 0, kill_keys,
	 "Forces everything to legacy, whatever the weights say, or ends that", "the kill switch, read back",
	 handle_kill_switch_set},
	{"GET", "/admin/config", ROLE_VIEWER, 0, NULL, "The configuration in effect, defaults filled in",
	 "the configuration", handle_config},
	{"POST", "/admin/config/reload", ROLE_OPERATOR, 0, reason_keys, "Reads the configuration file again",
	 "what changed", handle_reload},
	{"GET", "/admin/audit", ROLE_VIEWER, 0, NULL,
	 "Who changed what, and who was not let in (?limit=, ?since= a time, ?who=, ?path= its beginning, "
	 "?status= 409 or 4xx)",
	 "the entries", handle_audit},
	{"GET", "/healthz", ROLE_NONE, 0, NULL, "Is the process alive?", "yes", handle_healthz},
	{"GET", "/readyz", ROLE_NONE, 0, NULL, "Does it serve, and can it store its state?", "yes",
	 handle_readyz},
	{"GET", "/metrics", ROLE_VIEWER, 0, NULL, "Prometheus text format 0.0.4", "the metrics",
	 handle_metrics},
	{"GET", "/openapi.json", ROLE_NONE, 0, NULL, "This interface as OpenAPI 3.1", "the document",
	 handle_openapi},
	{"GET", "/", ROLE_NONE, ENDPOINT_HIDDEN, NULL, "The page", "HTML", handle_page},
	{"GET", "/index.html", ROLE_NONE, ENDPOINT_HIDDEN, NULL, "The page", "HTML", handle_page},
	{"GET", "/page/{id}", ROLE_NONE, ENDPOINT_HIDDEN, NULL, "A file of the page", "the file",
	 handle_page},
};
const size_t api_endpoint_count = sizeof(api_endpoints) / sizeof(api_endpoints[0]);

/* --- answers ---------------------------------------------------------------------------------------------
 */

void respond_json(struct response *response, int status, json_t *json)
{
	response->body = json ? json_dumps(json, JSON_WIRE) : NULL;
	json_decref(json);
	response->status = status;
	response->type = status >= 400 ? "application/problem+json" : "application/json";
	if (response->body) {
		response->body_bytes = strlen(response->body);
		return;
	}
	static const char no_memory[] = "{\"type\":\"about:blank\",\"title\":\"Internal Server Error\","
					"\"status\":500,\"detail\":\"out of memory\"}";
	response->status = 500;
	response->type = "application/problem+json";
	response->body_static = no_memory;
	response->body_bytes = sizeof(no_memory) - 1;
}

void respond_problem(struct response *response, int status, const char *detail, json_t *more)
{
	json_t *json = json_pack("{s:s, s:s, s:i}", "type", "about:blank", "title", http_reason(status),
				 "status", status);
	if (json && detail)
		json_object_set_new(json, "detail", json_text(slice_str(detail)));
	if (json && more)
		json_object_update(json, more);
	json_decref(more);
	respond_json(response, status, json);
}

void respond_problem_format(struct response *response, int status, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	respond_problem(response, status, text, NULL);
}

void response_write_head(const struct response *response, bool close, struct buf *out)
{
	buf_printf(out, "HTTP/1.1 %d %s\r\n", response->status, http_reason(response->status));
	if (response->type)
		buf_printf(out, "Content-Type: %s\r\n", response->type);
	if (response->stream)
		buf_append_str(out, "X-Accel-Buffering: no\r\n");
	else if (response->status != 304 && response->status != 204)
		buf_printf(out, "Content-Length: %zu\r\n", response->body_bytes);
	buf_append_str(out,
		       response->cacheable ? "Cache-Control: no-cache\r\n" : "Cache-Control: no-store\r\n");
	buf_append_str(out, "X-Content-Type-Options: nosniff\r\n");
	if (response->page)
		buf_append_str(out, "Content-Security-Policy: default-src 'none'; script-src 'self'; "
				    "style-src 'self'; img-src 'self'; connect-src 'self'; "
				    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
				    "require-trusted-types-for 'script'; trusted-types 'none'\r\n"
				    "X-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n"
				    "Cross-Origin-Opener-Policy: same-origin\r\n"
				    "Cross-Origin-Resource-Policy: same-origin\r\n");
	if (response->etag[0])
		buf_printf(out, "ETag: %s\r\n", response->etag);
	if (response->allow[0])
		buf_printf(out, "Allow: %s\r\n", response->allow);
	if (response->location[0])
		buf_printf(out, "Location: %s\r\n", response->location);
	if (response->status == 401 || response->challenge)
		buf_printf(out, "WWW-Authenticate: Bearer realm=\"phoenix\"%s\r\n",
			   response->challenge ? response->challenge : "");
	if (response->retry_after_s)
		buf_printf(out, "Retry-After: %u\r\n", response->retry_after_s);
	if (close)
		buf_append_str(out, "Connection: close\r\n");
	buf_append_str(out, "\r\n");
}

/* --- texts -----------------------------------------------------------------------------------------------
 */

bool percent_decode(struct slice text, char *out, size_t size)
{
	size_t len = 0;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '%') {
			if (text.len - i < 3 || hex_digit(text.ptr[i + 1]) < 0 ||
			    hex_digit(text.ptr[i + 2]) < 0)
				return false;
			c = (char)(hex_digit(text.ptr[i + 1]) << 4 | hex_digit(text.ptr[i + 2]));
			i += 2;
		}
		if (c == '\0' || len + 1 >= size)
			return false;
		out[len++] = c;
	}
	out[len] = '\0';
	return true;
}

bool query_get(struct slice query, const char *name, char *out, size_t size)
{
	struct slice pair;
	while (slice_split(&query, '&', &pair)) {
		const char *equals = pair.len ? memchr(pair.ptr, '=', pair.len) : NULL;
		size_t len = equals ? (size_t)(equals - pair.ptr) : pair.len;
		if (!slice_equal(slice_of(pair.ptr, len), slice_str(name)))
			continue;
		struct slice value = equals ? slice_of(equals + 1, pair.len - len - 1) : SLICE("");
		return percent_decode(value, out, size);
	}
	return false;
}

/* --- dispatch --------------------------------------------------------------------------------------------
 */

/* Does the path fit the pattern? Fills in id and verb. */
static bool path_matches(const char *pattern, struct slice path, struct request *request)
{
	struct slice rest_a = slice_str(pattern), rest_b = path, a, b;
	for (;;) {
		bool more_a = slice_split(&rest_a, '/', &a), more_b = slice_split(&rest_b, '/', &b);
		if (more_a != more_b)
			return false;
		if (!more_a)
			return true;
		if (slice_equal(a, SLICE("{id}"))) {
			if (b.len == 0 || !percent_decode(b, request->id, sizeof(request->id)))
				return false;
		} else if (!slice_equal(a, b)) {
			return false;
		}
		/* The last piece names the verb where there is one. */
		if (!rest_a.ptr)
			text_copy(request->verb, sizeof(request->verb), b);
	}
}

static const struct endpoint *find(struct request *request, struct response *response)
{
	struct slice method = slice_equal(request->method, SLICE("HEAD")) ? SLICE("GET") : request->method;
	struct buf allow = {0};
	const struct endpoint *found = NULL;
	for (size_t i = 0; i < api_endpoint_count && !found; i++) {
		const struct endpoint *endpoint = &api_endpoints[i];
		struct request attempt = *request;
		if (!path_matches(endpoint->pattern, request->path, &attempt))
			continue;
		if (slice_equal(method, slice_str(endpoint->method))) {
			*request = attempt;
			found = endpoint;
		}
		buf_printf(&allow, "%s%s%s", allow.len ? ", " : "", endpoint->method,
			   strcmp(endpoint->method, "GET") == 0 ? ", HEAD" : "");
	}
	if (!found && allow.len) {
		respond_problem_format(response, 405, "%.*s is not possible here; possible: %s",
				       SLICE_ARG(request->method), buf_cstr(&allow));
		snprintf(response->allow, sizeof(response->allow), "%s", buf_cstr(&allow));
	} else if (!found) {
		respond_problem(response, 404, "there is nothing here; GET /openapi.json lists what there is",
				NULL);
	}
	buf_fini(&allow);
	return found;
}

static bool is_json_type(struct slice type)
{
	struct slice rest = type, first;
	if (!slice_split(&rest, ';', &first))
		return false;
	return slice_equal_nocase(first, SLICE("application/json"));
}

static const char *json_type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		return "string";
	case JSON_ARRAY:
		return "array";
	case JSON_INTEGER:
	case JSON_REAL:
		return "number";
	case JSON_OBJECT:
		return "object";
	case JSON_NULL:
		return "null";
	default:
		return "boolean";
	}
}

/* Says only what the table knows, with the types of the table? */
static bool keys_are_known(const struct endpoint *endpoint, const json_t *body, struct response *response)
{
	const char *words[8] = {NULL}, *key;
	unsigned count = 0;
	for (const struct body_key *k = endpoint->keys; k->name && count < 7; k++)
		words[count++] = k->name;
	json_t *value;
	json_object_foreach((json_t *)body, key, value)
	{
		const struct body_key *known = NULL;
		for (const struct body_key *k = endpoint->keys; k->name; k++)
			known = strcmp(k->name, key) == 0 ? k : known;
		struct quoted name = quote(slice_str(key));
		if (!known) {
			const char *meant = report_suggest(slice_str(key), words);
			respond_problem_format(response, 422, "unknown key %s%s%s%s", name.text,
					       meant ? "; did you mean \"" : "", meant ? meant : "",
					       meant ? "\"?" : "");
			return false;
		}
		bool optional_null = json_is_null(value) && !known->required;
		if (!optional_null && strcmp(json_type_name(value), known->type) != 0) {
			respond_problem_format(response, 422, "%s must be of type %s, and is of type %s",
					       name.text, known->type, json_type_name(value));
			return false;
		}
	}
	for (const struct body_key *k = endpoint->keys; k->name; k++) {
		if (k->required && !json_object_get(body, k->name)) {
			respond_problem_format(response, 422, "the key \"%s\" is missing: %s", k->name,
					       k->help);
			return false;
		}
	}
	return true;
}

/* Parses and checks the body into request->body. */
static bool take_body(const struct endpoint *endpoint, struct request *request, struct response *response)
{
	json_error_t error;
	if (slice_trim(request->text).len == 0)
		request->body = json_object();
	else
		request->body =
			json_loadb(request->text.ptr, request->text.len, JSON_REJECT_DUPLICATES, &error);
	if (!request->body) {
		respond_problem_format(response, 400, "the body is no JSON: line %d, column %d: %s",
				       error.line, error.column, error.text);
		return false;
	}
	if (!json_is_object(request->body)) {
		respond_problem(response, 422, "the body must be a JSON object", NULL);
		return false;
	}
	return keys_are_known(endpoint, request->body, response);
}

static struct slice field_of(const struct connection *connection, struct slice name)
{
	const struct http_field *field = http_head_find_name(&connection->head, connection->in.data, name);
	return field ? http_field_value(field, connection->in.data) : (struct slice){0};
}

/* RFC 6750 3.1: the scope that would do. */
static const char *scope_challenge(enum role role)
{
	static const char *const challenges[ROLE_COUNT] = {
		[ROLE_VIEWER] = ", error=\"insufficient_scope\", scope=\"viewer\"",
		[ROLE_OPERATOR] = ", error=\"insufficient_scope\", scope=\"operator\"",
		[ROLE_ADMIN] = ", error=\"insufficient_scope\", scope=\"admin\"",
	};
	return challenges[role];
}

static void respond_forbidden(const struct request *request, enum role needed, struct response *response)
{
	const struct peer *peer = request->peer;
	json_t *more = json_pack("{s:s, s:s}", "role", role_word(peer->role), "needs", role_word(needed));
	struct buf text = {0};
	if (peer->unix_socket && peer->role == ROLE_NONE)
		buf_printf(&text,
			   "%s may do nothing here: only root, the daemon's user and members of "
			   "admin.socket_group (%s) may",
			   peer->who,
			   request->control->config->admin.socket_group
				   ? request->control->config->admin.socket_group
				   : "there is none");
	else
		buf_printf(&text, "this needs the role %s, and %s is %s", role_word(needed), peer->who,
			   role_word(peer->role));
	respond_problem(response, 403, buf_cstr(&text), more);
	buf_fini(&text);
	response->challenge = peer->unix_socket ? NULL : scope_challenge(needed);
}

/* Who asks, and may they? Answers when not. */
static bool is_allowed(struct request *request, const struct endpoint *endpoint, struct slice authorization,
		       struct response *response)
{
	uint64_t now_ns = clock_now_ns();
	struct auth *auth = &request->admin->auth;
	if (endpoint->role == ROLE_NONE)
		return true;
	switch (auth_identify(auth, authorization, now_ns, request->peer)) {
	case AUTH_MISSING:
		respond_problem(response, 401, "a token is needed: Authorization: Bearer …", NULL);
		return false;
	case AUTH_WRONG:
		respond_problem(response, 401, "the token is not one of admin.token_file", NULL);
		response->challenge = ", error=\"invalid_token\"";
		request->denied = true;
		return false;
	case AUTH_LIMITED:
		response->retry_after_s =
			(limiter_wait_ms(&auth->limiter, request->peer->network, now_ns) + 999) / 1000;
		respond_problem_format(response, 429,
				       "too many wrong tokens from %s; the next is looked at in %u s",
				       request->peer->ip, response->retry_after_s);
		return false;
	case AUTH_KNOWN:
		break;
	}
	if (request->peer->role >= endpoint->role)
		return true;
	respond_forbidden(request, endpoint->role, response);
	request->denied = true;
	return false;
}

/* May this request be carried out? Answers when not. */
static bool admit(struct request *request, const struct endpoint *endpoint,
		  const struct connection *connection, struct response *response)
{
	const struct http_head *head = &connection->head;
	const char *base = connection->in.data;
	const struct http_field *field;
	struct peer *peer = request->peer;
	if (!is_allowed(request, endpoint, field_of(connection, SLICE("authorization")), response))
		return false;
	if (strcmp(endpoint->method, "GET") == 0)
		return true;
	if (!peer->unix_socket) {
		field = http_head_find_name(head, base, SLICE("origin"));
		const struct http_field *host = http_head_find(head, PHX_FIELD_HOST);
		struct slice origin = field ? http_field_value(field, base) : (struct slice){0};
		if (!auth_origin_is_ours(origin, host ? http_field_value(host, base) : (struct slice){0})) {
			respond_problem(
				response, 403,
				"this Origin may not change anything: only the gateway's own page may", NULL);
			return false;
		}
	}
	if (endpoint->flags & ENDPOINT_EMPTY && request->text.len == 0)
		return true;
	field = http_head_find_name(head, base, SLICE("content-type"));
	if (!field || !is_json_type(http_field_value(field, base))) {
		respond_problem(response, 415, "writes need Content-Type: application/json", NULL);
		return false;
	}
	return true;
}

static void audit(const struct request *request, const struct response *response)
{
	char method[32], path[256];
	text_copy(method, sizeof(method), request->method);
	text_copy(path, sizeof(path), request->path);
	control_audit(request->control, &(struct audit_entry){
						.who = request->peer->who,
						.role = role_word(request->peer->role),
						.peer = request->peer->address,
						.method = method,
						.path = path,
						.reason = request->reason,
						.status = response->status,
					});
}

void api_dispatch(struct connection *connection, struct response *response)
{
	const struct http_head *head = &connection->head;
	const char *base = connection->in.data;
	struct http_target target;
	struct request request = {
		.admin = connection->admin,
		.control = connection->admin->control,
		.peer = &connection->peer,
		.method = http_head_method(head, base),
		.text = slice_of(buf_cstr(&connection->content), connection->content.len),
		.reason = "",
	};
	if (http_target_parse(head, base, &target)) {
		respond_problem(response, 400, "the request target has no path", NULL);
		return;
	}
	request.path = target.path;
	const char *mark =
		target.path_query.len ? memchr(target.path_query.ptr, '?', target.path_query.len) : NULL;
	if (mark)
		request.query = slice_of(mark + 1,
					 target.path_query.len - (size_t)(mark + 1 - target.path_query.ptr));
	const struct http_field *host = http_head_find(head, PHX_FIELD_HOST);
	struct slice host_value = target.authority.len ? target.authority
				  : host	       ? http_field_value(host, base)
						       : SLICE("");
	if (!connection->peer.unix_socket && !auth_host_is_ours(&connection->admin->auth, host_value)) {
		respond_problem(
			response, 403,
			"misdirected: this Host is no name of the admin interface; if it should be, add it "
			"to admin.allowed_hosts",
			NULL);
		return;
	}
	const struct endpoint *endpoint = find(&request, response);
	if (!endpoint)
		return;
	request.if_match = field_of(connection, SLICE("if-match"));
	request.if_none_match = field_of(connection, SLICE("if-none-match"));
	request.accept = field_of(connection, SLICE("accept"));
	request.last_event_id = field_of(connection, SLICE("last-event-id"));
	bool write = strcmp(endpoint->method, "GET") != 0;
	bool fine = admit(&request, endpoint, connection, response);
	if (fine && write && handover_is_frozen(&request.control->handover)) {
		respond_problem(response, 503,
				"another daemon is taking over and nothing can be changed here: ask again in "
				"a moment",
				NULL);
		fine = false;
	}
	if (fine && write && endpoint->keys) {
		fine = take_body(endpoint, &request, response);
		request.reason = request.body ? json_get_str(request.body, "reason") : "";
	}
	if (fine && (endpoint->flags & ENDPOINT_ROUTE) &&
	    !registry_find(&request.control->registry, slice_str(request.id))) {
		struct quoted name = quote(slice_str(request.id));
		respond_problem_format(response, 404, "there is no route %s; GET /admin/routes lists them",
				       name.text);
		fine = false;
	}
	if (fine)
		endpoint->handle(&request, response);
	/* Attempts beyond the limit are not even looked at: those before them are written down. */
	if ((write || request.denied) && response->status != 429)
		audit(&request, response);
	json_decref(request.body);
}
