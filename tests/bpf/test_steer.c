/* SPDX-License-Identifier: Apache-2.0 */
/* Which way a request goes: reasons for the daemon, routes, weights, keyed splits, modes, health. */
#include "rows.h"

#include "base/siphash.h"

#include <bpf/bpf.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define HEAD(line)  line "\r\nHost: a.example\r\n"
#define WITH(field) HEAD("GET /legacy HTTP/1.1") field "\r\n\r\n"

/* --- a connection's first request, and why it is the daemon's --- */

static void no_table(struct talk *t)
{
	handshake(t);
	rig.config->table = 0;
}

static void body_limit(struct talk *t)
{
	handshake(t);
	rig.config->body_max_bytes = 9;
}

static void head_limit(struct talk *t)
{
	handshake(t);
	rig.config->head_max_bytes = 40;
}

static void field_limit(struct talk *t)
{
	handshake(t);
	rig.config->fields_max = 3;
}

static void legacy_down(struct talk *t)
{
	handshake(t);
	rig.policy[ROUTE_LEGACY].flags |= PHX_ROUTE_LEGACY_DOWN;
}

static void modern_down(struct talk *t)
{
	handshake(t);
	rig.policy[ROUTE_LEGACY].flags |= PHX_ROUTE_MODERN_DOWN;
	rig.policy[ROUTE_MODERN].flags |= PHX_ROUTE_MODERN_DOWN;
}

static void not_active(struct talk *t)
{
	handshake(t);
	rig.policy[ROUTE_LEGACY].flags = 0;
}

static void avoided(struct talk *t)
{
	handshake(t);
	rig.upstreams[0].avoid_until_ns = rig_now() + 3600000000000u;
}

static void avoided_before(struct talk *t)
{
	handshake(t);
	rig.upstreams[0].avoid_until_ns = rig_now() - 1;
}

static void unfit(struct talk *t)
{
	handshake(t);
	rig.upstreams[0].flags |= PHX_UPSTREAM_UNFIT;
}

static void unknown(struct talk *t)
{
	handshake(t);
	rig.upstreams[0].flags = 0;
}

static void small_upstream(struct talk *t)
{
	handshake(t);
	rig.upstreams[0].mss = 1000;
}

static void other_family(struct talk *t)
{
	handshake(t);
	rig.v6 = !rig.v6;
	rig.upstreams[0].addr = rig_upstream_addr(0);
	rig.v6 = !rig.v6;
}

static void no_ports(struct talk *t)
{
	__u32 index;
	handshake(t);
	while (bpf_map_lookup_and_delete_elem(rig.free_fd, NULL, &index) == 0)
		;
}

static void no_egress(struct talk *t)
{
	handshake(t);
	bpf_map_delete_elem(rig.egress_fd, &rig.upstream_ifindex);
}

static const struct row first_request[] = {
	{"no-table", no_table, {.text = GET("/legacy")}, HANDS_OVER(NO_TABLE)},
	{"head-in-two-segments",
	 handshake,
	 {.text = "GET /legacy HTTP/1.1\r\nHost: a.ex"},
	 HANDS_OVER(INCOMPLETE)},
	{"one-byte", handshake, {.text = "G"}, HANDS_OVER(INCOMPLETE)},
	{"not-http", handshake, {.text = "\x16\x03\x01\x02"}, HANDS_OVER(REFUSED)},
	{"bare-lf", handshake, {.text = "GET /legacy HTTP/1.1\nHost: a\n\n"}, HANDS_OVER(REFUSED)},
	{"no-host", handshake, {.text = "GET /legacy HTTP/1.1\r\n\r\n"}, HANDS_OVER(REFUSED)},
	{"two-lengths",
	 handshake,
	 {.text = WITH("Content-Length: 1\r\nContent-Length: 1")},
	 HANDS_OVER(REFUSED)},
	{"length-and-chunked",
	 handshake,
	 {.text = WITH("Content-Length: 1\r\nTransfer-Encoding: chunked")},
	 HANDS_OVER(REFUSED)},
	{"folded", handshake, {.text = WITH("A: b\r\n c")}, HANDS_OVER(REFUSED)},
	{"http-1.0", handshake, {.text = HEAD("GET /legacy HTTP/1.0") "\r\n"}, HANDS_OVER(VERSION)},
	{"connection-close", handshake, {.text = WITH("Connection: close")}, HANDS_OVER(CLOSE)},
	{"connection-close-in-a-list",
	 handshake,
	 {.text = WITH("Connection: keep-alive, Close")},
	 HANDS_OVER(CLOSE)},
	{"connection-keep-alive", handshake, {.text = WITH("Connection: keep-alive")}, NEW_SYN(UPSTREAM0)},
	{"chunked", handshake, {.text = WITH("Transfer-Encoding: chunked") "0\r\n\r\n"}, HANDS_OVER(CHUNKED)},
	{"te", handshake, {.text = WITH("TE: trailers")}, HANDS_OVER(FIELDS)},
	{"upgrade",
	 handshake,
	 {.text = WITH("Connection: upgrade\r\nUpgrade: websocket")},
	 HANDS_OVER(FIELDS)},
	{"upgrade-alone", handshake, {.text = WITH("Upgrade: h2c")}, HANDS_OVER(FIELDS)},
	{"expect",
	 handshake,
	 {.text = WITH("Expect: 100-continue\r\nContent-Length: 0")},
	 HANDS_OVER(FIELDS)},
	{"x-forwarded-for", handshake, {.text = WITH("X-Forwarded-For: 192.0.2.1")}, HANDS_OVER(FIELDS)},
	{"shadow", handshake, {.text = WITH("X-Phoenix-Shadow: 1")}, HANDS_OVER(FIELDS)},
	{"nominated-field", handshake, {.text = WITH("Connection: x\r\nX: y")}, HANDS_OVER(FIELDS)},
	{"empty-line-first", handshake, {.text = "\r\n" GET("/legacy")}, HANDS_OVER(FIELDS)},
	{"synthetic", handshake, {.text = WITH("X-Phoenix-Synthetic: 1")}, NEW_SYN(UPSTREAM0)},
	{"request-id", handshake, {.text = WITH("X-Request-Id: 1")}, NEW_SYN(UPSTREAM0)},
	{"connect", handshake, {.text = HEAD("CONNECT a.example:443 HTTP/1.1") "\r\n"}, HANDS_OVER(METHOD)},
	{"absolute-form",
	 handshake,
	 {.text = HEAD("GET http://a.example/legacy HTTP/1.1") "\r\n"},
	 HANDS_OVER(METHOD)},
	{"options-star", handshake, {.text = HEAD("OPTIONS * HTTP/1.1") "\r\n"}, HANDS_OVER(METHOD)},
	{"two-requests-in-one-segment",
	 handshake,
	 {.text = GET("/legacy") GET("/legacy")},
	 HANDS_OVER(PIPELINED)},
	{"junk-behind-the-body", handshake, {.text = WITH("Content-Length: 1") "xy"}, HANDS_OVER(PIPELINED)},
	{"head-too-long", head_limit, {.text = WITH("A: b")}, HANDS_OVER(HEAD)},
	{"too-many-fields", field_limit, {.text = WITH("A: b\r\nC: d\r\nE: f")}, HANDS_OVER(HEAD)},
	{"body-too-long", body_limit, {.text = WITH("Content-Length: 10") "0123456789"}, HANDS_OVER(BODY)},
	{"body-just-within", body_limit, {.text = WITH("Content-Length: 9") "012345678"}, NEW_SYN(UPSTREAM0)},
	{"body-of-two-gigabytes",
	 handshake,
	 {.text = WITH("Content-Length: 2147483648") "0"},
	 HANDS_OVER(BODY)},
	{"body-to-come", handshake, {.text = WITH("Content-Length: 10") "01234"}, HANDS_OVER(BODY_FIRST)},
	{"legacy-down", legacy_down, {.text = GET("/legacy")}, HANDS_OVER(DOWN)},
	{"modern-down-legacy-asked", modern_down, {.text = GET("/legacy")}, NEW_SYN(UPSTREAM0)},
	{"modern-down-modern-asked", modern_down, {.text = GET("/modern")}, HANDS_OVER(DOWN)},
	{"refused-a-moment-ago", avoided, {.text = GET("/legacy")}, HANDS_OVER(DOWN)},
	{"refused-long-ago", avoided_before, {.text = GET("/legacy")}, NEW_SYN(UPSTREAM0)},
	{"unfit", unfit, {.text = GET("/legacy")}, HANDS_OVER(UNFIT)},
	{"address-not-known", unknown, {.text = GET("/legacy")}, HANDS_OVER(ROUTE)},
	{"small-segments", small_upstream, {.text = GET("/legacy")}, HANDS_OVER(MTU)},
	{"other-family", other_family, {.text = GET("/legacy")}, HANDS_OVER(FAMILY)},
	{"no-neighbour", handshake, {.text = GET("/lost")}, HANDS_OVER(NEIGHBOUR)},
	{"no-egress", no_egress, {.text = GET("/legacy")}, HANDS_OVER(NEIGHBOUR)},
	{"all-ports-taken", no_ports, {.text = GET("/legacy")}, HANDS_OVER(FULL)},
	{"fin-with-the-request", handshake, {.flags = FIN | ACK, .text = GET("/legacy")}, HANDS_OVER(FIN)},
	{"hop-limit-1-ends-here",
	 handshake,
	 {.ttl = 1, .text = GET("/legacy")},
	 NEW_SYN(UPSTREAM0)}, /* with a limit of its own */
};

/* --- routes --- */

static const struct row route_choice[] = {
	{"exact", handshake, {.text = GET("/legacy")}, NEW_SYN(UPSTREAM0)},
	{"with-query", handshake, {.text = GET("/legacy?a=/b")}, NEW_SYN(UPSTREAM0)},
	{"weight-10000", handshake, {.text = GET("/modern")}, NEW_SYN(UPSTREAM1)},
	{"parameter", handshake, {.text = GET("/users/42/orders")}, NEW_SYN(UPSTREAM3)},
	{"empty-parameter", handshake, {.text = GET("/users//orders")}, HANDS_OVER(NO_ROUTE)},
	{"rest", handshake, {.text = GET("/files/a/b/c")}, NEW_SYN(UPSTREAM2)},
	{"empty-rest", handshake, {.text = GET("/files/")}, NEW_SYN(UPSTREAM2)},
	{"without-rest", handshake, {.text = GET("/files")}, HANDS_OVER(NO_ROUTE)},
	{"longer-path", handshake, {.text = GET("/legacy/x")}, HANDS_OVER(NO_ROUTE)},
	{"shorter-path", handshake, {.text = GET("/legac")}, HANDS_OVER(NO_ROUTE)},
	{"other-case", handshake, {.text = GET("/Legacy")}, HANDS_OVER(NO_ROUTE)},
	{"encoded", handshake, {.text = GET("/leg%61cy")}, HANDS_OVER(NO_ROUTE)},
	{"host",
	 handshake,
	 {.text = "GET /legacy HTTP/1.1\r\nHost: H.example:80\r\n\r\n"},
	 NEW_SYN(UPSTREAM2)},
	{"other-host",
	 handshake,
	 {.text = "GET /legacy HTTP/1.1\r\nHost: xh.example\r\n\r\n"},
	 NEW_SYN(UPSTREAM0)},
	{"method",
	 handshake,
	 {.text = HEAD("POST /only HTTP/1.1") "Content-Length: 2\r\n\r\nab"},
	 NEW_SYN(UPSTREAM0)},
	{"other-method", handshake, {.text = GET("/only")}, HANDS_OVER(NO_ROUTE)},
	{"unknown-method", handshake, {.text = HEAD("FROB /legacy HTTP/1.1") "\r\n"}, NEW_SYN(UPSTREAM0)},
	{"method-in-small-letters",
	 handshake,
	 {.text = HEAD("post /only HTTP/1.1") "\r\n"},
	 HANDS_OVER(NO_ROUTE)},
	{"base-path", handshake, {.text = GET("/based")}, HANDS_OVER(ROUTE)},
	{"not-for-xdp", handshake, {.text = GET("/not-xdp")}, HANDS_OVER(ROUTE)},
	{"name-without-address", handshake, {.text = GET("/nameless")}, HANDS_OVER(ROUTE)},
	{"slot-not-active", not_active, {.text = GET("/legacy")}, HANDS_OVER(ROUTE)},
	{"by-header", handshake, {.text = GET("/by-header")}, HANDS_OVER(SPLIT)},
	{"by-cookie", handshake, {.text = GET("/by-cookie")}, HANDS_OVER(SPLIT)},
};

/* --- weights --- */

/* One more request on a connection that is between two; it is answered, so that the next can follow. */
static void asks(struct talk *t, const char *path, enum peer upstream)
{
	char request[128];
	bool warm = t->up[upstream - UPSTREAM0].began;
	snprintf(request, sizeof(request), GET("%s"), path);
	if (warm)
		says(t, CLIENT, request, (struct expect)GOES_TO(upstream, REQUEST));
	else {
		request_to(t, upstream, request);
		accepts(t, upstream, request);
	}
	says(t, upstream, OK5, (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, upstream);
}

static enum peer side_of(uint64_t n, uint32_t weight_bp)
{
	return phx_split_by_request(n, weight_bp, rig.config->split_seed ^ ROUTE_HALF) ? UPSTREAM1
										       : UPSTREAM0;
}

static void split_in_turn(struct talk *t)
{
	handshake(t);
	for (uint64_t n = 0; n < 40 && !t->failed; n++)
		asks(t, "/half", side_of(n, 5000));
	if (rig.stats[ROUTE_HALF].side[0].requests != 20 || rig.stats[ROUTE_HALF].side[1].requests != 20)
		talk_fail(t, "%llu and %llu of 40 requests at 5000", rig.stats[ROUTE_HALF].side[0].requests,
			  rig.stats[ROUTE_HALF].side[1].requests);
}

/* The next request of a connection that is open already obeys; 0 and 10000 are absolute. */
static void weight_changes(struct talk *t)
{
	handshake(t);
	rig.policy[ROUTE_HALF].weight_bp = 0;
	asks(t, "/half", UPSTREAM0);
	asks(t, "/half", UPSTREAM0);
	rig.policy[ROUTE_HALF].weight_bp = 10000;
	asks(t, "/half", UPSTREAM1);
	asks(t, "/half", UPSTREAM1);
	rig.policy[ROUTE_HALF].weight_bp = 0;
	asks(t, "/half", UPSTREAM0);
	asks(t, "/half", UPSTREAM0);
	rig.policy[ROUTE_HALF].weight_bp = 3000;
	for (uint64_t n = 0; n < 20; n++)
		asks(t, "/half", side_of(n, 3000));
	if (rig.cursors[ROUTE_HALF].split_next != 20)
		talk_fail(t, "absolute weights drew numbers: the cursor is %llu",
			  rig.cursors[ROUTE_HALF].split_next);
}

/* A number that was drawn for a request of the daemon's after all goes back: the daemon draws it again. */
static void draw_given_back(struct talk *t)
{
	handshake(t);
	rig.policy[ROUTE_HALF].flags |= PHX_ROUTE_MODERN_DOWN | PHX_ROUTE_LEGACY_DOWN;
	says(t, CLIENT, GET("/half"), (struct expect)HANDS_OVER(DOWN));
	if (rig.cursors[ROUTE_HALF].split_next != 0)
		talk_fail(t, "the cursor is %llu", rig.cursors[ROUTE_HALF].split_next);
}

/* The program's answer for many clients is the daemon's (userspace/gateway/dispatch.c: SipHash of the
 * address). */
static void keyed_split(struct talk *t)
{
	unsigned modern = 0;
	for (unsigned n = 0; n < 60 && !t->failed; n++) {
		struct talk other;
		talk_begin(&other, t->name, t->v6, false);
		struct phx_addr client = rig_client_addr(n);
		const void *bytes = t->v6 ? (const void *)&client : (const void *)&client.word[3];
		uint64_t hash = siphash24((const uint8_t *)rig.config->split_key, bytes, t->v6 ? 16 : 4);
		enum peer want = (hash >> 32) * 10000 >> 32 < 5000 ? UPSTREAM1 : UPSTREAM0;
		other.client.rcv = talk_cookie(&other, n, other.client.nxt, rig_now() >> PHX_CLOCK_SHIFT,
					       talk_cookie_bits(&other.client)) +
				   1;
		other.client.nxt++;
		play(&other, (struct packet){.client = n, .text = GET("/by-ip")},
		     (struct expect)NEW_SYN(want));
		modern += want == UPSTREAM1;
		t->failed |= other.failed;
	}
	if (modern < 15 || modern > 45)
		talk_fail(t, "%u of 60 clients are modern's", modern);
}

static void kill_switch(struct talk *t)
{
	struct phx_counters before, after;
	rig_counters(&before);
	handshake(t);
	rig.kill->to_legacy = 1;
	asks(t, "/modern", UPSTREAM0);
	asks(t, "/half", UPSTREAM0);
	asks(t, "/legacy", UPSTREAM0);
	rig.kill->to_legacy = 0;
	asks(t, "/modern", UPSTREAM1);
	rig_counters(&after);
	/* Legacy's own request was not forced. */
	if (after.forced_legacy - before.forced_legacy != 2)
		talk_fail(t, "%llu requests are counted as forced",
			  (unsigned long long)(after.forced_legacy - before.forced_legacy));
}

/* The weight is 100 %; the heartbeat is so old when the request comes. */
static void dead_man(struct talk *t, enum phx_dead_man then, int64_t age_ms, enum peer upstream)
{
	handshake(t);
	rig.config->dead_after_ns = 60000 * UINT64_C(1000000);
	rig.config->dead_then = then;
	rig.config->heartbeat_ns = rig_now() - (uint64_t)age_ms * 1000000;
	asks(t, "/modern", upstream);
}

static void dead_legacy(struct talk *t)
{
	dead_man(t, PHX_DEAD_LEGACY, 61000, UPSTREAM0);
	/* The daemon is back: nothing is left of it. */
	rig.config->heartbeat_ns = rig_now();
	asks(t, "/modern", UPSTREAM1);
}

static void dead_legacy_not_yet(struct talk *t)
{
	dead_man(t, PHX_DEAD_LEGACY, 30000, UPSTREAM1);
}

static void dead_legacy_future(struct talk *t)
{
	dead_man(t, PHX_DEAD_LEGACY, -30000, UPSTREAM1);
}

static void dead_freeze(struct talk *t)
{
	dead_man(t, PHX_DEAD_FREEZE, 61000, UPSTREAM1);
}

static void dead_continue(struct talk *t)
{
	dead_man(t, PHX_DEAD_CONTINUE, 61000, UPSTREAM1);
}

static void mode_drain(struct talk *t)
{
	between(t);
	rig.config->mode = PHX_MODE_DRAIN;
	says(t, CLIENT, GET("/legacy"), (struct expect)HANDS_OVER(DRAINING));
}

/* What is under way ends on the fast path. */
static void mode_drain_under_way(struct talk *t)
{
	half_answered(t);
	rig.config->mode = PHX_MODE_DRAIN;
	says(t, UPSTREAM0, "llo", (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
	says(t, CLIENT, GET("/legacy"), (struct expect)HANDS_OVER(DRAINING));
}

static void mode_off_under_way(struct talk *t)
{
	half_answered(t);
	rig.config->mode = PHX_MODE_OFF;
	says(t, UPSTREAM0, "llo", (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
	says(t, CLIENT, GET("/legacy"), (struct expect)HANDS_OVER(DRAINING));
}

/* An address that changed: the old leg is not used again. */
static void upstream_changes(struct talk *t)
{
	between(t);
	rig.upstreams[0].generation++;
	t->up[0].began = false;
	asks(t, "/legacy", UPSTREAM0);
	if (talk_flow(t)->leg[0].generation != 2)
		talk_fail(t, "the leg is of generation %u", talk_flow(t)->leg[0].generation);
}

/* Ten upstreams on one connection: legs that were used longest ago make room. */
static void more_upstreams_than_legs(struct talk *t)
{
	char path[16];
	handshake(t);
	for (int n = 0; n < 10 && !t->failed; n++) {
		snprintf(path, sizeof(path), "/up/%d", n);
		asks(t, path, (enum peer)(UPSTREAM0 + n));
	}
	asks(t, "/up/9", (enum peer)(UPSTREAM0 + 9));
	asks(t, "/up/2", UPSTREAM2);
	t->up[0].began = false;
	asks(t, "/up/0", UPSTREAM0);
}

static void statistics(struct talk *t)
{
	const struct phx_side_stats *side = &rig.stats[ROUTE_LEGACY].side[PHX_LEGACY];
	between(t);
	says(t, CLIENT,
	     "POST /legacy HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX-Phoenix-Synthetic: 1\r\n\r\nabc",
	     (struct expect)GOES_TO(UPSTREAM0, REQUEST));
	says(t, UPSTREAM0, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
	     (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
	uint64_t latencies = 0;
	for (unsigned i = 0; i < PHX_LATENCY_BUCKETS; i++)
		latencies += side->latency[i];
	const struct {
		const char *name;
		uint64_t got, want;
	} numbers[] = {
		{"requests", side->requests, 2},
		{"synthetic", side->synthetic, 1},
		{"status 2xx", side->status[2], 1},
		{"status 5xx", side->status[5], 1},
		{"synthetic 5xx", side->synthetic_status[5], 1},
		{"synthetic 2xx", side->synthetic_status[2], 0},
		{"no status", side->status[0], 0},
		{"latencies", latencies, 2},
		{"request bytes", side->request_bytes, 3},
		{"cut", side->cut, 0},
		{"invalid", side->invalid, 0},
		{"of this step", rig.stats[ROUTE_LEGACY].step_requests[PHX_LEGACY], 2},
		{"modern's requests", rig.stats[ROUTE_LEGACY].side[PHX_MODERN].requests, 0},
	};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (numbers[i].got != numbers[i].want)
			talk_fail(t, "%s: %llu, not %llu", numbers[i].name,
				  (unsigned long long)numbers[i].got, (unsigned long long)numbers[i].want);
	}
	if (side->latency_ns_sum == 0)
		talk_fail(t, "no time passed");
}

/* Evidence of a step is counted from its beginning. */
static void step_changes(struct talk *t)
{
	handshake(t);
	asks(t, "/legacy", UPSTREAM0);
	asks(t, "/legacy", UPSTREAM0);
	rig.policy[ROUTE_LEGACY].step = 7;
	asks(t, "/legacy", UPSTREAM0);
	if (rig.stats[ROUTE_LEGACY].step != 7 || rig.stats[ROUTE_LEGACY].step_requests[PHX_LEGACY] != 1)
		talk_fail(t, "step %llu has %llu requests", rig.stats[ROUTE_LEGACY].step,
			  rig.stats[ROUTE_LEGACY].step_requests[PHX_LEGACY]);
}

#define SCRIPT(name, function)                                                                               \
	{                                                                                                    \
		name, function, .script = true                                                               \
	}

static const struct row weights[] = {
	SCRIPT("in-turn", split_in_turn),
	SCRIPT("changed-between-two-requests", weight_changes),
	SCRIPT("a-draw-is-given-back", draw_given_back),
	SCRIPT("keyed-as-the-daemon", keyed_split),
	SCRIPT("kill-switch", kill_switch),
	SCRIPT("dead-man-legacy", dead_legacy),
	SCRIPT("dead-man-legacy-not-yet", dead_legacy_not_yet),
	SCRIPT("dead-man-legacy-clock-ahead", dead_legacy_future),
	SCRIPT("dead-man-freeze", dead_freeze),
	SCRIPT("dead-man-continue", dead_continue),
	SCRIPT("mode-drain", mode_drain),
	SCRIPT("mode-drain-under-way", mode_drain_under_way),
	SCRIPT("mode-off-under-way", mode_off_under_way),
	SCRIPT("upstream-of-another-generation", upstream_changes),
	SCRIPT("more-upstreams-than-legs", more_upstreams_than_legs),
	SCRIPT("statistics", statistics),
	SCRIPT("step-changes", step_changes),
};

ROWS_MAIN(TABLE(first_request), TABLE(route_choice), TABLE(weights))
