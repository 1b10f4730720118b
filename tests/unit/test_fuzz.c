/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The corpora of the fuzz targets (tests/fuzz/corpus/NAME), replayed: every input that once taught a fuzzer
 * something, and every one that once broke something. One counted test a target.
 *
 *	test_fuzz                       all targets, all corpora
 *	test_fuzz NAME FILE|FOLDER...   one target on these inputs: a crash that `make fuzz` left
 */
#include "../fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define CORPUS "tests/fuzz/corpus"

struct fuzz_target *fuzz_first;
unsigned long fuzz_checks;

static const char *replaying = "nothing yet";

static void say_what(int signal_number)
{
	static const char before[] = "\nwhile replaying ", after[] = "\n";
	if (write(STDERR_FILENO, before, sizeof(before) - 1) < 0 ||
	    write(STDERR_FILENO, replaying, strlen(replaying)) < 0 ||
	    write(STDERR_FILENO, after, sizeof(after) - 1) < 0)
		_exit(3);
}

/* The sanitizers end the program without a signal, but tell before. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void on_death(void)
{
	say_what(0);
}

static int replay_file(const struct fuzz_target *target, const char *path)
{
	FILE *file = fopen(path, "rb");
	struct stat info;
	if (!file || fstat(fileno(file), &info)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		if (file)
			fclose(file);
		return -1;
	}
	size_t size = (size_t)info.st_size;
	char *bytes = malloc(size ? size : 1);
	size_t got = fread(bytes, 1, size, file);
	fclose(file);
	replaying = path;
	if (got == size)
		target->run((const uint8_t *)bytes, size);
	free(bytes);
	return got == size ? 1 : -1;
}

/* Returns how many inputs were replayed, or -1 when one could not be read. */
static int replay(const struct fuzz_target *target, const char *path)
{
	struct dirent **entries;
	struct stat info;
	if (stat(path, &info) || !S_ISDIR(info.st_mode))
		return replay_file(target, path);
	int count = scandir(path, &entries, NULL, alphasort), files = count < 0 ? -1 : 0;
	for (int i = 0; i < count; i++) {
		char name[4096];
		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.' && files >= 0)
			files = replay_file(target, name) < 0 ? -1 : files + 1;
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	return files;
}

int main(int argc, char **argv)
{
	unsigned passed = 0, failed = 0;
	struct sigaction action = {.sa_handler = say_what, .sa_flags = (int)SA_RESETHAND};
	sigaction(SIGABRT, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(on_death);
	for (struct fuzz_target *target = fuzz_first; target; target = target->next) {
		char folder[256];
		unsigned long checks = fuzz_checks;
		int files = 0;
		if (argc > 1 && strcmp(argv[1], target->name) != 0)
			continue;
		snprintf(folder, sizeof(folder), CORPUS "/%s", target->name);
		for (int i = 2; i < argc && files >= 0; i++)
			files = replay(target, argv[i]) < 0 ? -1 : files + 1;
		if (argc <= 2)
			files = replay(target, folder);
		if (files == 0)
			fprintf(stderr, "%s: there is no input at all\n", target->name);
		bool ok = files > 0 && fuzz_checks > checks;
		printf("%s %s (%lu checks)\n", ok ? "ok" : "FAIL", target->name, fuzz_checks - checks);
		ok ? passed++ : failed++;
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
