/* SPDX-License-Identifier: Apache-2.0 */
/* spec_values: the parts of a spec that are no plain fields: source, environment, cases, a generator's
 * arguments. */
#include "pipeline/spec_internal.h"

#include "config_value.h"

#include <errno.h>
#include <stdlib.h>

static void check_files(struct report *report, const struct node *files)
{
	uint64_t bytes = 0;
	if (files->kind != NODE_MAP || files->count == 0 || files->count > SPEC_FILES_MAX) {
		report_error(report, files->at, "service.source.files must be an object of 1 to %d files",
			     SPEC_FILES_MAX);
		return;
	}
	for (const struct node *file = files->first; file; file = file->next) {
		struct buf why = {0};
		if (!source_path_check(file->key, &why))
			report_error(report, file->key_at, "service.source.files: the path %s %s",
				     quote(file->key).text, buf_cstr(&why));
		else if (file->kind != NODE_STRING)
			report_error(report, file->at,
				     "service.source.files: %s is %s, must be the file's text",
				     quote(file->key).text, node_kind_name(file->kind));
		else if (file->text.len > SPEC_FILE_BYTES_MAX)
			report_error(report, file->at,
				     "service.source.files: %s is %zu bytes long, at most %u are possible",
				     quote(file->key).text, file->text.len, SPEC_FILE_BYTES_MAX);
		bytes += file->text.len;
		buf_fini(&why);
	}
	if (bytes > SPEC_SOURCE_BYTES_MAX)
		report_error(report, files->at,
			     "service.source.files are %llu bytes together, at most %u are possible",
			     (unsigned long long)bytes, SPEC_SOURCE_BYTES_MAX);
}

/*
 * The path of a node, absolute: relative to `base`, where there is one. One that exists has no links and no
 * ".." afterwards; "must_exist" for those that have to. NULL after a complaint.
 */
static char *make_absolute(struct report *report, const struct node *node, const char *base, const char *what,
			   bool must_exist)
{
	char *joined = NULL, *real = NULL;
	struct buf why = {0};
	if (node->text.len == 0 || (node->text.ptr[0] != '/' && !base)) {
		report_error(report, node->at, "%s %s must be an absolute path", what,
			     quote(node->text).text);
		return NULL;
	}
	int n = node->text.ptr[0] == '/' ? asprintf(&joined, "%.*s", SLICE_ARG(node->text))
					 : asprintf(&joined, "%s/%.*s", base, SLICE_ARG(node->text));
	if (n < 0) {
		report->no_memory = true;
		return NULL;
	}
	if (base && (real = realpath(joined, NULL))) {
		free(joined);
		joined = real;
	} else if (base && must_exist) {
		report_error(report, node->at, "%s %s: %s", what, quote(slice_str(joined)).text,
			     strerror(errno));
		free(joined);
		return NULL;
	}
	if (!spec_absolute_path_check(slice_str(joined), &why)) {
		report_error(report, node->at, "%s %s %s", what, quote(slice_str(joined)).text,
			     buf_cstr(&why));
		free(joined);
		joined = NULL;
	}
	buf_fini(&why);
	return joined;
}

void spec_check_deploy(struct report *report, const struct node *deploy, const char *base, struct spec *spec)
{
	const struct node *node = node_find(deploy, "directory");
	if (!node || node->kind != NODE_STRING || !spec->deploy.directory)
		return;
	char *path = make_absolute(report, node, base, "deploy.directory", false);
	if (!path)
		return;
	free(spec->deploy.directory);
	spec->deploy.directory = path;
	json_object_set_new(json_object_get(spec->document, "deploy"), "directory", json_string(path));
}

void spec_check_source(struct report *report, const struct node *service, const char *base, struct spec *spec)
{
	const struct node *source = node_find(service, "source");
	if (!source)
		return;
	const struct node *only = source->kind == NODE_MAP && source->count == 1 ? source->first : NULL;
	if (only && slice_equal(only->key, SLICE("files"))) {
		check_files(report, only);
		spec->service.files = json_object_get(spec->service.source, "files");
	} else if (only && slice_equal(only->key, SLICE("directory")) && only->kind == NODE_STRING) {
		char *path = make_absolute(report, only, base, "service.source.directory", true);
		if (path)
			json_object_set_new(spec->service.source, "directory", json_string(path));
		free(path);
		/* The document has a copy of its own. */
		json_object_set(json_object_get(spec->document, "service"), "source", spec->service.source);
		spec->service.directory =
			json_string_value(json_object_get(spec->service.source, "directory"));
	} else {
		report_error(report, source->at,
			     "service.source must be {\"files\": {path: text}} or {\"directory\": path}");
	}
}

void spec_check_environment(struct report *report, const struct node *service)
{
	const struct node *map = node_find(service, "environment");
	if (!map)
		return;
	if (map->kind != NODE_MAP || map->count > SPEC_ENVIRONMENT_MAX) {
		report_error(report, map->at, "service.environment must be an object of at most %d texts",
			     SPEC_ENVIRONMENT_MAX);
		return;
	}
	for (const struct node *item = map->first; item; item = item->next) {
		bool fine = item->key.len > 0 && item->key.len <= 128 &&
			    !(item->key.ptr[0] >= '0' && item->key.ptr[0] <= '9');
		for (size_t i = 0; i < item->key.len; i++) {
			char c = item->key.ptr[i];
			fine &= c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
		}
		if (!fine || slice_starts(item->key, SLICE("PHOENIX_")) ||
		    slice_starts(item->key, SLICE("LD_")) || slice_equal(item->key, SLICE("PORT")))
			report_error(report, item->key_at,
				     "service.environment: %s is no name for a variable here (letters, "
				     "digits, \"_\"; "
				     "PORT, PHOENIX_* and LD_* are not yours)",
				     quote(item->key).text);
		else if (item->kind != NODE_STRING || item->text.len > 8192)
			report_error(report, item->at,
				     "service.environment: %s must be a text of at most 8192 bytes",
				     quote(item->key).text);
	}
}

/* {"method", "path", "headers", "body"} or {"status", "headers", "body"}: what a case is made of. */
static void check_half(struct report *report, const struct node *half, const char *what, bool request)
{
	if (half->kind != NODE_MAP) {
		report_error(report, half->at, "%s is %s, must be an object", what,
			     node_kind_name(half->kind));
		return;
	}
	for (const struct node *item = half->first; item; item = item->next) {
		struct slice key = item->key;
		bool known = slice_equal(key, SLICE("headers")) ? item->kind == NODE_MAP
			     : slice_equal(key, SLICE("body"))	? true
			     : slice_equal(key, SLICE("method"))
				     ? request && item->kind == NODE_STRING && is_token(item->text)
			     : slice_equal(key, SLICE("path"))
				     ? request && item->kind == NODE_STRING && item->text.len &&
					       item->text.ptr[0] == '/' &&
					       !spec_has_control_bytes(item->text) &&
					       !memchr(item->text.ptr, ' ', item->text.len)
			     : slice_equal(key, SLICE("status")) ? !request && item->kind == NODE_NUMBER
								 : false;
		if (!known)
			report_error(report, item->key_at, "%s: %s is unknown here or has a wrong value",
				     what, quote(key).text);
		if (slice_equal(key, SLICE("headers")) && item->kind == NODE_MAP) {
			for (const struct node *field = item->first; field; field = field->next) {
				if (!is_token(field->key) || field->kind != NODE_STRING ||
				    spec_has_control_bytes(field->text))
					report_error(report, field->key_at,
						     "%s.headers: %s is no header field", what,
						     quote(field->key).text);
			}
		}
	}
	if (request && !node_find(half, "path"))
		report_error(report, half->at, "%s: \"path\" is missing", what);
}

void spec_check_cases(struct report *report, const struct node *root)
{
	const struct node *list = node_find(root, "verify");
	if (!list)
		return;
	if (list->kind != NODE_LIST || list->count > SPEC_CASES_MAX) {
		report_error(report, list->at, "verify must be a list of at most %d cases", SPEC_CASES_MAX);
		return;
	}
	for (const struct node *item = list->first; item; item = item->next) {
		if (item->kind == NODE_STRING) {
			struct buf why = {0};
			/* An absolute one is a case that Phoenix wrote: the reader looks at where it lies. */
			if (!(item->text.len && item->text.ptr[0] == '/'
				      ? spec_absolute_path_check(item->text, &why)
				      : source_path_check(item->text, &why)))
				report_error(report, item->at, "verify: the file %s %s",
					     quote(item->text).text, buf_cstr(&why));
			buf_fini(&why);
			continue;
		}
		const struct node *request = node_find(item, "request"),
				  *response = node_find(item, "response");
		if (item->kind != NODE_MAP || !request) {
			report_error(report, item->at,
				     "verify: a case is {\"request\": …, \"response\": …} or the name of a "
				     "file with one");
			continue;
		}
		check_half(report, request, "verify: request", true);
		if (response)
			check_half(report, response, "verify: response", false);
	}
}

/* Its arguments are options and files of the source; where the result goes and who is asked is not theirs. */
void spec_check_generate(struct report *report, const struct node *traffic)
{
	const struct node *list = node_find(traffic, "generate");
	static const char *const taken[] = {"--out",  "--admin", "--token-file", "--export", "-o",
					    "--help", "-h"};
	if (!list || list->kind == NODE_NULL)
		return;
	if (list->kind != NODE_LIST || list->count == 0 || list->count > 32) {
		report_error(report, list->at, "traffic.generate must be a list of 1 to 32 arguments");
		return;
	}
	for (const struct node *item = list->first; item; item = item->next) {
		bool fine = item->kind == NODE_STRING && item->text.len && item->text.len <= 1024 &&
			    item->text.ptr[0] != '/' && !spec_has_control_bytes(item->text) &&
			    !memmem(item->text.ptr, item->text.len, "..", 2);
		for (size_t i = 0; fine && i < sizeof(taken) / sizeof(taken[0]); i++) {
			size_t len = strlen(taken[i]);
			fine = !(item->text.len >= len && memcmp(item->text.ptr, taken[i], len) == 0);
		}
		if (!fine)
			report_error(report, item->at,
				     "traffic.generate: %s is no argument of a generator (--from, --route, a "
				     "file of the "
				     "source, …)",
				     quote(item->text).text);
	}
}
