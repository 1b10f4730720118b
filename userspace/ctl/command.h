/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command: what phoenixctl can do, as two tables: options and commands.
 *
 * The tables make everything: reading the command line, its errors with "did you mean", `--help`,
 * `help COMMAND` and the completion script of bash. A new verb is one row and one handler.
 */
#ifndef PHOENIX_CTL_COMMAND_H
#define PHOENIX_CTL_COMMAND_H

#include "base/buf.h"
#include "ctl/client.h"
#include "ctl/format.h"
#include "option.h"

#include <stdint.h>

/* X(NAME, long name, letter or 0, value or NULL, help): option.h. */
#define CTL_OPTIONS(X)                                                                                       \
	X(ADMIN, "admin", 0, "URL", "the daemon: unix:/path or http://host:port (also PHOENIX_ADMIN)")       \
	X(TOKEN_FILE, "token-file", 0, "FILE", "token of the admin interface (or PHOENIX_TOKEN)")            \
	X(HELP, "help", 'h', NULL, "this text; after a command, the command's")                              \
	X(OUTPUT, "output", 'o', "table|json", "how to print (default: table)")                              \
	X(WATCH, "watch", 'w', NULL, "go on showing it; in a pipe one line a change")                        \
	X(WAIT_FOR, "wait-for", 0, "complete|paused|holding|rolled-back|migrating|mirroring|deploying|idle", \
	  "wait until it is so")                                                                             \
	X(TIMEOUT, "timeout", 0, "TIME", "give up after this long (30m, 90s) with exit 12")                  \
	X(REASON, "reason", 0, "TEXT", "why, for the audit log and the others")                              \
	X(FOLLOW, "follow", 'f', NULL, "go on printing as they happen")                                      \
	X(LIMIT, "limit", 'n', "N", "print at most N, the newest")                                           \
	X(DRY_RUN, "dry-run", 0, NULL, "only say what it would change")                                      \
	X(PROPOSED, "proposed", 0, NULL, "also the pointers where legacy was seen to disagree with itself")  \
	X(REMOVE, "remove", 0, NULL, "take the pointers off the list instead")                               \
	X(DETACH, "detach", 0, NULL, "do not wait for the end")                                              \
	X(OFF, "off", 0, NULL, "turn it off: the weights are in force again")                                \
	X(ID, "id", 0, "ID", "of the new route")                                                             \
	X(METHOD, "method", 0, "METHOD", "of the new route: GET or GET,POST or '*' (the default)")           \
	X(PATH, "path", 0, "PATH", "of the new route: /users, /users/* or /users/{id}")                      \
	X(LEGACY_URL, "legacy-url", 0, "URL", "where the legacy service is")                                 \
	X(MODERN_URL, "modern-url", 0, "URL", "where the modern service is")                                 \
	X(WEIGHT, "weight", 0, "WEIGHT", "share of the modern service at first (default: 0)")                \
	X(FROM, "from", 0, "route|samples|access-log|openapi|har|scenario", "what to make it of")            \
	X(ROUTE, "route", 0, "ROUTE", "only requests that this route takes")                                 \
	X(EXPORT, "export", 0, "k6", "write a k6 script instead")                                            \
	X(OUT, "out", 0, "FILE", "write it to FILE (default: stdout)")                                       \
	X(UNSAFE, "unsafe", 0, NULL, "also requests that may change data (POST, PUT, PATCH, DELETE)")        \
	X(HOST, "host", 0, "HOST", "of a HAR file, only requests to this host (default: the most asked)")    \
	X(RATE, "rate", 0, "N", "requests a second")                                                         \
	X(DURATION, "duration", 0, "TIME", "how long (30s, 5m)")                                             \
	X(URL, "url", 0, "URL", "where to send (default: where the gateway listens)")                        \
	X(REQUESTS, "requests", 0, "N", "send at most this many")                                            \
	X(CONNECTIONS, "connections", 0, "N", "connections to send over")                                    \
	X(WITH, "with", 0, "phoenix-traffic|k6", "the client to send with (default: phoenix-traffic)")

/* X(name, what it does): what is looked at in the environment. */
#define CTL_ENVIRONMENT(X)                                                                                   \
	X("PHOENIX_ADMIN", "the daemon, where --admin is not given")                                         \
	X("PHOENIX_TOKEN", "token of the admin interface, where --token-file is not given")                  \
	X("NO_COLOR", "set to anything: no colour (https://no-color.org)")                                   \
	X("TERM", "dumb: no colour, and nothing is drawn in place")                                          \
	X("COLUMNS", "width of a terminal that does not say it itself")                                      \
	X("LC_ALL, LC_CTYPE, LANG", "UTF-8 in the first that is set: bars and signs outside of ASCII")

enum ctl_option {
#define X(name, word, letter, value, help) OPTION_##name,
	CTL_OPTIONS(X)
#undef X
		OPTION_COUNT
};

extern const struct option_row ctl_options[OPTION_COUNT];

#define OPTION_BIT(name) (UINT64_C(1) << OPTION_##name)
/* Every command takes these; the second set is for those that talk to the daemon. */
#define OPTIONS_ALWAYS OPTION_BIT(HELP)
#define OPTIONS_DAEMON (OPTION_BIT(ADMIN) | OPTION_BIT(TOKEN_FILE))

#define CTL_ARGUMENTS_MAX 64

struct ctl;
struct ctl_command;

/* A command line that was understood; everything borrowed from argv. */
struct ctl_line {
	const struct ctl_command *command; /* NULL: no command was named */
	const char *arguments[CTL_ARGUMENTS_MAX];
	size_t argument_count;
	const char *options[OPTION_COUNT]; /* NULL when not given; "" for an option without a value */
};

struct ctl_command {
	const char *words;     /* "route add" */
	const char *arguments; /* "ROUTE [POINTER]...": gives the counts, the help and the completion */
	uint64_t options;      /* OPTION_BIT()s besides OPTIONS_ALWAYS */
	const char *help;      /* one line */
	const char *more;      /* paragraphs for `help COMMAND`; NULL = none */
	int (*run)(struct ctl *ctl, const struct ctl_line *line); /* returns an exit status */
};

/* Ends with a row whose words are NULL. */
extern const struct ctl_command ctl_commands[];

/* What a handler works with. */
struct ctl {
	struct client *client; /* NULL for commands without OPTIONS_DAEMON */
	const char *admin;     /* the daemon's address; NULL likewise */
	struct style out, err; /* of stdout and stderr */
	bool json;	       /* -o json */
	const volatile sig_atomic_t *interrupted;
};

/*
 * Reads argv[1..]. Returns CTL_DONE, or CTL_USAGE with one sentence (and its suggestion) in `why`. With
 * --help the arguments of the command are not counted.
 */
int ctl_line_parse(int argc, char **argv, struct ctl_line *line, struct buf *why);
/* The command whose words begin at words[0]; *used tells how many of them it has. NULL when there is none. */
const struct ctl_command *ctl_command_find(const char *const *words, size_t count, size_t *used);

/* A command that only programs call: its first word begins with "_". */
bool ctl_command_is_hidden(const struct ctl_command *command);

/* CTL_USAGE, with what is wrong with these words and the nearest right ones in `why`. */
int ctl_unknown_command(const char *const *words, size_t count, struct buf *why);

/* `width` is in columns. */
void ctl_help(size_t width, struct buf *out);
void ctl_help_command(const struct ctl_command *command, size_t width, struct buf *out);
/* Every command whose first word this is ("route"). */
void ctl_help_group(const char *word, size_t width, struct buf *out);

/*
 * What the last of `words` can become, a line each: "WORD<tab>what it is", or ":files" or ":dirs" for the
 * names that the shell knows better. Asks the daemon that the words name, for a moment, where it takes ids.
 */
void ctl_complete(struct ctl *ctl, const char *const *words, size_t count, struct buf *out);

#endif
