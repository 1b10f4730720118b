/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template: what there is to know about a language, as one table: how to tell it, build it, run it, and its
 * Dockerfile. C is built here and put into an image FROM scratch, which needs no registry; the others build
 * on a base image that service.image can replace.
 */
#include "pipeline/deploy.h"

#include "pipeline/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define CODE_FILES_MAX 256
#define BINARY	       "service"

struct language_row {
	const char *suffix;
	const char *image;	  /* base of the template */
	const char *const *names; /* the file that is run, the most likely first */
};

static const char *const python_names[] = {"server.py", "app.py", "main.py", "service.py", NULL};
static const char *const node_names[] = {"server.js", "index.js", "app.js", "main.js", "service.js", NULL};
static const char *const java_names[] = {"Main.java", "Server.java", "App.java", "Service.java", NULL};
static const char *const no_names[] = {NULL};

static const struct language_row languages[LANGUAGE_COUNT] = {
	[LANGUAGE_C] = {".c", "scratch", no_names},
	[LANGUAGE_PYTHON] = {".py", "python:3-slim", python_names},
	[LANGUAGE_NODE] = {".js", "node:lts-slim", node_names},
	[LANGUAGE_GO] = {".go", "golang:1", no_names},
	[LANGUAGE_JAVA] = {".java", "eclipse-temurin:21", java_names},
};

/* The files of each language, by their names' ends. */
struct code {
	struct strings files[LANGUAGE_COUNT];
	bool has_dockerfile, has_requirements, has_lock, has_module;
};

static bool ends_with(const char *name, const char *end)
{
	size_t a = strlen(name), b = strlen(end);
	return a > b && strcmp(name + a - b, end) == 0;
}

static bool look_at_file(void *context, const char *path)
{
	struct code *code = context;
	code->has_dockerfile |= strcmp(path, "Dockerfile") == 0;
	code->has_requirements |= strcmp(path, "requirements.txt") == 0;
	code->has_lock |= strcmp(path, "package-lock.json") == 0;
	code->has_module |= strcmp(path, "go.mod") == 0;
	for (unsigned i = LANGUAGE_C; i < LANGUAGE_COUNT; i++) {
		bool dependency = strncmp(path, "node_modules/", 13) == 0;
		if (!dependency && ends_with(path, languages[i].suffix) &&
		    code->files[i].count < CODE_FILES_MAX)
			strings_add(&code->files[i], path);
	}
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The file that is run: as the spec says, a likely name, or the only one there is. NULL with `why`. */
static const char *find_entry(const struct spec *spec, const struct code *code, enum language language,
			      struct buf *why)
{
	const struct strings *files = &code->files[language];
	if (spec->service.entry)
		return spec->service.entry;
	for (const char *const *name = languages[language].names; *name; name++) {
		for (size_t i = 0; i < files->count; i++) {
			if (strcmp(files->items[i], *name) == 0)
				return *name;
		}
	}
	if (files->count == 1)
		return files->items[0];
	buf_printf(why, "which of the %zu %s files is to be run? Name it in service.entry", files->count,
		   languages[language].suffix);
	return NULL;
}

static enum language guess(const struct spec *spec, const struct code *code)
{
	if (spec->service.language != LANGUAGE_AUTO)
		return spec->service.language;
	for (unsigned i = LANGUAGE_C; i < LANGUAGE_COUNT; i++) {
		if (code->files[i].count)
			return (enum language)i;
	}
	return LANGUAGE_AUTO;
}

static void append_vector(struct buf *out, const struct strings *vector)
{
	for (size_t i = 0; i < vector->count; i++) {
		buf_append_str(out, i ? ", " : "[");
		buf_append_json(out, slice_str(vector->items[i]));
	}
	buf_append_str(out, "]");
}

static void add_list(struct strings *to, const struct string_list *from)
{
	for (size_t i = 0; i < from->count; i++)
		strings_add(to, from->items[i]);
}

static void build_c(struct recipe *recipe, const struct code *code, bool is_static)
{
	static const char *const options[] = {"cc", "-O2", "-pthread", "-o", BINARY};
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		strings_add(&recipe->build, options[i]);
	if (is_static)
		strings_add(&recipe->build, "-static");
	for (size_t i = 0; i < code->files[LANGUAGE_C].count; i++)
		strings_printf(&recipe->build, "./%s", code->files[LANGUAGE_C].items[i]);
	strings_add(&recipe->build, "-lm");
}

/* `go build` of the folder; without a go.mod it takes files only. A repository around the folder is not
 * asked: it may be another user's, which git refuses. */
static void build_go(struct strings *to, const struct code *code, const char *target)
{
	static const char *const options[] = {"go", "build", "-buildvcs=false", "-o"};
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		strings_add(to, options[i]);
	strings_add(to, target);
	if (code->has_module)
		strings_add(to, ".");
	for (size_t i = 0; !code->has_module && i < code->files[LANGUAGE_GO].count; i++) {
		const char *file = code->files[LANGUAGE_GO].items[i];
		if (!strchr(file, '/') && !ends_with(file, "_test.go"))
			strings_printf(to, "./%s", file);
	}
}

/* UTF-8 as Java 18 and later have it: without it Java 17 goes by the locale, which an image may not have. */
static void build_java(struct strings *to, const struct code *code)
{
	static const char *const options[] = {"javac", "-encoding", "UTF-8"};
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		strings_add(to, options[i]);
	for (size_t i = 0; i < code->files[LANGUAGE_JAVA].count; i++)
		strings_printf(to, "./%s", code->files[LANGUAGE_JAVA].items[i]);
}

/* "Main" of "Main.java". */
static void add_class(struct strings *to, const char *file)
{
	strings_printf(to, "%.*s", (int)(strlen(file) - strlen(".java")), file);
}

/* How the language is built and run as a plain process; what the spec gives itself stays. */
static int process_recipe(const struct spec *spec, const struct code *code, struct recipe *recipe,
			  struct buf *why)
{
	bool build = spec->service.build.count == 0, run = spec->service.command.count == 0;
	const char *entry = NULL;
	bool needs_entry = recipe->language == LANGUAGE_PYTHON || recipe->language == LANGUAGE_NODE ||
			   recipe->language == LANGUAGE_JAVA;
	if (run && needs_entry && !(entry = find_entry(spec, code, recipe->language, why)))
		return -EINVAL;
	switch (recipe->language) {
	case LANGUAGE_C:
		if (build)
			build_c(recipe, code, false);
		if (run)
			strings_add(&recipe->command, "./" BINARY);
		break;
	case LANGUAGE_GO:
		if (build)
			build_go(&recipe->build, code, BINARY);
		if (run)
			strings_add(&recipe->command, "./" BINARY);
		break;
	case LANGUAGE_PYTHON:
	case LANGUAGE_NODE:
		if (run) {
			strings_add(&recipe->command, recipe->language == LANGUAGE_NODE ? "node" : "python3");
			strings_add(&recipe->command, entry);
		}
		break;
	case LANGUAGE_JAVA:
		if (build && entry)
			build_java(&recipe->build, code);
		if (run) {
			strings_add(&recipe->command, "java");
			strings_add(&recipe->command, "-cp");
			strings_add(&recipe->command, ".");
			add_class(&recipe->command, entry);
		}
		break;
	case LANGUAGE_AUTO:
	case LANGUAGE_COUNT:
		if (run) {
			buf_append_str(why, "no known language's files were found; give service.language or "
					    "service.command");
			return -EINVAL;
		}
		break;
	}
	return 0;
}

static int dockerfile(const struct spec *spec, const struct code *code, struct recipe *recipe,
		      struct buf *why)
{
	struct buf *out = &recipe->dockerfile;
	enum language language = recipe->language;
	const char *image = spec->service.image ? spec->service.image : languages[language].image,
		   *entry = NULL;
	struct strings command = {0}, build = {0};
	if (language == LANGUAGE_AUTO) {
		buf_append_str(
			why,
			"no known language's files were found; give service.language or service.dockerfile");
		return -EINVAL;
	}
	bool needs_entry = language != LANGUAGE_C && language != LANGUAGE_GO;
	if (needs_entry && spec->service.command.count == 0 &&
	    !(entry = find_entry(spec, code, language, why)))
		return -EINVAL;
	add_list(&command, &spec->service.command);
	buf_append_str(out, "# Written by Phoenix from its template; a Dockerfile of your own wins.\n");
	switch (language) {
	case LANGUAGE_C: /* built before, by recipe->build: one static program is the whole image */
		if (spec->service.build.count == 0)
			build_c(recipe, code, true);
		buf_printf(out, "FROM %s\nCOPY " BINARY " /" BINARY "\n", image);
		if (!command.count)
			strings_add(&command, "/" BINARY);
		break;
	case LANGUAGE_GO:
		build_go(&build, code, "/" BINARY);
		buf_printf(out, "FROM %s AS build\nWORKDIR /src\nCOPY . .\nENV CGO_ENABLED=0\nRUN ", image);
		append_vector(out, &build);
		buf_append_str(out, "\nFROM scratch\nCOPY --from=build /" BINARY " /" BINARY "\n");
		if (!command.count)
			strings_add(&command, "/" BINARY);
		break;
	case LANGUAGE_JAVA:
		build_java(&build, code);
		buf_printf(out, "FROM %s\nWORKDIR /app\nCOPY . .\nRUN ", image);
		append_vector(out, &build);
		buf_append_char(out, '\n');
		if (!command.count) {
			strings_add(&command, "java");
			strings_add(&command, "-cp");
			strings_add(&command, ".");
			add_class(&command, entry);
		}
		break;
	case LANGUAGE_PYTHON:
	case LANGUAGE_NODE:
		buf_printf(out, "FROM %s\nWORKDIR /app\nCOPY . .\n", image);
		if (language == LANGUAGE_PYTHON) /* what it prints last is told, however it ends */
			buf_append_str(out, "ENV PYTHONUNBUFFERED=1\n");
		if (language == LANGUAGE_PYTHON && code->has_requirements)
			buf_append_str(out, "RUN pip install --no-cache-dir -r requirements.txt\n");
		if (language == LANGUAGE_NODE && code->has_lock)
			buf_append_str(out, "RUN npm ci --omit=dev\n");
		if (!command.count) {
			strings_add(&command, language == LANGUAGE_NODE ? "node" : "python3");
			strings_add(&command, entry);
		}
		break;
	case LANGUAGE_AUTO:
	case LANGUAGE_COUNT:
		break;
	}
	buf_printf(out, "EXPOSE %u\nCMD ", spec->service.port);
	append_vector(out, &command);
	buf_append_char(out, '\n');
	int err = command.failed || build.failed || out->failed ? -ENOMEM : 0;
	strings_free(&command);
	strings_free(&build);
	return err;
}

int recipe_make(const struct spec *spec, int folder, bool docker, struct recipe *out, struct buf *why)
{
	struct code code = {0};
	files_each(folder, look_at_file, &code);
	for (unsigned i = 0; i < LANGUAGE_COUNT; i++) {
		if (code.files[i].count)
			qsort(code.files[i].items, code.files[i].count, sizeof(char *), by_name);
	}
	*out = (struct recipe){.language = guess(spec, &code)};
	add_list(&out->build, &spec->service.build);
	int err = 0;
	if (docker && spec->service.dockerfile) {
		buf_append_str(&out->dockerfile, spec->service.dockerfile);
	} else if (docker && !code.has_dockerfile) {
		out->from_template = true;
		err = dockerfile(spec, &code, out, why);
	} else if (!docker) {
		add_list(&out->command, &spec->service.command);
		err = process_recipe(spec, &code, out, why);
	}
	if (!err && (out->build.failed || out->command.failed || out->dockerfile.failed))
		err = -ENOMEM;
	for (unsigned i = 0; i < LANGUAGE_COUNT; i++)
		strings_free(&code.files[i]);
	if (err)
		recipe_fini(out);
	return err;
}

void recipe_fini(struct recipe *recipe)
{
	strings_free(&recipe->build);
	strings_free(&recipe->command);
	buf_fini(&recipe->dockerfile);
}
