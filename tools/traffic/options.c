/* SPDX-License-Identifier: Apache-2.0 */
/* options: see options.h. */
#include "options.h"

#include "config_report.h"
#include "config_value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define FIELDS_BYTES_MAX 65536
#define WORDS_KEPT	 3 /* the command, its argument, and one too many */

#define HELP_COLUMN 34
#define HELP_WIDTH  80

const struct option_row traffic_options[TRAFFIC_OPTION_COUNT] = {
#define X(name, word, letter, value, help) {word, letter, value, help},
	TRAFFIC_OPTIONS(X)
#undef X
};

static int usage(void)
{
	struct buf out = {0}, left = {0};
	buf_append_str(&out, TRAFFIC_USAGE);
	for (size_t i = 0; i < TRAFFIC_OPTION_COUNT; i++) {
		buf_reset(&left);
		option_help_left(&left, &traffic_options[i]);
		option_help_row(&out, buf_cstr(&left), traffic_options[i].help, HELP_COLUMN, HELP_WIDTH);
	}
	buf_append_str(&out, "\nThresholds are METRIC<LIMIT (<, <=, >, >=); metrics:\n");
	threshold_help(&out);
	buf_append_str(&out,
		       "\nSIGINT and SIGTERM end the run with its report; a second one does not wait for "
		       "open\nanswers.\n\nExit status:\n");
#define X(status, meaning)                                                                                   \
	{                                                                                                    \
		buf_reset(&left);                                                                            \
		buf_printf(&left, "%d", status);                                                             \
		option_help_row(&out, buf_cstr(&left), meaning, 6, HELP_WIDTH);                              \
	}
	TRAFFIC_EXITS(X)
#undef X
	fputs(buf_cstr(&out), stdout);
	buf_fini(&out);
	buf_fini(&left);
	return EXIT_DONE;
}

/* One sentence, and where to read on. */
static int complain(struct buf *why)
{
	fprintf(stderr, "phoenix-traffic: %s\n\"phoenix-traffic --help\" lists what there is\n",
		buf_cstr(why));
	buf_fini(why);
	return EXIT_USAGE;
}

int options_bad(const char *name, const char *value, const char *wanted)
{
	fprintf(stderr, "phoenix-traffic: --%s is \"%s\", but must be %s\n", name, value, wanted);
	return EXIT_USAGE;
}

/* A number within (0, max]. */
static bool read_number(const char *text, double max, double *out)
{
	char *end;
	double number = strtod(text, &end);
	if (end == text || *end || !(number > 0 && number <= max))
		return false;
	*out = number;
	return true;
}

static bool read_whole(const char *text, double max, uint64_t *out)
{
	double number;
	if (!read_number(text, max, &number) || number != floor(number))
		return false;
	*out = (uint64_t)number;
	return true;
}

static int add_field(struct options *o, const char *text)
{
	size_t name = strcspn(text, ":");
	if (o->header_count == TRAFFIC_HEADERS_MAX || !text[name] || !is_token(slice_of(text, name)) ||
	    strpbrk(text, "\r\n"))
		return options_bad("header", text,
				   "\"Name: value\" or @FILE with one a line, at most 64 of them");
	o->headers[o->header_count++] = text;
	return -1;
}

/* Fields from a file: a secret on a command line is seen by everybody who lists processes. */
static int add_fields(struct options *o, const char *path)
{
	static char text[FIELDS_BYTES_MAX + 1]; /* the options point into it */
	static size_t used;
	char *line, *rest = text + used;
	FILE *file = fopen(path, "r");
	if (!file) {
		fprintf(stderr, "phoenix-traffic: --header @%s: %s\n", path, strerror(errno));
		return EXIT_USAGE;
	}
	size_t len = fread(rest, 1, FIELDS_BYTES_MAX - used, file);
	fclose(file);
	if (used + len == FIELDS_BYTES_MAX)
		return options_bad("header", path, "a file of less than 64 KiB");
	rest[len] = '\0';
	used += len + 1;
	while ((line = strsep(&rest, "\n"))) {
		line[strcspn(line, "\r")] = '\0';
		if (*line && add_field(o, line) >= 0)
			return EXIT_USAGE;
	}
	return -1;
}

static int add_threshold(struct options *o, const char *text)
{
	struct buf why = {0};
	if (o->threshold_count == THRESHOLDS_MAX)
		return options_bad("threshold", text, "one of at most 32");
	if (threshold_parse(slice_str(text), &o->thresholds[o->threshold_count], &why)) {
		fprintf(stderr, "phoenix-traffic: --threshold: %s\n", buf_cstr(&why));
		buf_fini(&why);
		return EXIT_USAGE;
	}
	o->threshold_count++;
	return -1;
}

/* Options with a number, a time or a choice. -1 = fine, otherwise the exit code. */
static int read_value(struct options *o, enum traffic_option option, const char *text)
{
	static const char *const time = "a time from 1ms to 168h, such as 30s";
	char *end;
	switch (option) {
	case TRAFFIC_RATE:
		return read_number(text, SCHEDULE_RATE_MAX, &o->rate)
			       ? -1
			       : options_bad("rate", text, "a number above 0, at most 1000000");
	case TRAFFIC_DURATION:
		return duration_parse(slice_str(text), &o->duration_s) ? -1
								       : options_bad("duration", text, time);
	case TRAFFIC_TIMEOUT:
		return duration_parse(slice_str(text), &o->timeout_s) ? -1
								      : options_bad("timeout", text, time);
	case TRAFFIC_REQUESTS:
		return read_whole(text, 1e12, &o->requests)
			       ? -1
			       : options_bad("requests", text, "a whole number from 1 to 10^12");
	case TRAFFIC_CONNECTIONS:
		return read_whole(text, SCENARIO_CONNECTIONS_MAX, &o->connections)
			       ? -1
			       : options_bad("connections", text, "a whole number from 1 to 32768");
	case TRAFFIC_SEED:
		o->seed = strtoull(text, &end, 10);
		return end != text && !*end && text[0] != '-' ? -1
							      : options_bad("seed", text, "a whole number");
	case TRAFFIC_PROGRESS:
		o->progress_s = strtod(text, &end);
		return end != text && !*end && o->progress_s >= 0 && o->progress_s <= 86400
			       ? -1
			       : options_bad("progress", text, "a number of seconds, 0 or more");
	default:
		o->json = strcmp(text, "json") == 0; /* --output, one of the table's words */
		return -1;
	}
}

/* -1 = go on, otherwise the exit code. */
static int take_option(struct options *o, enum traffic_option option, const char *text)
{
	switch (option) {
	case TRAFFIC_TARGET:
	case TRAFFIC_URL:
		o->url = text;
		return -1;
	case TRAFFIC_STAGES:
		o->stages = text;
		return -1;
	case TRAFFIC_CLOSED:
		o->closed = true;
		return -1;
	case TRAFFIC_ONE_REQUEST:
		o->one_request = true;
		return -1;
	case TRAFFIC_HEADER:
		return text[0] == '@' ? add_fields(o, text + 1) : add_field(o, text);
	case TRAFFIC_THRESHOLD:
		return add_threshold(o, text);
	case TRAFFIC_RECONCILE:
		o->admin = text;
		return -1;
	case TRAFFIC_TOKEN_FILE:
		o->token_file = text;
		return -1;
	case TRAFFIC_UNMARKED:
		o->unmarked = true;
		return -1;
	case TRAFFIC_SYNTHETIC:
		o->unmarked = false;
		return -1;
	case TRAFFIC_OUT:
		o->out = text;
		return -1;
	case TRAFFIC_HELP:
		return usage();
	default:
		return read_value(o, option, text);
	}
}

/* What the words say once the options are read. -1 = go on, otherwise the exit code. */
static int take_words(struct options *o, const char *const *words, size_t count)
{
	struct buf why = {0}, list = {0};
	const char *verb = count ? words[0] : "";
	if (strcmp(verb, "help") == 0)
		return usage();
	if (strcmp(verb, "version") == 0) {
		puts("phoenix-traffic " PHOENIX_VERSION);
		return EXIT_DONE;
	}
	if (count == 0)
		buf_append_str(&why, "no command: phoenix-traffic run SCENARIO.json");
	else if (!option_check_words(verb, "run|generate|version|help", &list))
		buf_printf(&why, "unknown command %s%s", quote(slice_str(verb)).text, buf_cstr(&list));
	else if (count < 2)
		buf_append_str(&why, "SCENARIO.json is missing: phoenix-traffic run SCENARIO.json");
	else if (count > 2)
		buf_printf(&why, "%s is one argument too many: phoenix-traffic run SCENARIO.json",
			   quote(slice_str(words[2])).text);
	buf_fini(&list);
	if (why.len)
		return complain(&why);
	o->file = words[1];
	return -1;
}

int options_read(int argc, char **argv, struct options *o)
{
	struct option_reader reader = {traffic_options, TRAFFIC_OPTION_COUNT, argc, argv, 1, false, NULL};
	const char *words[WORDS_KEPT], *value;
	struct buf why = {0};
	size_t count = 0, index;
	int code = -1;

	for (enum option_result got; (got = option_next(&reader, &index, &value, &why)) != OPTION_NONE;) {
		if (got == OPTION_WRONG)
			return complain(&why);
		if (got == OPTION_GIVEN)
			code = take_option(o, (enum traffic_option)index, value);
		else if (count < WORDS_KEPT)
			words[count++] = value;
		if (code >= 0)
			return code;
	}
	code = take_words(o, words, count);
	if (code >= 0)
		return code;
	if (o->admin && o->unmarked) {
		fprintf(stderr, "phoenix-traffic: --reconcile needs marked requests: leave --unmarked out\n");
		return EXIT_USAGE;
	}
	if (o->stages && (o->rate > 0 || o->duration_s > 0 || o->closed)) {
		fprintf(stderr,
			"phoenix-traffic: --stages stands alone, without --rate, --duration and --closed\n");
		return EXIT_USAGE;
	}
	return -1;
}
