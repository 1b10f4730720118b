/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: one line an event, on stderr, as text or as JSON. What one place in the code says more than LOG_BURST
 * times in LOG_WINDOW_MS is left out and counted; the count follows with log_flush() or its next line.
 *
 * Who handles an error logs it; who returns it does not. A line tells: what happened, the measured value,
 * the limit, what to do next. Lines are written with one write(2), so those of several threads never mix.
 * No secret ever goes through here: values of header fields and bodies are redacted before.
 */
#ifndef PHOENIX_BASE_LOG_H
#define PHOENIX_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
/* AUTO: text on a terminal, for journald when stderr is its stream (JOURNAL_STREAM), otherwise JSON.
 * TEXT: the same, but text where AUTO says JSON. JOURNAL: text with the <N> priority of sd-daemon(3). */
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_JOURNAL, LOG_FORMAT_AUTO };

#define LOG_BURST     100
#define LOG_WINDOW_MS 10000

/* Set once at start-up, before threads. Lines above `level` are dropped. */
void log_setup(enum log_level level, enum log_format format);
/* "error", "warn", "info", "debug" -> *level; -EINVAL for anything else. */
int log_level_parse(const char *word, enum log_level *level);
bool log_enabled(enum log_level level);
/* Says how many lines were left out where that is over. Now and then, by any thread. */
void log_flush(void);
/* Lines left out so far. */
unsigned long long log_suppressed(void);
/* `area` is the module that speaks ("gateway", "arbiter"). The message needs no newline. */
void log_line(enum log_level level, const char *area, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(area, ...) log_line(LOG_LEVEL_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...)  log_line(LOG_LEVEL_WARN, area, __VA_ARGS__)
#define log_info(area, ...)  log_line(LOG_LEVEL_INFO, area, __VA_ARGS__)
#define log_debug(area, ...)                                                                                 \
	do {                                                                                                 \
		if (log_enabled(LOG_LEVEL_DEBUG))                                                            \
			log_line(LOG_LEVEL_DEBUG, area, __VA_ARGS__);                                        \
	} while (0)

#endif
