/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phoenixd: the gateway daemon. This file reads the command line and the configuration, and puts the rooms of
 * the house together: control (which owns the gateway, the state and the arbiter) and admin (which people
 * talk to). Both live on this thread; the workers have threads of their own.
 */
#include "admin/server.h"
#include "base/log.h"
#include "config.h"
#include "control/control.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

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
	"      --log-level LEVEL error, warn, info (default) or debug\n"
	"      --log-format WORD text (default) or json\n"
	"  -h, --help            this text\n"
	"      --version         the version\n"
	"\n"
	"Signals: SIGHUP reloads the configuration, SIGTERM and SIGINT drain and end.\n"
	"Exit: 0 done, 1 failed, 2 usage, 3 bad configuration.\n";

struct arguments {
	const char *config;
	bool check;
	enum log_level level;
	enum log_format format;
};

/* EXIT_DONE to go on; otherwise what to exit with, EXIT_DONE + 256 for "all was said". */
#define SAID_ALL 256
static int read_arguments(int argc, char **argv, struct arguments *arguments)
{
	enum { CHECK = 256, LEVEL, FORMAT, VERSION };
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, CHECK},
		{"log-level", required_argument, NULL, LEVEL},
		{"log-format", required_argument, NULL, FORMAT},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, VERSION},
		{NULL, 0, NULL, 0},
	};
	*arguments = (struct arguments){DEFAULT_CONFIG, false, LOG_LEVEL_INFO, LOG_FORMAT_TEXT};
	int option;
	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			arguments->config = optarg;
			break;
		case CHECK:
			arguments->check = true;
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

static int run(struct config *config, const struct arguments *arguments, struct buf *warnings)
{
	struct control_options options = {config, arguments->config, buf_cstr(warnings)};
	struct control *control = NULL;
	struct admin *admin = NULL;
	struct buf why = {0};
	int err = control_create(&options, &control, &why);
	if (!err)
		err = admin_start(control, &admin, &why);
	if (!err)
		err = control_loop(control);
	if (err)
		log_error("phoenixd", "%s", why.len ? buf_cstr(&why) : strerror(-err));
	admin_stop(admin);
	control_destroy(control);
	buf_fini(&why);
	return err ? EXIT_FAILED : EXIT_DONE;
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
	} else {
		status = run(config, &arguments, &lines);
	}
	buf_fini(&lines);
	return status;
}
