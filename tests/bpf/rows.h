/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows: verdict tables. A row is a state (states.h), one packet and what must become of it; or a script,
 * which plays several. Each row is one test, run over IPv4, IPv6 and IPv4 in a VLAN. A test program is tables
 * and ROWS_MAIN.
 */
#ifndef PHOENIX_TESTS_ROWS_H
#define PHOENIX_TESTS_ROWS_H

#include "states.h"

/* A row says only what is not as usual. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

struct row {
	const char *name;
	void (*before)(struct talk *t);
	struct packet packet;
	struct expect expect;
	int only;    /* 4, 6: one version of IP */
	bool script; /* `before` is all there is */
};

struct rows {
	const char *name;
	const struct row *rows;
	size_t count;
};

/* Where the routes of rows_routes lie in the table. */
enum rows_route {
	ROUTE_LEGACY, /* /legacy, weight 0: upstream 0 */
	ROUTE_MODERN, /* /modern, weight 10000: upstream 1 */
	ROUTE_HALF,   /* /half, 5000 */
	ROUTE_BY_IP,  /* /by-ip, 5000, split by client address */
	ROUTE_BY_HEADER,
	ROUTE_BY_COOKIE,
	ROUTE_NOT_XDP,
	ROUTE_BASE_PATH,
	ROUTE_NAMELESS,	   /* an upstream without address */
	ROUTE_LOST,	   /* an upstream without neighbour entry: 15 */
	ROUTE_POST,	   /* POST /only */
	ROUTE_HOST,	   /* h.example /legacy: upstream 2 */
	ROUTE_PARAMETER,   /* /users/{id}/orders: upstream 3 */
	ROUTE_REST,	   /* /files/ and anything: upstream 2 */
	ROUTE_SAMPLED,	   /* /sampled: 0, every exchange */
	ROUTE_SAMPLED_ALL, /* /unsafe: 0, unsafe methods too */
	ROUTE_NUMBER0,	   /* /up/0 ... /up/9: upstream n */
	ROWS_ROUTES = ROUTE_NUMBER0 + 10,
};

/* Runs all; returns main's status. */
int rows_run(const struct rows *tables, size_t count);

#define TABLE(rows)                                                                                          \
	{                                                                                                    \
#rows, rows, sizeof(rows) / sizeof((rows)[0])                                                \
	}
#define ROWS_MAIN(...)                                                                                       \
	int main(void)                                                                                       \
	{                                                                                                    \
		static const struct rows tables[] = {__VA_ARGS__};                                           \
		return rows_run(tables, sizeof(tables) / sizeof(tables[0]));                                 \
	}

#endif
