/* SPDX-License-Identifier: Apache-2.0 */
/*
 * same answer: the daemon's reader and the NIC path's, on the same heads, by the hundred thousand. They agree
 * about whether a head is valid, where it ends, its method, length, route and side; or the NIC path hands it
 * over. It never serves what the daemon refuses.
 *
 * The heads are mutations of the fuzz corpus and of what is below. Seeded: a failure can be had again.
 */
#include "rows.h"

#include "base/siphash.h"
#include "http/parse.h"
#include "http/router.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADS	       200000
#define HEAD_MAX       1400
#define SEEDS_MAX      1024
#define FIELDS	       RIG_FIELDS_MAX
#define FAILURES_SHOWN 10

static const struct rig_route routes[] = {
	{.path = "/a", .weight_bp = 0},
	{.path = "/a", .methods = "GET,HEAD", .weight_bp = 10000},
	{.path = "/a/b", .weight_bp = 3000},
	{.path = "/a/*", .weight_bp = 7000},
	{.path = "/a/{x}", .methods = "POST,PUT", .weight_bp = 5000},
	{.path = "/a/{x}/b", .weight_bp = 5000, .split_by = PHX_SPLIT_CLIENT_IP},
	{.path = "/{x}/b", .weight_bp = 1},
	{.path = "/{x}/{y}/{z}", .weight_bp = 9999},
	{.path = "/a", .host = "h.example", .weight_bp = 5000},
	{.path = "/*", .host = "h.example", .weight_bp = 100},
	{.path = "/a", .host = "[::1]", .weight_bp = 2500},
	{.path = "/a", .host = "a.h.example", .methods = "GET", .weight_bp = 5000},
	{.path = "/", .weight_bp = 5000},
	{.path = "/api/users", .weight_bp = 5000},
	{.path = "/api/users/{id}", .methods = "GET", .weight_bp = 5000, .split_by = PHX_SPLIT_CLIENT_IP},
	{.path = "/api/*", .methods = "GET,POST,QUERY", .weight_bp = 5000},
	{.path = "/daemon/*", .not_xdp = true},
	{.path = "/head/er", .weight_bp = 5000, .split_by = PHX_SPLIT_HEADER},
	{.path = "/a//b", .weight_bp = 10000},
	{.path = "/a/", .weight_bp = 5000},
};
#define ROUTES (sizeof(routes) / sizeof(routes[0]))

static const char *const own_seeds[] = {
	"GET /a HTTP/1.1\r\nHost: h.example\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: H.EXAMPLE:8080\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: [::1]:80\r\nAccept: */*\r\n\r\n",
	"POST /a/b HTTP/1.1\r\nHost: a.h.example\r\nContent-Length: 5\r\nContent-Type: "
	"text/plain\r\n\r\nhello",
	"PUT /a/12345 HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\nUser-Agent: curl/7.88.1\r\nAccept: "
	"*/*\r\n\r\n",
	"GET /a/xyz/b?q=1&r=%20 HTTP/1.1\r\nhost:b\r\nx-request-id: 0123456789abcdef\r\n\r\n",
	"QUERY /api/q HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}",
	"GET /api/users/42 HTTP/1.1\r\nHost: gateway.example.net\r\nCookie: a=b; c=d\r\nIf-None-Match: "
	"\"x\"\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: b\r\nConnection: keep-alive\r\nX-Phoenix-Synthetic: 1\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n",
	"GET http://h.example/a HTTP/1.1\r\nHost: b\r\n\r\n",
	"POST /api HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"DELETE /x/y/z HTTP/1.1\r\nHost: b\r\n\r\n",
	"GET /a//b HTTP/1.1\r\nHost: b\r\n\r\n",
	"GET /a/ HTTP/1.1\r\nHost: b\r\n\r\n",
	"MKCOL /q/b HTTP/1.1\r\nHost: b\r\nFoo-Bar-Baz-Quux-Long-Name: v\r\n\r\n",
	"get /a HTTP/1.1\r\nHost: b\r\n\r\n",
	"GET /head/er HTTP/1.1\r\nHost: b\r\n\r\n",
	"GET /daemon/x HTTP/1.1\r\nHost: b\r\n\r\n",
	"GET "
	"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/27/28/29/30/31/32/33/34/35/36/"
	"37/"
	"38/39/40/41/42/43/44/45/46/47/48/49/50/51/52/53/54/55/56/57/58/59/60/61/62/63/64/65/66 HTTP/1.1\r\n"
	"Host: h.example\r\n\r\n",
};

#define OWN_SEEDS (sizeof(own_seeds) / sizeof(own_seeds[0]))

/* What mutations put in. */
static const char *const pieces[] = {
	"\r\n",
	"\n",
	"\r",
	" ",
	"\t",
	":",
	"/",
	"//",
	"?",
	"#",
	"%2e",
	"*",
	".",
	"..",
	"\x7f",
	"\x80",
	"\xff",
	"\\",
	"Host: h.example\r\n",
	"Host: b\r\n",
	"Content-Length: 5\r\n",
	"Content-Length: 0\r\n",
	"content-length:  7 \r\n",
	"Transfer-Encoding: chunked\r\n",
	"Connection: close\r\n",
	"Connection: keep-alive, x\r\n",
	"Expect: 100-continue\r\n",
	"TE: trailers\r\n",
	"Upgrade: h2c\r\n",
	"X-Forwarded-For: 1.2.3.4\r\n",
	"Keep-Alive: 5\r\n",
	"X-Request-Id: z\r\n",
	"Cookie: a=1\r\n",
	"HTTP/1.0",
	"HTTP/1.1",
	"HEAD ",
	"/a",
	"/b",
	"b/",
	"[::1]",
	"h.example",
	":80",
	"@",
	"\"",
	"<",
	"Content-Lengths: 9\r\n",
	"Hosts: q\r\n",
	"X-A: \r\n",
	" folded\r\n",
	"Proxy-Connection: close\r\n",
	"-",
	"Z",
	"_",
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
};
#define PIECES (sizeof(pieces) / sizeof(pieces[0]))

struct head {
	char bytes[HEAD_MAX];
	size_t len;
};

static struct head seeds[SEEDS_MAX];
static size_t seed_count;
static uint64_t state = 20240607;

static uint32_t random_below(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 20) % n;
}

static void add_seed(const char *bytes, size_t len)
{
	if (seed_count == SEEDS_MAX || !len)
		return;
	struct head *seed = &seeds[seed_count++];
	seed->len = len < HEAD_MAX ? len : HEAD_MAX;
	memcpy(seed->bytes, bytes, seed->len);
}

/* The corpus of the request fuzzer, when the test runs where it can see it. */
static void add_corpus(const char *folder)
{
	struct dirent **names;
	int count = scandir(folder, &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char path[512], bytes[HEAD_MAX];
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
		FILE *file = names[i]->d_name[0] == '.' ? NULL : fopen(path, "rb");
		if (file) {
			add_seed(bytes, fread(bytes, 1, sizeof(bytes), file));
			fclose(file);
		}
		free(names[i]);
	}
	if (count >= 0)
		free(names);
}

static void splice(struct head *head, size_t at, size_t gone, const char *bytes, size_t len)
{
	if (at + gone > head->len)
		gone = head->len - at;
	if (head->len - gone + len > HEAD_MAX)
		return;
	memmove(head->bytes + at + len, head->bytes + at + gone, head->len - at - gone);
	memcpy(head->bytes + at, bytes, len);
	head->len += len - gone;
}

/* Behind a random line end, or anywhere. */
static size_t random_place(const struct head *head)
{
	size_t at = random_below((uint32_t)head->len + 1);
	if (random_below(2))
		return at;
	const char *end = memchr(head->bytes + at, '\n', head->len - at);
	return end ? (size_t)(end + 1 - head->bytes) : at;
}

static void mutate(struct head *head)
{
	const struct head *other = &seeds[random_below((uint32_t)seed_count)];
	const char *piece = pieces[random_below(PIECES)];
	size_t at = random_place(head), n;
	char flipped;
	switch (random_below(8)) {
	case 0:
		if (at < head->len) {
			flipped = (char)(head->bytes[at] ^ 1 << random_below(8));
			splice(head, at, 1, &flipped, 1);
		}
		break;
	case 1:
		splice(head, at, random_below(4), piece, strlen(piece));
		break;
	case 2:
	case 3:
		splice(head, at, 0, piece, strlen(piece));
		break;
	case 4:
		splice(head, at, 1 + random_below(8), "", 0);
		break;
	case 5: /* a line of another one */
		n = random_place(other);
		splice(head, at, 0, other->bytes + n, n + 40 < other->len ? 40 : other->len - n);
		break;
	case 6:
		if (at < head->len) {
			flipped = (char)random_below(256);
			splice(head, at, 1, &flipped, 1);
		}
		break;
	default:
		if (at < head->len) {
			flipped = (char)(head->bytes[at] ^ 0x20);
			splice(head, at, 1, &flipped, 1);
		}
		break;
	}
	if (head->len == 0)
		splice(head, 0, 0, "G", 1);
}

/* What the daemon would do with it (userspace/gateway/dispatch.c). */
struct answer {
	enum http_parse_result parsed;
	uint32_t error, route, method, head_len;
	uint64_t length;
	bool refused;
	enum phx_side side;
};

static struct http_head parsed;

static void ask_daemon(const struct router *router, const struct head *head, struct answer *out)
{
	struct http_target target;
	*out = (struct answer){.route = ROUTER_NONE};
	http_head_init(&parsed, 0, FIELDS);
	out->parsed = http_head_parse(&parsed, head->bytes, head->len);
	out->error = parsed.scan.error;
	out->refused = out->parsed != HTTP_PARSE_DONE;
	if (out->refused)
		return;
	out->method = parsed.scan.method;
	out->head_len = parsed.scan.pos;
	out->length = parsed.scan.flags & PHX_HEAD_HAS_LENGTH ? parsed.scan.content_length : 0;
	out->refused = out->method == PHX_METHOD_CONNECT || http_target_parse(&parsed, head->bytes, &target);
	if (out->refused)
		return;
	const struct http_field *field = http_head_find(&parsed, PHX_FIELD_HOST);
	struct slice host = target.authority.len ? target.authority
			    : field		 ? http_field_value(field, head->bytes)
						 : SLICE("");
	out->route = router_match(router, (enum phx_method)out->method, host,
				  target.path.ptr[0] == '*' ? SLICE("/*") : target.path);
	if (out->route == ROUTER_NONE)
		return;
	const struct phx_policy *policy = &rig.policy[out->route];
	struct phx_addr client = rig_client_addr(0);
	uint64_t hash = siphash24((const uint8_t *)rig.config->split_key, &client.word[3], 4);
	if (policy->weight_bp == 0 || policy->weight_bp >= PHX_WEIGHT_ONE)
		out->side = policy->weight_bp ? PHX_MODERN : PHX_LEGACY;
	else if (policy->split_by == PHX_SPLIT_CLIENT_IP)
		out->side = phx_split_by_key(hash, policy->weight_bp) ? PHX_MODERN : PHX_LEGACY;
	else
		out->side = phx_split_by_request(rig.cursors[out->route].split_next, policy->weight_bp,
						 rig.config->split_seed ^ out->route)
				    ? PHX_MODERN
				    : PHX_LEGACY;
}

/* NULL when they agree. */
static const char *compare(const struct answer *daemon, const struct phx_trace *nic)
{
	bool serves = nic->reason == PHX_REASON_NONE;
	if (serves && daemon->refused)
		return "the NIC path serves what the daemon refuses";
	if (serves && daemon->route == ROUTER_NONE)
		return "the NIC path has a route and the daemon none";
	if (nic->scanned == PHX_HEAD_DONE && daemon->parsed != HTTP_PARSE_DONE &&
	    daemon->parsed != HTTP_PARSE_TOO_MANY)
		return "the NIC path takes the head as whole, the daemon does not";
	if (daemon->parsed == HTTP_PARSE_DONE && nic->scanned != PHX_HEAD_DONE)
		return "the daemon takes the head as whole, the NIC path does not";
	if (daemon->parsed == HTTP_PARSE_REFUSED &&
	    (nic->scanned != PHX_HEAD_REFUSED || nic->error != daemon->error))
		return "they refuse it for different reasons";
	if (daemon->parsed != HTTP_PARSE_DONE)
		return NULL;
	if (nic->head_len != daemon->head_len)
		return "they see different ends of the head";
	if (nic->method != daemon->method)
		return "they see different methods";
	if (nic->flags != parsed.scan.flags)
		return "they see different framing or connection fields";
	if (serves && nic->content_length != parsed.scan.content_length)
		return "they see different lengths";
	if (nic->reason == PHX_REASON_NO_ROUTE && !daemon->refused && daemon->route != ROUTER_NONE)
		return "the daemon has a route and the NIC path none";
	if (nic->slot != PHX_SLOT_NONE && nic->slot != daemon->route)
		return "they choose different routes";
	if (serves && nic->side != daemon->side)
		return "they choose different sides";
	return NULL;
}

/* One packet whose payload is exchanged: nothing here looks at its checksum. */
static size_t frame_of(const struct head *head, uint8_t frame[RIG_FRAME_MAX])
{
	static uint8_t empty[RIG_FRAME_MAX];
	static size_t empty_len;
	struct talk t;
	if (!empty_len) {
		talk_begin(&t, "trace", false, false);
		empty_len = talk_build(&t, &(struct packet){.flags = PSH | ACK}, empty);
	}
	memcpy(frame, empty, empty_len);
	memcpy(frame + empty_len, head->bytes, head->len);
	size_t ip_len = empty_len - 14 + head->len;
	frame[16] = (uint8_t)(ip_len >> 8);
	frame[17] = (uint8_t)ip_len;
	return empty_len + head->len;
}

static struct router *make_router(void)
{
	struct router_pattern patterns[ROUTES];
	struct router *router = NULL;
	for (size_t i = 0; i < ROUTES; i++)
		patterns[i] = (struct router_pattern){routes[i].host, routes[i].path,
						      rig_method_mask(routes[i].methods)};
	return router_create(patterns, ROUTES, &router) ? NULL : router;
}

static void show(const struct head *head, const char *what, const struct answer *daemon)
{
	fprintf(stderr, "%s (route %d and %u, reason %u): ", what, (int)daemon->route, rig.traced->slot,
		rig.traced->reason);
	for (size_t i = 0; i < head->len; i++) {
		unsigned char c = (unsigned char)head->bytes[i];
		fprintf(stderr, c >= ' ' && c < 0x7f ? "%c" : "\\x%02x", c);
	}
	fputc('\n', stderr);
}

int main(void)
{
	unsigned long served = 0, handed = 0, refused = 0, wrong = 0;
	const char *why = rig_open();
	if (why) {
		printf("skip heads: %s\n0 passed, 0 failed\n", why);
		return 0;
	}
	for (size_t i = 0; i < OWN_SEEDS; i++)
		add_seed(own_seeds[i], strlen(own_seeds[i]));
	add_corpus("tests/fuzz/corpus/request");
	rig_reset(false);
	rig_routes(routes, ROUTES);
	struct router *router = make_router();
	for (unsigned i = 0; router && i < HEADS; i++) {
		static uint8_t frame[RIG_FRAME_MAX];
		struct head head =
			seeds[i < seed_count ? i
					     : random_below(random_below(4) ? (uint32_t)OWN_SEEDS
									    : (uint32_t)seed_count)];
		struct answer daemon;
		for (unsigned n = i < seed_count ? 0 : random_below(4); n > 0; n--)
			mutate(&head);
		for (size_t r = 0; r < ROUTES; r++)
			rig.cursors[r].split_next = state >> 11 & 0xffffff;
		size_t len = frame_of(&head, frame);
		memset(rig.traced, 0xff, sizeof(*rig.traced));
		ask_daemon(router, &head, &daemon);
		const char *what = NULL;
		if (rig_run_xdp(rig.trace, rig.client_ifindex, frame, &len) != XDP_PASS)
			what = "the program did not run";
		else
			what = compare(&daemon, rig.traced);
		if (what && wrong++ < FAILURES_SHOWN)
			show(&head, what, &daemon);
		served += rig.traced->reason == PHX_REASON_NONE;
		handed += rig.traced->reason != PHX_REASON_NONE && !daemon.refused;
		refused += daemon.refused;
	}
	/* A test of heads that are all refused would show nothing. */
	bool ok = router && !wrong && served > HEADS / 8 && handed > HEADS / 50 && refused > HEADS / 5;
	fprintf(stderr, "%lu served, %lu handed over, %lu refused, %lu wrong\n", served, handed, refused,
		wrong);
	printf("%s heads (%u checks)\n%d passed, %d failed\n", ok ? "ok" : "FAIL", HEADS, ok, !ok);
	router_destroy(router);
	rig_close();
	return !ok;
}
