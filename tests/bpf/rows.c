/* SPDX-License-Identifier: Apache-2.0 */
/* rows: see rows.h. */
#include "rows.h"

#include <stdio.h>
#include <string.h>

#define NUMBER(n)                                                                                            \
	{                                                                                                    \
		.path = "/up/" #n, .legacy = n, .modern = n                                                  \
	}

static const struct rig_route routes[ROWS_ROUTES] = {
	[ROUTE_LEGACY] = {.path = "/legacy", .legacy = 0, .modern = 1},
	[ROUTE_MODERN] = {.path = "/modern", .legacy = 0, .modern = 1, .weight_bp = 10000},
	[ROUTE_HALF] = {.path = "/half", .legacy = 0, .modern = 1, .weight_bp = 5000},
	[ROUTE_BY_IP] = {.path = "/by-ip",
			 .legacy = 0,
			 .modern = 1,
			 .weight_bp = 5000,
			 .split_by = PHX_SPLIT_CLIENT_IP},
	[ROUTE_BY_HEADER] = {.path = "/by-header",
			     .legacy = 0,
			     .modern = 1,
			     .weight_bp = 5000,
			     .split_by = PHX_SPLIT_HEADER},
	[ROUTE_BY_COOKIE] = {.path = "/by-cookie",
			     .legacy = 0,
			     .modern = 1,
			     .weight_bp = 5000,
			     .split_by = PHX_SPLIT_COOKIE},
	[ROUTE_NOT_XDP] = {.path = "/not-xdp", .legacy = 0, .modern = 1, .not_xdp = true},
	[ROUTE_BASE_PATH] = {.path = "/based", .legacy = 0, .modern = 1, .based = true},
	[ROUTE_NAMELESS] = {.path = "/nameless", .legacy = PHX_NO_UPSTREAM, .modern = PHX_NO_UPSTREAM},
	[ROUTE_LOST] = {.path = "/lost", .legacy = RIG_UPSTREAMS - 1, .modern = RIG_UPSTREAMS - 1},
	[ROUTE_POST] = {.path = "/only", .methods = "POST,PUT", .legacy = 0, .modern = 1},
	[ROUTE_HOST] = {.path = "/legacy", .host = "h.example", .legacy = 2, .modern = 2},
	[ROUTE_PARAMETER] = {.path = "/users/{id}/orders", .legacy = 3, .modern = 3},
	[ROUTE_REST] = {.path = "/files/*", .legacy = 2, .modern = 2},
	[ROUTE_SAMPLED] = {.path = "/sampled", .legacy = 0, .modern = 1, .sample_bp = 10000},
	[ROUTE_SAMPLED_ALL] = {.path = "/unsafe",
			       .legacy = 0,
			       .modern = 1,
			       .sample_bp = 10000,
			       .flags = PHX_ROUTE_MIRROR_UNSAFE},
	[ROUTE_NUMBER0] = NUMBER(0),
	NUMBER(1),
	NUMBER(2),
	NUMBER(3),
	NUMBER(4),
	NUMBER(5),
	NUMBER(6),
	NUMBER(7),
	NUMBER(8),
	NUMBER(9),
};

static bool run_once(const struct row *row, const char *table, bool v6, bool vlan)
{
	struct talk t;
	char name[160];
	if ((v6 && row->only == 4) || (!v6 && row->only == 6))
		return true;
	snprintf(name, sizeof(name), "%s/%s over %s%s", table, row->name, v6 ? "IPv6" : "IPv4",
		 vlan ? " in a VLAN" : "");
	talk_begin(&t, name, v6, vlan);
	rig_routes(routes, ROWS_ROUTES);
	t.text = row->packet.text;
	row->before(&t);
	if (t.failed)
		fprintf(stderr, "%s: on the way to its state\n", name);
	else if (!row->script)
		play(&t, row->packet, row->expect);
	return !t.failed;
}

int rows_run(const struct rows *tables, size_t count)
{
	unsigned passed = 0, failed = 0;
	const char *why = rig_open();
	if (why) {
		for (size_t i = 0; i < count; i++)
			printf("skip %s: %s\n", tables[i].name, why);
		printf("0 passed, 0 failed\n");
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < tables[i].count; k++) {
			const struct row *row = &tables[i].rows[k];
			unsigned long checks = talk_checks;
			bool ok = run_once(row, tables[i].name, false, false);
			ok &= run_once(row, tables[i].name, true, false);
			ok &= run_once(row, tables[i].name, false, true);
			ok &= talk_checks > checks;
			printf("%s %s/%s (%lu checks)\n", ok ? "ok" : "FAIL", tables[i].name, row->name,
			       talk_checks - checks);
			ok ? passed++ : failed++;
		}
	}
	printf("%u passed, %u failed\n", passed, failed);
	rig_close();
	return failed != 0;
}
