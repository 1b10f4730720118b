/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phoenix-traffic: the traffic client's command line. What is sent is tools/traffic/scenario, how it is sent
 * tools/traffic/load, what came of it tools/traffic/report.
 *
 * The report is data and goes to stdout, talk to stderr; the progress line replaces itself on a terminal and
 * is a line every ten seconds elsewhere. A run that sent nothing, to which nothing was answered as expected,
 * or that the gateway counted otherwise, has failed: an empty run must never look like a clean one.
 */
#include "traffic/load.h"
#include "traffic/options.h"
#include "traffic/reconcile.h"
#include "traffic/report.h"
#include "traffic/scenario.h"

#include "base/clock.h"
#include "config_value.h"
#include "ctl/parse.h"
#include "ctl/progress.h"

#include <curl/curl.h>
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define TOKEN_BYTES_MAX	    8192
#define CONNECTIONS_DEFAULT 16
#define RATE_DEFAULT	    200
#define DURATION_DEFAULT_S  30
#define TERMINAL_PROGRESS_S 0.5
#define PIPE_PROGRESS_S	    10

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	if (stop < 2)
		stop++;
}

/* The first address of the target. False when the name does not resolve (it was said why). */
static bool resolve(const struct config_url *url, struct load_options *load)
{
	char port[8];
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	snprintf(port, sizeof(port), "%u", url->port);
	int err = getaddrinfo(url->host, port, &hints, &found);
	if (err) {
		fprintf(stderr, "phoenix-traffic: cannot resolve \"%s\": %s\n", url->host, gai_strerror(err));
		return false;
	}
	memcpy(&load->address, found->ai_addr, found->ai_addrlen);
	load->address_len = found->ai_addrlen;
	freeaddrinfo(found);
	return true;
}

/*
 * One rate over one time, from the command line, else from the scenario, else by default. A scenario of
 * several stages is replaced as a whole by --rate.
 */
static bool plan_constant(const struct options *o, const struct schedule *file, struct schedule *plan)
{
	const struct stage *only =
		file->count == 1 && file->stages[0].from == file->stages[0].to ? file->stages : NULL;
	double rate = o->rate > 0 ? o->rate : only ? only->from : RATE_DEFAULT;
	double seconds = o->duration_s;
	if (seconds <= 0)
		seconds = o->requests	? (double)o->requests / rate
			  : file->count ? schedule_duration_s(file)
					: DURATION_DEFAULT_S;
	if (seconds < 0.001)
		seconds = 0.001;
	if (schedule_add(plan, rate, rate, seconds) && schedule_total(plan))
		return true;
	fprintf(stderr, "phoenix-traffic: %g requests a second for %g s: a run takes 1 ms to 168 h\n", rate,
		seconds);
	return false;
}

/* How the requests go out. False when that is not possible (it was said why). */
static bool plan_load(const struct options *o, struct scenario *s, struct load_options *load)
{
	bool many =
		s->load.schedule.count > 1 ||
		(s->load.schedule.count && s->load.schedule.stages[0].from != s->load.schedule.stages[0].to);
	load->connections = o->connections	  ? (uint32_t)o->connections
			    : s->load.connections ? s->load.connections
						  : CONNECTIONS_DEFAULT;
	load->one_request = o->one_request || s->load.one_request;
	load->total = o->requests;
	load->closed = o->closed || (s->load.closed && o->rate <= 0 && !o->stages);
	if (load->one_request && scenario_close_connections(s)) {
		fprintf(stderr, "phoenix-traffic: out of memory\n");
		return false;
	}
	if (load->closed) {
		load->duration_s = o->duration_s > 0 ? o->duration_s : s->load.duration_s;
		if (load->duration_s <= 0 && !o->requests)
			load->duration_s = DURATION_DEFAULT_S;
		return true;
	}
	if (o->stages) {
		struct buf why = {0};
		int err = schedule_parse(&load->schedule, o->stages, &why);
		if (err)
			fprintf(stderr, "phoenix-traffic: --stages: %s\n", buf_cstr(&why));
		buf_fini(&why);
		return err == 0;
	}
	if (many && o->rate <= 0 && o->duration_s <= 0) {
		load->schedule = s->load.schedule;
		return true;
	}
	if (many && o->rate <= 0) {
		fprintf(stderr,
			"phoenix-traffic: the scenario has stages: --duration needs --rate beside it\n");
		return false;
	}
	return plan_constant(o, &s->load.schedule, &load->schedule);
}

/* The usual limit of 1024 descriptors is fewer than --connections allows. */
static bool raise_files(uint32_t connections)
{
	struct rlimit files = {0};
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
		getrlimit(RLIMIT_NOFILE, &files);
	}
	if (files.rlim_cur >= connections + 32u)
		return true;
	fprintf(stderr,
		"phoenix-traffic: %u connections need %u descriptors, the limit of this process is %llu "
		"(ulimit -n)\n",
		connections, connections + 32u, (unsigned long long)files.rlim_cur);
	return false;
}

static int open_reconcile(const struct options *o, struct reconcile **out)
{
	struct buf token = {0}, why = {0};
	char text[TOKEN_BYTES_MAX];
	const char *env = getenv("PHOENIX_TOKEN");
	struct slice given = slice_str(env && *env ? env : NULL);
	int code = CTL_DONE;
	if (o->token_file) {
		FILE *file = fopen(o->token_file, "r");
		if (!file) {
			fprintf(stderr, "phoenix-traffic: %s: %s\n", o->token_file, strerror(errno));
			return EXIT_USAGE;
		}
		given = slice_of(text, fread(text, 1, sizeof(text), file));
		fclose(file);
	}
	if (given.ptr && parse_token(given, &token, &why))
		code = CTL_USAGE;
	if (code == CTL_DONE)
		code = reconcile_open(o->admin, token.len ? buf_cstr(&token) : NULL, out, &why);
	if (code)
		fprintf(stderr, "phoenix-traffic: --reconcile: %s\n", buf_cstr(&why));
	buf_fini(&token);
	buf_fini(&why);
	return code;
}

/* The run's exit code, and why on stderr when it is not 0. */
static int verdict(const struct report_subject *subject, size_t crossings)
{
	const struct load_figures *f = subject->figures;
	if (f->sent == 0) {
		fprintf(stderr, "phoenix-traffic: not one request was sent: the run shows nothing\n");
		return EXIT_FAILED;
	}
	if (f->answered == f->unexpected) {
		fprintf(stderr, "phoenix-traffic: not one of %llu requests was answered as expected\n",
			(unsigned long long)f->sent);
		return EXIT_FAILED;
	}
	for (size_t i = 0; i < subject->threshold_count; i++) {
		const struct threshold *t = &subject->thresholds[i];
		struct buf value = {0};
		threshold_format(t, t->value, &value);
		if (!threshold_kept(t))
			fprintf(stderr, "phoenix-traffic: threshold crossed: %s, measured %s\n", t->text,
				buf_cstr(&value));
		buf_fini(&value);
	}
	return crossings ? EXIT_THRESHOLD : EXIT_DONE;
}

static int write_reports(const struct options *o, const struct report_subject *subject)
{
	json_t *json = o->json || o->out ? report_json(subject) : NULL;
	int code = EXIT_DONE;
	if (o->json)
		json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	if (o->json)
		putchar('\n');
	else
		report_table(subject, stdout);
	if (o->out && json_dump_file(json, o->out, JSON_INDENT(2) | JSON_REAL_PRECISION(9))) {
		fprintf(stderr, "phoenix-traffic: cannot write %s: %s\n", o->out, strerror(errno));
		code = EXIT_FAILED;
	}
	if (fflush(stdout) != 0)
		code = EXIT_FAILED;
	json_decref(json);
	return code;
}

static struct progress progress;
static const struct load_options *under_way;

/* On a terminal a bar and a line that replaces itself, elsewhere a line each time. */
static void on_progress(const struct load_figures *figures)
{
	struct buf line = {0};
	report_progress(figures, &line);
	if (style_of(stderr).redraws)
		progress_show(&progress, report_done(under_way, figures), buf_cstr(&line));
	else
		fprintf(stderr, "%s\n", buf_cstr(&line));
	buf_fini(&line);
}

static int say_ring_error(int err)
{
	fprintf(stderr, "phoenix-traffic: io_uring failed: %s%s\n", strerror(-err),
		err == -EPERM || err == -ENOSYS ? " (is it allowed here? /proc/sys/kernel/io_uring_disabled)"
						: "");
	return EXIT_FAILED;
}

/* From the load to the exit code; everything is open. */
static int run_load(const struct options *o, struct load_options *load, struct report_subject *subject,
		    struct reconcile *reconcile)
{
	double seconds = o->progress_s >= 0	    ? o->progress_s
			 : style_of(stderr).redraws ? TERMINAL_PROGRESS_S
						    : PIPE_PROGRESS_S;
	struct buf why = {0};
	load->progress = seconds > 0 ? on_progress : NULL;
	load->progress_ns = (uint64_t)(seconds * (double)NS_PER_SEC);
	load->observer = reconcile ? reconcile_observer(reconcile) : NULL;
	under_way = load;
	int err = load_run(load, subject->scenario, (struct load_figures *)subject->figures);
	progress_hide(&progress);
	if (err)
		return say_ring_error(err);
	int counted = reconcile ? reconcile_finish(reconcile, &why) : CTL_DONE;
	size_t crossings = report_judge(subject);
	int written = write_reports(o, subject);
	int code = verdict(subject, crossings);
	if (counted) {
		fprintf(stderr, "phoenix-traffic: the client and the gateway do not agree:\n%s\n",
			buf_cstr(&why));
		code = counted;
	}
	buf_fini(&why);
	return code ? code : written;
}

static int run(const struct options *o, const struct config_url *target)
{
	struct load_figures *figures = calloc(1, sizeof(*figures));
	struct scenario scenario = {0};
	struct reconcile *reconcile = NULL;
	struct scenario_options reading = {target, !o->unmarked, o->headers, o->header_count};
	struct load_options load = {
		.timeout_ns = (uint64_t)(o->timeout_s * (double)NS_PER_SEC), .seed = o->seed, .stop = &stop};
	struct report_subject subject = {.scenario = &scenario,
					 .options = &load,
					 .figures = figures,
					 .synthetic = !o->unmarked,
					 .target = target->text};
	int code = EXIT_FAILED;
	int err = figures ? scenario_read(&scenario, o->file, &reading) : -ENOMEM;
	if (err) {
		code = err == -ENOMEM ? EXIT_FAILED : EXIT_SCENARIO;
		goto out;
	}
	struct threshold thresholds[2 * THRESHOLDS_MAX];
	memcpy(thresholds, scenario.thresholds, scenario.threshold_count * sizeof(thresholds[0]));
	memcpy(thresholds + scenario.threshold_count, o->thresholds,
	       o->threshold_count * sizeof(thresholds[0]));
	subject.thresholds = thresholds;
	subject.threshold_count = scenario.threshold_count + o->threshold_count;
	if (!plan_load(o, &scenario, &load)) {
		code = EXIT_USAGE;
		goto out;
	}
	if (load_figures_init(figures, &scenario) || !raise_files(load.connections) ||
	    !resolve(target, &load))
		goto out;
	code = o->admin ? open_reconcile(o, &reconcile) : EXIT_DONE;
	subject.reconcile = reconcile;
	if (code == EXIT_DONE)
		code = run_load(o, &load, &subject, reconcile);
out:
	reconcile_close(reconcile);
	scenario_fini(&scenario);
	if (figures)
		load_figures_fini(figures);
	free(figures);
	return code;
}

/* "phoenix-traffic generate …" is "phoenixctl traffic generate …", which lies beside this program or in the
 * PATH. */
static int generate(int argc, char **argv)
{
	char path[4096];
	const char **words = calloc((size_t)argc + 2, sizeof(*words));
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 16);
	char *slash = len > 0 ? memrchr(path, '/', (size_t)len) : NULL;
	if (!words)
		return EXIT_FAILED;
	words[0] = "phoenixctl";
	words[1] = "traffic";
	for (int i = 1; i < argc; i++)
		words[i + 1] = argv[i];
	if (slash) {
		strcpy(slash + 1, "phoenixctl");
		execv(path, (char *const *)words);
	}
	execvp("phoenixctl", (char *const *)words);
	fprintf(stderr, "phoenix-traffic: cannot run phoenixctl: %s\n", strerror(errno));
	free(words);
	return EXIT_FAILED;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "generate") == 0)
		return generate(argc, argv);

	struct options options = {
		.url = "http://127.0.0.1:8080", .timeout_s = 10, .seed = clock_wall_ns(), .progress_s = -1};
	struct config_url target = {0};
	struct buf why = {0};
	int code = options_read(argc, argv, &options);
	if (code >= 0)
		return code;
	if (config_url_parse(slice_str(options.url), &target, &why)) {
		code = options_bad("url", options.url, "an http:// URL");
		fprintf(stderr, "phoenix-traffic: the URL %s\n", buf_cstr(&why));
		buf_fini(&why);
		return code;
	}
	struct sigaction action = {.sa_handler = on_signal};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, NULL);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	code = run(&options, &target);
	curl_global_cleanup();
	config_url_fini(&target);
	buf_fini(&why);
	return code;
}
