/* SPDX-License-Identifier: Apache-2.0 */
/* pages: the pages of the two tools. What is not in a table (files, examples) is written here once. */
#include "manual/pages.h"
#include "manual/roff.h"

#include "ctl/command.h"
#include "traffic/options.h"

static void command_item(const struct ctl_command *command, struct buf *out)
{
	struct buf options = {0};
	const char *separator = "\n\nOptions:";

	roff_item(out, command->words, command->arguments, command->help);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		uint64_t bit = UINT64_C(1) << i;
		if (!(command->options & bit) || (OPTIONS_DAEMON & bit))
			continue;
		buf_printf(&options, "%s --%s", separator, ctl_options[i].word);
		separator = ",";
	}
	if (command->more) {
		roff_item_text(out, "\n\n");
		roff_item_text(out, command->more);
	}
	roff_item_text(out, buf_cstr(&options));
	buf_fini(&options);
}

void page_phoenixctl(struct buf *out)
{
	roff_section(out, "SYNOPSIS");
	roff_synopsis(out, "phoenixctl", "COMMAND [ARGUMENTS] [OPTIONS]");
	roff_section(out, "DESCRIPTION");
	roff_text(out,
		  "Talks to the admin interface of a daemon that runs. Data goes to standard output, talk to "
		  "standard error. Colour, bars and what is drawn in place appear only on a terminal; tables "
		  "that are too wide for it go on below.\n\n"
		  "A weight is told as three numbers: wanted (what policy or a person decided), set (read "
		  "back from the memory that the data path reads) and seen (counted requests).\n\n"
		  "A word that is not known is answered with the nearest one that is, and exit status 2.");
	roff_section(out, "COMMANDS");
	for (const struct ctl_command *command = ctl_commands; command->words; command++)
		if (!ctl_command_is_hidden(command))
			command_item(command, out);
	roff_section(out, "OPTIONS");
	roff_text(out,
		  "Options may stand anywhere; -- ends them. Every command that talks to the daemon takes "
		  "--admin and --token-file.");
	for (size_t i = 0; i < OPTION_COUNT; i++)
		roff_option(out, &ctl_options[i]);
	roff_section(out, "ENVIRONMENT");
#define X(name, help) roff_item(out, name, NULL, help);
	CTL_ENVIRONMENT(X)
#undef X
	roff_section(out, "FILES");
	roff_item(out, "/run/phoenix/admin.sock", NULL,
		  "the daemon's socket, asked where nothing else is named");
	roff_item(out, "/etc/phoenix/phoenix.json", NULL,
		  "the configuration that doctor looks at when no daemon runs");
	roff_item(out, "/sys/fs/bpf/phoenix", NULL,
		  "programs and maps of the NIC path: maps and xdp work on these");
	roff_section(out, "EXIT STATUS");
#define X(name, value, help) roff_status(out, value, help);
	CTL_EXITS(X)
#undef X
	roff_section(out, "EXAMPLES");
	roff_text(out, "Watch a migration, and wait for its end in a script:");
	roff_literal(
		out,
		"phoenixctl status --watch\nphoenixctl status users --wait-for complete --timeout 30m\n");
	roff_text(out, "When all is on fire:");
	roff_literal(out, "phoenixctl rollback users --reason \"wrong balances\"\n");
	roff_text(out, "What differs, and why it was decided so:");
	roff_literal(out,
		     "phoenixctl diff ls users\nphoenixctl diff show users /v\nphoenixctl decisions users\n");
	roff_section(out, "SEE ALSO");
	roff_text(out, "phoenix-traffic(1), phoenix-migration.json(5), phoenix.json(5), phoenixd(8)");
}

void page_phoenix_traffic(struct buf *out)
{
	struct buf metrics = {0};

	roff_section(out, "SYNOPSIS");
	roff_synopsis(out, "phoenix-traffic", "run SCENARIO.json [OPTIONS]");
	roff_synopsis(out, "phoenix-traffic", "generate [ARGUMENTS]");
	roff_synopsis(out, "phoenix-traffic", "version");
	roff_section(out, "DESCRIPTION");
	roff_text(out, "Sends the requests of a scenario through a gateway. It is an open loop: every "
		       "request has its "
		       "moment, and its latency counts from that moment even if a stalled server let it be "
		       "sent only "
		       "later. Each request is marked with X-Phoenix-Synthetic: 1, so that the gateway "
		       "counts it apart.\n\n"
		       "With --reconcile the client's count is held against the gateway's, for each route "
		       "and each class "
		       "of answer. A difference, a run that sent nothing, or one to which nothing was "
		       "answered as expected "
		       "has failed.\n\n"
		       "The command generate is phoenixctl traffic generate: it makes a scenario from "
		       "samples, an access "
		       "log, an OpenAPI document or a HAR file.");
	roff_section(out, "OPTIONS");
	for (size_t i = 0; i < TRAFFIC_OPTION_COUNT; i++)
		roff_option(out, &traffic_options[i]);
	roff_section(out, "THRESHOLDS");
	roff_text(out, "A threshold is METRIC<LIMIT (also <=, > and >=). The metrics:");
	threshold_help(&metrics);
	roff_literal(out, buf_cstr(&metrics));
	buf_fini(&metrics);
	roff_section(out, "ENVIRONMENT");
	roff_item(out, "PHOENIX_TOKEN", NULL,
		  "token of the admin interface, where --token-file is not given");
	roff_section(out, "EXIT STATUS");
#define X(status, meaning) roff_status(out, status, meaning);
	TRAFFIC_EXITS(X)
#undef X
	roff_section(out, "EXAMPLES");
	roff_literal(out, "{\n"
			  "  \"load\": {\"rate\": 50, \"duration\": \"30s\", \"connections\": 16},\n"
			  "  \"variables\": {\"id\": {\"from\": 1, \"to\": 500}},\n"
			  "  \"requests\": [{\"path\": \"/users/${id}\", \"expect\": 200}],\n"
			  "  \"thresholds\": [\"p99<200ms\", \"failed<1%\"]\n"
			  "}\n");
	roff_literal(out, "phoenix-traffic run users.json --url http://127.0.0.1:8080 \\\n"
			  "    --reconcile unix:/run/phoenix/admin.sock\n");
	roff_section(out, "SEE ALSO");
	roff_text(out, "phoenixctl(1), phoenixd(8)");
}
