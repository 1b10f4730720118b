/* SPDX-License-Identifier: Apache-2.0 */
/* Webhooks: told, told again when it did not work, never in anybody's way. */
#include "control/notify.h"
#include "base/clock.h"
#include "unit.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

/* A webhook's server: answers 500 the first `failures` times, then 204; keeps the last body. */
struct hook {
	int fd;
	unsigned port;
	unsigned failures;
	unsigned calls;
	char last[2048];
	pthread_t thread;
};

static void *serve(void *argument)
{
	struct hook *hook = argument;
	for (;;) {
		int fd = accept(hook->fd, NULL, NULL);
		if (fd < 0)
			return NULL;
		size_t len = 0;
		ssize_t n;
		/* The body is JSON: it ends with a brace. */
		while ((n = recv(fd, hook->last + len, sizeof(hook->last) - 1 - len, 0)) > 0) {
			len += (size_t)n;
			if (hook->last[len - 1] == '}')
				break;
		}
		hook->last[len] = '\0';
		const char *answer = hook->calls++ < hook->failures
					     ? "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
					     : "HTTP/1.1 204 Yes\r\n\r\n";
		if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
			perror("send");
		close(fd);
	}
}

static void hook_start(struct hook *hook, unsigned failures)
{
	memset(hook, 0, sizeof(*hook));
	hook->failures = failures;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	hook->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(hook->fd, (struct sockaddr *)&address, len) || listen(hook->fd, 16) ||
	    getsockname(hook->fd, (struct sockaddr *)&address, &len) ||
	    pthread_create(&hook->thread, NULL, serve, hook))
		exit(1);
	hook->port = ntohs(address.sin_port);
}

static void hook_stop(struct hook *hook)
{
	shutdown(hook->fd, SHUT_RDWR);
	pthread_join(hook->thread, NULL);
	close(hook->fd);
}

static struct notify_stats wait_for(struct notify *notify, uint64_t messages, unsigned ms)
{
	struct notify_stats stats;
	for (unsigned waited = 0;; waited += 10) {
		notify_stats(notify, &stats);
		if (stats.sent + stats.failed >= messages || waited >= ms)
			return stats;
		usleep(10000);
	}
}

TEST(told_once)
{
	struct hook hook;
	hook_start(&hook, 0);
	struct notify *notify;
	CHECK_INT(notify_create(&notify), 0);
	char url[64];
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/hook/x", hook.port);
	notify_send(notify, url, "{\"event\":\"rollback\"}");
	struct notify_stats stats = wait_for(notify, 1, 5000);
	CHECK_INT(stats.sent, 1);
	notify_destroy(notify, 100);
	hook_stop(&hook);
	CHECK_INT(hook.calls, 1);
	CHECK(strncmp(hook.last, "POST /hook/x HTTP/1.1\r\n", 23) == 0);
	CHECK(strstr(hook.last, "Content-Type: application/json\r\n"));
	CHECK(strstr(hook.last, "\r\n\r\n{\"event\":\"rollback\"}"));
}

TEST(told_again_after_a_failure)
{
	struct hook hook;
	hook_start(&hook, 1);
	struct notify *notify;
	CHECK_INT(notify_create(&notify), 0);
	char url[64];
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", hook.port);
	uint64_t began_ns = clock_now_ns();
	notify_send(notify, url, "{}");
	struct notify_stats stats = wait_for(notify, 1, 5000);
	CHECK_INT(stats.sent, 1);
	CHECK(clock_now_ns() - began_ns >= NOTIFY_PAUSE_MS * NS_PER_MS);
	notify_destroy(notify, 100);
	hook_stop(&hook);
	CHECK_INT(hook.calls, 2);
}

TEST(dead_hook_delays_nobody)
{
	struct hook hook;
	hook_start(&hook, 0);
	struct notify *notify;
	CHECK_INT(notify_create(&notify), 0);
	char url[64];
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", hook.port);
	uint64_t began_ns = clock_now_ns();
	notify_send(notify, "http://127.0.0.1:1/", "{}");
	notify_send(notify, url, "{}");
	CHECK(clock_now_ns() - began_ns < 100 * NS_PER_MS);
	struct notify_stats stats = wait_for(notify, 1, 5000);
	CHECK_INT(stats.sent, 1);
	CHECK_INT(stats.failed, 0);
	began_ns = clock_now_ns();
	notify_destroy(notify, 300);
	CHECK(clock_now_ns() - began_ns < 2 * NS_PER_SEC);
	hook_stop(&hook);
}

TEST(queue_is_bounded)
{
	struct notify *notify;
	CHECK_INT(notify_create(&notify), 0);
	for (unsigned i = 0; i < 3 * NOTIFY_QUEUE_MAX; i++)
		notify_send(notify, "http://127.0.0.1:1/", "{}");
	struct notify_stats stats;
	notify_stats(notify, &stats);
	CHECK(stats.dropped > 0);
	CHECK(stats.dropped <= 2 * NOTIFY_QUEUE_MAX);
	notify_destroy(notify, 0);
	notify_send(NULL, "http://127.0.0.1:1/", "{}");
	notify_destroy(NULL, 0);
}

UNIT_MAIN
