/* SPDX-License-Identifier: Apache-2.0 */
/* log: see log.h. Under journald (JOURNAL_STREAM set) text lines carry the <N> priority of sd-daemon(3). */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct {
	const char *word;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", 3},
	[LOG_LEVEL_WARN] = {"warn", 4},
	[LOG_LEVEL_INFO] = {"info", 6},
	[LOG_LEVEL_DEBUG] = {"debug", 7},
};

static enum log_level threshold = LOG_LEVEL_INFO;
static enum log_format shape = LOG_FORMAT_TEXT;
static bool journald;

void log_setup(enum log_level level, enum log_format format)
{
	threshold = level;
	shape = format;
	journald = getenv("JOURNAL_STREAM") != NULL;
}

int log_level_parse(const char *word, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(levels[i].word, word) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool log_enabled(enum log_level level)
{
	return level <= threshold;
}

void log_line(enum log_level level, const char *area, const char *format, ...)
{
	if (level > threshold)
		return;
	char message[2048];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	for (char *c = message; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	}
	char when[CLOCK_RFC3339_SIZE];
	clock_rfc3339(clock_wall_ns(), when);
	struct buf line = {0};
	if (shape == LOG_FORMAT_JSON) {
		buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"area\":\"%s\",\"message\":", when,
			   levels[level].word, area);
		buf_append_json(&line, slice_str(message));
		buf_append_str(&line, "}\n");
	} else if (journald) {
		buf_printf(&line, "<%d>%s: %s\n", levels[level].priority, area, message);
	} else {
		buf_printf(&line, "%s %-5s %s: %s\n", when, levels[level].word, area, message);
	}
	if (line.data && write(STDERR_FILENO, line.data, line.len) < 0) {
		/* Nobody is left to tell. */
	}
	buf_fini(&line);
}
