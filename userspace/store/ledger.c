/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger: append-only files of one JSON object a line, beside the state file: state.decisions.jsonl.
 *
 * A record is one write and one fdatasync. A write that fails half-way is taken back by truncation; a line
 * that a crash cut off is ended with a newline by the next append and skipped by readers, so no record is
 * ever glued to a cut one. Past its limit a ledger becomes "….1" in the place of the one before.
 */
#include "store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void ledger_init(struct ledger *ledger, const char *name)
{
	snprintf(ledger->name, sizeof(ledger->name), "%s", name);
	ledger->fd = -1;
	ledger->bytes = 0;
}

void ledger_fini(struct ledger *ledger)
{
	if (ledger->name[0] && ledger->fd >= 0)
		close(ledger->fd);
	*ledger = (struct ledger){0};
}

/* "state.json" and "decisions" -> "state.decisions.jsonl"; two states in one directory do not mix. */
static void file_name(const struct file_store *file, const char *name, bool old, char out[NAME_MAX + 1])
{
	const char *dot = strrchr(file->name, '.');
	int stem = dot && dot != file->name ? (int)(dot - file->name) : (int)strlen(file->name);
	snprintf(out, NAME_MAX + 1, "%.*s.%s.jsonl%s", stem, file->name, name, old ? ".1" : "");
}

static int complain(struct buf *why, const char *what, const struct file_store *file, const char *name,
		    int err)
{
	char suffix[LEDGER_NAME_SIZE + 16];
	snprintf(suffix, sizeof(suffix), " (ledger %s)", name);
	return file_complain(why, what, file->path, suffix, err);
}

static int open_ledger(struct file_store *file, struct ledger *ledger, struct buf *why)
{
	char name[NAME_MAX + 1], last;
	struct stat info;
	if (ledger->fd >= 0)
		return 0;
	file_name(file, ledger->name, false, name);
	int fd = openat(file->directory, name, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return complain(why, "open", file, ledger->name, -errno);
	int err = fstat(fd, &info) ? -errno : 0;
	if (!err && info.st_size && pread(fd, &last, 1, info.st_size - 1) == 1 && last != '\n') {
		err = file_write_all(fd, SLICE("\n"));
		info.st_size++;
	}
	/* A new file must still be there after a power cut, like the record that comes next. */
	if (!err && info.st_size == 0 && fsync(file->directory))
		err = -errno;
	if (err) {
		close(fd);
		return complain(why, "open", file, ledger->name, err);
	}
	ledger->fd = fd;
	ledger->bytes = (size_t)info.st_size;
	return 0;
}

/* The full ledger becomes the old one; the next append begins a new one. */
static int rotate(struct file_store *file, struct ledger *ledger, struct buf *why)
{
	char name[NAME_MAX + 1], old[NAME_MAX + 1];
	file_name(file, ledger->name, false, name);
	file_name(file, ledger->name, true, old);
	/* Somebody may have moved it away already. */
	if (renameat(file->directory, name, file->directory, old) && errno != ENOENT)
		return complain(why, "rotate", file, ledger->name, -errno);
	close(ledger->fd);
	ledger->fd = -1;
	return open_ledger(file, ledger, why);
}

static int dump_line(const char *data, size_t len, void *buf)
{
	buf_append(buf, data, len);
	return ((struct buf *)buf)->failed ? -1 : 0;
}

/* A record, or each of an array of them, is a line. */
static int dump_lines(const json_t *record, struct buf *out)
{
	json_t *one;
	size_t i;
	if (!json_is_array(record)) {
		int err = json_dump_callback(record, dump_line, out, JSON_COMPACT);
		buf_append_char(out, '\n');
		return err;
	}
	json_array_foreach(record, i, one)
	{
		if (dump_lines(one, out))
			return -1;
	}
	return 0;
}

int ledger_append(struct file_store *file, struct ledger *ledger, const json_t *record, struct buf *why)
{
	struct buf line = {.max = json_is_array(record) ? STORE_LEDGER_BYTES_MAX : STORE_RECORD_BYTES_MAX};
	int err = dump_lines(record, &line) ? -E2BIG : 0;
	if (err || line.failed) {
		buf_printf(why, "a record of the ledger %s is larger than %u bytes", ledger->name,
			   STORE_RECORD_BYTES_MAX);
		err = -E2BIG;
		goto done;
	}
	err = open_ledger(file, ledger, why);
	if (!err && ledger->bytes && ledger->bytes + line.len > STORE_LEDGER_BYTES_MAX)
		err = rotate(file, ledger, why);
	if (err)
		goto done;
	err = file_write_all(ledger->fd, buf_slice(&line));
	if (!err && fdatasync(ledger->fd))
		err = -errno;
	if (err) {
		/* Takes a half-written line back; should that fail too, the file is opened (and mended) anew.
		 */
		if (ftruncate(ledger->fd, (off_t)ledger->bytes)) {
			close(ledger->fd);
			ledger->fd = -1;
		}
		complain(why, "append to", file, ledger->name, err);
		goto done;
	}
	ledger->bytes += line.len;
done:
	buf_fini(&line);
	return err;
}

/* The whole text of a ledger file; nothing when it is not there. */
static int read_file(struct file_store *file, const char *name, bool old, struct buf *text, struct buf *why)
{
	char path[NAME_MAX + 1];
	file_name(file, name, old, path);
	int fd = openat(file->directory, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : complain(why, "read", file, name, -errno);
	int err = file_read_all(fd, STORE_LEDGER_BYTES_MAX + STORE_RECORD_BYTES_MAX, text);
	close(fd);
	return err ? complain(why, "read", file, name, err) : 0;
}

/* Takes lines off the end of the text until `records` (newest first) holds max. */
static int take_lines(struct slice text, size_t max, json_t *records, size_t *unreadable)
{
	while (text.len && json_array_size(records) < max) {
		bool whole = text.ptr[text.len - 1] == '\n';
		size_t end = text.len - whole;
		const char *before = end ? memrchr(text.ptr, '\n', end) : NULL;
		size_t start = before ? (size_t)(before - text.ptr) + 1 : 0;
		json_error_t error;
		json_t *record = json_loadb(text.ptr + start, end - start, JSON_ALLOW_NUL, &error);
		text.len = start;
		if (!record && end > start && json_error_code(&error) == json_error_out_of_memory)
			return -ENOMEM;
		if (!json_is_object(record)) {
			*unreadable += 1;
			json_decref(record);
		} else if (json_array_append_new(records, record)) {
			return -ENOMEM;
		}
	}
	return 0;
}

static void reverse(json_t *records)
{
	size_t count = json_array_size(records);
	for (size_t i = 0; i < count / 2; i++) {
		json_t *first = json_incref(json_array_get(records, i));
		json_t *last = json_incref(json_array_get(records, count - 1 - i));
		json_array_set_new(records, i, last);
		json_array_set_new(records, count - 1 - i, first);
	}
}

int ledger_read_tail(struct file_store *file, const char *name, size_t max, json_t **records,
		     size_t *unreadable, struct buf *why)
{
	struct buf text = {0};
	json_t *found = json_array();
	size_t bad = 0;
	int err = found ? 0 : complain(why, "read", file, name, -ENOMEM);
	for (int old = 0; !err && old <= 1 && json_array_size(found) < max; old++) {
		buf_reset(&text);
		err = read_file(file, name, old, &text, why);
		if (!err && (err = take_lines(buf_slice(&text), max, found, &bad)))
			complain(why, "read", file, name, err);
	}
	buf_fini(&text);
	if (err) {
		json_decref(found);
		return err;
	}
	reverse(found);
	*records = found;
	*unreadable = bad;
	return 0;
}
