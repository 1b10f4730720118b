/* SPDX-License-Identifier: Apache-2.0 */
/* release: folders of code change places; see deploy.h. */
#include "pipeline/deploy.h"
#include "pipeline/files.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define RELEASE_BYTES_MAX (1u << 20)

int deployment_init(struct deployment *d, const struct spec *spec, const char *directory, const char *work,
		    unsigned number)
{
	*d = (struct deployment){.spec = spec, .number = number};
	snprintf(d->name, sizeof(d->name), "%s", spec->id);
	d->directory = strdup(directory);
	d->work = strdup(work);
	if (d->directory && d->work)
		return 0;
	deployment_fini(d);
	return -ENOMEM;
}

void deployment_fini(struct deployment *d)
{
	free(d->directory);
	free(d->work);
	*d = (struct deployment){0};
}

const struct deployer *deployer_find(const char *word)
{
	return strcmp(word, process_deployer.word) == 0	 ? &process_deployer
	       : strcmp(word, docker_deployer.word) == 0 ? &docker_deployer
							 : NULL;
}

int deployment_choose(struct deployment *d, struct job *job, struct buf *why)
{
	struct buf sentence = {0};
	int err = 0;
	switch (d->spec->deploy.kind) {
	case DEPLOY_AUTO:
		d->deployer = &docker_deployer;
		err = d->deployer->check(d, job, &sentence);
		if (err && !job_check(job)) {
			job_say(job, "deployed as a plain process: %s", buf_cstr(&sentence));
			d->deployer = &process_deployer;
			err = d->deployer->check(d, job, why);
		}
		break;
	case DEPLOY_DOCKER:
		d->deployer = &docker_deployer;
		err = d->deployer->check(d, job, why);
		break;
	case DEPLOY_PROCESS:
	case DEPLOY_KIND_COUNT:
		d->deployer = &process_deployer;
		err = d->deployer->check(d, job, why);
		break;
	}
	buf_fini(&sentence);
	return err;
}

static void next_name(const struct deployment *d, char out[96])
{
	snprintf(out, 96, ".%s.next", d->name);
}

char *release_path(const struct deployment *d, bool next)
{
	char *path = NULL, name[96];
	next_name(d, name);
	return asprintf(&path, "%s/%s", d->directory, next ? name : d->name) < 0 ? NULL : path;
}

static json_t *read_at(int directory, const char *folder)
{
	struct buf text = {0}, why = {0};
	char path[160];
	snprintf(path, sizeof(path), "%s/" RELEASE_FILE, folder);
	json_t *json = NULL;
	if (files_read(directory, path, RELEASE_BYTES_MAX, &text, &why) == 0)
		json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	buf_fini(&text);
	buf_fini(&why);
	if (json_is_object(json))
		return json;
	json_decref(json);
	return NULL;
}

json_t *release_read(const struct deployment *d, bool next)
{
	struct buf why = {0};
	char name[96];
	next_name(d, name);
	int directory = files_open_folder(d->directory, false, &why);
	json_t *json = directory < 0 ? NULL : read_at(directory, next ? name : d->name);
	if (directory >= 0)
		close(directory);
	buf_fini(&why);
	return json;
}

unsigned release_number(const json_t *release)
{
	return (unsigned)json_integer_value(json_object_get(release, "number"));
}

int release_read_file(const struct deployment *d, bool next, const char *path, size_t max, struct buf *out,
		      struct buf *why)
{
	char *folder = release_path(d, next);
	int fd = folder ? files_open_folder(folder, false, why) : -ENOMEM;
	int err = fd < 0 ? fd : files_read(fd, path, max, out, why);
	if (fd >= 0)
		close(fd);
	free(folder);
	return err;
}

/* --- preparing --- */

static int fill(struct deployment *d, struct job *job, int next, struct buf *why)
{
	const struct spec *spec = d->spec;
	if (spec->service.directory) {
		struct files_limits limits = {.bytes_max = SPEC_SOURCE_BYTES_MAX,
					      .file_bytes_max = SPEC_FILE_BYTES_MAX,
					      .entries_max = SPEC_SOURCE_ENTRIES_MAX};
		int source = files_open_folder(spec->service.directory, false, why);
		int err = source < 0 ? source : files_copy(job, source, next, &limits, why);
		if (source >= 0)
			close(source);
		if (!err && limits.entries == 0) {
			buf_printf(why, "the folder %s is empty", spec->service.directory);
			err = -EINVAL;
		}
		if (!err)
			job_say(job, "files and folders: %u, %llu bytes, from %s", limits.entries,
				(unsigned long long)limits.bytes, spec->service.directory);
		return err;
	}
	const char *path;
	json_t *text;
	json_object_foreach((json_t *)spec->service.files, path, text)
	{
		struct slice content = slice_of(json_string_value(text), json_string_length(text));
		/* A script may be the command itself. */
		mode_t mode = slice_starts(content, SLICE("#!")) ? 0755 : 0644;
		int err = files_write(next, path, content, mode, why);
		if (err)
			return err;
	}
	job_say(job, "files: %zu", json_object_size(spec->service.files));
	return 0;
}

static json_t *vector_json(const struct strings *vector)
{
	json_t *list = json_array();
	for (size_t i = 0; i < vector->count; i++)
		json_array_append_new(list, json_string(vector->items[i]));
	return list;
}

/* What the release is and how it runs: all that is needed to start it again when its spec is long gone. */
static json_t *describe(const struct deployment *d, const struct recipe *recipe)
{
	const struct spec *spec = d->spec;
	char image[160];
	snprintf(image, sizeof(image), "phoenix-%s:%u", d->name, d->number);
	for (char *c = image; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 32) : *c;
	return json_pack("{s:s, s:i, s:s, s:i, s:o, s:o, s:O, s:s?, s:i, s:s, s:s, s:b, s:s, s:s, s:o, s:b}",
			 "id", d->name, "number", (int)d->number, "kind", d->deployer->word, "port",
			 (int)spec->service.port, "build", vector_json(&recipe->build), "command",
			 vector_json(&recipe->command), "environment", spec->service.environment, "user",
			 spec->deploy.user, "memory_mb", (int)spec->deploy.memory_mb, "project",
			 spec->deploy.project, "service",
			 spec->deploy.service ? spec->deploy.service : d->name, "service_named",
			 spec->deploy.service != NULL, "network",
			 spec->deploy.network == NETWORK_BRIDGE ? "bridge" : "host", "image", image, "run",
			 recipe->command.count ? json_null() : vector_json(&recipe->command), "init",
			 recipe->from_template);
}

static int give_to_user(const struct deployment *d, int folder, struct buf *why)
{
	if (!d->spec->deploy.user || geteuid() != 0)
		return 0;
	struct passwd entry, *found = NULL;
	char memory[4096];
	if (getpwnam_r(d->spec->deploy.user, &entry, memory, sizeof(memory), &found) || !found) {
		buf_printf(why, "deploy.user: there is no user %s", d->spec->deploy.user);
		return -ENOENT;
	}
	return files_give(folder, found->pw_uid, found->pw_gid, why);
}

static int finish(struct deployment *d, struct job *job, int next, struct buf *why)
{
	struct recipe recipe;
	bool docker = d->deployer == &docker_deployer;
	int err = recipe_make(d->spec, next, docker, &recipe, why);
	if (err)
		return err;
	if (recipe.dockerfile.len) {
		unlinkat(next, "Dockerfile", 0);
		err = files_write(next, "Dockerfile", buf_slice(&recipe.dockerfile), 0644, why);
		job_say(job, "Dockerfile: %s",
			d->spec->service.dockerfile ? "as given" : "from the template");
	}
	if (!err && docker) {
		unlinkat(next, ".dockerignore", 0);
		err = files_write(next, ".dockerignore", SLICE(".phoenix*\n.git\n"), 0644, why);
	}
	if (!err)
		err = give_to_user(d, next, why);
	json_t *release = err ? NULL : describe(d, &recipe);
	char *text = release ? json_dumps(release, JSON_INDENT(1)) : NULL;
	if (!err)
		err = text ? files_replace(next, RELEASE_FILE, slice_str(text), why) : -ENOMEM;
	free(text);
	json_decref(release);
	recipe_fini(&recipe);
	return err;
}

/* The folder NAME must be free or ours. */
static int find_former(struct deployment *d, int directory, struct buf *why)
{
	struct stat info;
	if (fstatat(directory, d->name, &info, AT_SYMLINK_NOFOLLOW)) {
		d->former = 0;
		return 0;
	}
	json_t *release = read_at(directory, d->name);
	const char *id = json_string_value(json_object_get(release, "id"));
	int err = 0;
	if (!release || !id || strcmp(id, d->name) != 0) {
		buf_printf(why,
			   "%s/%s exists and was not made by Phoenix: it is left alone; choose another "
			   "deploy.directory or id",
			   d->directory, d->name);
		err = -EEXIST;
	} else {
		d->former = release_number(release);
	}
	json_decref(release);
	return err;
}

int release_prepare(struct deployment *d, struct job *job, struct buf *why)
{
	char name[96];
	next_name(d, name);
	int directory = files_open_folder(d->directory, true, why);
	if (directory < 0)
		return directory;
	int err = find_former(d, directory, why);
	if (!err)
		err = files_remove(directory, name);
	int next = err ? -1 : files_make_folder(directory, name, why);
	if (!err && next < 0)
		err = next;
	if (!err)
		err = fill(d, job, next, why);
	if (!err)
		err = finish(d, job, next, why);
	if (next >= 0)
		close(next);
	if (err && next >= 0)
		files_remove(directory, name);
	close(directory);
	return err;
}

int release_build(struct deployment *d, struct job *job, const json_t *release, struct buf *why)
{
	const json_t *build = json_object_get(release, "build");
	if (json_array_size(build) == 0)
		return 0;
	struct strings argv = {0}, environment = {0};
	struct buf line = {0};
	json_t *item;
	size_t i;
	json_array_foreach(build, i, item)
	{
		strings_add(&argv, json_string_value(item));
		buf_printf(&line, "%s%s", i ? " " : "", json_string_value(item));
	}
	char *folder = release_path(d, true);
	strings_printf(&environment, "PATH=%s", child_search_path(d->spec->deploy.user));
	strings_printf(&environment, "HOME=%s", folder ? folder : "/");
	strings_add(&environment, "LANG=C.UTF-8");
	int err = argv.failed || environment.failed || !folder ? -ENOMEM : 0;
	job_say(job, "build: %s", buf_cstr(&line));
	if (!err)
		err = child_run(job,
				&(struct child){.argv = argv.items,
						.environment = environment.items,
						.directory = folder,
						.user = d->spec->deploy.user},
				NULL, why);
	if (err && why->len) {
		struct buf text = {0};
		buf_printf(&text, "the build failed: %s", buf_cstr(why));
		buf_reset(why);
		buf_append_slice(why, buf_slice(&text));
		buf_fini(&text);
	}
	free(folder);
	buf_fini(&line);
	strings_free(&argv);
	strings_free(&environment);
	return err;
}

/* --- changing places --- */

static unsigned number_at(int directory, const char *folder)
{
	json_t *release = read_at(directory, folder);
	unsigned number = release_number(release);
	json_decref(release);
	return number;
}

/* NAME and .NAME.next change places; one of the two may be missing. */
static int exchange(const struct deployment *d, int directory, const char *from, const char *to,
		    struct buf *why)
{
	int err = 0;
	if (renameat2(directory, from, directory, to, RENAME_EXCHANGE)) {
		err = -errno;
		if (err == -ENOENT && renameat2(directory, from, directory, to, RENAME_NOREPLACE) == 0)
			err = 0;
	}
	if (err)
		buf_printf(why, "%s/%s cannot be put in the place of %s: %s", d->directory, from, to,
			   strerror(-err));
	else
		fsync(directory);
	return err;
}

int release_place(struct deployment *d, struct buf *why)
{
	char name[96];
	next_name(d, name);
	int directory = files_open_folder(d->directory, false, why);
	if (directory < 0)
		return directory;
	int err = 0;
	if (number_at(directory, d->name) != d->number)
		err = exchange(d, directory, name, d->name, why);
	close(directory);
	return err;
}

int release_displace(struct deployment *d, struct buf *why)
{
	char name[96];
	next_name(d, name);
	int directory = files_open_folder(d->directory, false, why);
	if (directory < 0)
		return directory;
	int err = 0;
	if (number_at(directory, d->name) == d->number) {
		if (number_at(directory, name) == 0)
			files_remove(directory, name);
		/* The former is in NAME again; this one lies where it was prepared. */
		if (number_at(directory, name) != 0)
			err = exchange(d, directory, name, d->name, why);
		else
			err = exchange(d, directory, d->name, name, why);
	}
	close(directory);
	return err;
}

void release_discard(struct deployment *d)
{
	struct buf why = {0};
	char name[96];
	next_name(d, name);
	int directory = files_open_folder(d->directory, false, &why);
	if (directory >= 0) {
		if (number_at(directory, d->name) != d->number)
			files_remove(directory, name);
		close(directory);
	}
	buf_fini(&why);
}
