/* SPDX-License-Identifier: Apache-2.0 */
/* arguments: see arguments.h. */
#include "arguments.h"

#include "config_report.h"

#include <stdio.h>

#define HELP_COLUMN 26
#define HELP_WIDTH  80

const struct option_row daemon_options[DAEMON_OPTION_COUNT] = {
#define X(name, word, letter, value, help) {word, letter, value, help},
	DAEMON_OPTIONS(X)
#undef X
};

static int print_help(void)
{
	struct buf out = {0}, left = {0};

	buf_append_str(&out, "Usage: phoenixd [--config FILE] [OPTION]...\n"
			     "Stands in front of a legacy service and its modern replacement and moves live "
			     "HTTP\nendpoints over.\n\n");
	for (size_t i = 0; i < DAEMON_OPTION_COUNT; i++) {
		buf_reset(&left);
		option_help_left(&left, &daemon_options[i]);
		option_help_row(&out, buf_cstr(&left), daemon_options[i].help, HELP_COLUMN, HELP_WIDTH);
	}
	buf_append_str(&out, "\nSignals:\n");
#define X(number, does) option_help_row(&out, #number, does, HELP_COLUMN, HELP_WIDTH);
	DAEMON_SIGNALS(X)
#undef X
	buf_append_str(&out, "\nExit status:\n");
#define X(status, meaning)                                                                                   \
	{                                                                                                    \
		buf_reset(&left);                                                                            \
		buf_printf(&left, "%d", status);                                                             \
		option_help_row(&out, buf_cstr(&left), meaning, HELP_COLUMN, HELP_WIDTH);                    \
	}
	DAEMON_EXITS(X)
#undef X
	fputs(buf_cstr(&out), stdout);
	buf_fini(&out);
	buf_fini(&left);
	return ARGUMENTS_SAID_ALL;
}

static int complain(struct buf *why)
{
	fprintf(stderr, "phoenixd: %s\nTry 'phoenixd --help'.\n", buf_cstr(why));
	buf_fini(why);
	return EXIT_USAGE;
}

/* EXIT_DONE to go on. */
static int take(struct arguments *arguments, enum daemon_option option, const char *value)
{
	switch (option) {
	case DAEMON_CONFIG:
		arguments->config = value;
		return EXIT_DONE;
	case DAEMON_CHECK:
		arguments->check = true;
		return EXIT_DONE;
	case DAEMON_TAKEOVER:
		arguments->takeover = true;
		return EXIT_DONE;
	case DAEMON_USER:
		arguments->user = value;
		return EXIT_DONE;
	case DAEMON_LEVEL:
		log_level_parse(value, &arguments->level); /* one of the table's words */
		return EXIT_DONE;
	case DAEMON_FORMAT:
		arguments->format = strcmp(value, "json") == 0	    ? LOG_FORMAT_JSON
				    : strcmp(value, "auto") == 0    ? LOG_FORMAT_AUTO
				    : strcmp(value, "journal") == 0 ? LOG_FORMAT_JOURNAL
								    : LOG_FORMAT_TEXT;
		return EXIT_DONE;
	case DAEMON_HELP:
		return print_help();
	case DAEMON_VERSION:
		puts("phoenixd " PHOENIX_VERSION);
		return ARGUMENTS_SAID_ALL;
	case DAEMON_OPTION_COUNT:
		break;
	}
	return EXIT_USAGE;
}

int arguments_read(int argc, char **argv, struct arguments *arguments)
{
	struct option_reader reader = {daemon_options, DAEMON_OPTION_COUNT, argc, argv, 1, false, NULL};
	struct buf why = {0};
	const char *value;
	size_t index;

	*arguments = (struct arguments){
		.config = DEFAULT_CONFIG, .level = LOG_LEVEL_INFO, .format = LOG_FORMAT_TEXT};
	for (;;) {
		int status = EXIT_DONE;
		switch (option_next(&reader, &index, &value, &why)) {
		case OPTION_NONE:
			return EXIT_DONE;
		case OPTION_GIVEN:
			status = take(arguments, (enum daemon_option)index, value);
			break;
		case OPTION_WORD:
			buf_printf(&why, "unexpected argument %s; the file is given with --config",
				   quote(slice_str(value)).text);
			return complain(&why);
		case OPTION_WRONG:
			return complain(&why);
		}
		if (status != EXIT_DONE)
			return status;
	}
}
