/* SPDX-License-Identifier: Apache-2.0 */
/* The REST interface without its sockets: a request's text in, an answer out. */
#include "test_control_support.h"

#include "admin/api.h"

#define ROUTES                                                                                               \
	"{\"state\":{\"store\":\"memory\"},\"routes\":[{\"id\":\"a\",\"path\":\"/a\"," FAKE_URLS             \
	",\"arbiter\":{\"enabled\":false}},{\"id\":\"m\",\"path\":\"/m\"," FAKE_URLS "}]}"

static struct fake fake;
static struct admin admin;

static void begin(void)
{
	fake_start(&fake, ROUTES);
	memset(&admin, 0, sizeof(admin));
	admin.control = fake.control;
	struct buf why = {0};
	CHECK_INT(auth_init(&admin.auth, fake.control->config, &why), 0);
	buf_fini(&why);
}

static void add_token(const char *name, enum role role, const char *secret)
{
	struct tokens *tokens = &admin.auth.tokens;
	if (!tokens->items)
		tokens->items = calloc(TOKENS_MAX, sizeof(*tokens->items));
	struct token *token = &tokens->items[tokens->count++];
	snprintf(token->name, sizeof(token->name), "%s", name);
	token->role = role;
	sha256(secret, strlen(secret), token->digest);
}

static void end(void)
{
	auth_fini(&admin.auth);
	fake_stop(&fake);
}

struct answer {
	int status;
	json_t *json;
	struct response response;
};

/* Asks over TCP. `head` is what stands between the request line and the body; a Host is added. */
static struct answer ask(const char *line, const char *head, const char *body)
{
	struct connection connection = {.admin = &admin};
	snprintf(connection.peer.ip, sizeof(connection.peer.ip), "127.0.0.1");
	buf_printf(&connection.in, "%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", line, head);
	buf_append_str(&connection.content, body);
	http_head_init(&connection.head, 0, ADMIN_FIELDS_MAX);
	struct answer answer = {0};
	if (http_head_parse(&connection.head, connection.in.data, connection.in.len) != HTTP_PARSE_DONE) {
		fprintf(stderr, "the test's own request is malformed: %s\n", line);
		exit(1);
	}
	api_dispatch(&connection, &answer.response);
	answer.status = answer.response.status;
	if (answer.response.body)
		answer.json = json_loadb(answer.response.body, answer.response.body_bytes, 0, NULL);
	free(answer.response.body);
	buf_fini(&connection.in);
	buf_fini(&connection.content);
	return answer;
}

#define JSON "Content-Type: application/json\r\n"

static void expect(const char *line, const char *head, const char *body, int status, const char *detail)
{
	struct answer answer = ask(line, head, body);
	CHECK_MSG(answer.status == status, "%s %s: %d, not %d", line, body, answer.status, status);
	const char *text = json_get_str(answer.json, "detail");
	if (detail)
		CHECK_MSG(strstr(text, detail), "%s %s: \"%s\" has no \"%s\"", line, body, text, detail);
	if (status >= 400)
		CHECK_INT(json_get_u64(answer.json, "status"), status);
	json_decref(answer.json);
}

TEST(paths_and_methods)
{
	begin();
	expect("GET /admin/status", "", "", 200, NULL);
	expect("HEAD /admin/status", "", "", 200, NULL);
	expect("GET /admin/status?x=1", "", "", 200, NULL);
	expect("GET /admin/status/", "", "", 404, NULL);
	expect("GET /admin", "", "", 404, NULL);
	expect("GET /admin/routes/a", "", "", 200, NULL);
	expect("GET /admin/routes/%61", "", "", 200, NULL);
	expect("GET /admin/routes/%zz", "", "", 404, NULL);
	expect("GET /admin/routes/nope", "", "", 404, "there is no route \"nope\"");
	expect("GET /admin/routes/a/explode", "", "", 404, NULL);
	expect("DELETE /admin/status", "", "", 405, "possible: GET, HEAD");
	expect("GET /admin/routes/a/pause", "", "", 405, "possible: POST");
	struct answer answer = ask("PATCH /admin/routes/a", "", "");
	CHECK_STR(answer.response.allow, "GET, HEAD, PUT, DELETE");
	json_decref(answer.json);
	end();
}

TEST(weights_exactly)
{
	begin();
	static const struct {
		const char *body;
		int status;
		const char *detail;
	} rows[] = {
		{"{\"weight\":0.35}", 200, NULL},
		{"{\"weight\":0}", 200, NULL},
		{"{\"weight\":1}", 200, NULL},
		{"{\"weight\":1.0}", 200, NULL},
		{"{\"weight\":0.0001,\"reason\":\"r\"}", 200, NULL},
		{"{\"weight\":0.9999}", 200, NULL},
		{"{\"weight\":0.1,\"reason\":null}", 200, NULL},
		{"{\"weight\":1.0001}", 422, "1.0001 is not between 0 and 1"},
		{"{\"weight\":-0.1}", 422, "-0.1 is not between 0 and 1"},
		{"{\"weight\":30}", 422, "30 is not between"},
		{"{\"weight\":0.33333}", 422, "0.33333 has more than four decimals"},
		{"{\"weight\":0.00001}", 422, "more than four decimals"},
		{"{\"weight\":\"0.3\"}", 422, "must be of type number, and is of type string"},
		{"{\"weight\":null}", 422, "must be of type number"},
		{"{}", 422, "\"weight\" is missing"},
		{"", 422, "\"weight\" is missing"},
		{"{\"wieght\":0.3}", 422, "did you mean \"weight\"?"},
		{"{\"weight\":0.3,\"raeson\":\"x\"}", 422, "did you mean \"reason\"?"},
		{"{\"weight\":0.3,\"weight\":0.4}", 400, "no JSON"},
		{"{\"weight\":1e999}", 400, "no JSON"},
		{"[0.3]", 422, "must be a JSON object"},
		{"{\"weight\":0.3", 400, "line 1"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect("POST /admin/routes/a/weight", JSON, rows[i].body, rows[i].status, rows[i].detail);
	/* All ten thousand of them are exact. */
	unsigned wrong = 0;
	for (unsigned bp = 0; bp <= 10000; bp += 7) {
		char body[64];
		snprintf(body, sizeof(body), "{\"weight\":%.4f}", bp / 10000.0);
		struct answer answer = ask("PUT /admin/routes/a/weight", JSON, body);
		wrong += policy_weight_bp(&fake.control->policy, fake_route(&fake, "a")->slot) != bp;
		json_decref(answer.json);
	}
	CHECK_INT(wrong, 0);
	struct answer answer = ask("POST /admin/routes/a/weight", JSON, "{\"weight\":0.25}");
	CHECK(json_real_value(json_object_get(answer.json, "wanted")) == 0.25);
	CHECK(json_real_value(json_object_get(answer.json, "set")) == 0.25);
	CHECK(json_is_null(json_object_get(answer.json, "seen")));
	CHECK(json_object_get(answer.json, "previous") != NULL);
	json_decref(answer.json);
	end();
}

TEST(writes_are_guarded)
{
	begin();
	const char *line = "POST /admin/routes/a/weight", *body = "{\"weight\":0.7}";
	expect(line, "", body, 415, "Content-Type: application/json");
	expect(line, "Content-Type: text/plain\r\n", body, 415, NULL);
	expect(line, JSON "Origin: http://evil.example\r\n", body, 403, "Origin");
	expect(line, JSON "Origin: null\r\n", body, 403, NULL);
	CHECK_INT(policy_weight_bp(&fake.control->policy, fake_route(&fake, "a")->slot), 0);
	expect(line, JSON "Origin: http://localhost\r\n", body, 200, NULL);
	expect(line, "Content-Type: Application/JSON; charset=utf-8\r\n", body, 200, NULL);
	/* Every one of them is in the audit log. */
	CHECK_INT(fake.control->audit.count + fake.control->audit_denied.journal.count, 6);
	CHECK_INT(json_get_u64(journal_at(&fake.control->audit_denied.journal, 0), "status"), 415);
	CHECK_STR(json_get_str(journal_at(&fake.control->audit, 1), "who"), "127.0.0.1");
	add_token("ci", ROLE_ADMIN, "open-sesame");
	expect(line, JSON, body, 401, "a token is needed");
	expect("GET /admin/status", "", "", 401, NULL);
	expect("GET /metrics", "", "", 401, NULL);
	expect("GET /healthz", "", "", 200, NULL);
	expect("GET /admin/status", "Authorization: Bearer nonsense\r\n", "", 401, "not one of");
	expect(line, JSON "Authorization: Bearer open-sesame\r\n", body, 200, NULL);
	CHECK_STR(json_get_str(journal_at(&fake.control->audit, fake.control->audit.count - 1), "who"),
		  "token ci");
	end();
}

static void expect_head(struct answer *answer, const char *text)
{
	struct buf out = {0};
	response_write_head(&answer->response, false, &out);
	CHECK_MSG(strstr(buf_cstr(&out), text), "no %s in %s", text, buf_cstr(&out));
	buf_fini(&out);
}

/* What each role may, asked of every row of the table: the row's role is enough, the one below is not. */
TEST(roles)
{
	static const char *const bearers[] = {"", "Authorization: Bearer viewer-secret\r\n",
					      "Authorization: Bearer operator-secret\r\n",
					      "Authorization: Bearer admin-secret\r\n"};
	begin();
	add_token("v", ROLE_VIEWER, "viewer-secret");
	add_token("o", ROLE_OPERATOR, "operator-secret");
	add_token("a", ROLE_ADMIN, "admin-secret");
	for (size_t i = 0; i < api_endpoint_count; i++) {
		const struct endpoint *endpoint = &api_endpoints[i];
		char line[160], head[160];
		/* Nothing is changed: there is no such route, and a write's body is none. */
		const char *id = strstr(endpoint->pattern, "{id}");
		snprintf(line, sizeof(line), "%s %.*s%s%s", endpoint->method,
			 id ? (int)(id - endpoint->pattern) : (int)strlen(endpoint->pattern),
			 endpoint->pattern, id ? "none" : "", id ? id + 4 : "");
		CHECK_MSG(endpoint->role > ROLE_VIEWER || strcmp(endpoint->method, "GET") == 0,
			  "%s: a write for viewers", line);
		for (enum role role = ROLE_NONE; role < ROLE_COUNT; role++) {
			snprintf(head, sizeof(head), "Content-Type: application/json\r\n%s", bearers[role]);
			struct answer answer = ask(line, head, "[]");
			bool let_in = answer.status != 401 && answer.status != 403;
			CHECK_MSG(let_in == (role >= endpoint->role), "%s as %s: %d", line, role_word(role),
				  answer.status);
			if (!let_in && role != ROLE_NONE) {
				CHECK_STR(json_get_str(answer.json, "needs"), role_word(endpoint->role));
				CHECK_STR(json_get_str(answer.json, "role"), role_word(role));
				expect_head(&answer, "WWW-Authenticate: Bearer realm=\"phoenix\", "
						     "error=\"insufficient_scope\", scope=\"");
			}
			json_decref(answer.json);
		}
	}
	struct answer answer = ask("GET /admin/status", bearers[2], "");
	CHECK_STR(json_get_str(json_object_get(answer.json, "you"), "name"), "token o");
	CHECK_STR(json_get_str(json_object_get(answer.json, "you"), "role"), "operator");
	CHECK(json_object_get(answer.json, "routes") != NULL);
	json_decref(answer.json);
	end();
}

TEST(wrong_tokens_have_to_wait)
{
	begin();
	add_token("a", ROLE_ADMIN, "admin-secret");
	struct answer answer;
	for (unsigned i = 0; i < LIMITER_BURST; i++) {
		answer = ask("GET /admin/status", "Authorization: Bearer guess\r\n", "");
		CHECK_INT(answer.status, 401);
		expect_head(&answer, "error=\"invalid_token\"");
		json_decref(answer.json);
	}
	/* The right one too: otherwise guessing would go on as fast as before. */
	answer = ask("GET /admin/status", "Authorization: Bearer admin-secret\r\n", "");
	CHECK_INT(answer.status, 429);
	CHECK(answer.response.retry_after_s >= 1 &&
	      answer.response.retry_after_s <= LIMITER_REFILL_MS / 1000);
	expect_head(&answer, "Retry-After: ");
	json_decref(answer.json);
	expect("GET /admin/status", "", "", 401, "a token is needed");
	expect("GET /healthz", "", "", 200, NULL);
	end();
}

TEST(preconditions)
{
	begin();
	struct answer answer = ask("GET /admin/routes/a", "", "");
	char match[128], stale[128];
	snprintf(match, sizeof(match), JSON "If-Match: %s\r\n", answer.response.etag);
	CHECK_STR(json_get_str(answer.json, "etag"), answer.response.etag);
	json_decref(answer.json);
	expect("POST /admin/routes/a/weight", match, "{\"weight\":0.5,\"reason\":\"mine\"}", 200, NULL);
	snprintf(stale, sizeof(stale), "%s", match);
	expect("POST /admin/routes/a/weight", stale, "{\"weight\":0.6}", 412, "last changed by 127.0.0.1");
	expect("POST /admin/routes/a/weight", stale, "{\"weight\":0.6}", 412, "(mine)");
	expect("DELETE /admin/routes/a", stale, "", 412, NULL);
	expect("POST /admin/routes/a/pause", stale, "{}", 412, NULL);
	/* Who rolls back is in a hurry: no precondition stops that. */
	expect("POST /admin/routes/a/rollback", stale, "{}", 200, NULL);
	expect("PUT /admin/routes/new", JSON "If-Match: \"x\"\r\n", "{\"path\":\"/n\"," FAKE_URLS "}", 412,
	       NULL);
	end();
}

TEST(verbs_and_conflicts)
{
	begin();
	expect("POST /admin/routes/m/pause", JSON, "{\"reason\":\"lunch\"}", 200, NULL);
	struct answer answer = ask("POST /admin/routes/m/pause", JSON, "");
	CHECK_INT(answer.status, 409);
	json_t *possible = json_object_get(answer.json, "possible");
	CHECK_INT(json_array_size(possible), 2);
	CHECK_STR(json_string_value(json_array_get(possible, 0)), "resume");
	CHECK(strstr(json_get_str(answer.json, "detail"), "possible now: resume, rollback"));
	json_decref(answer.json);
	expect("POST /admin/routes/m/resume", JSON, "", 200, NULL);
	expect("POST /admin/routes/a/start", JSON, "", 409, "the arbiter is off");
	expect("POST /admin/routes/a/rollback", JSON, "", 200, NULL);
	expect("POST /admin/routes/a/weight", JSON, "{\"weight\":0.1}", 409, "retry");
	expect("POST /admin/routes/a/weight", JSON, "{\"weight\":0}", 200, NULL);
	end();
}

TEST(routes_by_rest)
{
	begin();
	expect("POST /admin/routes", JSON, "{\"id\":\"n\",\"path\":\"/n\"," FAKE_URLS "}", 201, NULL);
	expect("POST /admin/routes", JSON, "{\"id\":\"n\",\"path\":\"/n\"," FAKE_URLS "}", 409,
	       "exists already");
	expect("POST /admin/routes", JSON, "{\"id\":\"q\",\"path\":\"/q\",\"colour\":1," FAKE_URLS "}", 422,
	       NULL);
	expect("POST /admin/routes", JSON, "{nope", 400, NULL);
	expect("PUT /admin/routes/n", JSON, "{\"path\":\"/other\"," FAKE_URLS "}", 200, NULL);
	CHECK_STR(route_config_of(fake_route(&fake, "n"))->path, "/other");
	expect("PUT /admin/routes/n", JSON, "{\"id\":\"x\",\"path\":\"/other\"," FAKE_URLS "}", 422,
	       "not the one");
	expect("PUT /admin/routes/p", JSON, "{\"path\":\"/p\"," FAKE_URLS "}", 201, NULL);
	expect("DELETE /admin/routes/p", "", "", 204, NULL);
	expect("DELETE /admin/routes/p", "", "", 404, NULL);
	expect("PUT /admin/routes/n/ignore?dry_run=true", JSON, "{\"ignore\":[\"/a\"]}", 200, NULL);
	CHECK_INT(route_config_of(fake_route(&fake, "n"))->compare.ignore.count, 0);
	expect("PUT /admin/routes/n/ignore", JSON, "{\"ignore\":[\"/a\",\"/b/*\"]}", 200, NULL);
	CHECK_INT(route_config_of(fake_route(&fake, "n"))->compare.ignore.count, 2);
	expect("PUT /admin/routes/n/ignore", JSON, "{\"ignore\":[\"x\"]}", 422, NULL);
	expect("PUT /admin/routes/n/ignore", JSON, "{\"ignore\":[7]}", 422, NULL);
	expect("PUT /admin/routes/n/ignore", JSON, "{\"ignore\":\"/a\"}", 422, "array");
	end();
}

TEST(gets_change_nothing)
{
	begin();
	uint64_t revision = fake_route(&fake, "m")->revision;
	for (size_t i = 0; i < api_endpoint_count; i++) {
		if (strcmp(api_endpoints[i].method, "GET") != 0)
			continue;
		struct buf line = {0};
		const char *id = strstr(api_endpoints[i].pattern, "{id}");
		if (id)
			buf_printf(&line, "GET %.*sm%s", (int)(id - api_endpoints[i].pattern),
				   api_endpoints[i].pattern, id + 4);
		else
			buf_printf(&line, "GET %s", api_endpoints[i].pattern);
		/* There is a route "m", and no migration. */
		bool none = id && strstr(api_endpoints[i].pattern, "/migrations/");
		bool no_file = id && strstr(api_endpoints[i].pattern, "/page/");
		expect(buf_cstr(&line), "", "", none || no_file ? 404 : 200, none ? "no migration" : NULL);
		buf_fini(&line);
	}
	CHECK_INT(fake_route(&fake, "m")->revision, revision);
	CHECK_INT(fake.control->audit.count, 0);
	CHECK_INT(fake.control->state.unsaved, 0);
	end();
}

TEST(events_and_streams)
{
	begin();
	struct answer answer = ask("GET /admin/events", "Accept: text/event-stream\r\n", "");
	CHECK(answer.response.stream);
	CHECK(answer.response.since == UINT64_MAX);
	answer = ask("GET /admin/events",
		     "Accept: text/html, text/event-stream;q=0.9\r\nLast-Event-ID: 17\r\n", "");
	CHECK(answer.response.stream);
	CHECK_INT(answer.response.since, 17);
	answer = ask("GET /admin/events", "Accept: text/event-stream\r\nLast-Event-ID: 1e3\r\n", "");
	CHECK(answer.response.since == UINT64_MAX);
	answer = ask("GET /admin/events?limit=1", "", "");
	CHECK(!answer.response.stream);
	json_decref(answer.json);
	expect("GET /admin/events?since=x", "", "", 400, NULL);
	end();
}

TEST(openapi_has_every_endpoint)
{
	begin();
	struct answer answer = ask("GET /openapi.json", "", "");
	json_t *paths = json_object_get(answer.json, "paths");
	unsigned operations = 0, visible = 0;
	const char *path, *method;
	json_t *item, *operation;
	json_object_foreach(paths, path, item)
	{
		json_object_foreach(item, method, operation)
		{
			operations++;
			CHECK_MSG(json_get_str(operation, "summary")[0], "%s %s", method, path);
			CHECK(json_object_get(operation, "responses") != NULL);
		}
	}
	for (size_t i = 0; i < api_endpoint_count; i++)
		visible += !(api_endpoints[i].flags & ENDPOINT_HIDDEN);
	CHECK_INT(operations, visible);
	json_decref(answer.json);
	end();
}

TEST(percent_and_query)
{
	char out[8];
	CHECK(percent_decode(SLICE("a%2Fb"), out, sizeof(out)));
	CHECK_STR(out, "a/b");
	CHECK(!percent_decode(SLICE("a%2"), out, sizeof(out)));
	CHECK(!percent_decode(SLICE("%00"), out, sizeof(out)));
	CHECK(!percent_decode(SLICE("12345678"), out, sizeof(out)));
	CHECK(query_get(SLICE("a=1&b=2"), "b", out, sizeof(out)));
	CHECK_STR(out, "2");
	CHECK(query_get(SLICE("a&b"), "a", out, sizeof(out)));
	CHECK_STR(out, "");
	CHECK(!query_get(SLICE("ab=1"), "a", out, sizeof(out)));
	CHECK(!query_get((struct slice){0}, "a", out, sizeof(out)));
}

UNIT_MAIN
