/* SPDX-License-Identifier: Apache-2.0 */
/* log: see log.h. */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

#define SITES 64 /* places that are limited; what finds no room is not */

/* What one place said lately. A place is a format and an area: both are literals. */
struct site {
	const char *format, *area;
	enum log_level level;
	uint64_t window_ns; /* when it began */
	unsigned lines, left_out;
};

static enum log_level threshold = LOG_LEVEL_INFO;
static enum log_format shape = LOG_FORMAT_TEXT;
static struct site sites[SITES];
static pthread_mutex_t sites_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long long suppressed;

/* Is stderr the stream that journald gave us? JOURNAL_STREAM=DEVICE:INODE, systemd.exec(5). */
static bool is_journal(void)
{
	const char *named = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;
	return named && sscanf(named, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

void log_setup(enum log_level level, enum log_format format)
{
	threshold = level;
	if (format != LOG_FORMAT_JSON && is_journal())
		format = LOG_FORMAT_JOURNAL;
	if (format == LOG_FORMAT_AUTO)
		format = isatty(STDERR_FILENO) ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
	shape = format;
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

static void write_line(enum log_level level, const char *area, char *message)
{
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
	} else if (shape == LOG_FORMAT_JOURNAL) {
		buf_printf(&line, "<%d>%s: %s\n", levels[level].priority, area, message);
	} else {
		buf_printf(&line, "%s %-5s %s: %s\n", when, levels[level].word, area, message);
	}
	if (line.data && write(STDERR_FILENO, line.data, line.len) < 0) {
		/* Nobody is left to tell. */
	}
	buf_fini(&line);
}

static void tell_left_out(const struct site *site)
{
	char message[160];
	snprintf(message, sizeof(message), "%u more lines like \"%.60s\" were left out", site->left_out,
		 site->format);
	write_line(site->level, site->area, message);
}

/* The place's entry; a new one in the place of one whose window is over; NULL when there is no room. */
static struct site *site_of(const char *format, const char *area, uint64_t now_ns)
{
	struct site *free_one = NULL;
	for (unsigned i = 0; i < SITES; i++) {
		struct site *site = &sites[i];
		if (site->format == format && site->area == area)
			return site;
		if (!free_one && !site->left_out &&
		    (!site->format || now_ns - site->window_ns >= LOG_WINDOW_MS * NS_PER_MS))
			free_one = site;
	}
	if (free_one)
		*free_one = (struct site){.format = format, .area = area, .window_ns = now_ns};
	return free_one;
}

/* One more line of this place: true when it may be written. What was left out before is put into *before. */
static bool may_say(enum log_level level, const char *area, const char *format, struct site *before)
{
	uint64_t now_ns = clock_now_ns();
	bool may = true;
	pthread_mutex_lock(&sites_lock);
	struct site *site = site_of(format, area, now_ns);
	if (site) {
		site->level = level;
		if (now_ns - site->window_ns >= LOG_WINDOW_MS * NS_PER_MS) {
			*before = *site;
			site->window_ns = now_ns;
			site->lines = site->left_out = 0;
		}
		may = site->lines < LOG_BURST;
		site->lines += may;
		site->left_out += !may;
		suppressed += !may;
	}
	pthread_mutex_unlock(&sites_lock);
	return may;
}

void log_flush(void)
{
	struct site over[SITES];
	unsigned count = 0;
	uint64_t now_ns = clock_now_ns();
	pthread_mutex_lock(&sites_lock);
	for (unsigned i = 0; i < SITES; i++) {
		if (!sites[i].left_out || now_ns - sites[i].window_ns < LOG_WINDOW_MS * NS_PER_MS)
			continue;
		over[count++] = sites[i];
		sites[i] = (struct site){0};
	}
	pthread_mutex_unlock(&sites_lock);
	for (unsigned i = 0; i < count; i++)
		tell_left_out(&over[i]);
}

unsigned long long log_suppressed(void)
{
	pthread_mutex_lock(&sites_lock);
	unsigned long long count = suppressed;
	pthread_mutex_unlock(&sites_lock);
	return count;
}

void log_line(enum log_level level, const char *area, const char *format, ...)
{
	struct site before = {0};
	if (level > threshold || !may_say(level, area, format, &before))
		return;
	if (before.left_out)
		tell_left_out(&before);
	char message[2048];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	write_line(level, area, message);
}
