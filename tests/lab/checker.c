/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checker: keep-alive HTTP/1.1 load in which every byte of every answer is compared.
 *
 *     checker [-c CONNECTIONS] [-n REQUESTS | -d SECONDS] [-m PER_CONNECTION] [-t HANG_MS] [-r] [-k] ADDRESS
 * PORT PLAN
 *
 * PLAN has a line for each thing to ask for: ROUTE TARGET LEGACY_FILE MODERN_FILE. Each request carries a
 * number of its own (X-Number). An answer must be a 200 that repeats the number, names its upstream as
 * "X-Upstream: ROUTE-legacy" or "ROUTE-modern", has that file's length and that file's bytes, and nothing may
 * follow it. What is left of the head (all but Date and X-Number) is hashed, and different heads are counted:
 * a head that changes from answer to answer is seen there.
 *
 * -m  a new connection after so many requests (default: never)
 * -t  an answer that is not complete after so long is a failure (default 20000)
 * -r  connections may break or be closed (somebody is being killed): they are counted, opened again, and what
 * had arrived until then must still be right -e  the gateway may say 502, 503 or 504: they are counted as
 * errors, and not compared -k  send "Connection: close": one request a connection
 *
 * SIGINT ends it early. Prints one JSON object; exit 0, or 1 when something was wrong.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4096
#define TARGETS_MAX	256
#define IN_BYTES	(16u << 20)
#define FIRST_IN_BYTES	8192
#define HEAD_MAX	8192
#define HEADS_MAX	64
#define FAILURES_SHOWN	20
#define FAILURES_MAX	1000
#define RETRY_US	20000
#define LOOK_US		5000

enum side { LEGACY, MODERN, SIDES };

struct target {
	char route[64], path[256];
	char *body[SIDES];
	size_t bytes[SIDES];
	uint64_t answers[SIDES];
};

struct connection {
	int fd;
	int index;
	int connecting;
	struct target *target; /* of the request that is out; NULL: none */
	uint64_t number;
	uint64_t asked; /* requests on this connection */
	int64_t since_us;
	int64_t retry_us; /* open again then; 0: not waiting */
	char out[512];
	size_t out_bytes, out_at;
	char *in;
	size_t in_bytes, in_room;
};

static struct {
	int connections, per_connection, hang_ms, go_on, errors, close;
	uint64_t requests;
	double seconds;
	struct sockaddr_storage address;
	socklen_t address_bytes;
} options = {.connections = 16, .hang_ms = 20000};

static struct target targets[TARGETS_MAX];
static int target_count, poller;
static struct connection *connections;
static uint64_t asked, answered, hung, errors, broken, opened, failures;
static char failure_text[FAILURES_SHOWN][480];
static uint64_t heads[HEADS_MAX];
static int head_count;
static uint32_t *latencies_us;
static size_t latency_room;
static volatile sig_atomic_t stopping;

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void *must(void *memory)
{
	if (!memory) {
		fprintf(stderr, "checker: out of memory\n");
		exit(2);
	}
	return memory;
}

static void __attribute__((format(printf, 2, 3))) fail(const struct connection *c, const char *format, ...)
{
	char said[300];
	va_list list;
	va_start(list, format);
	vsnprintf(said, sizeof(said), format, list);
	va_end(list);
	for (char *p = said; *p; p++)
		if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ' || (unsigned char)*p > '~')
			*p = '.';
	struct sockaddr_in6 own = {0}; /* the port lies in the same place for both families */
	socklen_t own_bytes = sizeof(own);
	if (c->fd >= 0)
		getsockname(c->fd, (struct sockaddr *)&own, &own_bytes);
	if (failures < FAILURES_SHOWN)
		snprintf(failure_text[failures], sizeof(failure_text[0]),
			 "connection %d, port %u, its request %llu (%.60s): %s", c->index,
			 ntohs(own.sin6_port), (unsigned long long)c->asked,
			 c->target ? c->target->path : "none is out", said);
	failures++;
}

static void open_connection(struct connection *c)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
	int one = 1;

	c->fd = socket(options.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd < 0) {
		fprintf(stderr, "checker: socket: %s\n", strerror(errno));
		exit(2);
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	connect(c->fd, (struct sockaddr *)&options.address, options.address_bytes);
	epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
	c->connecting = 1;
	c->retry_us = 0;
	c->asked = 0;
	c->in_bytes = 0;
	c->out_bytes = c->out_at = 0;
	c->since_us = now_us();
	opened++;
}

static void close_connection(struct connection *c, int64_t retry_after_us)
{
	close(c->fd);
	c->fd = -1;
	if (c->target) { /* it got no answer: another one will be asked instead */
		c->target = NULL;
		asked--;
	}
	c->retry_us = now_us() + retry_after_us;
}

/* The connection broke. Right or wrong is decided by whether that may happen. */
static void on_broken(struct connection *c, const char *why)
{
	broken++;
	if (!options.go_on)
		fail(c, "%s%s", c->connecting ? "while connecting: " : "", why);
	close_connection(c, RETRY_US);
}

static void watch(struct connection *c, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = c};
	epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

static void push_out(struct connection *c)
{
	while (c->out_at < c->out_bytes) {
		ssize_t sent = send(c->fd, c->out + c->out_at, c->out_bytes - c->out_at, MSG_NOSIGNAL);
		if (sent < 0) {
			if (errno == EAGAIN)
				watch(c, EPOLLIN | EPOLLOUT);
			else
				on_broken(c, strerror(errno));
			return;
		}
		c->out_at += (size_t)sent;
	}
}

static int may_ask(void)
{
	return !stopping && (!options.requests || asked < options.requests);
}

static void ask(struct connection *c)
{
	static uint64_t next_number;
	if (!may_ask())
		return;
	asked++;
	c->asked++;
	c->target = &targets[(c->index + c->asked) % target_count];
	c->number = ++next_number;
	c->out_at = 0;
	c->out_bytes = (size_t)snprintf(
		c->out, sizeof(c->out), "GET %s HTTP/1.1\r\nHost: lab\r\nX-Number: %llu\r\n%s\r\n",
		c->target->path, (unsigned long long)c->number, options.close ? "Connection: close\r\n" : "");
	c->since_us = now_us();
	push_out(c);
}

struct head {
	size_t bytes;
	size_t body_bytes;
	enum side side;
	int closes;
	int error; /* the gateway's own answer: 502, 503, 504 */
	uint64_t hash;
};

/* One field of a head; 0 when it says something wrong. seen: bits of the fields that must be there once. */
static int read_field(struct connection *c, struct head *head, char *line, size_t length, unsigned *seen)
{
	char value[128], want[80];
	char *colon = memchr(line, ':', length);
	if (!colon) {
		fail(c, "a head line without a colon: %.*s", (int)length, line);
		return 0;
	}
	size_t name = (size_t)(colon - line), at = name + 1;
	while (at < length && line[at] == ' ')
		at++;
	snprintf(value, sizeof(value), "%.*s", (int)(length - at), line + at);
	if (name == 8 && !strncasecmp(line, "X-Number", 8)) {
		*seen += 1;
		if (strtoull(value, NULL, 10) != c->number) {
			fail(c, "the answer to request number %s, not to %llu", value,
			     (unsigned long long)c->number);
			return 0;
		}
		return 1;
	}
	if (name == 4 && !strncasecmp(line, "Date", 4))
		return 1;
	if (name == 10 && !strncasecmp(line, "X-Upstream", 10)) {
		*seen += 16;
		snprintf(want, sizeof(want), "%s-legacy", c->target->route);
		head->side = strcmp(value, want) ? MODERN : LEGACY;
		snprintf(want, sizeof(want), "%s-modern", c->target->route);
		if (head->side == MODERN && strcmp(value, want)) {
			fail(c, "answered by %s", value);
			return 0;
		}
	} else if (name == 14 && !strncasecmp(line, "Content-Length", 14)) {
		*seen += 256;
		head->body_bytes = strtoull(value, NULL, 10);
	} else if (name == 10 && !strncasecmp(line, "Connection", 10)) {
		head->closes = !strcasecmp(value, "close");
	}
	for (size_t i = 0; i < length; i++)
		head->hash = (head->hash ^ (unsigned char)line[i]) * 0x100000001b3ULL;
	return 1;
}

/* The start of an answer: 0 unless it may still become, or is, "HTTP/1.1 200 OK" (or an error of the
 * gateway). */
static int right_status(const struct connection *c, int *error)
{
	static const char status[] = "HTTP/1.1 200 OK\r\n";
	static const char gateway[] = "HTTP/1.1 50";
	size_t match = c->in_bytes < sizeof(status) - 1 ? c->in_bytes : sizeof(status) - 1;

	*error = options.errors && c->in_bytes > sizeof(gateway) &&
		 !memcmp(c->in, gateway, sizeof(gateway) - 1) && c->in[11] >= '2' && c->in[11] <= '4';
	return *error || !memcmp(c->in, status, match) ||
	       (options.errors && c->in_bytes <= sizeof(gateway) &&
		!memcmp(c->in, gateway, sizeof(gateway) - 1));
}

/* 1: the head is there and right; 0: not yet; -1: wrong. */
static int read_head(struct connection *c, struct head *head)
{
	unsigned seen = 0;
	int error;

	if (!right_status(c, &error)) {
		fail(c, "the answer begins with %.*s", c->in_bytes > 60 ? 60 : (int)c->in_bytes, c->in);
		return -1;
	}
	char *end = memmem(c->in, c->in_bytes, "\r\n\r\n", 4);
	if (!end) {
		if (c->in_bytes > HEAD_MAX)
			fail(c, "no end of the head in %d bytes", HEAD_MAX);
		return c->in_bytes > HEAD_MAX ? -1 : 0;
	}
	*head = (struct head){
		.bytes = (size_t)(end - c->in) + 4, .error = error, .hash = 0xcbf29ce484222325ULL};
	for (char *line = memmem(c->in, c->in_bytes, "\r\n", 2); line < end;) {
		line += 2;
		char *next = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
		if (!read_field(c, head, line, (size_t)(next - line), &seen))
			return -1;
		line = next;
	}
	if (error ? seen != 0x100 : seen != 0x111) {
		fail(c, "X-Number, X-Upstream and Content-Length are there %u, %u and %u times", seen & 15,
		     seen >> 4 & 15, seen >> 8);
		return -1;
	}
	if (!error && head->body_bytes != c->target->bytes[head->side]) {
		fail(c, "Content-Length %zu instead of %zu", head->body_bytes, c->target->bytes[head->side]);
		return -1;
	}
	return 1;
}

/* Compares what has arrived. 1: a whole right answer; 0: right so far; -1: wrong. */
static int check_answer(struct connection *c, struct head *head)
{
	int got = read_head(c, head);
	if (got <= 0)
		return got;
	size_t have = c->in_bytes - head->bytes;
	size_t compare = have < head->body_bytes ? have : head->body_bytes;
	const char *body = c->target->body[head->side];
	if (!head->error && memcmp(c->in + head->bytes, body, compare)) {
		size_t i = 0;
		while (c->in[head->bytes + i] == body[i])
			i++;
		fail(c, "byte %zu of the body is %.24s instead of %.24s", i, c->in + head->bytes + i,
		     body + i);
		return -1;
	}
	if (have > head->body_bytes) {
		fail(c, "%zu bytes after the end of the answer: %.60s", have - head->body_bytes,
		     c->in + head->bytes + head->body_bytes);
		return -1;
	}
	return have == head->body_bytes;
}

static void on_answer(struct connection *c, const struct head *head)
{
	if (head->error) {
		errors++;
		asked--; /* another one is asked instead */
		c->target = NULL;
		close_connection(c, RETRY_US);
		return;
	}
	int i = 0;
	while (i < head_count && heads[i] != head->hash)
		i++;
	if (i == head_count && head_count < HEADS_MAX)
		heads[head_count++] = head->hash;
	if (answered == latency_room) {
		latency_room = latency_room ? latency_room * 2 : 65536;
		latencies_us = must(realloc(latencies_us, latency_room * sizeof(*latencies_us)));
	}
	latencies_us[answered++] = (uint32_t)(now_us() - c->since_us);
	c->target->answers[head->side]++;
	c->target = NULL;
	c->in_bytes = 0;
	if (options.close != head->closes && !(options.go_on && head->closes))
		fail(c, "the answer says Connection: %s", head->closes ? "close" : "keep-alive");
	if (!head->closes && (!options.per_connection || c->asked < (uint64_t)options.per_connection)) {
		ask(c);
	} else {
		close_connection(c, 0);
		if (may_ask())
			open_connection(c);
	}
}

static void on_readable(struct connection *c)
{
	struct head head;

	for (;;) {
		if (c->in_bytes == c->in_room) {
			c->in_room = c->in_room ? c->in_room * 2 : FIRST_IN_BYTES;
			c->in = must(realloc(c->in, c->in_room));
		}
		ssize_t got = recv(c->fd, c->in + c->in_bytes, c->in_room - c->in_bytes, 0);
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			on_broken(c, got ? strerror(errno) : "closed");
			return;
		}
		c->in_bytes += (size_t)got;
		if (!c->target) {
			fail(c, "%zd bytes that nobody asked for: %.60s", got, c->in);
			close_connection(c, RETRY_US);
			return;
		}
		int state = check_answer(c, &head);
		if (state < 0 || c->in_bytes >= IN_BYTES) {
			close_connection(c, RETRY_US);
			return;
		}
		if (state > 0) {
			on_answer(c, &head);
			return;
		}
	}
}

static void on_event(struct connection *c, uint32_t events)
{
	if (c->fd < 0)
		return;
	if (c->connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
		int error = 0;
		socklen_t bytes = sizeof(error);
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
		if (error) {
			on_broken(c, strerror(error));
			return;
		}
		c->connecting = 0;
		watch(c, EPOLLIN);
		ask(c);
		return;
	}
	if ((events & EPOLLOUT) && c->out_at < c->out_bytes) {
		watch(c, EPOLLIN);
		push_out(c);
	}
	if (c->fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		on_readable(c);
}

/* Opens what waits for it and finds what hangs. Returns the connections that still do something. */
static int look_after(int64_t now)
{
	int busy = 0;
	for (int i = 0; i < options.connections; i++) {
		struct connection *c = &connections[i];
		if (c->fd < 0 && c->retry_us && c->retry_us <= now && may_ask())
			open_connection(c);
		if (c->fd >= 0 && (c->target || c->connecting) &&
		    now - c->since_us > (int64_t)options.hang_ms * 1000) {
			fail(c, "%s for %d ms; %zu bytes of the answer are there",
			     c->connecting ? "connecting" : "no answer", options.hang_ms, c->in_bytes);
			hung += c->target != NULL;
			c->target = NULL; /* it is not asked again */
			close_connection(c, RETRY_US);
		}
		if (c->fd >= 0 && !c->target && !c->connecting && may_ask())
			ask(c);
		busy += c->fd >= 0 && (c->target || (c->connecting && may_ask()));
		busy += c->fd < 0 && may_ask();
	}
	return busy;
}

static char *read_file(const char *path, size_t *bytes)
{
	FILE *file = fopen(path, "rb");
	if (!file) {
		fprintf(stderr, "checker: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	fseek(file, 0, SEEK_END);
	*bytes = (size_t)ftell(file);
	rewind(file);
	char *data = must(malloc(*bytes + 64));
	memset(data, 0, *bytes + 64);
	if (fread(data, 1, *bytes, file) != *bytes)
		exit(2);
	fclose(file);
	return data;
}

static void read_plan(const char *path)
{
	char line[1200], legacy[400], modern[400];
	FILE *file = fopen(path, "r");
	while (file && target_count < TARGETS_MAX && fgets(line, sizeof(line), file)) {
		struct target *t = &targets[target_count];
		if (sscanf(line, "%63s %255s %399s %399s", t->route, t->path, legacy, modern) != 4)
			break;
		t->body[LEGACY] = read_file(legacy, &t->bytes[LEGACY]);
		t->body[MODERN] = read_file(modern, &t->bytes[MODERN]);
		target_count++;
	}
	if (!target_count) {
		fprintf(stderr, "checker: %s: no plan; each line is ROUTE TARGET LEGACY_FILE MODERN_FILE\n",
			path);
		exit(2);
	}
	fclose(file);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static uint32_t percentile(double share)
{
	return answered ? latencies_us[(size_t)((double)(answered - 1) * share)] : 0;
}

static void report(double seconds)
{
	if (answered)
		qsort(latencies_us, answered, sizeof(*latencies_us), by_value);
	printf("{\"answers\": %llu, \"connections\": %llu, \"broken\": %llu, \"errors\": %llu, \"heads\": "
	       "%d, \"seconds\": "
	       "%.3f, "
	       "\"p50_us\": %u, \"p99_us\": %u, \"max_us\": %u, \"sides\": {",
	       (unsigned long long)answered, (unsigned long long)opened, (unsigned long long)broken,
	       (unsigned long long)errors, head_count, seconds, percentile(0.5), percentile(0.99),
	       percentile(1));
	for (int i = 0; i < target_count; i++) {
		uint64_t sum[SIDES] = {0, 0};
		int first = 1;
		for (int k = 0; k < target_count; k++) {
			if (strcmp(targets[k].route, targets[i].route))
				continue;
			first &= k >= i;
			sum[LEGACY] += targets[k].answers[LEGACY];
			sum[MODERN] += targets[k].answers[MODERN];
		}
		if (first)
			printf("%s\"%s\": {\"legacy\": %llu, \"modern\": %llu}", i ? ", " : "",
			       targets[i].route, (unsigned long long)sum[LEGACY],
			       (unsigned long long)sum[MODERN]);
	}
	printf("}, \"failures\": %llu, \"failed\": [", (unsigned long long)failures);
	for (uint64_t i = 0; i < failures && i < FAILURES_SHOWN; i++)
		printf("%s\"%s\"", i ? ", " : "", failure_text[i]);
	printf("]}\n");
}

static void on_signal(int number)
{
	stopping = 1;
}

static void parse(int argc, char **argv)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM},
			*found;
	int c;
	while ((c = getopt(argc, argv, "c:n:d:m:t:rek")) != -1) {
		switch (c) {
		case 'c':
			options.connections = atoi(optarg);
			break;
		case 'n':
			options.requests = strtoull(optarg, NULL, 10);
			break;
		case 'd':
			options.seconds = atof(optarg);
			break;
		case 'm':
			options.per_connection = atoi(optarg);
			break;
		case 't':
			options.hang_ms = atoi(optarg);
			break;
		case 'r':
			options.go_on = 1;
			break;
		case 'e':
			options.errors = 1;
			break;
		case 'k':
			options.close = 1;
			break;
		default:
			exit(2);
		}
	}
	if (argc - optind != 3 || options.connections < 1 || options.connections > CONNECTIONS_MAX ||
	    (!options.requests && options.seconds <= 0) ||
	    getaddrinfo(argv[optind], argv[optind + 1], &hints, &found)) {
		fprintf(stderr,
			"usage: checker [-c N] [-n REQUESTS | -d SECONDS] [-m N] [-t MS] [-r] [-e] [-k] "
			"ADDRESS PORT PLAN\n");
		exit(2);
	}
	memcpy(&options.address, found->ai_addr, found->ai_addrlen);
	options.address_bytes = found->ai_addrlen;
	freeaddrinfo(found);
	read_plan(argv[optind + 2]);
}

int main(int argc, char **argv)
{
	struct epoll_event events[256];

	parse(argc, argv);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	poller = epoll_create1(0);
	connections = must(calloc((size_t)options.connections, sizeof(*connections)));
	int64_t start = now_us(), looked = 0;
	for (int i = 0; i < options.connections; i++) {
		connections[i].index = i;
		open_connection(&connections[i]);
	}
	for (;;) {
		int count = epoll_wait(poller, events, 256, 10);
		for (int i = 0; i < count; i++)
			on_event(events[i].data.ptr, events[i].events);
		int64_t now = now_us();
		if (options.seconds > 0 && now - start > options.seconds * 1e6)
			stopping = 1;
		if (now - looked > LOOK_US || stopping) {
			looked = now;
			if (!look_after(now) && stopping)
				break;
		}
		if (failures > FAILURES_MAX || (options.requests && answered + hung >= options.requests))
			break;
	}
	report((double)(now_us() - start) / 1e6);
	return failures ? 1 : 0;
}
