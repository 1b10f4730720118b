/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phoenixd: the gateway daemon. This file reads the command line and the configuration, and puts the rooms of
 * the house together: control (which owns the gateway, the state and the arbiter) and admin (which people
 * talk to). Both live on this thread; the workers have threads of their own.
 */
#include "admin/server.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "config.h"
#include "control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum exit_status { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_BAD_CONFIG = 3 };

#define DEFAULT_CONFIG "/etc/phoenix/phoenix.json"

static const char usage[] =
	"Usage: phoenixd [--config FILE] [OPTION]...\n"
	"Stands in front of a legacy service and its modern replacement and moves live HTTP endpoints over.\n"
	"\n"
	"  -c, --config FILE     JSON, or YAML when the name ends in .yaml or .yml (default " DEFAULT_CONFIG
	")\n"
	"      --check           only check the configuration: exit 0 when it is good, 3 when not; needs no "
	"root\n"
	"      --takeover        take the place of the daemon that runs with this configuration: no request "
	"is "
	"lost;\n"
	"                        returns when the new one serves and goes on in the background\n"
	"      --user NAME       become this user after the start (\"user\" of the file)\n"
	"      --log-level LEVEL error, warn, info (default) or debug\n"
	"      --log-format WORD text (default) or json\n"
	"  -h, --help            this text\n"
	"      --version         the version\n"
	"\n"
	"Signals: SIGHUP reloads the configuration, SIGTERM and SIGINT drain and end.\n"
	"Exit: 0 done, 1 failed, 2 usage, 3 bad configuration.\n";

struct arguments {
	const char *config;
	const char *user;
	bool check, takeover;
	enum log_level level;
	enum log_format format;
};

/* EXIT_DONE to go on; otherwise what to exit with, EXIT_DONE + 256 for "all was said". */
#define SAID_ALL 256
static int read_arguments(int argc, char **argv, struct arguments *arguments)
{
	enum { CHECK = 256, LEVEL, FORMAT, VERSION, TAKEOVER, USER };
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, CHECK},
		{"takeover", no_argument, NULL, TAKEOVER},
		{"user", required_argument, NULL, USER},
		{"log-level", required_argument, NULL, LEVEL},
		{"log-format", required_argument, NULL, FORMAT},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, VERSION},
		{NULL, 0, NULL, 0},
	};
	*arguments = (struct arguments){
		.config = DEFAULT_CONFIG, .level = LOG_LEVEL_INFO, .format = LOG_FORMAT_TEXT};
	int option;
	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			arguments->config = optarg;
			break;
		case CHECK:
			arguments->check = true;
			break;
		case TAKEOVER:
			arguments->takeover = true;
			break;
		case USER:
			arguments->user = optarg;
			break;
		case LEVEL:
			if (log_level_parse(optarg, &arguments->level)) {
				fprintf(stderr,
					"phoenixd: --log-level is \"%s\", must be error, warn, info or "
					"debug\n",
					optarg);
				return EXIT_USAGE;
			}
			break;
		case FORMAT:
			if (strcmp(optarg, "text") && strcmp(optarg, "json")) {
				fprintf(stderr, "phoenixd: --log-format is \"%s\", must be text or json\n",
					optarg);
				return EXIT_USAGE;
			}
			arguments->format = strcmp(optarg, "json") ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
			break;
		case 'h':
			fputs(usage, stdout);
			return SAID_ALL;
		case VERSION:
			puts("phoenixd " PHOENIX_VERSION);
			return SAID_ALL;
		default:
			fputs("Try 'phoenixd --help'.\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "phoenixd: unexpected argument \"%s\"; the file is given with --config\n",
			argv[optind]);
		return EXIT_USAGE;
	}
	return EXIT_DONE;
}

/* The lines about a file that was refused, and what to do. */
static int tell_bad_config(const struct arguments *arguments, int err, struct buf *lines)
{
	if (lines->len)
		fputs(buf_cstr(lines), stderr);
	else
		fprintf(stderr, "%s: %s\n", arguments->config, strerror(-err));
	return EXIT_BAD_CONFIG;
}

/* A state that cannot be stored is better found out now than at the first change. */
static int check_state(const struct config *config, const char *user, struct buf *why)
{
	char path[PATH_MAX];
	if (config->state.kind != STORE_FILE || strlen(config->state.path) >= sizeof(path))
		return 0;
	strcpy(path, config->state.path);
	const char *directory = dirname(path);
	if (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0)
		return 0;
	buf_printf(why,
		   "user \"%s\" may not write to %s, where state.path is: chown it, or give the state a "
		   "directory of "
		   "its own",
		   user, directory);
	return -EACCES;
}

/* Everything is open: nothing more than this is needed from now on. */
static int shut_in(const struct config *config, const struct arguments *arguments, struct buf *why)
{
	const char *user = arguments->user ? arguments->user : config->user;
	struct buf state = {0}, socket = {0};
	buf_printf(&state, "%s*", config->state.path);
	if (config->state.path && strrchr(config->state.path, '.')) {
		/* Ledgers are called state.NAME.jsonl beside state.json. */
		state.len = (size_t)(strrchr(config->state.path, '.') - config->state.path);
		buf_append_str(&state, "*");
	}
	buf_printf(&socket, "%s*", config->admin.socket ? config->admin.socket : "");
	const char *paths[] = {buf_cstr(&state), buf_cstr(&socket), NULL};
	int err = user ? sandbox_become(user, paths, config->xdp.interfaces.count > 0, why) : 0;
	buf_fini(&state);
	buf_fini(&socket);
	if (!err && user)
		err = check_state(config, user, why);
	if (!err && config->seccomp)
		err = sandbox_filter(why);
	if (!err && !user && geteuid() == 0)
		log_info("phoenixd",
			 "goes on as root; \"user\" in the configuration names who it should become");
	return err;
}

static int run(struct config *config, const struct arguments *arguments, struct buf *warnings, int started)
{
	struct inheritance inheritance = {.connection = -1};
	struct buf why = {0};
	int err = arguments->takeover ? inheritance_take(config, &inheritance, &why) : 0;
	if (err) {
		log_error("phoenixd", "%s", buf_cstr(&why));
		config_destroy(config);
		buf_fini(&why);
		return EXIT_FAILED;
	}
	struct control_options options = {config, arguments->config, buf_cstr(warnings), &inheritance};
	struct control *control = NULL;
	struct admin *admin = NULL;
	err = control_create(&options, &control, &why);
	if (!err)
		err = admin_start(control, &inheritance, &admin, &why);
	if (!err)
		err = shut_in(control->config, arguments, &why);
	if (!err && arguments->takeover)
		err = inheritance_confirm(&inheritance, &why);
	inheritance_fini(&inheritance);
	if (!err && started >= 0 && write(started, "", 1) < 0)
		log_warn("phoenixd", "whoever started this has gone: %s", strerror(errno));
	if (started >= 0)
		close(started);
	if (!err)
		err = control_loop(control);
	if (err)
		log_error("phoenixd", "%s", why.len ? buf_cstr(&why) : strerror(-err));
	admin_stop(admin);
	control_destroy(control);
	buf_fini(&why);
	return err ? EXIT_FAILED : EXIT_DONE;
}

/* The new daemon is a child; this process waits until it serves, and says whether it does. */
static int run_behind(struct config *config, const struct arguments *arguments, struct buf *warnings)
{
	int ends[2];
	char byte;
	if (pipe(ends)) {
		log_error("phoenixd", "pipe: %s", strerror(errno));
		config_destroy(config);
		return EXIT_FAILED;
	}
	pid_t child = fork();
	if (child == 0) {
		close(ends[0]);
		/* Whoever reads what this prints waits for its end, which is the parent's. */
		if (!freopen("/dev/null", "w", stdout))
			return EXIT_FAILED;
		return run(config, arguments, warnings, ends[1]);
	}
	config_destroy(config);
	close(ends[1]);
	bool serves = child > 0 && read(ends[0], &byte, 1) == 1;
	close(ends[0]);
	if (child < 0)
		log_error("phoenixd", "fork: %s", strerror(errno));
	if (serves)
		printf("phoenixd: pid %d serves now\n", (int)child);
	return serves ? EXIT_DONE : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	struct arguments arguments;
	int status = read_arguments(argc, argv, &arguments);
	if (status != EXIT_DONE)
		return status == SAID_ALL ? EXIT_DONE : status;
	log_setup(arguments.level, arguments.format);
	signal(SIGPIPE, SIG_IGN);
	struct config *config = NULL;
	struct buf lines = {0};
	int err = config_load(arguments.config, &config, &lines);
	if (err) {
		status = tell_bad_config(&arguments, err, &lines);
	} else if (arguments.check) {
		fputs(buf_cstr(&lines), stderr);
		printf("%s: good: %zu route%s\n", arguments.config, config->route_count,
		       config->route_count == 1 ? "" : "s");
		config_destroy(config);
		status = EXIT_DONE;
	} else if (arguments.takeover) {
		status = run_behind(config, &arguments, &lines);
	} else {
		status = run(config, &arguments, &lines, -1);
	}
	buf_fini(&lines);
	return status;
}
