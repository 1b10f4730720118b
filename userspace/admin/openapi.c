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

static json_t *problem_answer(const char *description)
{
	return json_pack("{s:s, s:{s:{s:{s:s}}}}", "description", description, "content",
			 "application/problem+json", "schema", "$ref", "#/components/schemas/Problem");
}

static json_t *operation(const struct endpoint *endpoint)
{
	json_t *answers = json_object();
	const char *status = strcmp(endpoint->method, "DELETE") == 0 ? "204" : "200";
	json_object_set_new(answers, status, json_pack("{s:s}", "description", endpoint->answer));
	json_object_set_new(answers, "default", problem_answer("what went wrong, and what to do"));
	json_t *json = json_pack("{s:s, s:o}", "summary", endpoint->summary, "responses", answers);
	if (json && (endpoint->keys || (endpoint->flags & ENDPOINT_RAW)))
		json_object_set_new(json, "requestBody",
				    json_pack("{s:b, s:{s:{s:o}}}", "required",
					      (endpoint->flags & ENDPOINT_RAW) != 0, "content",
					      "application/json", "schema", body_schema(endpoint)));
	if (json && strstr(endpoint->pattern, "{id}"))
		json_object_set_new(json, "parameters",
				    json_pack("[{s:s, s:s, s:b, s:{s:s}}]", "name", "id", "in", "path",
					      "required", 1, "schema", "type", "string"));
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
	json_t *problem = json_pack("{s:s, s:{s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}}}", "type", "object",
				    "properties", "type", "type", "string", "title", "type", "string",
				    "status", "type", "integer", "detail", "type", "string");
	json_t *components = json_pack("{s:{s:o}, s:{s:{s:s, s:s}}}", "schemas", "Problem", problem,
				       "securitySchemes", "token", "type", "http", "scheme", "bearer");
	json_t *document = json_pack("{s:s, s:{s:s, s:s}, s:o, s:o, s:[{s:[]}]}", "openapi", "3.1.0", "info",
				     "title", "Phoenix admin", "version", PHOENIX_VERSION, "paths", paths,
				     "components", components, "security", "token");
	respond_json(response, 200, document);
	response->cacheable = true;
}
