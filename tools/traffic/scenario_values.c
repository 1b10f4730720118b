/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_values: of a scenario what is not its requests: variables, load and thresholds (scenario.h). */
#include "scenario_internal.h"

#include "config_report.h"

#include <errno.h>
#include <stdlib.h>

#define VALUES_MAX 100000

/* --- variables ----------------------------------------------------------------------------------------- */

/* Values go into paths, fields and JSON strings alike, so only what needs no escaping in any of them. */
bool scenario_value_is_plain(const char *value)
{
	for (; *value; value++) {
		if (*value <= ' ' || *value >= 0x7f || *value == '"' || *value == '\\')
			return false;
	}
	return true;
}

static int read_range(struct scenario *s, struct variable *v, json_t *value)
{
	json_int_t last;
	if (json_unpack_ex(value, &(json_error_t){0}, JSON_STRICT, "{s:I, s:I}", "from", &v->first, "to",
			   &last) ||
	    last < v->first || (uint64_t)last - (uint64_t)v->first >= UINT32_MAX)
		return scenario_error(
			s,
			"variables: \"%s\" must be {\"from\": whole number, \"to\": one that is not "
			"smaller}, at most 2^32 apart",
			v->name);
	v->count = (size_t)(last - v->first) + 1;
	return 0;
}

static int add_value(struct scenario *s, struct variable *v, size_t at, const json_t *item)
{
	if (!json_is_string(item) && !json_is_number(item))
		return scenario_error(s, "variables: \"%s\" holds something that is no string or number",
				      v->name);
	v->values[at] = json_is_string(item) ? strdup(json_string_value(item))
					     : json_dumps(item, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	if (!v->values[at])
		return -ENOMEM;
	if (!scenario_value_is_plain(v->values[at]))
		return scenario_error(
			s,
			"variables: a value of \"%s\" has a space, a quote, a backslash or a byte that "
			"is no printable ASCII",
			v->name);
	return 0;
}

/* The names of the first row are the columns of all. */
static int read_columns(struct variable *v, json_t *row)
{
	const char *name;
	json_t *value;
	v->columns = calloc(json_object_size(row) + 1, sizeof(*v->columns));
	if (!v->columns)
		return -ENOMEM;
	v->column_count = 0;
	json_object_foreach(row, name, value) v->columns[v->column_count++] = name;
	return 0;
}

static int read_row(struct scenario *s, struct variable *v, size_t row, json_t *item)
{
	if (!v->columns)
		return add_value(s, v, row, item);
	for (size_t c = 0; c < v->column_count; c++) {
		json_t *value = json_object_get(item, v->columns[c]);
		if (json_object_size(item) != v->column_count || !value)
			return scenario_error(
				s, "variables: row %zu of \"%s\" has not the columns of its first row",
				row + 1, v->name);
		int err = add_value(s, v, row * v->column_count + c, value);
		if (err)
			return err;
	}
	return 0;
}

static int read_variable(struct scenario *s, struct variable *v, json_t *value)
{
	size_t rows = json_array_size(value), i;
	json_t *item;
	if (json_is_object(value))
		return read_range(s, v, value);
	if (rows == 0 || rows > VALUES_MAX)
		return scenario_error(
			s,
			"variables: \"%s\" must be a list of 1 to %d values or rows, or {\"from\":, \"to\":}",
			v->name, VALUES_MAX);
	v->column_count = 1;
	item = json_array_get(value, 0);
	int err = 0;
	if (json_object_size(item) > SCENARIO_FIELDS_MAX || (json_is_object(item) && !json_object_size(item)))
		return scenario_error(s, "variables: a row of \"%s\" must have 1 to %d columns", v->name,
				      SCENARIO_FIELDS_MAX);
	if (json_is_object(item))
		err = read_columns(v, item);
	if (!err)
		v->values = calloc(rows * v->column_count, sizeof(*v->values));
	if (!v->values)
		return -ENOMEM;
	v->count = rows;
	json_array_foreach(value, i, item)
	{
		err = read_row(s, v, i, item);
		if (err)
			return err;
	}
	return 0;
}

int scenario_read_variables(struct scenario *s, json_t *object)
{
	const char *name;
	json_t *value;
	if (!object)
		return 0;
	if (!json_is_object(object) || json_object_size(object) > SCENARIO_VARIABLES_MAX)
		return scenario_error(s, "variables must be an object of at most %d members",
				      SCENARIO_VARIABLES_MAX);
	s->variables = calloc(json_object_size(object) + 1, sizeof(*s->variables));
	if (!s->variables)
		return -ENOMEM;
	json_object_foreach(object, name, value)
	{
		struct variable *v = &s->variables[s->variable_count++];
		v->name = name;
		if (!*name || strpbrk(name, ".}:${"))
			return scenario_error(
				s, "variables: %s: a name must not be empty or have . : } { $ in it",
				quote(slice_str(name)).text);
		int err = read_variable(s, v, value);
		if (err)
			return err;
	}
	return 0;
}

/* --- load and thresholds ---------------------------------------------------------------------------------
 */

static int read_stage(struct scenario *s, size_t index, json_t *stage)
{
	static const char *const keys[] = {"rate", "from", "to", "duration", NULL};
	char where[40];
	double seconds;
	snprintf(where, sizeof(where), "load: stages[%zu]", index);
	int err = scenario_check_keys(s, stage, where, keys);
	if (err)
		return err;
	json_t *rate = json_object_get(stage, "rate"), *from = json_object_get(stage, "from");
	json_t *to = json_object_get(stage, "to");
	bool good = rate ? json_is_number(rate) && !from && !to : json_is_number(from) && json_is_number(to);
	const char *time = json_string_value(json_object_get(stage, "duration"));
	if (!good || !time || !duration_parse(slice_str(time), &seconds) ||
	    !schedule_add(&s->load.schedule, json_number_value(rate ? rate : from),
			  json_number_value(rate ? rate : to), seconds))
		return scenario_error(
			s,
			"%s must be {\"rate\": N, \"duration\": \"30s\"} or {\"from\": N, \"to\": N, "
			"\"duration\": \"30s\"}, rates from 0 to %.0f, times from 1ms to 168h, at most %d",
			where, SCHEDULE_RATE_MAX, SCHEDULE_STAGES_MAX);
	return 0;
}

static int read_stages(struct scenario *s, json_t *load)
{
	json_t *stages = json_object_get(load, "stages"), *item, *rate = json_object_get(load, "rate");
	json_t *duration = json_object_get(load, "duration");
	size_t i;
	int err = 0;
	if (stages && (rate || duration || !json_array_size(stages)))
		return scenario_error(
			s, "load: stages must be a list, without \"rate\" and \"duration\" beside it");
	json_array_foreach(stages, i, item)
	{
		err = read_stage(s, i, item);
		if (err)
			return err;
	}
	if (rate) {
		json_t *stage = json_pack("{s:O, s:s}", "rate", rate, "duration",
					  duration ? json_string_value(duration) : "30s");
		err = read_stage(s, 0, stage);
		json_decref(stage);
	}
	if (!err && s->load.schedule.count && schedule_total(&s->load.schedule) == 0)
		err = scenario_error(s, "load: with these rates and times no request is ever due");
	return err;
}

int scenario_read_load(struct scenario *s, json_t *load)
{
	static const char *const keys[] = {"mode",	  "rate",	"duration", "stages",
					   "connections", "keep_alive", NULL};
	if (!load)
		return 0;
	int err = scenario_check_keys(s, load, "load", keys);
	if (err)
		return err;
	json_t *mode = json_object_get(load, "mode"), *connections = json_object_get(load, "connections");
	json_t *keep_alive = json_object_get(load, "keep_alive"),
	       *duration = json_object_get(load, "duration");
	const char *word = mode ? json_string_value(mode) : "open";
	if (!word || (strcmp(word, "open") != 0 && strcmp(word, "closed") != 0))
		return scenario_error(s, "load: mode must be \"open\" or \"closed\"");
	if (connections && (!json_is_integer(connections) || json_integer_value(connections) < 1 ||
			    json_integer_value(connections) > SCENARIO_CONNECTIONS_MAX))
		return scenario_error(s, "load: connections must be a whole number from 1 to %u",
				      SCENARIO_CONNECTIONS_MAX);
	if (keep_alive && !json_is_boolean(keep_alive))
		return scenario_error(s, "load: keep_alive must be true or false");
	if (duration && (!json_is_string(duration) ||
			 !duration_parse(slice_str(json_string_value(duration)), &s->load.duration_s)))
		return scenario_error(s, "load: duration must be a time from 1ms to 168h, such as \"30s\"");
	s->load.closed = strcmp(word, "closed") == 0;
	s->load.connections = (uint32_t)json_integer_value(connections);
	s->load.one_request = json_is_false(keep_alive);
	if (s->load.closed && (json_object_get(load, "rate") || json_object_get(load, "stages")))
		return scenario_error(
			s, "load: in closed mode the answers set the pace: leave rate and stages out");
	return s->load.closed ? 0 : read_stages(s, load);
}

int scenario_read_thresholds(struct scenario *s, json_t *list)
{
	json_t *item;
	size_t i;
	if (list && (!json_is_array(list) || json_array_size(list) > THRESHOLDS_MAX))
		return scenario_error(s,
				      "thresholds must be a list of at most %d texts such as \"p99<200ms\"",
				      THRESHOLDS_MAX);
	json_array_foreach(list, i, item)
	{
		struct buf why = {0};
		const char *text = json_string_value(item);
		int err = threshold_parse(slice_str(text ? text : ""), &s->thresholds[s->threshold_count++],
					  &why);
		err = scenario_explain(s, "thresholds", err, &why);
		if (err)
			return err;
	}
	return 0;
}
