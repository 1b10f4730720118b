/* SPDX-License-Identifier: Apache-2.0 */
/* pages: the manual pages, each made from the table that its program works with. */
#ifndef PHOENIX_TOOLS_MANUAL_PAGES_H
#define PHOENIX_TOOLS_MANUAL_PAGES_H

#include "base/buf.h"

/* X(function, name, section, what it is about) */
#define MANUAL_PAGES(X)                                                                                      \
	X(page_phoenixctl, "phoenixctl", 1, "look at and steer a Phoenix gateway")                           \
	X(page_phoenix_traffic, "phoenix-traffic", 1,                                                        \
	  "send a scenario of HTTP requests on a fixed schedule")                                            \
	X(page_phoenixd, "phoenixd", 8,                                                                      \
	  "HTTP gateway that moves endpoints from a legacy to a modern service")                             \
	X(page_config, "phoenix.json", 5, "configuration of the Phoenix gateway")                            \
	X(page_spec, "phoenix-migration.json", 5, "specification of a service that phoenixctl migrates")

#define X(function, name, section, what) void function(struct buf *out);
MANUAL_PAGES(X)
#undef X

#endif
