/* SPDX-License-Identifier: Apache-2.0 */
/* openapi: the table of api.c as an OpenAPI 3.1 document. */
#include "admin/api.h"

#include "control/value.h"

#include <stdlib.h>

static json_t *body_schema(const struct endpoint *endpoint)
{
	json_t *properties = json_object(), *required = json_array();
	for (const struct body_key *key = endpoint->keys; key && key->name; key++) {
		json_object_set_new(properties, key->name,
				    json_pack("{s:s, s:s}", "type", key->type, "description", key->help));
		if (key->required)
			json_array_append_new(required, json_string(key->name));
	}
	json_t *schema = json_pack("{s:s, s:o, s:b}", "type", "object", "properties", properties,
				   "additionalProperties", endpoint->keys == NULL);
	if (json_array_size(required))
		json_object_set(schema, "required", required);
	json_decref(required);
	return schema;
}

/* What a good answer has, by method and path; what stands behind a "?" are query parameters. */
static const struct answer {
	const char *method, *pattern;
	const char *statuses; /* of good answers */
	const char *type;     /* content type; NULL = JSON */
	const char *members;  /* that its object always has */
	const char *query;
} answers[] = {
	{"GET", "/admin/status", "200", NULL, "you version instance started_at now headline totals routes",
	 ""},
	{"GET", "/admin/routes", "200", NULL, "routes", ""},
	{"POST", "/admin/routes", "201", NULL, "id state headline weight consistency sides verbs etag config",
	 ""},
	{"GET", "/admin/routes/{id}", "200", NULL,
	 "id state headline weight consistency sides verbs etag config", ""},
	{"PUT", "/admin/routes/{id}", "200 201", NULL,
	 "id state headline weight consistency sides verbs etag config", ""},
	{"DELETE", "/admin/routes/{id}", "204", NULL, "", ""},
	{"GET", "/admin/routes/{id}/weight", "200", NULL, "id wanted set seen epoch", ""},
	{"POST", "/admin/routes/{id}/weight", "200", NULL, "id wanted set seen epoch previous", ""},
	{"PUT", "/admin/routes/{id}/weight", "200", NULL, "id wanted set seen epoch previous", ""},
	{"GET", "/admin/routes/{id}/diffs", "200", NULL, "id samples mismatches groups noise shapes", ""},
	{"GET", "/admin/routes/{id}/decisions", "200", NULL, "id decisions", "limit"},
	{"GET", "/admin/routes/{id}/series", "200", NULL, "id interval_ms points", "limit"},
	{"PUT", "/admin/routes/{id}/ignore", "200", NULL, "ignore previous dry_run would_change", "dry_run"},
	{"POST", "/admin/migrations", "202", NULL, "", "until"},
	{"GET", "/admin/migrations/{id}", "200", NULL, "", "since"},
	{"DELETE", "/admin/migrations/{id}", "202 204", NULL, "", ""},
	{"GET", "/admin/events", "200", NULL, "events", "since limit"},
	{"GET", "/admin/datapath", "200", NULL, "path xdp routes upstreams workers connections", ""},
	{"GET", "/admin/trace", "200", NULL, "", "method url"},
	{"GET", "/admin/config", "200", NULL, "listen admin state routes file", ""},
	{"POST", "/admin/config/reload", "200", NULL,
	 "changed routes_added routes_removed weights_from_file warnings", ""},
	{"GET", "/admin/audit", "200", NULL, "entries", "limit since who path status"},
	{"GET", "/healthz", "200", NULL, "status", ""},
	{"GET", "/readyz", "200", NULL, "status", ""},
	{"GET", "/metrics", "200", METRICS_TYPE, NULL, ""},
	{"GET", "/openapi.json", "200", NULL, "openapi info paths components", ""},
};

static const struct answer *answer_of(const struct endpoint *endpoint)
{
	static const struct answer other = {.statuses = "200", .members = "", .query = ""};
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (strcmp(answers[i].method, endpoint->method) == 0 &&
		    strcmp(answers[i].pattern, endpoint->pattern) == 0)
			return &answers[i];
	}
	return &other;
}

static json_t *good_answer(const struct endpoint *endpoint, const struct answer *answer, struct slice status)
{
	json_t *json = json_pack("{s:s}", "description", endpoint->answer), *schema;
	if (slice_equal(status, SLICE("204")))
		return json;
	if (answer->members) {
		json_t *required = json_array();
		struct slice rest = slice_str(answer->members), member;
		while (slice_split(&rest, ' ', &member)) {
			if (member.len)
				json_array_append_new(required, json_text(member));
		}
		schema = json_pack("{s:s, s:o}", "type", "object", "required", required);
	} else {
		schema = json_pack("{s:s}", "type", "string");
	}
	json_object_set_new(
		json, "content",
		json_pack("{s:{s:o}}", answer->type ? answer->type : "application/json", "schema", schema));
	return json;
}

/* Which refusals an operation knows, and what they mean. */
static void add_problems(const struct endpoint *endpoint, json_t *responses)
{
	bool write = strcmp(endpoint->method, "GET") != 0;
	bool guarded = endpoint->role != ROLE_NONE, id = strstr(endpoint->pattern, "{id}") != NULL;
	const struct {
		const char *status, *description;
		bool possible;
	} rows[] = {
		{"400", "not what HTTP or JSON allows, or a query that means nothing", true},
		{"401", "no token, or one that is not in admin.token_file", guarded},
		{"403", "the role is not enough (\"needs\"), or Host or Origin are not ours", true},
		{"404", "there is none of this name", id},
		{"409", "not possible in this state; \"possible\" has what is", write},
		{"412", "If-Match names another version; the detail who changed what", write && id},
		{"413", "the body has more than 1048576 bytes", true},
		{"415", "a write without Content-Type: application/json", write},
		{"422", "the body says something that cannot be; \"errors\" has each", write},
		{"429", "too many wrong tokens from this address; see Retry-After", guarded},
		{"503", "it cannot be stored, shown or changed at this moment", true},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].possible)
			json_object_set_new(responses, rows[i].status,
					    json_pack("{s:s, s:{s:{s:{s:s}}}}", "description",
						      rows[i].description, "content",
						      "application/problem+json", "schema", "$ref",
						      "#/components/schemas/Problem"));
	}
}

static json_t *parameters(const struct endpoint *endpoint, const struct answer *answer)
{
	json_t *list = json_array();
	struct slice rest = slice_str(answer->query), name;
	if (strstr(endpoint->pattern, "{id}"))
		json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:{s:s}}", "name", "id", "in", "path",
						      "required", 1, "schema", "type", "string"));
	while (slice_split(&rest, ' ', &name)) {
		if (name.len)
			json_array_append_new(list, json_pack("{s:o, s:s, s:{s:s}}", "name", json_text(name),
							      "in", "query", "schema", "type", "string"));
	}
	return list;
}

static json_t *operation(const struct endpoint *endpoint)
{
	const struct answer *answer = answer_of(endpoint);
	json_t *responses = json_object();
	struct slice rest = slice_str(answer->statuses), status;
	while (slice_split(&rest, ' ', &status))
		json_object_setn_new(responses, status.ptr, status.len,
				     good_answer(endpoint, answer, status));
	add_problems(endpoint, responses);
	json_t *json = json_pack("{s:s, s:o, s:o}", "summary", endpoint->summary, "responses", responses,
				 "parameters", parameters(endpoint, answer));
	if (json && (endpoint->keys || (endpoint->flags & ENDPOINT_RAW)))
		json_object_set_new(json, "requestBody",
				    json_pack("{s:b, s:{s:{s:o}}}", "required",
					      (endpoint->flags & ENDPOINT_RAW) != 0, "content",
					      "application/json", "schema", body_schema(endpoint)));
	if (json && endpoint->role == ROLE_NONE)
		json_object_set_new(json, "security", json_array());
	else if (json)
		json_object_set_new(json, "x-role", json_string(role_word(endpoint->role)));
	return json;
}

void handle_openapi(struct request *request, struct response *response)
{
	json_t *paths = json_object();
	for (size_t i = 0; i < api_endpoint_count; i++) {
		const struct endpoint *endpoint = &api_endpoints[i];
		if (endpoint->flags & ENDPOINT_HIDDEN)
			continue;
		char method[8];
		size_t len = 0;
		for (; endpoint->method[len] && len + 1 < sizeof(method); len++)
			method[len] = (char)(endpoint->method[len] | 32);
		method[len] = '\0';
		if (!json_object_get(paths, endpoint->pattern))
			json_object_set_new(paths, endpoint->pattern, json_object());
		json_object_set_new(json_object_get(paths, endpoint->pattern), method, operation(endpoint));
	}
	json_t *problem =
		json_pack("{s:s, s:[s, s, s], s:{s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}}}", "type", "object",
			  "required", "type", "title", "status", "properties", "type", "type", "string",
			  "title", "type", "string", "status", "type", "integer", "detail", "type", "string");
	json_t *components = json_pack("{s:{s:o}, s:{s:{s:s, s:s}}}", "schemas", "Problem", problem,
				       "securitySchemes", "token", "type", "http", "scheme", "bearer");
	json_t *document = json_pack("{s:s, s:{s:s, s:s}, s:o, s:o, s:[{s:[]}]}", "openapi", "3.1.0", "info",
				     "title", "Phoenix admin", "version", PHOENIX_VERSION, "paths", paths,
				     "components", components, "security", "token");
	respond_json(response, 200, document);
	response->cacheable = true;
}
