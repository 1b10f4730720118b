/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xdp: the fast path as its maps and devices show it: status, maps, detach.
 *
 * All three work without a daemon, as root, by what is pinned; a daemon is only asked where that is. They
 * look at the network namespace that they run in.
 */
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/talk.h"
#include "config_report.h"
#include "dataplane/inspect.h"

#include <errno.h>
#include <stdlib.h>

#define ASK_TIMEOUT_MS 2000u
#define DRAIN_MS       5000u

/* The argument, or what the daemon says, or where it is by default. `answer` keeps the daemon's word. */
static const char *pin_dir_of(struct ctl *ctl, const struct ctl_line *line, struct answer *answer)
{
	int got = client_call(ctl->client, "GET", "/admin/datapath", NULL, NULL, ASK_TIMEOUT_MS, answer);
	if (line->argument_count && line->arguments[0][0] == '/')
		return line->arguments[0];
	return got == CTL_DONE ? field_text(answer->json, "xdp.pin_dir", INSPECT_PIN_DIR) : INSPECT_PIN_DIR;
}

static int failed(const struct ctl *ctl, const char *what, const char *pin_dir, int err, struct buf *why)
{
	if (err == -ENOENT)
		talk_nearest_file(pin_dir, why);
	talk_error(ctl, "%s: %s", what, why->len ? buf_cstr(why) : strerror(-err));
	buf_fini(why);
	return err == -EPERM ? CTL_NOT_PERMITTED : CTL_FAILED;
}

static void interface_row(struct table *table, const json_t *interface, size_t index)
{
	const char *mode = field_text(interface, "mode", "?");
	table_cell(table, TINT_BOLD, "%s", field_text(interface, "name", "?"));
	table_cell(table, strcmp(mode, "off") == 0 ? TINT_RED : TINT_GREEN, "%s", mode);
	table_cell(table, TINT_NONE, "%s", field_true(interface, "dispatcher") ? "yes" : "no");
	table_cell(table, TINT_NONE, "%llu", (unsigned long long)field_count(interface, "mtu"));
	table_cell(table, TINT_DIM, "%s", field_text(interface, "error", ""));
}

static int print_status(struct ctl *ctl, const json_t *status, bool daemon)
{
	static const struct listing listing = {
		"interfaces",
		{{"INTERFACE", false}, {"MODE", false}, {"DISPATCHER", false}, {"MTU", true}, {"", false}},
		5,
		4,
		interface_row,
		""};
	struct buf out = {0};
	buf_printf(&out, "state %s, routing table %llu, %llu connections (%llu busy), daemon %s\n",
		   field_text(status, "state", "?"), (unsigned long long)field_count(status, "table"),
		   (unsigned long long)field_count(status, "flows"),
		   (unsigned long long)field_count(status, "flows_active"),
		   daemon ? "answers" : "does not answer");
	if (field_true(status, "kill_switch"))
		buf_append_str(&out, "the kill switch is on: every request goes to legacy; \"phoenixctl "
				     "kill-switch --off\" ends it\n");
	if (field_true(status, "dead_man.acts"))
		buf_printf(&out, "dead-man: no daemon for %llu ms (limit %llu): %s\n",
			   (unsigned long long)field_count(status, "heartbeat_age_ms"),
			   (unsigned long long)field_count(status, "dead_man.after_ms"),
			   field_text(status, "dead_man.then", "?"));
	talk_table(ctl, &listing, field(status, "interfaces"), &out);
	return talk_write(ctl, &out);
}

/* Leaves only the interface with this name. CTL_DONE, or CTL_USAGE with the nearest one that there is. */
static int choose_interface(const struct ctl *ctl, json_t *status, const char *name)
{
	json_t *interfaces = field(status, "interfaces"), *item;
	const char **names = calloc(json_array_size(interfaces) + 1, sizeof(*names));
	struct buf hint = {0};
	size_t i;
	json_array_foreach(interfaces, i, item)
	{
		if (names)
			names[i] = field_text(item, "name", "");
		if (strcmp(field_text(item, "name", ""), name) != 0)
			continue;
		free(names);
		json_object_set_new(status, "interfaces", json_pack("[O]", item));
		return CTL_DONE;
	}
	if (names)
		option_suggest(name, names, "", &hint);
	talk_error(
		ctl,
		"the fast path is not on an interface %s%s; \"phoenixctl xdp status\" lists them (a PIN_DIR "
		"begins with /)",
		quote(slice_str(name)).text, buf_cstr(&hint));
	free(names);
	buf_fini(&hint);
	return CTL_USAGE;
}

int run_xdp_status(struct ctl *ctl, const struct ctl_line *line)
{
	struct answer answer;
	struct buf why = {0};
	json_t *status = NULL;
	const char *pin_dir = pin_dir_of(ctl, line, &answer);
	const char *interface =
		line->argument_count && line->arguments[0][0] != '/' ? line->arguments[0] : NULL;
	int err = inspect_status(pin_dir, &status, &why), result;
	if (!err && interface && choose_interface(ctl, status, interface)) {
		result = CTL_USAGE;
	} else if (err == -ENOENT && !line->argument_count) {
		/* Nothing is loaded: an answer, not a failure. */
		if (ctl->json) {
			status = json_pack("{s:s, s:s, s:[]}", "state", "off", "pin_dir", pin_dir,
					   "interfaces");
			result = talk_json(ctl, status);
		} else {
			struct buf out = {0};
			buf_printf(&out, "off: %s\n", buf_cstr(&why));
			result = talk_write(ctl, &out);
		}
		buf_fini(&why);
	} else if (err) {
		result = failed(ctl, "xdp status", pin_dir, err, &why);
	} else {
		result = ctl->json ? talk_json(ctl, status) : print_status(ctl, status, answer.json != NULL);
	}
	json_decref(status);
	answer_fini(&answer);
	return result;
}

static void say_line(void *context, const char *line)
{
	talk_note(context, "%s", line);
}

int run_xdp_detach(struct ctl *ctl, const struct ctl_line *line)
{
	struct answer answer;
	struct buf why = {0};
	const char *pin_dir = pin_dir_of(ctl, line, &answer);
	int err = inspect_detach(pin_dir, DRAIN_MS, say_line, ctl, &why), result = CTL_DONE;
	if (err)
		result = failed(ctl, "xdp detach", pin_dir, err, &why);
	else if (answer.json && !line->argument_count)
		talk_note(ctl, "the daemon goes on and serves alone; it attaches again when it is started "
			       "again with "
			       "xdp.interfaces in its configuration");
	answer_fini(&answer);
	return result;
}

static void map_row(struct table *table, const json_t *route, size_t index)
{
	static const char *const figures[] = {"weight_bp",	 "sample_bp",	    "step",   "epoch",
					      "legacy_requests", "modern_requests", "sampled"};
	table_cell(table, TINT_NONE, "%llu", (unsigned long long)field_count(route, "slot"));
	table_cell(table, TINT_BOLD, "%s", field_text(route, "id", "?"));
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		table_cell(table, TINT_NONE, "%llu", (unsigned long long)field_count(route, figures[i]));
}

static const struct listing map_listing = {"routes",
					   {{"SLOT", true},
					    {"ROUTE", false},
					    {"WEIGHT", true},
					    {"SAMPLE", true},
					    {"STEP", true},
					    {"EPOCH", true},
					    {"LEGACY", true},
					    {"MODERN", true},
					    {"SAMPLED", true}},
					   9,
					   0,
					   map_row,
					   ""};

/* Those that are not zero. */
static void print_counters(struct ctl *ctl, const json_t *maps, const char *title, const char *path,
			   struct buf *out)
{
	struct table table = {0};
	const char *name;
	json_t *value;
	table_column(&table, title, false);
	table_column(&table, "COUNT", true);
	json_object_foreach(field(maps, path), name, value)
	{
		if (json_integer_value(value) == 0)
			continue;
		table_cell(&table, TINT_NONE, "%s", name);
		table_cell(&table, TINT_NONE, "%llu", (unsigned long long)json_integer_value(value));
	}
	buf_append_char(out, '\n');
	table_render(&table, &ctl->out, out);
	table_fini(&table);
}

int run_maps(struct ctl *ctl, const struct ctl_line *line)
{
	struct answer answer;
	struct buf why = {0}, out = {0};
	json_t *maps = NULL;
	const char *pin_dir = pin_dir_of(ctl, line, &answer);
	int err = inspect_maps(pin_dir, &maps, &why), result;
	if (err) {
		result = failed(ctl, "maps", pin_dir, err, &why);
	} else if (ctl->json) {
		result = talk_json(ctl, maps);
	} else {
		talk_table(ctl, &map_listing, field(maps, "routes"), &out);
		print_counters(ctl, maps, "VERDICT", "verdicts", &out);
		print_counters(ctl, maps, "LEFT TO THE DAEMON", "reasons", &out);
		result = talk_write(ctl, &out);
	}
	json_decref(maps);
	answer_fini(&answer);
	return result;
}
