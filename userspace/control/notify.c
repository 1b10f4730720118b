/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify: see notify.h.
 *
 * One message a time, in order of when it is due: a dead webhook waits for its next try in the queue and does
 * not hold up the others for longer than one timeout.
 */
#include "control/notify.h"

#include "base/clock.h"
#include "base/log.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct message {
	struct message *next;
	char *url, *json;
	unsigned tries;
	uint64_t due_ns;
};

struct notify {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	struct message *queue;
	size_t count;
	bool stopping;
	uint64_t stop_ns; /* when stopping: not a try after this */
	struct notify_stats stats;
};

static void message_destroy(struct message *message)
{
	free(message->url);
	free(message->json);
	free(message);
}

static size_t discard(char *data, size_t size, size_t count, void *context)
{
	return size * count;
}

/* NULL when it was taken, otherwise why not (in `why` or static). */
static const char *post(const struct message *message, uint32_t timeout_ms, char *why, size_t why_size)
{
	CURL *curl = curl_easy_init();
	struct curl_slist *fields = curl_slist_append(NULL, "Content-Type: application/json");
	fields = curl_slist_append(fields, "Expect:");
	if (!curl || !fields) {
		curl_slist_free_all(fields);
		curl_easy_cleanup(curl);
		return "out of memory";
	}
	long status = 0;
	curl_easy_setopt(curl, CURLOPT_URL, message->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, message->json);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "phoenix/" PHOENIX_VERSION);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
	CURLcode code = curl_easy_perform(curl);
	if (code == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(fields);
	curl_easy_cleanup(curl);
	if (code != CURLE_OK)
		return curl_easy_strerror(code);
	if (status >= 200 && status < 300)
		return NULL;
	snprintf(why, why_size, "it answered %ld", status);
	return why;
}

/* Takes the message that is due first off the queue, waiting for it. NULL: stop. Called with the lock. */
static struct message *next_due(struct notify *notify)
{
	for (;;) {
		uint64_t now_ns = clock_now_ns();
		struct message **first = &notify->queue;
		for (struct message **m = &notify->queue; *m; m = &(*m)->next) {
			if ((*m)->due_ns < (*first)->due_ns)
				first = m;
		}
		if (notify->stopping && (!*first || now_ns >= notify->stop_ns))
			return NULL;
		if (*first && ((*first)->due_ns <= now_ns || notify->stopping)) {
			struct message *message = *first;
			*first = message->next;
			notify->count--;
			return message;
		}
		if (!*first) {
			pthread_cond_wait(&notify->changed, &notify->lock);
			continue;
		}
		uint64_t due_ns = (*first)->due_ns;
		struct timespec until = {(time_t)(due_ns / NS_PER_SEC), (long)(due_ns % NS_PER_SEC)};
		pthread_cond_timedwait(&notify->changed, &notify->lock, &until);
	}
}

static void *run(void *argument)
{
	struct notify *notify = argument;
	pthread_mutex_lock(&notify->lock);
	struct message *message;
	while ((message = next_due(notify))) {
		bool last = notify->stopping;
		uint32_t timeout_ms = NOTIFY_TIMEOUT_MS;
		if (last) {
			uint64_t left_ms = (notify->stop_ns - clock_now_ns()) / NS_PER_MS;
			timeout_ms = left_ms < 1 ? 1 : left_ms < timeout_ms ? (uint32_t)left_ms : timeout_ms;
		}
		pthread_mutex_unlock(&notify->lock);
		char text[64];
		const char *why = post(message, timeout_ms, text, sizeof(text));
		message->tries++;
		bool over = !why || last || message->tries >= NOTIFY_TRIES;
		if (why && over)
			log_warn(
				"notify",
				"webhook %s was not told after %u tries: %s; check the URL in arbiter.notify",
				message->url, message->tries, why);
		pthread_mutex_lock(&notify->lock);
		if (over) {
			why ? notify->stats.failed++ : notify->stats.sent++;
			message_destroy(message);
		} else {
			message->due_ns = clock_now_ns() +
					  ((uint64_t)NOTIFY_PAUSE_MS << (message->tries - 1)) * NS_PER_MS;
			message->next = notify->queue;
			notify->queue = message;
			notify->count++;
		}
	}
	pthread_mutex_unlock(&notify->lock);
	return NULL;
}

static void curl_begin(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

int notify_create(struct notify **out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct notify *notify = calloc(1, sizeof(*notify));
	if (!notify)
		return -ENOMEM;
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_mutex_init(&notify->lock, NULL);
	pthread_cond_init(&notify->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_once(&once, curl_begin);
	int err = -pthread_create(&notify->thread, NULL, run, notify);
	if (err) {
		pthread_cond_destroy(&notify->changed);
		pthread_mutex_destroy(&notify->lock);
		free(notify);
		return err;
	}
	pthread_setname_np(notify->thread, "phx-notify");
	*out = notify;
	return 0;
}

void notify_destroy(struct notify *notify, uint32_t wait_ms)
{
	if (!notify)
		return;
	pthread_mutex_lock(&notify->lock);
	notify->stopping = true;
	notify->stop_ns = clock_now_ns() + wait_ms * NS_PER_MS;
	pthread_cond_signal(&notify->changed);
	pthread_mutex_unlock(&notify->lock);
	pthread_join(notify->thread, NULL);
	while (notify->queue) {
		struct message *message = notify->queue;
		notify->queue = message->next;
		message_destroy(message);
	}
	pthread_cond_destroy(&notify->changed);
	pthread_mutex_destroy(&notify->lock);
	free(notify);
}

void notify_send(struct notify *notify, const char *url, const char *json)
{
	if (!notify)
		return;
	struct message *message = calloc(1, sizeof(*message));
	if (message) {
		message->url = strdup(url);
		message->json = strdup(json);
		message->due_ns = clock_now_ns();
	}
	pthread_mutex_lock(&notify->lock);
	if (message && message->url && message->json && notify->count < NOTIFY_QUEUE_MAX) {
		message->next = notify->queue;
		notify->queue = message;
		notify->count++;
		message = NULL;
		pthread_cond_signal(&notify->changed);
	} else {
		notify->stats.dropped++;
	}
	pthread_mutex_unlock(&notify->lock);
	if (message) {
		log_warn("notify", "webhook %s is not told: %u messages wait already", url, NOTIFY_QUEUE_MAX);
		message_destroy(message);
	}
}

void notify_stats(struct notify *notify, struct notify_stats *out)
{
	pthread_mutex_lock(&notify->lock);
	*out = notify->stats;
	pthread_mutex_unlock(&notify->lock);
}
