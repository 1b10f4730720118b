/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface without its sockets: requests, divided by RS, one after another against one control
 * with two routes and a data path that takes everything. Every answer is well-formed HTTP and says in JSON
 * what its status says; after all of it the routes still have names and weights in range.
 */
#include "fuzz.h"

#include "admin/api.h"
#include "base/log.h"
#include "control/value.h"

#define REQUESTS_MAX 8

static const char config_text[] =
	"{\"state\":{\"store\":\"memory\"},\"routes\":["
	"{\"id\":\"a\",\"path\":\"/a\",\"legacy_url\":\"http://127.0.0.1:9001\","
	"\"modern_url\":\"http://127.0.0.1:9002\",\"arbiter\":{\"enabled\":false}},"
	"{\"id\":\"m\",\"path\":\"/m/{x}\",\"method\":[\"GET\",\"POST\"],\"legacy_url\":\"http://"
	"127.0.0.1:9001\","
	"\"modern_url\":\"http://127.0.0.1:9002\"}]}";

struct path {
	void (*release)(void *owner);
	void *owner;
};

static int publish(void *context, const struct gateway_route *routes, size_t count,
		   void (*release)(void *owner), void *owner, struct buf *why)
{
	struct path *path = context;
	if (path->release)
		path->release(path->owner);
	path->release = release;
	path->owner = owner;
	return 0;
}

static void route_stats(void *context, uint32_t slot, struct gateway_route_stats *out)
{
	memset(out, 0, sizeof(*out));
}

static struct control *start(struct path *path)
{
	struct control_options options = {.config_path = "/nonexistent/phoenix.json"};
	struct data_path data_path = {.context = path, .publish = publish, .route_stats = route_stats};
	struct control *control = NULL;
	struct buf why = {0};
	if (config_parse("fuzz.json", SLICE(config_text), &options.config, &why) ||
	    control_create_parts(&options, &data_path, &control, &why)) {
		fprintf(stderr, "no control: %s\n", buf_cstr(&why));
		abort();
	}
	buf_fini(&why);
	return control;
}

/* The answer's head is read by our own parser, its content by jansson. */
static void check_answer(const struct response *response)
{
	struct buf out = {0};
	struct http_head head;
	const char *body = response->body ? response->body : response->body_static;
	response_write_head(response, true, &out);
	http_head_init(&head, PHX_HEAD_RESPONSE, HTTP_FIELDS_MAX);
	FUZZ_CHECK(http_head_parse(&head, out.data, out.len) == HTTP_PARSE_DONE && head.scan.pos == out.len);
	FUZZ_CHECK(head.scan.status == response->status && response->status >= 200);
	FUZZ_CHECK(response->status != 500);
	FUZZ_CHECK(body || response->body_bytes == 0);
	if (response->type && strstr(response->type, "json") && !response->stream) {
		json_t *json = json_loadb(body, response->body_bytes, JSON_REJECT_DUPLICATES, NULL);
		FUZZ_CHECK(json);
		if (response->status >= 400) {
			FUZZ_CHECK((int)json_get_u64(json, "status") == response->status);
			FUZZ_CHECK(strcmp(response->type, "application/problem+json") == 0);
		}
		json_decref(json);
	}
	FUZZ_CHECK(response->status < 400 || response->type);
	buf_fini(&out);
}

static void ask(struct admin *admin, struct slice text, bool unix_socket)
{
	struct connection connection = {.admin = admin,
					.peer = {.unix_socket = unix_socket, .role = ROLE_ADMIN}};
	struct response response = {0};
	struct http_target target;
	snprintf(connection.peer.who, sizeof(connection.peer.who), "somebody");
	snprintf(connection.peer.ip, sizeof(connection.peer.ip), "someone");
	snprintf(connection.peer.address, sizeof(connection.peer.address), "somewhere");
	connection.in.data = fuzz_copy(text.ptr, text.len);
	connection.in.len = connection.in.cap = text.len;
	http_head_init(&connection.head, 0, ADMIN_FIELDS_MAX);
	if (http_head_parse(&connection.head, connection.in.data, text.len) == HTTP_PARSE_DONE) {
		size_t head = connection.head.scan.pos;
		buf_append(&connection.content, connection.in.data + head, text.len - head);
		api_dispatch(&connection, &response);
		check_answer(&response);
		if (http_target_parse(&connection.head, connection.in.data, &target))
			FUZZ_CHECK(response.status == 400);
		free(response.body);
	}
	buf_fini(&connection.in);
	buf_fini(&connection.content);
}

FUZZ_TARGET(admin)
{
	struct path path = {0};
	struct admin admin = {0};
	struct buf why = {0};
	struct slice rest = slice_of((const char *)data, size);
	uint64_t random = fuzz_seed(data, size);
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	admin.control = start(&path);
	if (auth_init(&admin.auth, admin.control->config, &why))
		abort();
	for (unsigned i = 0; rest.len && i < REQUESTS_MAX; i++)
		ask(&admin, fuzz_part(&rest), fuzz_random(&random) % 4 != 0);
	for (uint32_t slot = 0; slot < PHX_ROUTE_SLOTS; slot++) {
		const struct route *route = admin.control->registry.by_slot[slot];
		if (route)
			FUZZ_CHECK(route->slot == slot &&
				   policy_weight_bp(&admin.control->policy, slot) <= PHX_WEIGHT_ONE);
	}
	auth_fini(&admin.auth);
	control_destroy(admin.control);
	if (path.release)
		path.release(path.owner);
	buf_fini(&why);
}
