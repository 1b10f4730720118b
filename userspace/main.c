/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phoenixd: the gateway daemon. This file reads the command line and the configuration, and puts the rooms of
 * the house together: control (which owns the gateway, the state and the arbiter) and admin (which people
 * talk to). Both live on this thread; the workers have threads of their own.
 */
#include "admin/server.h"
#include "arguments.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "config.h"
#include "control/control.h"
#include "control/sdnotify.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
	struct buf state = {0}, socket = {0}, access = {0};
	buf_printf(&state, "%s*", config->state.path);
	if (config->state.path && strrchr(config->state.path, '.')) {
		/* Ledgers are called state.NAME.jsonl beside state.json. */
		state.len = (size_t)(strrchr(config->state.path, '.') - config->state.path);
		buf_append_str(&state, "*");
	}
	buf_printf(&socket, "%s*", config->admin.socket ? config->admin.socket : "");
	if (config->access_log.path && strchr(config->access_log.path, '/'))
		buf_printf(&access, "%s*", config->access_log.path);
	const char *paths[] = {buf_cstr(&state), buf_cstr(&socket), buf_cstr(&access), NULL};
	int err = user ? sandbox_become(user, paths, config->xdp.interfaces.count > 0, why) : 0;
	buf_fini(&state);
	buf_fini(&socket);
	buf_fini(&access);
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
	int status = arguments_read(argc, argv, &arguments);
	if (status != EXIT_DONE)
		return status == ARGUMENTS_SAID_ALL ? EXIT_DONE : status;
	log_setup(arguments.level, arguments.format);
	signal(SIGPIPE, SIG_IGN);
	sdnotify_init();
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
