/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phoenix-traffic: the traffic client's command line and report. What is sent is tools/traffic/scenario, how
 * it is sent tools/traffic/load.
 *
 * The report is data and goes to stdout, talk to stderr, the progress line to stderr when that is a terminal.
 * A run that sent nothing, or to which nothing was answered as expected, has failed: an empty run must never
 * look like a clean one.
 */
#include "traffic/load.h"
#include "traffic/scenario.h"

#include "base/clock.h"
#include "config_value.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum exit_code { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SCENARIO = 3, EXIT_THRESHOLD = 20 };

struct options {
	const char *file;
	const char *target;
	double rate;
	double duration_s; /* 0 = not given */
	uint64_t requests; /* 0 = not given */
	uint32_t connections;
	double timeout_s;
	uint64_t seed;
	bool synthetic;
	bool json;
};

/* A scenario's limit and what was measured. */
struct threshold {
	const char *key;
	double limit; /* NAN = none */
	double value;
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	if (stop < 2)
		stop++;
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: phoenix-traffic run SCENARIO.json [options]\n"
		"       phoenix-traffic version\n"
		"\n"
		"  --target URL       http://host[:port][/base] (default http://127.0.0.1:8080)\n"
		"  --rate N           requests a second, on a fixed schedule (default 200)\n"
		"  --duration TIME    500ms, 30s, 5m, 1h (default 30s, or as long as --requests needs)\n"
		"  --requests N       send this many\n"
		"  --connections N    keep-alive connections, at most %u (default 16)\n"
		"  --timeout TIME     for one request, from the moment it was due (default 10s)\n"
		"  --seed N           the same seed sends the same requests (default: another one each "
		"time)\n"
		"  --synthetic        mark each request with X-Phoenix-Synthetic: 1\n"
		"  -o table|json      how to report (default table)\n"
		"\n"
		"SIGINT and SIGTERM end the run with its report; a second one does not wait for open "
		"answers.\n"
		"Exit: 0 done, 1 failed or nothing was sent or answered, 2 usage, 3 bad scenario,\n"
		"      20 a threshold of the scenario was crossed.\n",
		LOAD_CONNECTIONS_MAX);
	return to == stdout ? EXIT_DONE : EXIT_USAGE;
}

static int bad_option(const char *name, const char *value, const char *wanted)
{
	fprintf(stderr, "phoenix-traffic: %s is \"%s\", but must be %s\n", name, value, wanted);
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

/* "1.5s", "200ms", "5m", "1h", or seconds without a unit; at most a week. */
static bool read_duration(const char *text, double *seconds)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {{"", 1}, {"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}};
	char *end;
	double number = strtod(text, &end);
	for (size_t i = 0; end != text && i < sizeof(units) / sizeof(units[0]); i++) {
		double total = number * units[i].seconds;
		if (strcmp(end, units[i].unit) == 0 && total >= 0.001 && total <= 7 * 86400.0) {
			*seconds = total;
			return true;
		}
	}
	return false;
}

/* -1 = go on, otherwise the exit code. */
static int read_options(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {{"target", required_argument, NULL, 't'},
					      {"rate", required_argument, NULL, 'r'},
					      {"duration", required_argument, NULL, 'd'},
					      {"requests", required_argument, NULL, 'n'},
					      {"connections", required_argument, NULL, 'c'},
					      {"timeout", required_argument, NULL, 'w'},
					      {"seed", required_argument, NULL, 's'},
					      {"synthetic", no_argument, NULL, 'y'},
					      {"output", required_argument, NULL, 'o'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	uint64_t number;
	char *end;
	int option;
	while ((option = getopt_long(argc, argv, "ho:", names, NULL)) != -1) {
		switch (option) {
		case 't':
			o->target = optarg;
			break;
		case 'r':
			if (!read_number(optarg, 1e6, &o->rate))
				return bad_option("--rate", optarg, "a number above 0, at most 1000000");
			break;
		case 'd':
			if (!read_duration(optarg, &o->duration_s))
				return bad_option("--duration", optarg,
						  "a time from 1ms to 168h, such as 30s");
			break;
		case 'n':
			if (!read_whole(optarg, 1e12, &o->requests))
				return bad_option("--requests", optarg, "a whole number from 1 to 10^12");
			break;
		case 'c':
			if (!read_whole(optarg, LOAD_CONNECTIONS_MAX, &number))
				return bad_option("--connections", optarg, "a whole number from 1 to 4096");
			o->connections = (uint32_t)number;
			break;
		case 'w':
			if (!read_duration(optarg, &o->timeout_s))
				return bad_option("--timeout", optarg,
						  "a time from 1ms to 168h, such as 10s");
			break;
		case 's':
			o->seed = strtoull(optarg, &end, 10);
			if (end == optarg || *end || optarg[0] == '-')
				return bad_option("--seed", optarg, "a whole number");
			break;
		case 'y':
			o->synthetic = true;
			break;
		case 'o':
			o->json = strcmp(optarg, "json") == 0;
			if (!o->json && strcmp(optarg, "table") != 0)
				return bad_option("-o", optarg, "table or json");
			break;
		case 'h':
			return usage(stdout);
		default:
			return usage(stderr);
		}
	}
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
	return -1;
}

/* The first address of the target. -errno, or -EHOSTUNREACH when the name does not resolve. */
static int resolve(const struct config_url *url, struct load_options *load)
{
	char port[8];
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	snprintf(port, sizeof(port), "%u", url->port);
	int err = getaddrinfo(url->host, port, &hints, &found);
	if (err) {
		fprintf(stderr, "phoenix-traffic: cannot resolve \"%s\": %s\n", url->host, gai_strerror(err));
		return -EHOSTUNREACH;
	}
	memcpy(&load->address, found->ai_addr, found->ai_addrlen);
	load->address_len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static void show_progress(const struct load_figures *f)
{
	static uint64_t sent_before, elapsed_before_ns;
	double seconds = (double)(f->elapsed_ns - elapsed_before_ns) / (double)NS_PER_SEC;
	double rate = seconds > 0 ? (double)(f->sent - sent_before) / seconds : 0;
	fprintf(stderr, "\r%4.0f s  %llu sent (%.0f/s)  %llu answered  %llu failed  p99 %.1f ms\033[K",
		(double)f->elapsed_ns / (double)NS_PER_SEC, (unsigned long long)f->sent, rate,
		(unsigned long long)f->answered, (unsigned long long)load_failed(f),
		load_percentile_ms(f, 0.99));
	sent_before = f->sent;
	elapsed_before_ns = f->elapsed_ns;
}

static bool crossed(const struct threshold *t)
{
	return t->value > t->limit; /* false for NAN */
}

/* Computes every figure that can be limited. Returns how many limits were crossed. */
static unsigned judge(const struct scenario *s, const struct load_figures *f, struct threshold *thresholds)
{
	double sent = f->sent ? (double)f->sent : 1, planned = f->planned ? (double)f->planned : 1;
	const double values[] = {
		[SCENARIO_LIMIT_ERROR_RATE] = (double)load_failed(f) / sent,
		[SCENARIO_LIMIT_UNSENT_RATE] = (double)(f->planned - f->sent) / planned,
		[SCENARIO_LIMIT_P50] = load_percentile_ms(f, 0.5),
		[SCENARIO_LIMIT_P90] = load_percentile_ms(f, 0.9),
		[SCENARIO_LIMIT_P99] = load_percentile_ms(f, 0.99),
		[SCENARIO_LIMIT_MAX] = (double)f->latency_ns_max / (double)NS_PER_MS,
	};
	unsigned count = 0;
	for (size_t i = 0; i < SCENARIO_LIMIT_COUNT; i++) {
		thresholds[i] = (struct threshold){scenario_limit_keys[i], s->limits[i], values[i]};
		count += crossed(&thresholds[i]);
	}
	return count;
}

static double mean_ms(const struct load_figures *f)
{
	return f->answered ? (double)f->latency_ns_sum / (double)f->answered / (double)NS_PER_MS : 0;
}

static void report_table(const struct scenario *s, const struct load_figures *f,
			 const struct threshold *thresholds)
{
	double seconds = (double)f->elapsed_ns / (double)NS_PER_SEC;
	printf("scenario    %s\n", s->name);
	printf("sent        %llu in %.1f s (%.1f/s) over %llu connections\n", (unsigned long long)f->sent,
	       seconds, seconds > 0 ? (double)f->sent / seconds : 0, (unsigned long long)f->connects);
	printf("answered    %llu\n", (unsigned long long)f->answered);
	for (int status = 0; status < SCENARIO_STATUS_MAX; status++) {
		if (f->status[status])
			printf("  %d       %llu\n", status, (unsigned long long)f->status[status]);
	}
	printf("failed      %llu\n", (unsigned long long)load_failed(f));
	if (f->unexpected)
		printf("  unexpected status  %llu\n", (unsigned long long)f->unexpected);
	for (size_t i = 0; i < LOAD_ERROR_COUNT; i++) {
		if (f->errors[i])
			printf("  %-8s  %llu\n", load_error_words[i], (unsigned long long)f->errors[i]);
	}
	if (f->planned > f->sent)
		printf("unsent      %llu: all connections were busy when they were due\n",
		       (unsigned long long)(f->planned - f->sent));
	if (f->unfinished)
		printf("unfinished  %llu: without an answer when the run ended\n",
		       (unsigned long long)f->unfinished);
	printf("latency     p50 %.2f ms  p90 %.2f ms  p99 %.2f ms  max %.2f ms  mean %.2f ms\n",
	       thresholds[SCENARIO_LIMIT_P50].value, thresholds[SCENARIO_LIMIT_P90].value,
	       thresholds[SCENARIO_LIMIT_P99].value, thresholds[SCENARIO_LIMIT_MAX].value, mean_ms(f));
	for (size_t i = 0; i < SCENARIO_LIMIT_COUNT; i++) {
		if (!isnan(thresholds[i].limit))
			printf("threshold   %s %.4g, limit %.4g: %s\n", thresholds[i].key,
			       thresholds[i].value, thresholds[i].limit,
			       crossed(&thresholds[i]) ? "crossed" : "kept");
	}
}

/* Three decimals: nanoseconds of a figure in ms mean nothing. */
static json_t *rounded(double value)
{
	return json_real(round(value * 1e6) / 1e6);
}

static void report_json(const struct options *o, const struct scenario *s, const struct load_figures *f,
			const struct threshold *thresholds)
{
	json_t *statuses = json_object(), *errors = json_object(), *limits = json_array();
	for (int status = 0; status < SCENARIO_STATUS_MAX; status++) {
		char key[16];
		snprintf(key, sizeof(key), "%d", status);
		if (f->status[status])
			json_object_set_new(statuses, key, json_integer((json_int_t)f->status[status]));
	}
	for (size_t i = 0; i < LOAD_ERROR_COUNT; i++)
		json_object_set_new(errors, load_error_words[i], json_integer((json_int_t)f->errors[i]));
	for (size_t i = 0; i < SCENARIO_LIMIT_COUNT; i++) {
		if (!isnan(thresholds[i].limit))
			json_array_append_new(limits,
					      json_pack("{s:s, s:o, s:o, s:b}", "name", thresholds[i].key,
							"limit", rounded(thresholds[i].limit), "value",
							rounded(thresholds[i].value), "crossed",
							crossed(&thresholds[i])));
	}
	json_t *latency =
		json_pack("{s:o, s:o, s:o, s:o, s:o}", "p50", rounded(thresholds[SCENARIO_LIMIT_P50].value),
			  "p90", rounded(thresholds[SCENARIO_LIMIT_P90].value), "p99",
			  rounded(thresholds[SCENARIO_LIMIT_P99].value), "max",
			  rounded(thresholds[SCENARIO_LIMIT_MAX].value), "mean", rounded(mean_ms(f)));
	json_t *document =
		json_pack("{s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}",
			  "name", s->name, "target", o->target, "rate", rounded(o->rate), "duration_s",
			  rounded((double)f->elapsed_ns / (double)NS_PER_SEC), "seed",
			  (json_int_t)(o->seed & INT64_MAX), "planned", (json_int_t)f->planned, "sent",
			  (json_int_t)f->sent, "answered", (json_int_t)f->answered, "failed",
			  (json_int_t)load_failed(f), "unexpected", (json_int_t)f->unexpected, "unsent",
			  (json_int_t)(f->planned - f->sent), "unfinished", (json_int_t)f->unfinished,
			  "status", statuses, "errors", errors, "latency_ms", latency, "thresholds", limits);
	json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(document);
}

/* The run's exit code, and why on stderr when it is not 0. */
static int verdict(const struct load_figures *f, const struct threshold *thresholds, unsigned crossings)
{
	if (f->sent == 0) {
		fprintf(stderr, "phoenix-traffic: not one request was sent: the run shows nothing\n");
		return EXIT_FAILED;
	}
	if (f->answered == f->unexpected) {
		fprintf(stderr, "phoenix-traffic: not one of %llu requests was answered as expected\n",
			(unsigned long long)f->sent);
		return EXIT_FAILED;
	}
	for (size_t i = 0; i < SCENARIO_LIMIT_COUNT; i++) {
		if (crossed(&thresholds[i]))
			fprintf(stderr, "phoenix-traffic: threshold crossed: %s is %.4g, the limit %.4g\n",
				thresholds[i].key, thresholds[i].value, thresholds[i].limit);
	}
	return crossings ? EXIT_THRESHOLD : EXIT_DONE;
}

static int run(const struct options *o, const struct config_url *target)
{
	struct load_figures *figures = calloc(1, sizeof(*figures));
	struct threshold thresholds[SCENARIO_LIMIT_COUNT];
	struct scenario scenario = {0};
	bool terminal = isatty(STDERR_FILENO);
	int code = EXIT_FAILED;
	struct load_options load = {
		.rate = o->rate,
		.total = o->requests ? o->requests : (uint64_t)ceil(o->rate * o->duration_s),
		.duration_ns = (uint64_t)(o->duration_s * (double)NS_PER_SEC),
		.timeout_ns = (uint64_t)(o->timeout_s * (double)NS_PER_SEC),
		.connections = o->connections,
		.seed = o->seed,
		.stop = &stop,
		.progress = terminal ? show_progress : NULL,
	};
	int err = figures ? scenario_read(&scenario, o->file, target, o->synthetic) : -ENOMEM;
	if (err) {
		code = err == -ENOMEM ? EXIT_FAILED : EXIT_SCENARIO;
		goto out;
	}
	if (resolve(target, &load))
		goto out;
	err = load_run(&load, &scenario, figures);
	if (terminal)
		fputs("\r\033[K", stderr);
	if (err) {
		fprintf(stderr, "phoenix-traffic: io_uring failed: %s%s\n", strerror(-err),
			err == -EPERM || err == -ENOSYS
				? " (is it allowed here? /proc/sys/kernel/io_uring_disabled)"
				: "");
		goto out;
	}
	unsigned crossings = judge(&scenario, figures, thresholds);
	if (o->json)
		report_json(o, &scenario, figures, thresholds);
	else
		report_table(&scenario, figures, thresholds);
	code = verdict(figures, thresholds, crossings);
	if (fflush(stdout) != 0 && code == EXIT_DONE)
		code = EXIT_FAILED;
out:
	scenario_fini(&scenario);
	free(figures);
	return code;
}

int main(int argc, char **argv)
{
	struct options options = {
		.target = "http://127.0.0.1:8080",
		.rate = 200,
		.connections = 16,
		.timeout_s = 10,
		.seed = clock_wall_ns(),
	};
	struct config_url target = {0};
	struct buf why = {0};
	int code = read_options(argc, argv, &options);
	if (code >= 0)
		return code;
	if (options.duration_s == 0 && options.requests == 0)
		options.duration_s = 30;
	if (config_url_parse(slice_str(options.target), &target, &why)) {
		code = bad_option("--target", options.target, "an http:// URL");
		fprintf(stderr, "phoenix-traffic: the URL %s\n", buf_cstr(&why));
		buf_fini(&why);
		return code;
	}
	struct sigaction action = {.sa_handler = on_signal};
	struct rlimit files = {0};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max; /* the usual 1024 are fewer than --connections allows */
		setrlimit(RLIMIT_NOFILE, &files);
	}
	code = run(&options, &target);
	config_url_fini(&target);
	buf_fini(&why);
	return code;
}
