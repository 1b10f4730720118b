/* SPDX-License-Identifier: Apache-2.0 */
/* store: what was saved comes back, what is damaged is refused, and no failure harms what was there. */
#include "test_store_support.h"

#define FORMAT_1_SUM "5cd3f34fee8cce40"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *in_directory(const char *name)
{
	static char path[400];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static int open_path(const char *path, struct store **out)
{
	struct state_config config = {.kind = STORE_FILE, .path = (char *)path};
	return store_open(&config, "test:1", out, &why);
}

static struct store *open_file(void)
{
	struct store *store = NULL;
	CHECK_MSG(open_path(state_path, &store) == 0, "%s", buf_cstr(&why));
	return store;
}

static void write_text(const char *path, const char *text, size_t len)
{
	FILE *file = fopen(path, "w");
	CHECK(file && fwrite(text, 1, len, file) == len && fclose(file) == 0);
}

static size_t read_text(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "r");
	size_t len = file ? fread(text, 1, size - 1, file) : 0;
	if (file)
		fclose(file);
	text[len] = 0;
	return len;
}

static uint64_t number_epoch; /* of the record that the next two have to do with */

/* Saves {"n": n} and says what the call said. */
static int save_number(struct store *store, int n)
{
	json_t *value = json_pack("{s:i}", "n", n);
	struct store_write write = {
		.section = STORE_ROUTES, .id = "n", .value = value, .expected = number_epoch};
	buf_reset(&why);
	int err = store_write(store, &write, 1, 0, &why);
	if (!err)
		number_epoch = write.epoch;
	store_writes_fini(&write, 1);
	json_decref(value);
	return err;
}

/* What {"n": …} holds; -1 when there is none, the error when the state is refused. */
static int load_number(struct store *store)
{
	struct store_records records = {0};
	buf_reset(&why);
	int err = store_load(store, &records, &why);
	if (err) {
		CHECK(records.count == 0);
		return err;
	}
	int value = -1;
	number_epoch = 0;
	for (size_t i = 0; i < records.count; i++) {
		CHECK_STR(records.items[i].id, "n");
		value = (int)json_integer_value(json_object_get(records.items[i].value, "n"));
		number_epoch = records.items[i].epoch;
	}
	store_records_fini(&records);
	return value;
}

TEST(file_survives_reopening)
{
	begin();
	struct store *store = open_file();
	load_number(store);
	CHECK_INT(save_number(store, 1), 0);
	CHECK_INT(append_number(store, "decisions", 7), 0);
	uint64_t epoch = store_epoch(store);
	store_close(store);
	store = open_file();
	CHECK_INT(load_number(store), 1);
	CHECK(store_epoch(store) == epoch && number_epoch == epoch);
	check_tail(store, "decisions", 5, 7, 7, 0);
	store_close(store);
	end();
}

TEST(missing_directory_is_created)
{
	struct stat info;
	begin();
	snprintf(state_path, sizeof(state_path), "%s/a/b/state.json", directory);
	struct store *store = open_file();
	CHECK_INT(load_number(store), -1);
	CHECK_INT(save_number(store, 1), 0);
	CHECK_INT(stat(in_directory("a/b"), &info), 0);
	CHECK_INT(info.st_mode & 0027, 0);
	store_close(store);
	/* A file where a directory is needed. */
	snprintf(state_path, sizeof(state_path), "%s/a/b/state.json/x.json", directory);
	buf_reset(&why);
	CHECK_INT(open_path(state_path, &store), -ENOTDIR);
	CHECK(strstr(buf_cstr(&why), "Not a directory") != NULL);
	end();
}

TEST(second_owner_is_refused)
{
	char pid[40];
	begin();
	struct store *first = open_file(), *second = NULL;
	buf_reset(&why);
	CHECK_INT(open_path(state_path, &second), -EBUSY);
	CHECK(second == NULL);
	snprintf(pid, sizeof(pid), "(pid %ld)", (long)getpid());
	CHECK_MSG(strstr(buf_cstr(&why), pid) != NULL, "%s", buf_cstr(&why));
	CHECK(strstr(buf_cstr(&why), state_path) != NULL);
	/* Another state in the same directory is nobody's business. */
	char other[340];
	snprintf(other, sizeof(other), "%s/other.json", directory);
	CHECK_INT(open_path(other, &second), 0);
	CHECK_INT(append_number(first, "decisions", 1), 0);
	check_tail(second, "decisions", 9, 0, -1, 0);
	store_close(second);
	store_close(first);
	first = open_file();
	store_close(first);
	end();
}

/* A takeover: the next process opens what this one has yielded; one that fails gives it back. */
TEST(yielded_to_another_owner)
{
	begin();
	struct store *old = open_file(), *next = NULL;
	CHECK_INT(load_number(old), -1);
	CHECK_INT(save_number(old, 1), 0);
	CHECK_INT(append_number(old, "audit", 1), 0);
	uint64_t old_epoch = number_epoch;
	store_yield(old);
	CHECK_INT(save_number(old, 2), -EROFS);
	CHECK(strstr(buf_cstr(&why), "another daemon"));
	CHECK_INT(append_number(old, "audit", 2), -EROFS);
	CHECK(strstr(buf_cstr(&why), "another daemon"));
	CHECK_INT(open_path(state_path, &next), 0);
	CHECK_INT(load_number(next), 1);
	CHECK_INT(save_number(next, 2), 0);
	buf_reset(&why);
	CHECK_INT(store_regain(old, &why), -EBUSY);
	store_close(next);
	CHECK_INT(store_regain(old, &why), 0);
	CHECK_INT(store_regain(old, &why), 0);
	/* What the other one wrote is not overwritten unseen. */
	number_epoch = old_epoch;
	CHECK_INT(save_number(old, 3), -ESTALE);
	CHECK_INT(load_number(old), 2);
	CHECK_INT(save_number(old, 3), 0);
	CHECK_INT(append_number(old, "audit", 1), 0);
	CHECK_INT(load_number(old), 3);
	CHECK_INT(store_epoch(old), 3);
	/* A state that the other one left damaged stops all writes, and what it was stays there. */
	store_yield(old);
	write_text(state_path, "garbage", 7);
	CHECK_INT(store_regain(old, &why), -EBADMSG);
	CHECK_INT(save_number(old, 4), -EROFS);
	CHECK_INT(unlink(state_path), 0);
	CHECK_INT(store_regain(old, &why), 0);
	store_close(old);
	end();
}

/* What the version before wrote: one record a route, with two parts. */
TEST(format_1_is_read)
{
	static const char *const ids[] = {"split", "a", "b", "b"};
	static const enum store_section sections[] = {STORE_SPLIT, STORE_ROUTES, STORE_ROUTES,
						      STORE_DEFINITIONS};
	const char *text = "{\"format\":1,\"epoch\":3,\"checksum\":\"" FORMAT_1_SUM "\",\"state\":\n"
			   "{\"routes\":{\"a\":{\"migration\":{\"weight_bp\":3000}},\"b\":{\"migration\":"
			   "{\"weight_bp\":0},\"override\":{\"config\":null,\"file\":\"x\"}}},"
			   "\"split\":{\"key\":\"00\",\"seed\":\"11\"}}\n}\n";
	struct store_records records = {0};
	begin();
	write_text(state_path, text, strlen(text));
	struct store *store = open_file();
	CHECK_MSG(store_load(store, &records, &why) == 0, "%s", buf_cstr(&why));
	CHECK_INT(records.count, 4);
	for (size_t i = 0; i < records.count && i < 4; i++) {
		CHECK_STR(records.items[i].id, ids[i]);
		CHECK_INT(records.items[i].section, sections[i]);
	}
	CHECK_INT(json_integer_value(json_object_get(records.items[1].value, "weight_bp")), 3000);
	CHECK_INT(store_epoch(store), 3);
	store_records_fini(&records);
	store_close(store);
	end();
}

TEST(owner_that_dies_leaves_no_lock)
{
	begin();
	int ready[2];
	CHECK_INT(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		struct store *store = NULL;
		char c = open_path(state_path, &store) == 0 ? '+' : '-';
		if (write(ready[1], &c, 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	char c = 0;
	CHECK_INT(read(ready[0], &c, 1), 1);
	CHECK_INT(c, '+');
	struct store *store = NULL;
	char pid[40];
	CHECK_INT(open_path(state_path, &store), -EBUSY);
	snprintf(pid, sizeof(pid), "(pid %ld)", (long)child);
	CHECK_MSG(strstr(buf_cstr(&why), pid) != NULL, "%s", buf_cstr(&why));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	store = open_file();
	store_close(store);
	end();
}

/* Puts `text` in the state's place and expects the refusal, and that a save does not overwrite it. */
static void check_refused(const char *text, size_t len, int err, const char *part)
{
	char after[65536];
	write_text(state_path, text, len);
	struct store *store = open_file();
	CHECK_INT(load_number(store), err);
	CHECK_MSG(strstr(buf_cstr(&why), part) != NULL, "wanted \"%s\" in: %s", part, buf_cstr(&why));
	CHECK_MSG(strstr(buf_cstr(&why), state_path) != NULL, "%s", buf_cstr(&why));
	CHECK_MSG(strstr(buf_cstr(&why), "move it away to start afresh") != NULL, "%s", buf_cstr(&why));
	CHECK_INT(save_number(store, 1), -EPERM);
	CHECK_INT(read_text(state_path, after, sizeof(after)), len);
	CHECK(memcmp(after, text, len) == 0);
	store_close(store);
}

TEST(damaged_states_are_refused)
{
	static const struct {
		const char *text;
		int err;
		const char *part;
	} rows[] = {
		{"", -EBADMSG, "is empty"},
		{"\n", -EBADMSG, "is cut or damaged: line 2"},
		{"garbage", -EBADMSG, "is cut or damaged: line 1"},
		{"[]", -EBADMSG, "is no Phoenix state"},
		{"{}", -EBADMSG, "is no Phoenix state"},
		{"{\"routes\": {}}", -EBADMSG, "is no Phoenix state"},
		{"{\"format\":3}", -EPROTO, "has format 3, this program knows formats up to 2"},
		{"{\"format\":99,\"epoch\":1,\"checksum\":\"\",\"state\":{}}", -EPROTO, "a newer version"},
		{"{\"format\":1}", -EBADMSG, "is damaged: \"format\""},
		{"{\"format\":0,\"epoch\":1,\"checksum\":\"\",\"state\":{}}", -EBADMSG, "is damaged"},
		{"{\"format\":1,\"epoch\":1,\"state\":{}}", -EBADMSG, "is damaged"},
		{"{\"format\":1,\"epoch\":-1,\"checksum\":\"\",\"state\":{}}", -EBADMSG, "is damaged"},
		{"{\"format\":1,\"epoch\":1,\"checksum\":\"\",\"state\":[]}", -EBADMSG, "is damaged"},
		{"{\"format\":1,\"epoch\":1,\"checksum\":\"0123456789abcdef\",\"state\":{}}", -EBADMSG,
		 "its checksum is 0123456789abcdef"},
		{"{\"format\":1,\"format\":1,\"epoch\":1,\"checksum\":\"\",\"state\":{}}", -EBADMSG,
		 "duplicate"},
	};
	begin();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_refused(rows[i].text, strlen(rows[i].text), rows[i].err, rows[i].part);
	end();
}

TEST(every_cut_and_every_flipped_byte_is_refused)
{
	static char good[4096], bad[4096];
	begin();
	struct store *store = open_file();
	load_number(store);
	save_number(store, 123456);
	store_close(store);
	size_t len = read_text(state_path, good, sizeof(good));
	CHECK(len > 60);
	/* The last two bytes are "}" and a newline; without the newline it is whole. */
	for (size_t cut = 0; cut < len - 1; cut++)
		check_refused(good, cut, -EBADMSG, cut ? "is cut or damaged" : "is empty");
	for (size_t i = 0; i < len; i++) {
		memcpy(bad, good, len);
		bad[i] ^= 1;
		check_refused(bad, len, bad[i] == '3' && bad[i - 2] == '"' && i < 15 ? -EPROTO : -EBADMSG,
			      " ");
	}
	/* Another layout of the same content is the same content. */
	json_t *file = json_loadb(good, len, 0, NULL);
	CHECK_INT(json_dump_file(file, state_path, JSON_INDENT(4)), 0);
	json_decref(file);
	store = open_file();
	CHECK_INT(load_number(store), 123456);
	store_close(store);
	end();
}

TEST(stop_between_write_and_rename)
{
	begin();
	struct store *store = open_file();
	load_number(store);
	save_number(store, 1);
	store_close(store);
	/* Half a new state, as a power cut leaves it. */
	write_text(in_directory("state.json.tmp"), "{\"format\":1,\"ep", 15);
	store = open_file();
	CHECK(access(in_directory("state.json.tmp"), F_OK) != 0);
	CHECK_INT(load_number(store), 1);
	CHECK_INT(save_number(store, 2), 0);
	CHECK_INT(load_number(store), 2);
	store_close(store);
	end();
}

TEST(killed_while_saving)
{
	begin();
	struct store *store = NULL;
	for (int round = 0; round < 20; round++) {
		pid_t child = fork();
		if (child == 0) {
			if (open_path(state_path, &store))
				_exit(1);
			int n = load_number(store);
			for (;;) {
				if (save_number(store, ++n) || append_number(store, "decisions", n))
					_exit(2);
			}
		}
		usleep(3000 + 1000 * (unsigned)round);
		int status = 0;
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		CHECK(WIFSIGNALED(status));
		store = open_file();
		int n = load_number(store);
		CHECK_MSG(n >= -1, "%s", buf_cstr(&why));
		CHECK_INT(store_epoch(store), n < 0 ? 0 : n + 1);
		store_close(store);
	}
	end();
}

/* A limit on file sizes makes a write fail half-way, like a full disk, without being root. */
static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
	signal(SIGXFSZ, SIG_IGN);
	CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

TEST(failed_write_keeps_the_old_state)
{
	begin();
	struct store *store = open_file();
	load_number(store);
	CHECK_INT(save_number(store, 1), 0);
	CHECK_INT(append_number(store, "decisions", 1), 0);
	limit_file_size(50);
	CHECK_INT(save_number(store, 2), -EFBIG);
	CHECK_MSG(strstr(buf_cstr(&why), "state.json.tmp: File too large") != NULL, "%s", buf_cstr(&why));
	CHECK(access(in_directory("state.json.tmp"), F_OK) != 0);
	limit_file_size(12);
	CHECK_INT(append_number(store, "decisions", 2), -EFBIG);
	limit_file_size(RLIM_INFINITY);
	CHECK_INT(store_epoch(store), 1);
	CHECK_INT(load_number(store), 1);
	/* The half-written record was taken back. */
	check_tail(store, "decisions", 9, 1, 1, 0);
	CHECK_INT(append_number(store, "decisions", 2), 0);
	check_tail(store, "decisions", 9, 1, 2, 0);
	CHECK_INT(save_number(store, 2), 0);
	CHECK_INT(load_number(store), 2);
	store_close(store);
	end();
}

/* In namespaces of its own: a disk of 64 KiB, filled up. Exit status 0 = fine, 77 = not possible here. */
static int on_full_disk(void)
{
	char zeros[4096] = {0};
	unsigned long failures = unit_failures;
	if (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", directory, "tmpfs", 0, "size=64k,mode=0777"))
		return 77;
	struct store *store = open_file();
	load_number(store);
	save_number(store, 1);
	append_number(store, "decisions", 1);
	int fd = open(in_directory("filler"), O_WRONLY | O_CREAT, 0600);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	close(fd);
	CHECK_INT(save_number(store, 2), -ENOSPC);
	CHECK_MSG(strstr(buf_cstr(&why), "free some space") != NULL, "%s", buf_cstr(&why));
	CHECK_INT(load_number(store), 1);
	CHECK_INT(append_number(store, "audit", 1), -ENOSPC);
	check_tail(store, "decisions", 9, 1, 1, 0);
	unlink(in_directory("filler"));
	CHECK_INT(save_number(store, 2), 0);
	CHECK_INT(load_number(store), 2);
	CHECK_INT(append_number(store, "audit", 1), 0);
	check_tail(store, "audit", 9, 1, 1, 0);
	store_close(store);
	buf_fini(&why);
	return unit_failures != failures;
}

TEST(full_disk)
{
	begin();
	pid_t child = fork();
	if (child == 0)
		_exit(on_full_disk());
	int status = 0;
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status));
	CHECK(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77);
	if (WEXITSTATUS(status) == 77)
		printf("# full_disk: 1 part skipped, a tmpfs cannot be mounted here\n");
	end();
}

TEST(directory_without_write_access)
{
	begin();
	/* root may write anywhere: a child gives that up first. */
	pid_t child = fork();
	if (child == 0) {
		struct store *store = NULL;
		unsigned long failures = unit_failures;
		if (chmod(directory, 0555) || (geteuid() == 0 && (setgid(65534) || setuid(65534))))
			_exit(77);
		CHECK_INT(open_path(state_path, &store), -EACCES);
		CHECK_MSG(strstr(buf_cstr(&why), "set state.path to another place") != NULL, "%s",
			  buf_cstr(&why));
		buf_fini(&why);
		_exit(unit_failures != failures);
	}
	int status = 0;
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), 0);
	chmod(directory, 0755);
	end();
}

TEST(cut_last_line_of_a_ledger)
{
	begin();
	struct store *store = open_file();
	for (int i = 0; i < 3; i++)
		append_number(store, "decisions", i);
	store_close(store);
	FILE *file = fopen(in_directory("state.decisions.jsonl"), "a");
	CHECK(file && fputs("{\"n\": 3, \"cu", file) >= 0 && fclose(file) == 0);
	store = open_file();
	check_tail(store, "decisions", 9, 0, 2, 1);
	CHECK_INT(append_number(store, "decisions", 3), 0);
	check_tail(store, "decisions", 9, 0, 3, 1);
	check_tail(store, "decisions", 1, 3, 3, 0);
	store_close(store);
	end();
}

TEST(ledger_rotates)
{
	struct stat info;
	begin();
	struct store *store = open_file();
	char *filling = malloc(1000001);
	memset(filling, 'x', 1000000);
	filling[1000000] = 0;
	for (int i = 0; i < 20; i++) {
		json_t *record = json_pack("{s:i, s:s}", "n", i, "filling", filling);
		CHECK_INT(store_append(store, "decisions", record, &why), 0);
		json_decref(record);
	}
	/* Eight a file: 0..7 are gone, 8..15 are the old one, 16..19 the current one. */
	check_tail(store, "decisions", 100, 8, 19, 0);
	check_tail(store, "decisions", 6, 14, 19, 0);
	CHECK_INT(stat(in_directory("state.decisions.jsonl.1"), &info), 0);
	CHECK(info.st_size <= STORE_LEDGER_BYTES_MAX);
	/* Reopened, it goes on counting where it was. */
	store_close(store);
	store = open_file();
	check_tail(store, "decisions", 100, 8, 19, 0);
	CHECK_INT(append_number(store, "decisions", 20), 0);
	check_tail(store, "decisions", 100, 8, 20, 0);
	/* Moved away by somebody: a new one begins. */
	CHECK_INT(unlink(in_directory("state.decisions.jsonl.1")), 0);
	check_tail(store, "decisions", 100, 16, 20, 0);
	char *large = malloc(STORE_RECORD_BYTES_MAX + 1);
	memset(large, 'y', STORE_RECORD_BYTES_MAX);
	large[STORE_RECORD_BYTES_MAX] = 0;
	json_t *record = json_pack("{s:s}", "large", large);
	CHECK_INT(store_append(store, "decisions", record, &why), -E2BIG);
	json_decref(record);
	check_tail(store, "decisions", 1, 20, 20, 0);
	store_close(store);
	free(filling);
	free(large);
	end();
}

UNIT_MAIN
