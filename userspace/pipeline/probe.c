/* SPDX-License-Identifier: Apache-2.0 */
/* probe: see probe.h. */
#include "pipeline/probe_internal.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEALTH_PAUSE_MS 100

/* --- ports --- */

static int bind_loopback(uint16_t port, struct sockaddr_in *address)
{
	socklen_t len = sizeof(*address);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	int err =
		bind(fd, (struct sockaddr *)address, len) || getsockname(fd, (struct sockaddr *)address, &len)
			? -errno
			: 0;
	close(fd);
	return err;
}

bool probe_port_is_taken(uint16_t port)
{
	struct sockaddr_in address;
	return bind_loopback(port, &address) == -EADDRINUSE;
}

uint16_t probe_free_port(void)
{
	struct sockaddr_in address;
	return bind_loopback(0, &address) ? 0 : ntohs(address.sin_port);
}

/* --- one question --- */

void probe_answer_fini(struct answer *answer)
{
	buf_fini(&answer->head);
	buf_fini(&answer->body);
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
	struct answer *answer = context;
	if (answer->body.len + size * count > PROBE_BODY_BYTES_MAX)
		return 0;
	buf_append(&answer->body, data, size * count);
	return answer->body.failed ? 0 : size * count;
}

static size_t on_head(char *data, size_t size, size_t count, void *context)
{
	struct answer *answer = context;
	struct slice line = slice_of(data, size * count);
	while (line.len && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r'))
		line.len--;
	const char *colon = line.len ? memchr(line.ptr, ':', line.len) : NULL;
	if (!colon) {
		if (line.len) { /* a status line: of the last answer, an interim one is forgotten */
			buf_reset(&answer->head);
			answer->field_count = 0;
		}
		return size * count;
	}
	if (answer->field_count < FIELDS_MAX && answer->head.len < 65536) {
		struct slice value =
			slice_trim(slice_of(colon + 1, (size_t)(line.ptr + line.len - colon - 1)));
		answer->field_count++;
		buf_append(&answer->head, line.ptr, (size_t)(colon - line.ptr));
		buf_append_char(&answer->head, '\0');
		buf_append_slice(&answer->head, value);
		buf_append_char(&answer->head, '\0');
	}
	return size * count;
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	return job_check(((struct answer *)context)->job) != 0;
}

/* The buffer has stopped moving: pointers into it can be taken. */
static void find_fields(struct answer *answer)
{
	const char *at = answer->head.data;
	for (size_t i = 0; i < answer->field_count && !answer->head.failed; i++) {
		answer->fields[i].name = slice_str(at);
		at += strlen(at) + 1;
		answer->fields[i].value = slice_str(at);
		at += strlen(at) + 1;
	}
}

int probe_ask(struct job *job, const struct question *question, struct answer *answer, struct buf *why)
{
	CURL *curl = curl_easy_init();
	struct curl_slist *fields = curl_slist_append(NULL, "Expect:");
	const char *name;
	json_t *value;
	bool has_type = false;
	*answer = (struct answer){.job = job};
	json_object_foreach((json_t *)question->headers, name, value)
	{
		struct buf line = {0};
		has_type |= strcasecmp(name, "content-type") == 0;
		buf_printf(&line, "%s: %s", name, json_string_value(value) ? json_string_value(value) : "");
		fields = curl_slist_append(fields, buf_cstr(&line));
		buf_fini(&line);
	}
	if (question->has_body && !has_type)
		fields = curl_slist_append(fields, question->json ? "Content-Type: application/json"
								  : "Content-Type: text/plain");
	if (!curl || !fields) {
		curl_slist_free_all(fields);
		curl_easy_cleanup(curl);
		return -ENOMEM;
	}
	long status = 0;
	curl_easy_setopt(curl, CURLOPT_URL, question->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
	if (question->has_body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)question->body.len);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, question->body.len ? question->body.ptr : "");
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, question->method);
	if (strcmp(question->method, "HEAD") == 0)
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "phoenix/" PHOENIX_VERSION);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)question->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_head);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, answer);
	CURLcode code = curl_easy_perform(curl);
	if (code == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(fields);
	curl_easy_cleanup(curl);
	answer->status = (int)status;
	if (code == CURLE_OK) {
		find_fields(answer);
		return 0;
	}
	if (code == CURLE_WRITE_ERROR)
		buf_printf(why, "the answer is larger than %u bytes", PROBE_BODY_BYTES_MAX);
	else if (code == CURLE_OPERATION_TIMEDOUT)
		buf_printf(why, "no answer within %u ms", question->timeout_ms);
	else
		buf_printf(why, "no answer: %s", curl_easy_strerror(code));
	int check = job_check(job);
	return check ? check : -EIO;
}

/* --- health --- */

static bool ask_health(const struct spec *spec, struct job *job, uint16_t port, struct buf *why)
{
	char url[1200];
	struct answer answer;
	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", port,
		 spec->service.health ? spec->service.health : "/");
	struct question question = {.method = "GET", .url = url, .timeout_ms = 2000};
	bool healthy = false;
	if (probe_ask(job, &question, &answer, why) == 0) {
		healthy = spec->service.health ? answer.status >= 200 && answer.status < 400
					       : answer.status < 500;
		if (!healthy)
			buf_printf(why, "it answered %d", answer.status);
	}
	probe_answer_fini(&answer);
	return healthy;
}

bool probe_is_healthy(const struct spec *spec, struct job *job, uint16_t port)
{
	struct buf why = {0};
	bool healthy = ask_health(spec, job, port, &why);
	buf_fini(&why);
	return healthy;
}

int probe_health(struct deployment *d, struct job *job, const json_t *release, bool trial, uint16_t port,
		 uint16_t other, uint16_t *found, struct buf *why)
{
	uint64_t began_ns = clock_now_ns(), until_ns = began_ns + d->spec->deadline.healthy_ms * NS_PER_MS;
	const char *path = d->spec->service.health ? d->spec->service.health : "/";
	bool bridged = d->deployer == &docker_deployer && d->spec->deploy.network == NETWORK_BRIDGE;
	for (unsigned turn = 0;; turn++) {
		struct buf reason = {0};
		struct service_state state = {.running = true};
		bool healthy = ask_health(d->spec, job, port, &reason);
		*found = port;
		if (!healthy && other && probe_is_healthy(d->spec, job, other)) {
			healthy = true;
			*found = other;
		}
		/* Docker is asked less often: a question takes tens of milliseconds. */
		if (turn % 5 == 0 || healthy)
			d->deployer->state(d, job, release, trial, &state);
		int err = job_check(job);
		if (!err && !state.running && !state.unknown) {
			buf_printf(why, "the service %s instead of becoming healthy", state.text);
			err = -ECHILD;
		} else if (!err && state.restarts) {
			buf_printf(why, "the service %s instead of becoming healthy", state.text);
			err = -ECHILD;
		} else if (!err && healthy) {
			job_say(job, "healthy after %llu ms: GET %s on port %u",
				(unsigned long long)((clock_now_ns() - began_ns) / NS_PER_MS), path, *found);
			buf_fini(&reason);
			return 0;
		} else if (!err && clock_now_ns() >= until_ns) {
			buf_printf(why,
				   "the service is not healthy after %u ms (deadline.healthy_ms): GET "
				   "http://127.0.0.1:%u%s: "
				   "%s; it must listen on %s and the port in $PORT",
				   d->spec->deadline.healthy_ms, port, path, buf_cstr(&reason),
				   bridged ? "0.0.0.0 (deploy.network is bridge)" : "127.0.0.1");
			err = -ETIMEDOUT;
		}
		buf_fini(&reason);
		if (err) {
			d->deployer->tail(d, job, release, trial);
			return err;
		}
		job_sleep(job, HEALTH_PAUSE_MS);
	}
}
