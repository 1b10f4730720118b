/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands: the table of everything phoenixctl can do, and the three commands that only need the table.
 */
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/talk.h"
#include "ctl/watch.h"
#include "config_report.h"

#define VERSION_TIMEOUT_MS 1000u

/* "q: quit; r: …" */
#define X(key, does) " " key ": " does ";"
#define WATCH_HELP   "Keys while a terminal is watched:" WATCH_KEYS(X) " Ctrl-C ends it as well."

#define READ   (OPTIONS_DAEMON | OPTION_BIT(OUTPUT))
#define CHANGE (OPTIONS_DAEMON | OPTION_BIT(OUTPUT) | OPTION_BIT(REASON))

const struct ctl_command ctl_commands[] = {
	{"status", "[ROUTE]", READ | OPTION_BIT(WATCH) | OPTION_BIT(WAIT_FOR) | OPTION_BIT(TIMEOUT),
	 "how the migration stands: all routes, or one in full",
	 "With --wait-for it returns when ROUTE (without ROUTE: every route) has reached the state: 0 when "
	 "it\n"
	 "has, 10 when a route was rolled back instead, 12 when --timeout is over. A daemon that restarts "
	 "on\n"
	 "the way is waited for. With --watch -o json each change is one JSON text on a line of its "
	 "own.\n\n" WATCH_HELP,
	 run_status},
	{"route ls", "", READ, "the routes and where they go", NULL, run_route_ls},
	{"route add", "[FILE]",
	 CHANGE | OPTION_BIT(ID) | OPTION_BIT(METHOD) | OPTION_BIT(PATH) | OPTION_BIT(LEGACY_URL) |
		 OPTION_BIT(MODERN_URL) | OPTION_BIT(WEIGHT),
	 "add a route: from a file (- is stdin) or from options",
	 "FILE holds one element of \"routes\" of the configuration, as JSON. It is checked here before the\n"
	 "daemon sees it. With options: --id, --path, --legacy-url and --modern-url are needed.",
	 run_route_add},
	{"route rm", "ROUTE", CHANGE, "remove a route that was added at run time", NULL, run_route_rm},
	{"weight get", "ROUTE", READ, "the share of the modern service: wanted, set and seen", NULL,
	 run_weight_get},
	{"weight set", "ROUTE WEIGHT", CHANGE, "set the share of the modern service (0.35 or 35%)",
	 "It takes effect on the next request. WEIGHT is a fraction from 0 to 1 or a percentage.",
	 run_weight_set},
	{"start", "ROUTE", CHANGE, "begin the migration", NULL, run_verb},
	{"pause", "ROUTE", CHANGE, "stop changing the weight; traffic goes on as it is", NULL, run_verb},
	{"resume", "ROUTE", CHANGE, "go on after a pause", NULL, run_verb},
	{"promote", "ROUTE", CHANGE, "take the next step now, without waiting for evidence", NULL, run_verb},
	{"rollback", "ROUTE", CHANGE, "send everything to the legacy service, in every state", NULL,
	 run_verb},
	{"retry", "ROUTE", CHANGE, "begin again after a rollback", NULL, run_verb},
	{"migrate", "FILE", READ | OPTION_BIT(WATCH) | OPTION_BIT(DETACH) | OPTION_BIT(TIMEOUT),
	 "verify, deploy and migrate a service, as its spec says, to the end",
	 "FILE is the spec, JSON or YAML; relative directories in it are relative to it. What happens is "
	 "printed as\n"
	 "it happens, until the end: 0 Migration Complete, 10 Rollback triggered, 12 when --timeout is over. "
	 "Ctrl-C\n"
	 "only stops watching. With --detach it returns at once. The same id again, after a rollback, begins "
	 "anew.",
	 run_migrate},
	{"deploy", "FILE", READ | OPTION_BIT(DETACH) | OPTION_BIT(TIMEOUT),
	 "only verify and deploy the service of a spec, until it is healthy", NULL, run_migrate},
	{"migration ls", "", READ, "the migrations that were begun, and how they stand", NULL,
	 run_migration_ls},
	{"migration show", "MIGRATION", READ | OPTION_BIT(FOLLOW),
	 "one migration with its stages and its log",
	 "With -f it goes on as \"migrate\" does, to the end of the migration and with its exit status.",
	 run_migration_show},
	{"migration retry", "MIGRATION", CHANGE | OPTION_BIT(DETACH),
	 "begin a migration that was rolled back anew, and follow it", NULL, run_migration_retry},
	{"migration rm", "MIGRATION", CHANGE, "stop a migration, undo it and forget it", NULL,
	 run_migration_rm},
	{"decisions replay", "FILE|ROUTE", READ,
	 "decide again from each record, and compare (exit 1 when one differs)",
	 "FILE is a ledger (state.decisions.jsonl beside the state file), what \"decisions ROUTE -o json\"\n"
	 "printed, or - for stdin; it needs no daemon. The first decision that differs is named.",
	 run_decisions_replay},
	{"decisions", "ROUTE", READ | OPTION_BIT(LIMIT), "what was decided and on which evidence", NULL,
	 run_decisions},
	{"diff ls", "ROUTE", READ, "where the answers of the two services differ, grouped by pointer", NULL,
	 run_diff_ls},
	{"diff show", "ROUTE [GROUP]", READ | OPTION_BIT(LIMIT), "differences with redacted samples",
	 "GROUP is a number or a pointer as \"diff ls\" prints them; -n limits the samples of each group.",
	 run_diff_show},
	{"diff ignore", "ROUTE [POINTER]...",
	 CHANGE | OPTION_BIT(DRY_RUN) | OPTION_BIT(REMOVE) | OPTION_BIT(PROPOSED),
	 "ignore differences at these pointers from now on",
	 "POINTER is an RFC 6901 pointer, with * for any element: /meta/generated_at or /data/*/fee.\n"
	 "Without pointers it prints the list. With --dry-run nothing changes and the effect is printed. "
	 "With\n"
	 "--proposed the places are taken where legacy disagrees with itself (\"diff ls\" lists them).",
	 run_diff_ignore},
	{"trace", "METHOD URL", READ, "what would happen to this request, asked of the real data path", NULL,
	 run_trace},
	{"events", "", READ | OPTION_BIT(FOLLOW) | OPTION_BIT(LIMIT), "what happened, the newest last",
	 "With -f it goes on as events happen and survives a restart of the daemon; with -o json then one\n"
	 "event a line.",
	 run_events},
	{"traffic generate", "[FILE]",
	 READ | OPTION_BIT(FROM) | OPTION_BIT(ROUTE) | OPTION_BIT(EXPORT) | OPTION_BIT(OUT) |
		 OPTION_BIT(UNSAFE) | OPTION_BIT(HOST) | OPTION_BIT(RATE) | OPTION_BIT(DURATION) |
		 OPTION_BIT(LIMIT),
	 "make a traffic scenario from what there is",
	 "--from access-log, openapi, har and scenario read FILE (- is stdin); --from route and samples ask "
	 "the\n"
	 "daemon and need --route. What cannot be used is left out and counted on stderr. The scenario is "
	 "JSON\n"
	 "for phoenix-traffic, meant to be read and edited; with --export k6 it is the same as a k6 script.\n"
	 "With --out and -o json a summary goes to stdout. -n limits the kinds of requests (default 100).",
	 run_traffic_generate},
	{"traffic run", "FILE",
	 READ | OPTION_BIT(URL) | OPTION_BIT(RATE) | OPTION_BIT(DURATION) | OPTION_BIT(REQUESTS) |
		 OPTION_BIT(CONNECTIONS) | OPTION_BIT(OUT) | OPTION_BIT(WITH),
	 "send a scenario through the gateway; both must count the same",
	 "It becomes phoenix-traffic, which marks every request as synthetic and compares its count with "
	 "the\n"
	 "gateway's, route by route; --out writes the report as JSON. Exit 20 when a threshold was crossed.",
	 run_traffic_run},
	{"kill-switch", "[PIN_DIR]", CHANGE | OPTION_BIT(OFF),
	 "send every request to legacy now, dead daemon or not; --off ends it",
	 "Works with the daemon dead, hung or alive: the word is written to the pinned map as root, read "
	 "back,\n"
	 "and the daemon, if it answers, is told as well (it then says who did it and why). Nothing is "
	 "copied "
	 "to\n"
	 "modern and nothing is promoted while it is on; weights and migrations stay as they are. It is of "
	 "this\n"
	 "one gateway: in a fleet do it on each. PIN_DIR defaults to /sys/fs/bpf/phoenix. Without "
	 "phoenixctl:\n"
	 "  bpftool map update pinned /sys/fs/bpf/phoenix/phx_kill key 0 0 0 0 value 1 0 0 0 0 0 0 0",
	 run_kill_switch},
	{"maps", "[PIN_DIR]", READ, "routes, weights and counters as the fast path's maps have them",
	 "The same that \"bpftool map dump pinned PIN_DIR/phx_policy\" and its like print. Needs root; "
	 "weights "
	 "are\n"
	 "basis points.",
	 run_maps},
	{"xdp status", "[PIN_DIR|INTERFACE]", READ, "where the fast path is attached, asked of the devices",
	 "Works as root with a daemon or without. PIN_DIR defaults to the daemon's, or /sys/fs/bpf/phoenix.",
	 run_xdp_status},
	{"xdp detach", "[PIN_DIR]", READ, "drain the fast path and take it off the devices",
	 "Connections go to the daemon at their next request, idle ones are closed; then programs, filters "
	 "and\n"
	 "pins are removed, and what attaching had changed is set back. Exit 0 only when every device says "
	 "that\n"
	 "nothing is left. Works as root with a daemon or without.",
	 run_xdp_detach},
	{"config check", "FILE", OPTION_BIT(OUTPUT),
	 "check a configuration file; needs no daemon (exit 0 or 3)", NULL, run_config_check},
	{"config show", "", READ, "the configuration in effect, with every default", NULL, run_config_show},
	{"config diff", "[FILE]", READ, "what a reload of the file would change",
	 "FILE defaults to the one the daemon was started with.", run_config_diff},
	{"config reload", "", CHANGE, "make the daemon read its file again; a bad file changes nothing", NULL,
	 run_config_reload},
	{"config schema", "", OPTION_BIT(OUTPUT), "JSON Schema of the configuration; needs no daemon", NULL,
	 run_config_schema},
	{"doctor", "[FILE]", READ, "look for what keeps the gateway from working, with remedies",
	 "FILE is the configuration to check; it defaults to the daemon's, or /etc/phoenix/phoenix.json.",
	 run_doctor},
	{"completion bash", "", 0, "completion for bash: source <(phoenixctl completion bash)", NULL,
	 run_completion},
	{"completion zsh", "", 0, "completion for zsh: source <(phoenixctl completion zsh)", NULL,
	 run_completion},
	{"completion fish", "", 0, "completion for fish: phoenixctl completion fish | source", NULL,
	 run_completion},
	{"__complete", "[WORD]...", 0, "what the last word can become; asked by the completion scripts", NULL,
	 run_complete},
	{"version", "", READ, "versions of this program and of the daemon, if there is one", NULL,
	 run_version},
	{"help", "[COMMAND]...", 0, "help on a command", NULL, run_help},
	{0},
};

int run_help(struct ctl *ctl, const struct ctl_line *line)
{
	struct buf out = {0};
	size_t used = 0;
	const struct ctl_command *command = ctl_command_find(line->arguments, line->argument_count, &used);

	if (line->argument_count == 0) {
		ctl_help(talk_help_width(ctl), &out);
	} else if (command && used == line->argument_count) {
		ctl_help_command(command, talk_help_width(ctl), &out);
	} else {
		for (const struct ctl_command *c = ctl_commands; c->words && line->argument_count == 1; c++) {
			size_t len = strlen(line->arguments[0]);
			if (strncmp(c->words, line->arguments[0], len) == 0 && c->words[len] == ' ') {
				ctl_help_group(line->arguments[0], talk_help_width(ctl), &out);
				return talk_write(ctl, &out);
			}
		}
		ctl_unknown_command(line->arguments, line->argument_count, &out);
		talk_error(ctl, "%s", buf_cstr(&out));
		talk_note(ctl, "\"phoenixctl help\" lists the commands");
		buf_fini(&out);
		return CTL_USAGE;
	}
	return talk_write(ctl, &out);
}

/* An unreachable daemon is no failure here: the question was about this program first. */
int run_version(struct ctl *ctl, const struct ctl_line *line)
{
	struct answer answer;
	struct buf out = {0};
	const char *daemon = NULL;

	if (client_call(ctl->client, "GET", "/admin/status", NULL, NULL, VERSION_TIMEOUT_MS, &answer) ==
	    CTL_DONE)
		daemon = field_text(answer.json, "version", NULL);
	int status;
	if (ctl->json) {
		json_t *json = json_pack("{s:s, s:s?}", "phoenixctl", PHOENIX_VERSION, "phoenixd", daemon);
		status = talk_json(ctl, json);
		json_decref(json);
	} else {
		buf_append_str(&out, "phoenixctl " PHOENIX_VERSION "\n");
		if (daemon) {
			buf_append_str(&out, "phoenixd ");
			format_clean(&out, daemon);
			buf_append_char(&out, '\n');
		}
		status = talk_write(ctl, &out);
	}
	answer_fini(&answer);
	return status;
}
