/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reload: the configuration file read again (control.h: control_reload).
 *
 * A file with an error changes nothing. Of a good one the routes act at once; what only a start can change
 * (addresses to listen on, the store, the number of workers) is named as such in the answer.
 */
#include "base/log.h"
#include "control/control.h"
#include "control/sdnotify.h"
#include "control/value.h"

#include <stdlib.h>

/* Parts of the configuration that act from the next start on. */
static const char *const fixed_parts[] = {"listen",  "admin",	   "state",  "xdp",
					  "workers", "access_log", "limits", NULL};

static void compare_fixed_parts(const struct config *old, const struct config *new, json_t *warnings)
{
	json_t *a = config_to_json(old), *b = config_to_json(new);
	for (unsigned i = 0; a && b && fixed_parts[i]; i++) {
		if (json_equal(json_object_get(a, fixed_parts[i]), json_object_get(b, fixed_parts[i])))
			continue;
		struct buf line = {0};
		buf_printf(&line, "%s: needs a restart to act", fixed_parts[i]);
		json_array_append_new(warnings, json_text(buf_slice(&line)));
		buf_fini(&line);
	}
	json_decref(a);
	json_decref(b);
}

static void append_lines(json_t *list, struct slice text)
{
	struct slice line;
	while (slice_split(&text, '\n', &line)) {
		if (line.len)
			json_array_append_new(list, json_text(line));
	}
}

static void failed(struct control *control, const char *who, struct buf *why)
{
	control->reload_ok = false;
	free(control->reload_error);
	control->reload_error = strdup(buf_cstr(why));
	struct slice rest = buf_slice(why), line = {0};
	while (slice_split(&rest, '\n', &line)) {
		if (line.len)
			log_error("config", "%.*s", SLICE_ARG(line));
	}
	rest = buf_slice(why);
	slice_split(&rest, '\n', &line);
	events_emit(&control->events, EVENT_ALERT, "config", NULL, json_pack("{s:b}", "ok", 0),
		    "reload by %s failed, nothing changed: %.*s", who, SLICE_ARG(line));
}

static int reload(struct control *control, const char *who, json_t **report, struct buf *why)
{
	struct config *file;
	struct buf errors = {0};
	int err = config_load(control->config_path, &file, &errors);
	if (err) {
		buf_append_slice(why, buf_slice(&errors));
		if (errors.len == 0)
			buf_printf(why, "%s: %s", control->config_path, strerror(-err));
		buf_fini(&errors);
		failed(control, who, why);
		return err;
	}
	struct route_report done;
	if (control->reload_hook.read)
		err = control->reload_hook.read(control->reload_hook.context, why);
	if (!err)
		err = routes_load(control, file, &done, why);
	if (err) {
		config_destroy(file);
		buf_fini(&errors);
		failed(control, who, why);
		return err;
	}
	compare_fixed_parts(control->config, file, done.warnings);
	append_lines(done.warnings, buf_slice(&errors));
	buf_fini(&errors);
	if (control->reload_hook.take)
		control->reload_hook.take(control->reload_hook.context);
	config_destroy(control->config);
	control->config = file;
	control->loaded_wall_ns = clock_wall_ns();
	control->reload_ok = true;
	free(control->reload_error);
	control->reload_error = NULL;
	events_emit(&control->events, EVENT_INFO, "config", NULL, json_pack("{s:b}", "ok", 1),
		    "configuration reloaded by %s: %zu routes added, %zu removed, %zu changed", who,
		    json_array_size(done.added), json_array_size(done.removed),
		    json_array_size(done.changed));
	size_t i;
	json_t *warning;
	json_array_foreach(done.warnings, i, warning) log_warn("config", "%s", json_string_value(warning));
	*report = json_pack("{s:O, s:O, s:O, s:O, s:O}", "changed", done.changed, "routes_added", done.added,
			    "routes_removed", done.removed, "weights_from_file", done.weights_from_file,
			    "warnings", done.warnings);
	route_report_fini(&done);
	return 0;
}

int control_reload(struct control *control, const char *who, json_t **report, struct buf *why)
{
	sdnotify_reloading();
	int err = reload(control, who, report, why);
	/* Also after a bad file: the daemon serves as before, and the manager must not wait for more. */
	control_ready(control);
	return err;
}
