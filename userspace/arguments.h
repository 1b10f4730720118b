/* SPDX-License-Identifier: Apache-2.0 */
/* arguments: the command line of phoenixd. One table gives the reading, --help and the manual page. */
#ifndef PHOENIX_ARGUMENTS_H
#define PHOENIX_ARGUMENTS_H

#include "base/log.h"
#include "option.h"

#define DEFAULT_CONFIG "/etc/phoenix/phoenix.json"

enum exit_status { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_BAD_CONFIG = 3 };

/* X(NAME, word, letter, value, help) */
#define DAEMON_OPTIONS(X)                                                                                    \
	X(CONFIG, "config", 'c', "FILE",                                                                     \
	  "the configuration: JSON, or YAML when the name ends in .yaml or .yml (default " DEFAULT_CONFIG    \
	  ")")                                                                                               \
	X(CHECK, "check", 0, NULL,                                                                           \
	  "only check the configuration: exit 0 when it is good, 3 when not; needs no root")                 \
	X(TAKEOVER, "takeover", 0, NULL,                                                                     \
	  "take the place of the daemon that runs with this configuration: no request is lost; returns "     \
	  "when "                                                                                            \
	  "the new one serves and goes on in the background")                                                \
	X(USER, "user", 0, "NAME", "become this user after the start (\"user\" of the configuration)")       \
	X(LEVEL, "log-level", 0, "error|warn|info|debug", "what is worth a line (default info)")             \
	X(FORMAT, "log-format", 0, "auto|text|json|journal",                                                 \
	  "how a line looks (default text; auto: json unless on a terminal)")                                \
	X(HELP, "help", 'h', NULL, "this text")                                                              \
	X(VERSION, "version", 0, NULL, "the version")

enum daemon_option {
#define X(name, word, letter, value, help) DAEMON_##name,
	DAEMON_OPTIONS(X)
#undef X
		DAEMON_OPTION_COUNT,
};
extern const struct option_row daemon_options[DAEMON_OPTION_COUNT];

/* X(number, name or NULL, what it does): what can be told to a daemon that runs. */
#define DAEMON_SIGNALS(X)                                                                                    \
	X(SIGHUP, "reads the configuration again; a bad file changes nothing")                               \
	X(SIGTERM, "lets the requests under way end (limits.drain_ms) and ends; SIGINT does the same")

/* X(status, meaning) */
#define DAEMON_EXITS(X)                                                                                      \
	X(EXIT_DONE, "done")                                                                                 \
	X(EXIT_FAILED, "failed; the log says why")                                                           \
	X(EXIT_USAGE, "the command line is wrong")                                                           \
	X(EXIT_BAD_CONFIG, "the configuration is bad; every error of it was printed")

struct arguments {
	const char *config;
	const char *user; /* NULL: as the configuration says */
	bool check, takeover;
	enum log_level level;
	enum log_format format;
};

/* EXIT_DONE to go on; otherwise what to exit with, ARGUMENTS_SAID_ALL for "0, all was said". */
#define ARGUMENTS_SAID_ALL 256
int arguments_read(int argc, char **argv, struct arguments *arguments);

#endif
