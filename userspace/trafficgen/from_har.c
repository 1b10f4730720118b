/* SPDX-License-Identifier: Apache-2.0 */
/*
 * from_har: HTTP Archives, format 1.2 (sources.h).
 *
 * What a browser records is everything the page asked of everybody; a scenario is for one service. So only
 * one host is kept: the one named, or the one most asked. Credentials, cookies and what a client sets by
 * itself are dropped.
 */
#include "trafficgen/collect.h"
#include "trafficgen/document.h"
#include "trafficgen/sources.h"

#include <errno.h>
#include <stdlib.h>

#define HOSTS_MAX 256

struct har {
	struct plan *plan;
	struct document document;
	struct collection *collection;
	struct slice host; /* the one that is kept */
};

/* http://host[:port]/path?query#fragment -> host and target; false for another kind of URL. */
static bool split_url(struct slice url, struct slice *host, struct slice *target)
{
	if (slice_starts(url, SLICE("http://")))
		url = slice_of(url.ptr + 7, url.len - 7);
	else if (slice_starts(url, SLICE("https://")))
		url = slice_of(url.ptr + 8, url.len - 8);
	else
		return false;
	size_t end = 0;
	while (end < url.len && !strchr("/?#", url.ptr[end]))
		end++;
	*host = slice_of(url.ptr, end);
	url = slice_of(url.ptr + end, url.len - end);
	const char *fragment = url.len ? memchr(url.ptr, '#', url.len) : NULL;
	if (fragment)
		url.len = (size_t)(fragment - url.ptr);
	*target = url.len ? url : SLICE("/");
	return host->len > 0;
}

static struct slice url_of(const struct node *entry)
{
	const struct node *url = document_get(document_get(entry, "request", NODE_MAP), "url", NODE_STRING);
	return url ? url->text : (struct slice){0};
}

/* The host that most entries ask. */
static struct slice most_asked(const struct node *entries)
{
	struct {
		struct slice host;
		size_t count;
	} hosts[HOSTS_MAX];
	size_t count = 0, best = 0;
	for (const struct node *entry = entries->first; entry; entry = entry->next) {
		struct slice host, target;
		size_t i = 0;
		if (!split_url(url_of(entry), &host, &target))
			continue;
		while (i < count && !slice_equal_nocase(hosts[i].host, host))
			i++;
		if (i == count && count == HOSTS_MAX)
			continue;
		if (i == count) {
			hosts[count].host = host;
			hosts[count++].count = 0;
		}
		if (++hosts[i].count > hosts[best].count)
			best = i;
	}
	return count ? hosts[best].host : (struct slice){0};
}

static void percent_encode(struct buf *out, const struct node *node)
{
	struct slice text = node ? node->text : (struct slice){0};
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			     (c && strchr("-._~", c));
		buf_printf(out, plain ? "%c" : "%%%02X", c);
	}
}

/* A form whose text was not recorded, only its fields; false when it holds a file. */
static bool form_of(const struct node *params, struct buf *out)
{
	for (const struct node *param = params->first; param; param = param->next) {
		if (node_find(param, "fileName"))
			return false;
		if (out->len)
			buf_append_char(out, '&');
		percent_encode(out, document_get(param, "name", NODE_STRING));
		buf_append_char(out, '=');
		percent_encode(out, document_get(param, "value", NODE_STRING));
	}
	return true;
}

/* The body into *record (text in `form` when it had to be made); false when it is none we can send. */
static bool take_body(const struct node *request, struct record *record, struct buf *form)
{
	const struct node *data = document_get(request, "postData", NODE_MAP);
	const char *type = document_text(data, "mimeType"), *encoding = document_text(data, "encoding");
	const struct node *text = document_get(data, "text", NODE_STRING),
			  *params = document_get(data, "params", NODE_LIST);
	if (!data)
		return true;
	record->body_is_json = type && strcasestr(type, "json");
	if (encoding && strcasecmp(encoding, "base64") == 0)
		return false;
	if (text && text->text.len) {
		record->body = text->text;
		return true;
	}
	if (!params || !params->count)
		return true;
	if (!form_of(params, form))
		return false;
	record->body = slice_of(buf_cstr(form), form->len);
	return true;
}

static size_t take_fields(const struct node *request, struct header_field *fields, size_t max)
{
	const struct node *list = document_get(request, "headers", NODE_LIST);
	size_t count = 0;
	for (const struct node *item = list ? list->first : NULL; item && count < max; item = item->next) {
		const struct node *name = document_get(item, "name", NODE_STRING);
		const struct node *value = document_get(item, "value", NODE_STRING);
		if (name && value)
			fields[count++] = (struct header_field){name->text, value->text};
	}
	return count;
}

static bool has_field(const struct record *record, struct slice name)
{
	for (size_t i = 0; i < record->field_count; i++) {
		if (slice_equal_nocase(record->fields[i].name, name))
			return true;
	}
	return false;
}

static int status_of(const struct node *entry)
{
	const struct node *status =
		document_get(document_get(entry, "response", NODE_MAP), "status", NODE_NUMBER);
	long value = status ? strtol(status->text.ptr, NULL, 10) : 0;
	return value >= 100 && value <= 599 ? (int)value : 0;
}

static int take_entry(struct har *har, const struct node *entry)
{
	const struct node *request = document_get(entry, "request", NODE_MAP);
	const struct node *method = document_get(request, "method", NODE_STRING);
	struct header_field fields[PLAN_FIELDS_MAX + 1];
	struct slice host;
	char where[80];
	struct record record = {.fields = fields, .where = where, .status = status_of(entry)};
	struct buf form = {0};
	snprintf(where, sizeof(where), "line %u", entry->at.line);
	if (!method || !split_url(url_of(entry), &host, &record.target)) {
		report_warning(&har->document.report, entry->at,
			       "an entry without request/method and an http request/url is left out");
		plan_omit(har->plan, PLAN_OMIT_TARGET, 1, where);
		return 0;
	}
	if (!slice_equal_nocase(host, har->host)) {
		plan_omit(har->plan, PLAN_OMIT_HOST, 1, where);
		return 0;
	}
	record.method = method->text;
	record.field_count = take_fields(request, fields, PLAN_FIELDS_MAX);
	record.wall_ms = plan_time(document_text(entry, "startedDateTime"));
	int err = 0;
	if (!take_body(request, &record, &form))
		plan_omit(har->plan, PLAN_OMIT_BINARY, 1, where);
	else if (form.failed)
		err = -ENOMEM;
	else {
		const char *type = document_text(document_get(request, "postData", NODE_MAP), "mimeType");
		if (record.body.ptr && type && !has_field(&record, SLICE("content-type")))
			fields[record.field_count++] =
				(struct header_field){SLICE("Content-Type"), slice_str(type)};
		err = collection_add(har->collection, &record);
	}
	buf_fini(&form);
	return err;
}

static int read_entries(struct har *har)
{
	const struct node *root = har->document.tree.root, *log = node_find(root, "log");
	const struct node *entries = node_find(log, "entries");
	if (!entries || entries->kind != NODE_LIST) {
		report_error(&har->document.report, log ? log->at : root->at,
			     "this is no HTTP Archive: /log/entries %s",
			     entries ? "is no list" : "is missing");
		return -EINVAL;
	}
	har->host = har->plan->options.host ? slice_str(har->plan->options.host) : most_asked(entries);
	if (!har->host.len) {
		report_error(&har->document.report, entries->at,
			     "/log/entries has no request to an http URL");
		return -EINVAL;
	}
	har->collection = collection_create(har->plan);
	int err = har->collection ? 0 : -ENOMEM;
	for (const struct node *entry = entries->first; entry && !err; entry = entry->next)
		err = take_entry(har, entry);
	if (har->collection) {
		int finished = collection_finish(har->collection);
		err = err ? err : finished;
	}
	if (!err)
		plan_note(har->plan, "host: %.*s", SLICE_ARG(har->host));
	return err;
}

int plan_from_har(struct plan *plan, const char *file, struct slice text, struct buf *errors)
{
	struct har har = {.plan = plan};
	int err = document_open(&har.document, file, text);
	if (!err)
		err = read_entries(&har);
	int reported = document_close(&har.document, errors);
	return err ? err : reported;
}
