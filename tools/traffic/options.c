/* SPDX-License-Identifier: Apache-2.0 */
/* options: see options.h. */
#include "options.h"

#include "config_value.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>

#define FIELDS_BYTES_MAX 65536

/* X(letter, word, value or NULL, help) */
#define OPTIONS(X)                                                                                           \
	X('u', "url", "URL", "the gateway: http://host[:port][/base] (default http://127.0.0.1:8080)")       \
	X('r', "rate", "N", "requests a second, on a fixed schedule (default: the scenario's, or 200)")      \
	X('d', "duration", "TIME", "500ms, 30s, 5m, 1h (default: the scenario's, or 30s)")                   \
	X('S', "stages", "LIST",                                                                             \
	  "instead of both: RATE:TIME or FROM-TO:TIME, with commas (10-200:30s,200:1m)")                     \
	X('n', "requests", "N", "send at most this many")                                                    \
	X('L', "closed", NULL, "closed loop: each connection sends again when it has its answer")            \
	X('c', "connections", "N", "at most 32768 (default: the scenario's, or 16)")                         \
	X('1', "connection-per-request", NULL, "a new connection for each request")                          \
	X('w', "timeout", "TIME", "for one request, from the moment it was due (default 10s)")               \
	X('H', "header", "FIELD",                                                                            \
	  "\"Name: value\" (or @FILE with lines of these) for every request; repeat it")                     \
	X('T', "threshold", "LIMIT", "p99<200ms, failed<1%, … beside the scenario's own; repeat it")         \
	X('R', "reconcile", "ADMIN",                                                                         \
	  "compare with what the gateway counted: unix:/path or http://host:port")                           \
	X('K', "token-file", "FILE", "token of the admin interface (or PHOENIX_TOKEN)")                      \
	X('s', "seed", "N", "the same seed sends the same requests (default: another one each time)")        \
	X('U', "unmarked", NULL, "do not mark the requests with X-Phoenix-Synthetic: 1")                     \
	X('y', "synthetic", NULL, "mark them (the default)")                                                 \
	X('o', "output", "table|json", "how to report (default table)")                                      \
	X('O', "out", "FILE", "write the report as JSON to FILE too")                                        \
	X('p', "progress", "SECONDS",                                                                        \
	  "a line every so often on stderr; 0 = none (default 10, terminal 0.5)")                            \
	X('t', "target", "URL", "the same as --url")                                                         \
	X('h', "help", NULL, "this text")

static int usage(FILE *to)
{
	struct buf metrics = {0};
	threshold_help(&metrics);
	fputs("usage: phoenix-traffic run SCENARIO.json [options]\n"
	      "       phoenix-traffic generate …   the same as phoenixctl traffic generate …\n"
	      "       phoenix-traffic version\n\n",
	      to);
#define X(letter, word, value, help)                                                                         \
	{                                                                                                    \
		char name[64];                                                                               \
		const char *wanted = value;                                                                  \
		snprintf(name, sizeof(name), "%s %s", word, wanted ? wanted : "");                           \
		fprintf(to, "  --%-24s %s\n", name, help);                                                   \
	}
	OPTIONS(X)
#undef X
	fprintf(to,
		"\nThresholds are METRIC<LIMIT (<, <=, >, >=); metrics:\n%s\n"
		"SIGINT and SIGTERM end the run with its report; a second one does not wait for open "
		"answers.\n"
		"Exit: 0 done, 1 failed: nothing sent, nothing answered as expected, or the gateway counted "
		"otherwise,\n"
		"      2 usage, 3 bad scenario, 4 the daemon of --reconcile is not reachable, 6 not "
		"permitted there,\n"
		"      20 a threshold was crossed.\n",
		buf_cstr(&metrics));
	buf_fini(&metrics);
	return to == stdout ? EXIT_DONE : EXIT_USAGE;
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
static int read_value(struct options *o, int letter, const char *text)
{
	static const char *const time = "a time from 1ms to 168h, such as 30s";
	char *end;
	switch (letter) {
	case 'r':
		return read_number(text, SCHEDULE_RATE_MAX, &o->rate)
			       ? -1
			       : options_bad("rate", text, "a number above 0, at most 1000000");
	case 'd':
		return duration_parse(slice_str(text), &o->duration_s) ? -1
								       : options_bad("duration", text, time);
	case 'w':
		return duration_parse(slice_str(text), &o->timeout_s) ? -1
								      : options_bad("timeout", text, time);
	case 'n':
		return read_whole(text, 1e12, &o->requests)
			       ? -1
			       : options_bad("requests", text, "a whole number from 1 to 10^12");
	case 'c':
		return read_whole(text, SCENARIO_CONNECTIONS_MAX, &o->connections)
			       ? -1
			       : options_bad("connections", text, "a whole number from 1 to 32768");
	case 's':
		o->seed = strtoull(text, &end, 10);
		return end != text && !*end && text[0] != '-' ? -1
							      : options_bad("seed", text, "a whole number");
	case 'p':
		o->progress_s = strtod(text, &end);
		return end != text && !*end && o->progress_s >= 0 && o->progress_s <= 86400
			       ? -1
			       : options_bad("progress", text, "a number of seconds, 0 or more");
	default:
		o->json = strcmp(text, "json") == 0;
		return o->json || strcmp(text, "table") == 0 ? -1
							     : options_bad("output", text, "table or json");
	}
}

/* -1 = go on, otherwise the exit code. */
static int take_option(struct options *o, int letter, const char *text)
{
	switch (letter) {
	case 't':
	case 'u':
		o->url = text;
		return -1;
	case 'S':
		o->stages = text;
		return -1;
	case 'L':
		o->closed = true;
		return -1;
	case '1':
		o->one_request = true;
		return -1;
	case 'H':
		return text[0] == '@' ? add_fields(o, text + 1) : add_field(o, text);
	case 'T':
		return add_threshold(o, text);
	case 'R':
		o->admin = text;
		return -1;
	case 'K':
		o->token_file = text;
		return -1;
	case 'U':
		o->unmarked = true;
		return -1;
	case 'y':
		o->unmarked = false;
		return -1;
	case 'O':
		o->out = text;
		return -1;
	case 'h':
		return usage(stdout);
	case '?':
		return usage(stderr);
	default:
		return read_value(o, letter, text);
	}
}

/* -1 = go on, otherwise the exit code. */
int options_read(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
#define X(letter, word, value, help) {word, (value) ? required_argument : no_argument, NULL, letter},
		OPTIONS(X)
#undef X
			{0}};
	int letter, code = -1;
	while (code < 0 && (letter = getopt_long(argc, argv, "ho:", names, NULL)) != -1)
		code = take_option(o, letter, optarg);
	if (code >= 0)
		return code;
	const char *verb = optind < argc ? argv[optind] : "";
	if (strcmp(verb, "version") == 0) {
		puts("phoenix-traffic " PHOENIX_VERSION);
		return EXIT_DONE;
	}
	if (strcmp(verb, "help") == 0)
		return usage(stdout);
	if (strcmp(verb, "run") != 0 || argc - optind != 2)
		return usage(stderr);
	o->file = argv[optind + 1];
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
