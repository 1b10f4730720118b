/* SPDX-License-Identifier: Apache-2.0 */
/* daemon: the page of phoenixd. */
#include "manual/pages.h"
#include "manual/roff.h"

#include "arguments.h"

void page_phoenixd(struct buf *out)
{
	roff_section(out, "SYNOPSIS");
	roff_synopsis(out, "phoenixd", "[--config FILE] [OPTIONS]");
	roff_section(out, "DESCRIPTION");
	roff_text(out,
		  "Stands in front of a legacy HTTP service and its modern replacement and moves live "
		  "endpoints "
		  "from one to the other by itself: a few per cent at a time, only while both give the same "
		  "answers, and back to legacy at once when they do not.\n\n"
		  "It serves in the foreground and tells systemd when it is ready. People talk to it with "
		  "phoenixctl, on the web page at admin.listen, or by REST (GET /openapi.json describes it). "
		  "The NIC path (xdp.interfaces) goes on without the daemon; phoenixctl xdp detach removes "
		  "it.");
	roff_section(out, "OPTIONS");
	for (size_t i = 0; i < DAEMON_OPTION_COUNT; i++)
		roff_option(out, &daemon_options[i]);
	roff_section(out, "SIGNALS");
#define X(number, does) roff_item(out, #number, NULL, does);
	DAEMON_SIGNALS(X)
#undef X
	roff_section(out, "FILES");
	roff_item(out, DEFAULT_CONFIG, NULL, "the configuration");
	roff_item(out, "/var/lib/phoenix/state.json", NULL,
		  "weights, states and routes made at run time (state.path)");
	roff_item(out, "/run/phoenix/admin.sock", NULL, "the admin interface (admin.socket)");
	roff_item(out, "/sys/fs/bpf/phoenix", NULL, "programs, maps and links of the NIC path (xdp.pin_dir)");
	roff_section(out, "EXIT STATUS");
#define X(status, meaning) roff_status(out, status, meaning);
	DAEMON_EXITS(X)
#undef X
	roff_section(out, "SEE ALSO");
	roff_text(out, "phoenixctl(1), phoenix.json(5)");
}
