/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phoenixctl: the one command-line tool. It reads the command line with the tables of ctl/command.h, opens
 * the way to the daemon where the command needs one, and runs the command; everything else is in
 * userspace/ctl/, where it can be tested.
 */
#include "ctl/command.h"
#include "ctl/handlers.h"
#include "ctl/talk.h"

#include <curl/curl.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = 1;
}

/*
 * Only commands that wait look at the flag; the others die of the signal as usual. A closed pipe is an
 * error of write(), which ends the command with its exit status.
 */
static void watch_signals(const struct ctl_line *line)
{
	struct sigaction action = {.sa_handler = on_signal};

	bool follows = (line->command->options & OPTION_BIT(DETACH)) && !line->options[OPTION_DETACH];
	if (follows || line->options[OPTION_WATCH] || line->options[OPTION_WAIT_FOR] ||
	    line->options[OPTION_FOLLOW]) {
		sigaction(SIGINT, &action, NULL);
		sigaction(SIGTERM, &action, NULL);
	}
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, NULL);
}

static int print_help(const struct ctl *ctl, const struct ctl_line *line)
{
	struct buf out = {0};
	if (line->command)
		ctl_help_command(line->command, talk_help_width(ctl), &out);
	else if (line->argument_count)
		ctl_help_group(line->arguments[0], talk_help_width(ctl), &out);
	else
		ctl_help(talk_help_width(ctl), &out);
	return talk_write(ctl, &out);
}

int main(int argc, char **argv)
{
	struct ctl ctl = {.out = style_of(stdout), .err = style_of(stderr), .interrupted = &interrupted};
	struct ctl_line line;
	struct buf why = {0};
	char *version[] = {argv[0], "version", NULL};

	/* What everybody tries first. */
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		argv = version;
	int status = ctl_line_parse(argc, argv, &line, &why);
	if (status) {
		talk_error(&ctl, "%s", buf_cstr(&why));
		talk_note(&ctl, "\"phoenixctl --help\" lists the commands");
		buf_fini(&why);
		return status;
	}
	if (line.options[OPTION_HELP])
		return print_help(&ctl, &line);
	watch_signals(&line);
	ctl.json = line.options[OPTION_OUTPUT] && strcmp(line.options[OPTION_OUTPUT], "json") == 0;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	if (line.command->options & OPTION_BIT(ADMIN))
		status = talk_connect(&ctl, &line);
	if (status == CTL_DONE)
		status = line.command->run(&ctl, &line);
	client_close(ctl.client);
	curl_global_cleanup();
	return status;
}
