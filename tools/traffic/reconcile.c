/* SPDX-License-Identifier: Apache-2.0 */
/* reconcile: see reconcile.h. */
#include "reconcile.h"

#include "base/clock.h"
#include "base/list.h"
#include "config_value.h"
#include "ctl/client.h"
#include "ctl/field.h"
#include "http/parse.h"
#include "http/router.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define TIMEOUT_MS 15000u
#define SETTLE_NS  (5 * NS_PER_SEC) /* how long the gateway's workers may take to end what was answered */
#define POLL_US	   50000
#define CLASSES	   6 /* [0]: not answered whole */

static const char *const classes[CLASSES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

struct counts {
	uint64_t requests, answers[CLASSES];
};

struct route_count {
	char *id;
	struct counts sent;	       /* by us */
	struct counts before, counted; /* by the gateway: at the start, and since */
};

struct reconcile {
	struct load_observer observer;
	struct client *client;
	struct router *router;
	struct route_count *routes; /* one more: what no route takes */
	size_t count;
	char *instance; /* which daemon this is; it changes with a restart */
	bool equal;
	struct http_head head; /* scratch */
};

static uint32_t on_request(struct load_observer *observer, struct slice bytes)
{
	struct reconcile *r = container_of(observer, struct reconcile, observer);
	struct http_head *head = &r->head;
	struct http_target target;
	uint32_t route = ROUTER_NONE;
	http_head_init(head, 0, HTTP_FIELDS_MAX);
	if (http_head_parse(head, bytes.ptr, bytes.len) == HTTP_PARSE_DONE &&
	    http_target_parse(head, bytes.ptr, &target) == 0) {
		const struct http_field *field = http_head_find(head, PHX_FIELD_HOST);
		struct slice host = target.authority.len ? target.authority
				    : field		 ? http_field_value(field, bytes.ptr)
							 : SLICE("");
		struct slice path = target.path.ptr[0] == '*' ? SLICE("/*") : target.path;
		route = router_match(r->router, head->scan.method, host, path);
	}
	if (route == ROUTER_NONE)
		route = (uint32_t)r->count;
	r->routes[route].sent.requests++;
	return route;
}

static void on_answer(struct load_observer *observer, uint32_t mark, unsigned status)
{
	struct reconcile *r = container_of(observer, struct reconcile, observer);
	r->routes[mark].sent.answers[status / 100 < CLASSES ? status / 100 : 0]++;
}

struct load_observer *reconcile_observer(struct reconcile *r)
{
	return &r->observer;
}

static bool pattern_of(const json_t *route, struct router_pattern *pattern)
{
	json_t *methods = field(route, "methods"), *word;
	size_t i;
	*pattern = (struct router_pattern){.host = field_text(route, "host", NULL),
					   .path = field_text(route, "path", NULL)};
	json_array_foreach(methods, i, word)
	{
		uint32_t bit = 0;
		const char *text = json_string_value(word) ?: "";
		if (strcmp(text, "*") == 0)
			pattern->method_mask = UINT32_MAX;
		else if (method_parse(slice_str(text), &bit) == 0)
			pattern->method_mask |= bit;
	}
	return pattern->path && pattern->method_mask;
}

static void read_counts(const json_t *synthetic, struct counts *out)
{
	out->requests = field_count(synthetic, "requests");
	json_t *answers = field(synthetic, "answers");
	for (unsigned c = 0; c < CLASSES; c++)
		out->answers[c] = field_count(answers, classes[c]);
}

/* Which process this is: counters live as long as it does. NULL = out of memory. */
static char *instance_of(const json_t *status)
{
	char *text = NULL;
	if (asprintf(&text, "%s since %s", field_text(status, "instance", "?"),
		     field_text(status, "started_at", "?")) < 0)
		return NULL;
	return text;
}

static int take_routes(struct reconcile *r, const json_t *status, struct buf *why)
{
	json_t *routes = field(status, "routes"), *route;
	size_t count = json_array_size(routes), i;
	struct router_pattern *patterns = calloc(count + 1, sizeof(*patterns));
	int err = -ENOMEM;
	r->routes = calloc(count + 1, sizeof(*r->routes));
	r->instance = instance_of(status);
	if (!patterns || !r->routes || !r->instance)
		goto out;
	r->count = count;
	json_array_foreach(routes, i, route)
	{
		json_t *synthetic = field(route, "synthetic");
		r->routes[i].id = strdup(field_text(route, "id", "?"));
		if (!r->routes[i].id)
			goto out;
		err = pattern_of(route, &patterns[i]) && field(synthetic, "answers") ? 0 : -EINVAL;
		if (err)
			goto out;
		read_counts(synthetic, &r->routes[i].before);
		err = -ENOMEM;
	}
	r->routes[count].before.requests = field_count(status, "totals.synthetic_refused");
	err = router_create(patterns, count, &r->router);
out:
	free(patterns);
	if (err == -EINVAL)
		buf_append_str(why,
			       "the daemon does not count marked requests: it is older than this program");
	else if (err)
		buf_append_str(why, "out of memory");
	return err ? CTL_FAILED : CTL_DONE;
}

int reconcile_open(const char *admin, const char *token, struct reconcile **out, struct buf *why)
{
	struct answer answer = {0};
	struct reconcile *r = calloc(1, sizeof(*r));
	if (!r) {
		buf_append_str(why, "out of memory");
		return CTL_FAILED;
	}
	r->observer = (struct load_observer){on_request, on_answer};
	int status = client_open(admin, token, NULL, &r->client, why);
	if (status)
		goto fail;
	status = client_call(r->client, "GET", "/admin/status", NULL, NULL, TIMEOUT_MS, &answer);
	if (status)
		buf_append_slice(why, buf_slice(&answer.message));
	else
		status = take_routes(r, answer.json, why);
	answer_fini(&answer);
	if (status)
		goto fail;
	*out = r;
	return CTL_DONE;
fail:
	reconcile_close(r);
	return status;
}

void reconcile_close(struct reconcile *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++)
		free(r->routes[i].id);
	free(r->routes);
	free(r->instance);
	router_destroy(r->router);
	client_close(r->client);
	free(r);
}

static struct route_count *find_route(struct reconcile *r, const char *id, size_t hint)
{
	if (hint < r->count && strcmp(r->routes[hint].id, id) == 0)
		return &r->routes[hint];
	for (size_t i = 0; i < r->count; i++) {
		if (strcmp(r->routes[i].id, id) == 0)
			return &r->routes[i];
	}
	return NULL;
}

/* What the gateway counted since the start. */
static int read_gateway(struct reconcile *r, struct buf *why)
{
	struct answer answer;
	json_t *route;
	size_t i;
	int status = client_call(r->client, "GET", "/admin/status", NULL, NULL, TIMEOUT_MS, &answer);
	if (status)
		buf_append_slice(why, buf_slice(&answer.message));
	char *instance = instance_of(answer.json);
	if (!status && (!instance || strcmp(instance, r->instance) != 0)) {
		buf_append_str(why, "the gateway was restarted during the run, its counters began anew");
		status = CTL_FAILED;
	}
	free(instance);
	for (i = 0; i < r->count; i++)
		memset(&r->routes[i].counted, 0, sizeof(r->routes[i].counted));
	json_array_foreach(status ? NULL : field(answer.json, "routes"), i, route)
	{
		struct route_count *count = find_route(r, field_text(route, "id", ""), i);
		if (!count) /* added since; nothing of ours was sent there, or it is missed elsewhere */
			continue;
		read_counts(field(route, "synthetic"), &count->counted);
		count->counted.requests -= count->before.requests;
		for (unsigned c = 0; c < CLASSES; c++)
			count->counted.answers[c] -= count->before.answers[c];
	}
	r->routes[r->count].counted.requests =
		field_count(answer.json, "totals.synthetic_refused") - r->routes[r->count].before.requests;
	answer_fini(&answer);
	return status;
}

/* What was not asked may have other clients. Refused requests are not counted by class. */
static bool route_equal(const struct reconcile *r, size_t i)
{
	const struct counts *a = &r->routes[i].sent, *b = &r->routes[i].counted;
	if (a->requests == 0)
		return true;
	return a->requests == b->requests &&
	       (i == r->count ||
		memcmp(a->answers + 1, b->answers + 1, sizeof(a->answers) - sizeof(a->answers[0])) == 0);
}

static bool all_equal(const struct reconcile *r)
{
	for (size_t i = 0; i <= r->count; i++) {
		if (!route_equal(r, i))
			return false;
	}
	return true;
}

static void explain(const struct reconcile *r, size_t i, struct buf *why)
{
	const struct route_count *route = &r->routes[i];
	if (why->len)
		buf_append_char(why, '\n');
	if (i == r->count) {
		buf_printf(why,
			   "no route: the client sent %" PRIu64
			   " requests that match none, the gateway refused %" PRIu64,
			   route->sent.requests, route->counted.requests);
		return;
	}
	buf_printf(why, "route %s: the client sent %" PRIu64 ", the gateway counted %" PRIu64, route->id,
		   route->sent.requests, route->counted.requests);
	for (unsigned c = 1; c < CLASSES; c++) {
		if (route->sent.answers[c] != route->counted.answers[c])
			buf_printf(why, "; answered %s: %" PRIu64 ", counted %" PRIu64, classes[c],
				   route->sent.answers[c], route->counted.answers[c]);
	}
}

int reconcile_finish(struct reconcile *r, struct buf *why)
{
	uint64_t deadline_ns = clock_now_ns() + SETTLE_NS;
	for (;;) {
		int status = read_gateway(r, why);
		if (status)
			return status;
		r->equal = all_equal(r);
		if (r->equal || clock_now_ns() > deadline_ns)
			break;
		usleep(POLL_US);
	}
	if (r->equal)
		return CTL_DONE;
	for (size_t i = 0; i <= r->count; i++) {
		if (!route_equal(r, i))
			explain(r, i, why);
	}
	return CTL_FAILED;
}

static json_t *answers_json(const struct counts *counts)
{
	json_t *json = json_object();
	for (unsigned c = 1; c < CLASSES; c++) {
		if (counts->answers[c])
			json_object_set_new(json, classes[c], json_integer((json_int_t)counts->answers[c]));
	}
	return json;
}

json_t *reconcile_json(const struct reconcile *r)
{
	json_t *routes = json_array();
	for (size_t i = 0; i < r->count; i++) {
		const struct route_count *route = &r->routes[i];
		if (!route->sent.requests)
			continue;
		json_array_append_new(routes,
				      json_pack("{s:s, s:b, s:I, s:I, s:o, s:o}", "id", route->id, "equal",
						route_equal(r, i), "sent", (json_int_t)route->sent.requests,
						"counted", (json_int_t)route->counted.requests, "answered",
						answers_json(&route->sent), "counted_answers",
						answers_json(&route->counted)));
	}
	const struct route_count *none = &r->routes[r->count];
	return json_pack("{s:b, s:o, s:{s:I, s:I}}", "equal", r->equal, "routes", routes, "unrouted", "sent",
			 (json_int_t)none->sent.requests, "counted", (json_int_t)none->counted.requests);
}
