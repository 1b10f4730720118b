/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file: the embedded store: a state file, a lock beside it, and ledgers beside it.
 *
 *   state.json              the state, replaced whole: temporary file, fsync, rename, fsync of the directory
 *   state.json.lock         held by flock(2) while the store is open; the owner's pid as text
 *   state.NAME.jsonl        a ledger, with its predecessor state.NAME.jsonl.1: see ledger.c
 *
 * All names are used relative to an open directory, so a directory that is moved away takes its files along
 * instead of being half used. Whatever instant the machine stops at, state.json is the old or the new state.
 */
#include "store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static struct file_store *file_of(struct store *store)
{
	return (struct file_store *)store;
}

/* "cannot write /var/lib/phoenix/state.json: No space left on device"; returns err for the caller's return.
 */
int file_complain(struct buf *why, const char *what, const char *path, const char *suffix, int err)
{
	buf_printf(why, "cannot %s %s%s: %s", what, path, suffix, strerror(-err));
	if (err == -ENOSPC || err == -EDQUOT)
		buf_append_str(why, "; free some space, what was stored before is intact");
	else if (err == -EACCES || err == -EPERM || err == -EROFS)
		buf_append_str(
			why,
			"; give the user of this process write access or set state.path to another place");
	return err;
}

int file_write_all(int fd, struct slice data)
{
	while (data.len) {
		ssize_t n = write(fd, data.ptr, data.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data.ptr += n;
		data.len -= (size_t)n;
	}
	return 0;
}

int file_read_all(int fd, size_t max, struct buf *out)
{
	for (;;) {
		if (out->len > max)
			return -EFBIG;
		if (!buf_reserve(out, 65536))
			return -ENOMEM;
		ssize_t n = read(fd, out->data + out->len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		out->len += (size_t)n;
	}
}

/* --- opening --- */

/* mkdir -p, 0750. A directory that is there is left as it is. */
static int make_directories(const char *path)
{
	char copy[FILE_PATH_MAX];
	size_t len = strlen(path);
	if (len >= sizeof(copy))
		return -ENAMETOOLONG;
	memcpy(copy, path, len + 1);
	for (size_t i = 1; i <= len; i++) {
		if (copy[i] != '/' && copy[i] != 0)
			continue;
		char saved = copy[i];
		copy[i] = 0;
		if (mkdir(copy, 0750) && errno != EEXIST)
			return -errno;
		copy[i] = saved;
	}
	return 0;
}

/* "/a/b/state.json" -> directory "/a/b" and name "state.json". */
static int split_path(struct file_store *file, char directory[FILE_PATH_MAX])
{
	const char *slash = strrchr(file->path, '/');
	const char *name = slash ? slash + 1 : file->path;
	size_t directory_len = slash == file->path ? 1 : slash ? (size_t)(slash - file->path) : 1;
	/* The longest name made of it ends in ".<32 bytes>.jsonl.1". */
	if (*name == 0 || strlen(name) > NAME_MAX - 48 || directory_len >= FILE_PATH_MAX)
		return *name ? -ENAMETOOLONG : -EISDIR;
	memcpy(directory, slash ? file->path : ".", directory_len);
	directory[directory_len] = 0;
	file->name = name;
	return 0;
}

static int lock_taken(struct file_store *file, int fd, struct buf *why)
{
	char pid[32] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
	pid[n > 0 ? n : 0] = 0;
	pid[strspn(pid, "0123456789")] = 0;
	buf_printf(why,
		   "the state %s is in use by another process (pid %s); stop that one or set state.path to "
		   "another file",
		   file->path, *pid ? pid : "unknown");
	return -EBUSY;
}

static int take_lock(struct file_store *file, struct buf *why)
{
	char name[NAME_MAX + 1], pid[32];
	snprintf(name, sizeof(name), "%s.lock", file->name);
	int fd = openat(file->directory, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return file_complain(why, "open", file->path, ".lock", -errno);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		int err = errno == EWOULDBLOCK ? lock_taken(file, fd, why)
					       : file_complain(why, "lock", file->path, ".lock", -errno);
		close(fd);
		return err;
	}
	file->lock = fd;
	/* The pid is only for the message above: a full disk must not stop a start. */
	int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)len, 0) != len)
		return 0;
	return 0;
}

static void file_close(struct store *store)
{
	struct file_store *file = file_of(store);
	for (size_t i = 0; i < STORE_LEDGERS_MAX; i++)
		ledger_fini(&file->ledgers[i]);
	if (file->lock >= 0)
		close(file->lock);
	if (file->directory >= 0)
		close(file->directory);
	json_decref(file->tree);
	free(file->path);
	free(file);
}

static void file_yield(struct store *store)
{
	struct file_store *file = file_of(store);
	for (size_t i = 0; i < STORE_LEDGERS_MAX; i++)
		ledger_fini(&file->ledgers[i]);
	close(file->lock);
	file->lock = -1;
}

static int open_directory(struct file_store *file, struct buf *why)
{
	char directory[FILE_PATH_MAX];
	int err = split_path(file, directory);
	if (err)
		return file_complain(why, "use", file->path, "", err);
	err = make_directories(directory);
	if (err)
		return file_complain(why, "create the directory", directory, "", err);
	file->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (file->directory < 0)
		return file_complain(why, "open the directory", directory, "", -errno);
	return 0;
}

/* --- the state --- */

static void temporary_name(const struct file_store *file, char out[NAME_MAX + 1])
{
	snprintf(out, NAME_MAX + 1, "%s.tmp", file->name);
}

static void complain_state(const struct file_store *file, int err, struct buf *complaint, struct buf *why)
{
	if (err == -ENOMEM)
		file_complain(why, "read", file->path, "", err);
	else
		buf_printf(
			why,
			"the state file %s %s; nothing of it was used. Restore it from a backup%s, or move "
			"it away to start afresh (weights then come from the configuration)",
			file->path, buf_cstr(complaint), err == -EPROTO ? ", run the newer version" : "");
}

/* The file's tree and epoch; an empty tree and 0 when there is no file. */
static int read_state(struct file_store *file, json_t **state, uint64_t *epoch, struct buf *why)
{
	struct buf text = {0}, complaint = {0};
	int fd = openat(file->directory, file->name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		json_t *empty = tree_create();
		if (!empty)
			return file_complain(why, "read", file->path, "", -ENOMEM);
		*state = empty;
		*epoch = 0;
		return 0;
	}
	if (fd < 0)
		return file_complain(why, "read", file->path, "", -errno);
	int err = file_read_all(fd, STORE_STATE_BYTES_MAX, &text);
	close(fd);
	if (err) {
		file_complain(why, "read", file->path, "", err);
		goto done;
	}
	if (text.len == 0) {
		buf_append_str(&complaint, "is empty");
		err = -EBADMSG;
	} else {
		err = state_decode(buf_slice(&text), state, epoch, &complaint);
	}
	if (err)
		complain_state(file, err, &complaint, why);
done:
	buf_fini(&text);
	buf_fini(&complaint);
	return err;
}

/* Writes the text to the temporary file, down to the disk. */
static int write_temporary(struct file_store *file, const char *name, struct slice text, struct buf *why)
{
	int fd = openat(file->directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return file_complain(why, "create", file->path, ".tmp", -errno);
	int err = file_write_all(fd, text);
	if (!err && fsync(fd))
		err = -errno;
	if (close(fd) && !err)
		err = -errno;
	return err ? file_complain(why, "write", file->path, ".tmp", err) : 0;
}

static int file_load(struct store *store, struct store_records *out, uint64_t *epoch, struct buf *why)
{
	struct file_store *file = file_of(store);
	json_t *tree;
	struct buf complaint = {0};
	int err = read_state(file, &tree, epoch, why);
	if (err)
		return err;
	err = tree_load(tree, out, &complaint);
	if (err) {
		complain_state(file, err, &complaint, why);
		json_decref(tree);
	} else {
		json_decref(file->tree);
		file->tree = tree;
	}
	buf_fini(&complaint);
	return err;
}

/* Replaces the state file: wholly or not at all. */
static int save(struct file_store *file, const json_t *tree, uint64_t epoch, struct buf *why)
{
	struct buf text = {0};
	char temporary[NAME_MAX + 1];
	temporary_name(file, temporary);
	int err = state_encode(tree, epoch, &text);
	if (!err && text.len > STORE_STATE_BYTES_MAX)
		err = -EFBIG;
	if (err)
		file_complain(why, "write", file->path, "", err);
	else
		err = write_temporary(file, temporary, buf_slice(&text), why);
	if (!err && renameat(file->directory, temporary, file->directory, file->name))
		err = file_complain(why, "replace", file->path, "", -errno);
	else if (!err && fsync(file->directory))
		/* The new state is in place, but perhaps not after a power cut: the caller may try again. */
		err = file_complain(why, "sync the directory of", file->path, "", -errno);
	if (err)
		unlinkat(file->directory, temporary, 0);
	buf_fini(&text);
	return err;
}

static int file_write(struct store *store, struct store_write *writes, size_t count, uint64_t fence,
		      uint64_t *epoch, struct buf *why)
{
	struct file_store *file = file_of(store);
	json_t *next;
	int err = tree_write(file->tree, writes, count, fence, *epoch + 1, &next, why);
	if (err)
		return err;
	err = save(file, next, *epoch + 1, why);
	if (err) {
		json_decref(next);
		return err;
	}
	json_decref(file->tree);
	file->tree = next;
	++*epoch;
	return 0;
}

int store_file_replace(struct store *store, const json_t *tree, uint64_t epoch, struct buf *why)
{
	return store->yielded ? -EROFS : save(file_of(store), tree, epoch, why);
}

/* What the other one stored meanwhile is the state now; when it cannot be read, all writes would be blind. */
static int file_regain(struct store *store, struct buf *why)
{
	struct file_store *file = file_of(store);
	json_t *tree;
	int err = take_lock(file, why);
	if (!err && file->tree && !(err = read_state(file, &tree, &store->epoch, why))) {
		json_decref(file->tree);
		file->tree = tree;
	}
	if (err && file->lock >= 0) {
		close(file->lock);
		file->lock = -1;
	}
	return err;
}

/* --- ledgers --- */

static struct ledger *find_ledger(struct file_store *file, const char *name, struct buf *why)
{
	for (size_t i = 0; i < STORE_LEDGERS_MAX; i++) {
		struct ledger *ledger = &file->ledgers[i];
		if (!ledger->name[0])
			ledger_init(ledger, name);
		if (strcmp(ledger->name, name) == 0)
			return ledger;
	}
	buf_printf(why, "there are %d ledgers already", STORE_LEDGERS_MAX);
	return NULL;
}

static int file_append(struct store *store, const char *name, const json_t *record, struct buf *why)
{
	struct ledger *ledger = find_ledger(file_of(store), name, why);
	return ledger ? ledger_append(file_of(store), ledger, record, why) : -ENOSPC;
}

int store_file_append_all(struct store *store, const char *name, const json_t *records, struct buf *why)
{
	if (store->yielded) {
		buf_append_str(why, "another process has the state file");
		return -EROFS;
	}
	return file_append(store, name, records, why);
}

static int file_read_tail(struct store *store, const char *name, size_t max, json_t **records,
			  size_t *unreadable, struct buf *why)
{
	return ledger_read_tail(file_of(store), name, max, records, unreadable, why);
}

static const struct store_ops file_ops = {
	.load = file_load,
	.write = file_write,
	.append = file_append,
	.read_tail = file_read_tail,
	.yield = file_yield,
	.regain = file_regain,
	.close = file_close,
};

int store_file_open(const char *path, struct store **out, struct buf *why)
{
	char temporary[NAME_MAX + 1];
	struct file_store *file = calloc(1, sizeof(*file));
	if (!file)
		return file_complain(why, "open", path, "", -ENOMEM);
	file->store.ops = &file_ops;
	file->directory = file->lock = -1;
	file->path = strdup(path);
	int err = file->path ? open_directory(file, why) : file_complain(why, "open", path, "", -ENOMEM);
	if (!err)
		err = take_lock(file, why);
	if (err) {
		file_close(&file->store);
		return err;
	}
	/* What a stop between write and rename left behind; the lock says that nobody is writing it. */
	temporary_name(file, temporary);
	unlinkat(file->directory, temporary, 0);
	*out = &file->store;
	return 0;
}
