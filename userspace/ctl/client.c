/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client: see client.h. libcurl carries the bytes; what it reports is sorted into the few cases that a
 * script wants to tell apart: not reachable, not permitted, conflict, bad configuration, failed.
 */
#include "ctl/client.h"
#include "ctl/field.h"
#include "ctl/format.h"
#include "ctl/parse.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT_MS 3000L
#define SILENCE_TIMEOUT_S  20L /* four heartbeats of the event stream */

struct client {
	CURL *curl;
	struct admin_address address;
	struct curl_slist *common; /* Authorization, Accept */
	const volatile sig_atomic_t *interrupted;
	char error[CURL_ERROR_SIZE];
};

static int on_progress(void *user, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	struct client *client = user;
	return client->interrupted && *client->interrupted; /* non-zero aborts the transfer */
}

int client_open(const char *address, const char *token, const volatile sig_atomic_t *interrupted,
		struct client **out, struct buf *why)
{
	struct client *client = calloc(1, sizeof(*client));
	struct buf line = {0};
	int status = CTL_FAILED;

	if (!client)
		goto fail;
	if (parse_admin_address(address, &client->address, why) < 0) {
		status = CTL_USAGE;
		goto fail;
	}
	client->interrupted = interrupted;
	client->curl = curl_easy_init();
	if (!client->curl)
		goto fail;
	if (token) {
		buf_printf(&line, "Authorization: Bearer %s", token);
		client->common = curl_slist_append(NULL, buf_cstr(&line));
		if (line.failed || !client->common)
			goto fail;
	}
	buf_fini(&line);
	*out = client;
	return CTL_DONE;
fail:
	if (why->len == 0)
		buf_append_str(why, "out of memory");
	buf_fini(&line);
	client_close(client);
	return status;
}

void client_close(struct client *client)
{
	if (!client)
		return;
	curl_easy_cleanup(client->curl);
	curl_slist_free_all(client->common);
	free(client);
}

static struct curl_slist *with_header(struct curl_slist *list, const char *header, bool *failed)
{
	struct curl_slist *longer = curl_slist_append(list, header);
	*failed = *failed || !longer;
	return longer ? longer : list;
}

/* What every transfer has; the connection cache survives the reset. */
static void prepare(struct client *client, const char *url)
{
	CURL *curl = client->curl;

	curl_easy_reset(curl);
	client->error[0] = '\0';
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->error);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "phoenixctl/" PHOENIX_VERSION);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, client);
	if (client->address.socket_path[0])
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->address.socket_path);
}

static const char *where(const struct client *client)
{
	return client->address.socket_path[0] ? client->address.socket_path : client->address.base_url;
}

/* The sentence and the exit status for a transfer that brought no whole answer. */
static int transport_error(struct client *client, CURLcode code, struct buf *why)
{
	long os_error = 0;
	const char *detail = client->error[0] ? client->error : curl_easy_strerror(code);

	if (code == CURLE_ABORTED_BY_CALLBACK && client->interrupted && *client->interrupted) {
		buf_append_str(why, "interrupted");
		return CTL_INTERRUPTED;
	}
	curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &os_error);
	if (code == CURLE_COULDNT_CONNECT && (os_error == EACCES || os_error == EPERM)) {
		buf_printf(why,
			   "not permitted to open %s (user id %u): run as root or as a member of the "
			   "socket's group",
			   where(client), (unsigned)geteuid());
		return CTL_NOT_PERMITTED;
	}
	if (code == CURLE_WRITE_ERROR) {
		buf_printf(why, "the answer of %s is over the limit of %u MiB", where(client),
			   CLIENT_ANSWER_BYTES_MAX >> 20);
		return CTL_FAILED;
	}
	/* The system's own word (connection refused, no such file) says more than the library's. */
	if (code == CURLE_COULDNT_CONNECT && os_error)
		detail = strerror((int)os_error);
	buf_printf(why, "daemon not reachable at %s: %s; is phoenixd running, and is --admin right?",
		   where(client), detail);
	return CTL_UNREACHABLE;
}

static int exit_of_status(long status)
{
	switch (status) {
	case 401:
	case 403:
		return CTL_NOT_PERMITTED;
	case 409:
	case 412:
		return CTL_CONFLICT;
	default:
		return CTL_FAILED;
	}
}

/* RFC 9457: "detail" says it best, "title" at least names it; "errors" are lines of a bad configuration. */
static int http_error(struct answer *answer)
{
	struct buf *out = &answer->message;
	const char *title = field_text(answer->json, "title", NULL);
	const char *detail = field_text(answer->json, "detail", NULL);
	json_t *errors = field(answer->json, "errors"), *possible = field(answer->json, "possible"), *item;
	size_t i;

	if (!detail)
		detail = title;
	if (detail)
		format_clean(out, detail);
	else
		buf_append_str(out, "the daemon refused without a reason");
	buf_append_str(out, " (HTTP ");
	buf_printf(out, "%ld", answer->status);
	if (title && title != detail) {
		buf_append_str(out, " ");
		format_clean(out, title);
	}
	buf_append_char(out, ')');
	if (detail && strstr(detail, "possible now"))
		possible = NULL; /* it says so itself */
	json_array_foreach(possible, i, item)
	{
		buf_append_str(out, i == 0 ? "; possible now: " : ", ");
		format_clean(out, json_string_value(item) ? json_string_value(item) : "?");
	}
	if (answer->status == 401)
		buf_append_str(out, "; give a token with --token-file or PHOENIX_TOKEN");
	json_array_foreach(errors, i, item)
	{
		buf_append_char(out, '\n');
		format_clean(out, json_string_value(item) ? json_string_value(item) : "?");
	}
	return exit_of_status(answer->status);
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
	struct buf *body = user;
	buf_append(body, data, size * count);
	return body->failed ? 0 : size * count;
}

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
	struct answer *answer = user;
	struct slice line = slice_of(data, size * count);
	while (line.len && (line.ptr[line.len - 1] == '\r' || line.ptr[line.len - 1] == '\n'))
		line.len--;
	if (line.len > 5 && strncasecmp(line.ptr, "etag:", 5) == 0) {
		struct slice value = slice_trim(slice_of(line.ptr + 5, line.len - 5));
		if (value.len < sizeof(answer->etag)) {
			memcpy(answer->etag, value.ptr, value.len);
			answer->etag[value.len] = '\0';
		}
	}
	return size * count;
}

/* Reads the JSON of an answer whose transfer went well and sorts it by its status. */
static int judge_answer(struct client *client, const struct buf *body, struct answer *answer)
{
	json_error_t error;

	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &answer->status);
	bool good = answer->status >= 200 && answer->status < 300;
	if (body->len)
		answer->json = json_loadb(body->data, body->len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
	if (!good)
		return http_error(answer);
	if (body->len && !answer->json) {
		buf_append_str(&answer->message, "the answer is not JSON: ");
		format_clean(&answer->message, error.text);
		buf_printf(&answer->message, " (line %d); is a daemon of another version at %s?", error.line,
			   where(client));
		return CTL_FAILED;
	}
	return CTL_DONE;
}

int client_call(struct client *client, const char *method, const char *path, const json_t *body,
		const char *etag, unsigned timeout_ms, struct answer *answer)
{
	struct buf url = {0}, received = {.max = CLIENT_ANSWER_BYTES_MAX}, line = {0};
	struct curl_slist *headers = NULL;
	char *text = NULL;
	bool failed = false;
	int status = CTL_FAILED;

	memset(answer, 0, sizeof(*answer));
	for (struct curl_slist *common = client->common; common; common = common->next)
		headers = with_header(headers, common->data, &failed);
	headers = with_header(headers, "Accept: application/json, application/problem+json", &failed);
	if (etag && *etag) {
		buf_printf(&line, "If-Match: %s", etag);
		headers = with_header(headers, buf_cstr(&line), &failed);
	}
	buf_printf(&url, "%s%s", client->address.base_url, path);
	prepare(client, buf_cstr(&url));
	CURL *curl = client->curl;
	if (body) {
		text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
		headers = with_header(headers, "Content-Type: application/json", &failed);
		headers = with_header(headers, "Expect:", &failed); /* no waiting for 100-continue */
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &received);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer);
	if (failed || url.failed || line.failed || (body && !text)) {
		buf_append_str(&answer->message, "out of memory");
	} else {
		CURLcode code = curl_easy_perform(curl);
		status = code == CURLE_OK ? judge_answer(client, &received, answer)
					  : transport_error(client, code, &answer->message);
	}
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	free(text);
	buf_fini(&url);
	buf_fini(&line);
	buf_fini(&received);
	return status;
}

void answer_fini(struct answer *answer)
{
	json_decref(answer->json);
	answer->json = NULL;
	buf_fini(&answer->message);
}

struct stream {
	struct client *client;
	bool (*on_bytes)(void *user, const char *data, size_t len);
	void *user;
	struct buf refusal; /* body of an answer that is no stream */
	bool stopped;
};

static size_t on_stream(char *data, size_t size, size_t count, void *user)
{
	struct stream *stream = user;
	long status = 0;

	curl_easy_getinfo(stream->client->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200) {
		buf_append(&stream->refusal, data, size * count);
		return stream->refusal.failed ? 0 : size * count;
	}
	if (stream->on_bytes(stream->user, data, size * count))
		return size * count;
	stream->stopped = true;
	return 0;
}

int client_stream(struct client *client, const char *path, const char *last_id,
		  bool (*on_bytes)(void *user, const char *data, size_t len), void *user, struct buf *why)
{
	struct stream stream = {client, on_bytes, user, {.max = 1 << 20}, false};
	struct answer answer = {0};
	struct buf url = {0}, line = {0};
	struct curl_slist *headers = NULL;
	bool failed = false;
	int status = CTL_FAILED;

	for (struct curl_slist *common = client->common; common; common = common->next)
		headers = with_header(headers, common->data, &failed);
	headers = with_header(headers, "Accept: text/event-stream", &failed);
	if (last_id && *last_id) {
		buf_printf(&line, "Last-Event-ID: %s", last_id);
		headers = with_header(headers, buf_cstr(&line), &failed);
	}
	buf_printf(&url, "%s%s", client->address.base_url, path);
	prepare(client, buf_cstr(&url));
	CURL *curl = client->curl;
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_stream);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &stream);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, SILENCE_TIMEOUT_S);
	if (failed || url.failed || line.failed) {
		buf_append_str(why, "out of memory");
		goto out;
	}
	CURLcode code = curl_easy_perform(curl);
	if (stream.stopped) {
		status = CTL_DONE;
	} else if (code != CURLE_OK) {
		status = transport_error(client, code, why);
	} else {
		status = judge_answer(client, &stream.refusal, &answer);
		if (status == CTL_DONE) { /* a stream that ended by itself: the daemon went away */
			buf_printf(why, "daemon not reachable at %s: it closed the event stream",
				   where(client));
			status = CTL_UNREACHABLE;
		} else {
			buf_append_slice(why, buf_slice(&answer.message));
		}
	}
out:
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	answer_fini(&answer);
	buf_fini(&stream.refusal);
	buf_fini(&url);
	buf_fini(&line);
	return status;
}

char *client_path(const char *format, const char *segment)
{
	char *escaped = curl_easy_escape(NULL, segment, (int)strlen(segment));
	char *path = NULL;
	if (escaped && asprintf(&path, format, escaped) < 0)
		path = NULL;
	curl_free(escaped);
	return path;
}
