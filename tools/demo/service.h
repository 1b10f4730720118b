/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service: the server under both demo services: command line, sockets, HTTP/1.1 framing, faults.
 *
 * One plain thread a connection, blocking reads and one write an answer: a service that is slow on purpose
 * then holds up the connection it is slow on and no other. Keep-alive, pipelined requests, Content-Length
 * bodies, HEAD, HTTP/1.0 and "Expect: 100-continue" are understood; a chunked request gets 411. It shares
 * no HTTP code with the gateway, so that a misreading there is not repeated here.
 *
 * Everything is static: a demo service is one .c file that includes this and calls service_main().
 */
#ifndef PHOENIX_DEMO_SERVICE_H
#define PHOENIX_DEMO_SERVICE_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/slice.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVICE_CONNECTIONS_MAX 2048
#define SERVICE_HEAD_BYTES	32768u
#define SERVICE_BODY_BYTES	1048576u
#define SERVICE_STACK_BYTES	262144u
#define SERVICE_IDLE_S		75
#define SERVICE_SLOW_MS		3000
#define SERVICE_GOODBYE_MS	3500 /* how long requests in progress may take after SIGTERM */

enum service_fault { FAULT_NONE, FAULT_WRONG_VALUE, FAULT_WRONG_STATUS, FAULT_SLOW, FAULT_CRASH };

/* One request, everything borrowed from the connection's buffer until the handler returns. */
struct service_request {
	struct slice method;
	struct slice path;  /* without the query */
	struct slice query; /* without "?"; empty when there is none */
	struct slice idempotency_key;
	struct slice body;
};

/* What the handler fills in. Zeroed before, but for the status (200). */
struct service_response {
	int status;
	const char *content_type; /* NULL when there is no body */
	const char *allow;	  /* the Allow field of a 405; NULL otherwise */
	struct buf body;
};

struct service {
	const char *name;   /* of the program */
	const char *server; /* value of the Server field */
	/* Answers one request; called by many threads at once. `wrong_value`: put a wrong figure into it. */
	void (*handle)(const struct service_request *request, struct service_response *response,
		       bool wrong_value);
};

struct service_connection {
	int fd;
	unsigned slot;
	char *data; /* SERVICE_HEAD_BYTES + SERVICE_BODY_BYTES at most */
	size_t len;
	size_t cap;
};

static const struct service *service_self;
static enum service_fault service_fault;
static double service_fault_rate = -1;
static uint64_t service_fault_after;
static atomic_uint_fast64_t service_requests; /* without /health, which must not use up --fault-after */
static atomic_bool service_stopping;

static pthread_mutex_t service_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t service_gone = PTHREAD_COND_INITIALIZER;
static int service_fds[SERVICE_CONNECTIONS_MAX]; /* fd + 1; 0 = free slot */
static unsigned service_connections;

static const char *service_reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 201:
		return "Created";
	case 202:
		return "Accepted";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 411:
		return "Length Required";
	case 413:
		return "Content Too Large";
	case 422:
		return "Unprocessable Content";
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	default:
		return "Unknown";
	}
}

/* The value of `name` in a query string; false when it is not there. Nothing here is percent-encoded. */
__attribute__((unused)) static bool service_query(struct slice query, const char *name, struct slice *value)
{
	struct slice item, wanted = slice_str(name);
	while (slice_split(&query, '&', &item)) {
		if (slice_starts(item, wanted) && item.len > wanted.len && item.ptr[wanted.len] == '=') {
			*value = slice_of(item.ptr + wanted.len + 1, item.len - wanted.len - 1);
			return true;
		}
	}
	return false;
}

/* A whole number of 1 to 9 digits and nothing else. */
static bool service_number(struct slice text, unsigned *out)
{
	unsigned number = 0;
	if (text.len == 0 || text.len > 9)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
		number = number * 10 + (unsigned)(text.ptr[i] - '0');
	}
	*out = number;
	return true;
}

/* Is this request one of those that go wrong? An even scatter, the same in every run. */
static bool service_is_faulty(uint64_t number)
{
	if (service_fault == FAULT_NONE || number <= service_fault_after)
		return false;
	uint64_t x = number * 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u;
	return (double)(x >> 40) / (1 << 24) < service_fault_rate;
}

static bool service_send(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static bool service_answer(int fd, const struct service_response *response, bool head_only, bool close_after)
{
	struct buf out = {0};
	char date[64];
	time_t now = time(NULL);
	struct tm tm;
	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	buf_printf(&out, "HTTP/1.1 %d %s\r\nDate: %s\r\nServer: %s\r\n", response->status,
		   service_reason(response->status), date, service_self->server);
	if (response->content_type)
		buf_printf(&out, "Content-Type: %s\r\n", response->content_type);
	if (response->allow)
		buf_printf(&out, "Allow: %s\r\n", response->allow);
	buf_printf(&out, "Content-Length: %zu\r\n%s\r\n", response->body.len,
		   close_after ? "Connection: close\r\n" : "");
	if (!head_only)
		buf_append_slice(&out, buf_slice(&response->body));
	bool sent = !out.failed && !response->body.failed && service_send(fd, out.data, out.len);
	buf_fini(&out);
	return sent;
}

static void service_refuse(int fd, int status)
{
	struct service_response response = {.status = status, .content_type = "text/plain"};
	buf_printf(&response.body, "%s\n", service_reason(status));
	service_answer(fd, &response, false, true);
	buf_fini(&response.body);
}

/* Reads more into the connection's buffer. False at the end of the stream, on error or when out of memory. */
static bool service_read(struct service_connection *c)
{
	if (c->len == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 8192;
		char *data = realloc(c->data, cap);
		if (!data)
			return false;
		c->data = data;
		c->cap = cap;
	}
	for (;;) {
		ssize_t n = recv(c->fd, c->data + c->len, c->cap - c->len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		c->len += (size_t)n;
		return true;
	}
}

/* What the head says. Offsets would survive a growing buffer, slices do not: they are made afterwards. */
struct service_head {
	size_t head_bytes;
	size_t body_bytes;
	bool close_after;
	bool expect_continue;
	int refuse; /* status to refuse with, 0 = fine */
};

static struct slice service_line(struct slice *rest)
{
	const char *end = memchr(rest->ptr, '\n', rest->len);
	size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
	struct slice line = slice_of(rest->ptr, len && rest->ptr[len - 1] == '\r' ? len - 1 : len);
	rest->ptr += end ? len + 1 : len;
	rest->len -= end ? len + 1 : len;
	return line;
}

static void service_parse(struct slice text, struct service_head *head, struct service_request *request)
{
	struct slice line = service_line(&text), version = {NULL, 0}, target = {NULL, 0}, value;
	unsigned length;
	bool has_length = false;

	memset(request, 0, sizeof(*request));
	if (!slice_split(&line, ' ', &request->method) || !slice_split(&line, ' ', &target) ||
	    !slice_split(&line, ' ', &version) || line.ptr || target.len == 0 || target.ptr[0] != '/' ||
	    !slice_starts(version, SLICE("HTTP/1."))) {
		head->refuse = 400;
		return;
	}
	head->close_after = slice_equal(version, SLICE("HTTP/1.0"));
	slice_split(&target, '?', &request->path);
	request->query = target.ptr ? target : slice_str("");
	while ((line = service_line(&text)).len) {
		struct slice name = {NULL, 0};
		slice_split(&line, ':', &name);
		value = line.ptr ? slice_trim(line) : slice_str("");
		if (slice_equal_nocase(name, SLICE("content-length"))) {
			if (!service_number(value, &length) || (has_length && length != head->body_bytes))
				head->refuse = 400;
			else
				head->body_bytes = length;
			has_length = true;
		} else if (slice_equal_nocase(name, SLICE("transfer-encoding"))) {
			head->refuse = 411;
		} else if (slice_equal_nocase(name, SLICE("connection"))) {
			if (slice_equal_nocase(value, SLICE("close")))
				head->close_after = true;
			else if (slice_equal_nocase(value, SLICE("keep-alive")))
				head->close_after = false;
		} else if (slice_equal_nocase(name, SLICE("expect"))) {
			head->expect_continue = slice_equal_nocase(value, SLICE("100-continue"));
		} else if (slice_equal_nocase(name, SLICE("idempotency-key"))) {
			request->idempotency_key = value;
		}
	}
	if (!head->refuse && head->body_bytes > SERVICE_BODY_BYTES)
		head->refuse = 413;
}

/* Reads until a whole request lies at the start of the buffer. False when the connection is over. */
static bool service_receive(struct service_connection *c, struct service_head *head,
			    struct service_request *request)
{
	char *end;
	memset(head, 0, sizeof(*head));
	while (!(end = c->len ? memmem(c->data, c->len, "\r\n\r\n", 4) : NULL)) {
		if (c->len >= SERVICE_HEAD_BYTES) {
			service_refuse(c->fd, 431);
			return false;
		}
		if (!service_read(c))
			return false;
	}
	head->head_bytes = (size_t)(end - c->data) + 4;
	service_parse(slice_of(c->data, head->head_bytes), head, request);
	if (head->refuse) {
		service_refuse(c->fd, head->refuse);
		return false;
	}
	if (head->expect_continue && c->len == head->head_bytes &&
	    !service_send(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25))
		return false;
	while (c->len < head->head_bytes + head->body_bytes) {
		if (!service_read(c))
			return false;
	}
	/* The buffer may have moved: point the slices at where the bytes are now. */
	struct service_head again = {0};
	service_parse(slice_of(c->data, head->head_bytes), &again, request);
	request->body = slice_of(c->data + head->head_bytes, head->body_bytes);
	return true;
}

/* One request, its fault included. False when the connection is over. */
static bool service_step(struct service_connection *c)
{
	struct service_head head;
	struct service_request request;
	if (!service_receive(c, &head, &request))
		return false;
	bool health = slice_equal(request.path, SLICE("/health"));
	bool faulty = !health && service_is_faulty(atomic_fetch_add(&service_requests, 1) + 1);
	if (faulty && service_fault == FAULT_CRASH) {
		fprintf(stderr, "%s: crashing as asked (--fault crash)\n", service_self->name);
		_exit(134); /* what a shell reports for SIGABRT, without the core file */
	}
	if (faulty && service_fault == FAULT_SLOW) {
		struct timespec pause = {SERVICE_SLOW_MS / 1000, SERVICE_SLOW_MS % 1000 * 1000000L};
		nanosleep(&pause, NULL);
	}
	struct service_response response = {.status = 200};
	service_self->handle(&request, &response, faulty && service_fault == FAULT_WRONG_VALUE);
	if (faulty && service_fault == FAULT_WRONG_STATUS && response.status < 300)
		response.status = response.status == 201 ? 200 : 202;
	bool close_after = head.close_after || atomic_load(&service_stopping);
	bool sent = service_answer(c->fd, &response, slice_equal(request.method, SLICE("HEAD")), close_after);
	buf_fini(&response.body);
	c->len -= head.head_bytes + head.body_bytes;
	memmove(c->data, c->data + head.head_bytes + head.body_bytes, c->len);
	return sent && !close_after;
}

static void *service_connection_run(void *argument)
{
	struct service_connection *c = argument;
	while (service_step(c))
		;
	/* Closing with unread bytes resets the connection and may take the answer with it. */
	shutdown(c->fd, SHUT_WR);
	struct timeval patience = {.tv_usec = 200000};
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	char rest[4096];
	for (int i = 0; i < 64 && recv(c->fd, rest, sizeof(rest), 0) > 0; i++)
		;
	pthread_mutex_lock(&service_lock);
	service_fds[c->slot] = 0;
	service_connections--;
	close(c->fd); /* under the lock: service_stop() must not shut down a number that was reused */
	pthread_cond_signal(&service_gone);
	pthread_mutex_unlock(&service_lock);
	free(c->data);
	free(c);
	return NULL;
}

/* Takes over `fd`. */
static void service_connection_start(int fd, const pthread_attr_t *attributes)
{
	int on = 1;
	struct timeval idle = {.tv_sec = SERVICE_IDLE_S};
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &idle, sizeof(idle));

	struct service_connection *c = calloc(1, sizeof(*c));
	pthread_t thread;
	unsigned slot = 0;
	pthread_mutex_lock(&service_lock);
	while (slot < SERVICE_CONNECTIONS_MAX && service_fds[slot])
		slot++;
	if (c && slot < SERVICE_CONNECTIONS_MAX) {
		c->fd = fd;
		c->slot = slot;
		if (pthread_create(&thread, attributes, service_connection_run, c) == 0) {
			service_fds[slot] = fd + 1;
			service_connections++;
			c = NULL;
			fd = -1;
		}
	}
	pthread_mutex_unlock(&service_lock);
	free(c);
	if (fd >= 0) {
		service_refuse(fd, 503);
		close(fd);
	}
}

/* No new requests; those in progress are answered. Returns how many connections had to be abandoned. */
static unsigned service_stop(void)
{
	struct timespec deadline;
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += SERVICE_GOODBYE_MS / 1000;
	deadline.tv_nsec += SERVICE_GOODBYE_MS % 1000 * 1000000L;
	if (deadline.tv_nsec >= 1000000000L) {
		deadline.tv_sec++;
		deadline.tv_nsec -= 1000000000L;
	}
	atomic_store(&service_stopping, true);
	pthread_mutex_lock(&service_lock);
	for (unsigned i = 0; i < SERVICE_CONNECTIONS_MAX; i++) {
		if (service_fds[i])
			shutdown(service_fds[i] - 1, SHUT_RD);
	}
	while (service_connections && pthread_cond_timedwait(&service_gone, &service_lock, &deadline) == 0)
		;
	unsigned left = service_connections;
	pthread_mutex_unlock(&service_lock);
	return left;
}

/* "127.0.0.1:9001" -> a listening socket and its real port. -errno on failure. */
static int service_listen(const char *text, struct sockaddr_in *address)
{
	char host[64];
	unsigned port;
	const char *colon = strrchr(text, ':');
	int on = 1, err;
	memset(address, 0, sizeof(*address));
	if (!colon || (size_t)(colon - text) >= sizeof(host) ||
	    !service_number(slice_str(colon + 1), &port) || port > 65535)
		return -EINVAL;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = 0;
	address->sin_family = AF_INET;
	address->sin_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, host, &address->sin_addr) != 1)
		return -EINVAL;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	socklen_t len = sizeof(*address);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)address, len) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)address, &len) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int service_usage(FILE *to)
{
	fprintf(to,
		"usage: %s [--listen 127.0.0.1:PORT] [--fault KIND] [--fault-rate SHARE] [--fault-after N]\n"
		"  --listen ADDRESS     IPv4 address and port; port 0 takes a free one (default "
		"127.0.0.1:0).\n"
		"                       The first line printed is \"listening on ADDRESS:PORT\".\n"
		"  --fault KIND         none, wrong-value, wrong-status, slow (3 s) or crash (default none)\n"
		"  --fault-rate SHARE   share of the requests that go wrong, 0 to 1 (default 0.2; slow 0.3; "
		"crash 1)\n"
		"  --fault-after N      the first N requests (/health not counted) are always fine (default "
		"0)\n",
		service_self->name);
	return to == stdout ? 0 : 2;
}

static int service_bad_option(const char *option, const char *value, const char *wanted)
{
	fprintf(stderr, "%s: --%s is \"%s\", but must be %s\n", service_self->name, option, value, wanted);
	return service_usage(stderr);
}

/* -1 = go on, otherwise the exit code. */
static int service_options(int argc, char **argv, const char **listen_text)
{
	static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
						{"fault", required_argument, NULL, 'f'},
						{"fault-rate", required_argument, NULL, 'r'},
						{"fault-after", required_argument, NULL, 'a'},
						{"help", no_argument, NULL, 'h'},
						{0}};
	static const struct {
		const char *name;
		double rate;
	} kinds[] = {{"none", 0}, {"wrong-value", 0.2}, {"wrong-status", 0.2}, {"slow", 0.3}, {"crash", 1}};
	size_t kind_count = sizeof(kinds) / sizeof(kinds[0]), kind = 0;
	unsigned after;
	char *end;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'l':
			*listen_text = optarg;
			break;
		case 'f':
			for (kind = 0; kind < kind_count && strcmp(kinds[kind].name, optarg) != 0; kind++)
				;
			if (kind == kind_count)
				return service_bad_option("fault", optarg,
							  "none, wrong-value, wrong-status, slow or crash");
			break;
		case 'r':
			service_fault_rate = strtod(optarg, &end);
			if (*end || end == optarg || !(service_fault_rate >= 0 && service_fault_rate <= 1))
				return service_bad_option("fault-rate", optarg, "a number from 0 to 1");
			break;
		case 'a':
			if (!service_number(slice_str(optarg), &after))
				return service_bad_option("fault-after", optarg, "a whole number");
			service_fault_after = after;
			break;
		case 'h':
			return service_usage(stdout);
		default:
			return service_usage(stderr);
		}
	}
	if (optind < argc)
		return service_usage(stderr);
	service_fault = (enum service_fault)kind;
	if (service_fault_rate < 0)
		service_fault_rate = kinds[kind].rate;
	return -1;
}

/* The whole program: serves until SIGTERM or SIGINT. Returns the exit code (0, 1 failed, 2 usage). */
static int service_main(int argc, char **argv, const struct service *service)
{
	const char *listen_text = "127.0.0.1:0";
	struct sockaddr_in address;
	char host[INET_ADDRSTRLEN];
	sigset_t signals;
	pthread_attr_t attributes;

	service_self = service;
	int code = service_options(argc, argv, &listen_text);
	if (code >= 0)
		return code;
	int listen_fd = service_listen(listen_text, &address);
	if (listen_fd < 0) {
		fprintf(stderr, "%s: cannot listen on %s: %s\n", service->name, listen_text,
			strerror(-listen_fd));
		return 1;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, SERVICE_STACK_BYTES);
	inet_ntop(AF_INET, &address.sin_addr, host, sizeof(host));
	printf("listening on %s:%u\n", host, ntohs(address.sin_port));
	fflush(stdout);

	struct pollfd polled[] = {{.fd = listen_fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
	while (!polled[1].revents) {
		if (poll(polled, 2, -1) < 0 || !polled[0].revents)
			continue;
		int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			service_connection_start(fd, &attributes);
		else if (errno == EMFILE || errno == ENFILE)
			usleep(10000); /* the pending connection stays readable: do not spin on it */
	}
	close(listen_fd);
	close(signal_fd);
	pthread_attr_destroy(&attributes);
	unsigned left = service_stop();
	fprintf(stderr, "%s: ends after %llu requests%s\n", service->name,
		(unsigned long long)atomic_load(&service_requests), left ? ", some cut off" : "");
	return 0;
}

#endif
