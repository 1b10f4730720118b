/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load: both ends of the benchmark in one thread: the clients, and the origin that the gateways ask.
 *
 *     load ORIGIN_PORT            (127.0.0.1; commands on stdin, one JSON line a command on stdout)
 *     load ORIGIN_PORT ORIGIN_ADDRESS ORIGIN_NETNS CLIENT_NETNS   (each end in a network namespace of its
 * own) run PORT BYTES CONNECTIONS CLOSE MILLISECONDS [ADDRESS [FIRST_SOURCE SOURCES]]
 *
 * Machines have few cores, and whoever shares the gateway's work must cost less than the gateway, or the
 * gateway waits and what is measured is its waking up. Client and origin in one epoll loop do four plain
 * socket operations a request and nothing else, without a switch between them.
 *
 * `run` opens the connections, sends one request on each in turn to warm up, says {"ready":true} and waits
 * for a line
 * ("go"). Then every connection sends the next request when the last one's answer is whole, until the time is
 * over; what is under way then is still finished, so that the CPU time read after the result belongs to
 * exactly the requests that it counts. With 0 milliseconds the connections only stay open until "go".
 *
 * The answers are checked: status, length, and a number that the client chose and the origin echoes, so that
 * nobody gets another's answer; and the bytes of the body, of each small one, of every 16th long one. The
 * origin counts what it served, and the two counts are in the result.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BODY_MAX    (16u << 20)
#define HEAD_MAX    1024
#define READ_BYTES  (256u << 10)
#define SMALL_BODY  4096
#define SAMPLES_MAX (4u << 20)

enum role { ORIGIN_LISTENER, ORIGIN, CLIENT };

struct peer {
	enum role role;
	int fd;
	bool waits_to_write; /* EPOLLOUT is asked for */
	bool ends;	     /* origin: closes after this answer */
	char head[HEAD_MAX]; /* what has come of a head, or is being sent of it */
	size_t head_len;
	size_t head_sent;
	size_t body_bytes, body_done; /* origin: sent; client: received */
	/* client */
	in_addr_t address;
	bool answered; /* the head is known */
	bool idle;     /* waits for "go" or is through */
	uint64_t number, begun_ns;
};

struct run {
	uint16_t port;
	size_t body_bytes;
	unsigned connections;
	bool close;
	unsigned ms;
	in_addr_t address, first_source;
	unsigned sources;
};

static int epoll_fd;
static char *body;   /* BODY_MAX bytes that never repeat within a page */
static char *buffer; /* READ_BYTES to read into */
static uint64_t origin_requests, requests, bytes, next_number;
static uint32_t *samples_us;
static size_t sample_count;
static unsigned busy; /* clients that wait for an answer */
static bool stopping;
static struct run run;

static void fail(const char *what, const struct peer *peer)
{
	fprintf(stderr, "load: %s (request %llu, %zu of %zu body bytes): %s\n", what,
		peer ? (unsigned long long)peer->number : 0, peer ? peer->body_done : 0,
		peer ? peer->body_bytes : 0, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void watch(struct peer *peer, int operation, bool write)
{
	struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = peer};
	if (epoll_ctl(epoll_fd, operation, peer->fd, &event))
		fail("epoll_ctl", peer);
	peer->waits_to_write = write;
}

static void set_nodelay(int fd)
{
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* --- origin ------------------------------------------------------------------------------------------- */

static void origin_send(struct peer *peer)
{
	while (peer->head_sent < peer->head_len || peer->body_done < peer->body_bytes) {
		struct iovec pieces[2] = {
			{peer->head + peer->head_sent, peer->head_len - peer->head_sent},
			{body + peer->body_done, peer->body_bytes - peer->body_done},
		};
		struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
		ssize_t n = sendmsg(peer->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			if (!peer->waits_to_write)
				watch(peer, EPOLL_CTL_MOD, true);
			return;
		}
		if (n < 0)
			fail("the origin cannot send", peer);
		size_t of_head = (size_t)n < pieces[0].iov_len ? (size_t)n : pieces[0].iov_len;
		peer->head_sent += of_head;
		peer->body_done += (size_t)n - of_head;
	}
	if (peer->ends) {
		close(peer->fd);
		free(peer);
		return;
	}
	if (peer->waits_to_write)
		watch(peer, EPOLL_CTL_MOD, false);
	peer->head_len = peer->head_sent = 0;
}

/* One request at a time: none of the gateways pipelines. */
static void origin_read(struct peer *peer)
{
	ssize_t n = recv(peer->fd, peer->head + peer->head_len, HEAD_MAX - 1 - peer->head_len, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		close(peer->fd);
		free(peer);
		return;
	}
	peer->head_len += (size_t)n;
	peer->head[peer->head_len] = 0;
	if (peer->head_len < 4 || memcmp(peer->head + peer->head_len - 4, "\r\n\r\n", 4) != 0)
		return;
	size_t size;
	unsigned long long number;
	if (sscanf(peer->head, "GET /%zu/%llu HTTP/1.1\r\n", &size, &number) != 2 || size > BODY_MAX)
		fail("the origin does not know this request", peer);
	peer->ends = strcasestr(peer->head, "\r\nConnection: close\r\n");
	peer->number = number;
	peer->body_bytes = size;
	peer->body_done = peer->head_sent = 0;
	peer->head_len = (size_t)snprintf(
		peer->head, HEAD_MAX,
		"HTTP/1.1 200 OK\r\nServer: load\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
		"Content-Type: application/octet-stream\r\nContent-Length: %zu\r\nX-Number: %llu\r\n"
		"ETag: \"5e1f-62a3\"\r\nAccept-Ranges: bytes\r\n%s\r\n",
		size, number, peer->ends ? "Connection: close\r\n" : "");
	origin_requests++;
	origin_send(peer);
}

static void origin_accept(struct peer *listener)
{
	int fd;
	while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct peer *peer = calloc(1, sizeof(*peer));
		if (!peer)
			fail("no memory", NULL);
		peer->role = ORIGIN;
		peer->fd = fd;
		set_nodelay(fd);
		watch(peer, EPOLL_CTL_ADD, false);
	}
}

/* --- client ------------------------------------------------------------------------------------------- */

static void client_connect(struct peer *peer)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(run.port),
		.sin_addr.s_addr = run.address,
	};
	peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (peer->fd < 0)
		fail("socket", peer);
	set_nodelay(peer->fd);
	/* Every client has an address of its own, with ports of its own: one address alone runs out of ports
	 * that no closed connection still holds, and looking for one then costs more than all the rest. */
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = peer->address};
	int one = 1;
	setsockopt(peer->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (bind(peer->fd, (struct sockaddr *)&own, sizeof(own)))
		fail("bind", peer);
	if (connect(peer->fd, (struct sockaddr *)&address, sizeof(address)) && errno != EINPROGRESS)
		fail("connect", peer);
	watch(peer, EPOLL_CTL_ADD, true);
}

static void client_send(struct peer *peer)
{
	char head[HEAD_MAX];
	peer->number = ++next_number;
	peer->begun_ns = now_ns();
	peer->answered = peer->idle = false;
	peer->head_len = peer->body_done = 0;
	int len = snprintf(head, sizeof(head),
			   "GET /%zu/%llu HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: load\r\n"
			   "Accept: */*\r\n%s\r\n",
			   run.body_bytes, (unsigned long long)peer->number,
			   run.close ? "Connection: close\r\n" : "");
	if (send(peer->fd, head, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) != len)
		fail("a client cannot send", peer);
	busy++;
}

/* The next request begins (or, between runs, nothing). */
static void client_next(struct peer *peer)
{
	if (run.close) {
		close(peer->fd);
		peer->fd = -1;
	}
	peer->idle = true;
	if (stopping)
		return;
	if (run.close)
		client_connect(peer);
	else
		client_send(peer);
}

static void check_head(struct peer *peer, size_t head_bytes)
{
	char *number = strcasestr(peer->head, "\r\nX-Number: "), *length;
	length = strcasestr(peer->head, "\r\nContent-Length: ");
	if (memcmp(peer->head, "HTTP/1.1 200 ", 13) != 0) {
		fprintf(stderr, "load: %.1000s\n", buffer);
		fail("an answer is not 200", peer);
	}
	if (!number || strtoull(number + 12, NULL, 10) != peer->number)
		fail("an answer is another request's", peer);
	if (!length || strtoull(length + 18, NULL, 10) != run.body_bytes)
		fail("an answer has the wrong length", peer);
	peer->answered = true;
	peer->body_bytes = run.body_bytes;
	peer->body_done = 0;
}

static void take_body(struct peer *peer, const char *data, size_t len)
{
	if (len > peer->body_bytes - peer->body_done)
		fail("an answer is too long", peer);
	bool check = peer->body_bytes <= SMALL_BODY || peer->number % 16 == 0;
	if (check && memcmp(data, body + peer->body_done, len) != 0)
		fail("an answer has the wrong bytes", peer);
	peer->body_done += len;
}

static void client_done(struct peer *peer)
{
	busy--;
	requests++;
	bytes += peer->body_bytes;
	if (sample_count < SAMPLES_MAX)
		samples_us[sample_count++] = (uint32_t)((now_ns() - peer->begun_ns) / 1000);
	client_next(peer);
}

static void client_read(struct peer *peer)
{
	ssize_t n = recv(peer->fd, buffer, READ_BYTES, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0)
		fail("a client cannot receive", peer);
	if (n == 0) {
		if (!run.close || !peer->answered || peer->body_done < peer->body_bytes)
			fail("a connection ended too early", peer);
		client_done(peer);
		return;
	}
	if (peer->idle)
		fail("bytes that nobody asked for", peer);
	char *at = buffer;
	size_t len = (size_t)n;
	if (!peer->answered) {
		size_t before = peer->head_len, room = HEAD_MAX - 1 - before, take = len < room ? len : room;
		memcpy(peer->head + before, at, take);
		peer->head[before + take] = 0;
		char *end = strstr(peer->head, "\r\n\r\n");
		if (!end && take < len)
			fail("an answer's head is too long", peer);
		peer->head_len += take;
		if (!end)
			return;
		size_t head_bytes = (size_t)(end - peer->head) + 4;
		end[2] = 0;
		check_head(peer, head_bytes);
		at += head_bytes - before;
		len -= head_bytes - before;
	}
	take_body(peer, at, len);
	/* With a connection per request the answer ends with the connection's end. */
	if (peer->body_done == peer->body_bytes && !run.close)
		client_done(peer);
}

static void client_event(struct peer *peer, uint32_t events)
{
	if (peer->waits_to_write && (events & (EPOLLOUT | EPOLLERR))) {
		int error = 0;
		socklen_t len = sizeof(error);
		getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &error, &len);
		if ((errno = error))
			fail("a client cannot connect", peer);
		watch(peer, EPOLL_CTL_MOD, false);
		client_send(peer);
	} else if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
		client_read(peer);
	}
}

/* --- the loop ----------------------------------------------------------------------------------------- */

static void turn(int timeout_ms)
{
	struct epoll_event events[256];
	int n = epoll_wait(epoll_fd, events, 256, timeout_ms);
	for (int i = 0; i < n; i++) {
		struct peer *peer = events[i].data.ptr;
		if (peer->role == CLIENT)
			client_event(peer, events[i].events);
		else if (peer->role == ORIGIN_LISTENER)
			origin_accept(peer);
		else if (events[i].events & EPOLLOUT)
			origin_send(peer);
		else
			origin_read(peer);
	}
}

/* Every client has its answer. What the origin still reads (ends of connections) follows. */
static void finish(void)
{
	uint64_t give_up = now_ns() + 20000000000u;
	while (busy && now_ns() < give_up)
		turn(100);
	if (busy)
		errno = ETIMEDOUT, fail("some answers did not come", NULL);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static uint32_t percentile(unsigned percent)
{
	return sample_count ? samples_us[(sample_count - 1) * percent / 100] : 0;
}

static void run_one(void)
{
	char line[16];
	struct peer *clients = calloc(run.connections, sizeof(*clients));
	if (!clients)
		fail("no memory", NULL);
	stopping = true;
	for (unsigned i = 0; i < run.connections; i++) {
		clients[i].role = CLIENT;
		clients[i].address = htonl(ntohl(run.first_source) + i % run.sources);
		client_connect(&clients[i]);
		while (clients[i].waits_to_write)
			turn(100);
		finish();
	}
	printf("{\"ready\":true}\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(0);
	stopping = false;
	origin_requests = requests = bytes = sample_count = 0;
	uint64_t begin = now_ns(), end = begin + run.ms * 1000000ull;
	for (unsigned i = 0; run.ms && i < run.connections; i++) {
		if (run.close)
			client_connect(&clients[i]);
		else
			client_send(&clients[i]);
	}
	/* A connection that is being opened counts as under way once it is open. */
	while (now_ns() < end)
		turn(1);
	stopping = true;
	for (unsigned i = 0; run.close && i < run.connections; i++) {
		while (clients[i].fd >= 0 && clients[i].waits_to_write)
			turn(100);
	}
	finish();
	double seconds = (double)(now_ns() - begin) / 1e9;
	qsort(samples_us, sample_count, sizeof(*samples_us), by_value);
	printf("{\"requests\":%llu,\"served\":%llu,\"bytes\":%llu,\"seconds\":%.6f,\"p50_us\":%u,\"p99_us\":%"
	       "u}\n",
	       (unsigned long long)requests, (unsigned long long)origin_requests, (unsigned long long)bytes,
	       seconds, percentile(50), percentile(99));
	fflush(stdout);
	for (unsigned i = 0; i < run.connections; i++) {
		if (clients[i].fd >= 0)
			close(clients[i].fd);
	}
	free(clients);
	/* The gateway's connections to the origin that end with the clients. */
	for (unsigned i = 0; i < 20; i++)
		turn(1);
}

/* Sockets belong to the namespace in which they are made. */
static void enter(const char *netns)
{
	int fd = open(netns, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		fail(netns, NULL);
	close(fd);
}

static void prepare(uint16_t port, in_addr_t at)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = at,
	};
	static struct peer listener = {.role = ORIGIN_LISTENER};
	int one = 1;
	body = malloc(BODY_MAX);
	buffer = malloc(READ_BYTES);
	samples_us = malloc(SAMPLES_MAX * sizeof(*samples_us));
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (!body || !buffer || !samples_us || epoll_fd < 0 || listener.fd < 0)
		fail("cannot start", NULL);
	for (size_t i = 0; i < BODY_MAX; i++)
		body[i] = (char)('!' + (i * 2654435761u >> 13) % 90);
	setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener.fd, (struct sockaddr *)&address, sizeof(address)) || listen(listener.fd, 16384))
		fail("cannot listen", NULL);
	watch(&listener, EPOLL_CTL_ADD, false);
}

static int read_run(const char *line)
{
	char address[64] = "127.0.0.1", source[64] = "127.0.0.2";
	unsigned port, close_each, sources = 250;
	if (sscanf(line, "run %u %zu %u %u %u %63s %63s %u", &port, &run.body_bytes, &run.connections,
		   &close_each, &run.ms, address, source, &sources) < 5 ||
	    port > 65535 || run.body_bytes > BODY_MAX || sources == 0)
		return 0;
	run.port = (uint16_t)port;
	run.close = close_each;
	run.address = inet_addr(address);
	run.first_source = inet_addr(source);
	run.sources = sources;
	return 1;
}

int main(int argc, char **argv)
{
	if (argc != 2 && argc != 5) {
		fprintf(stderr, "Usage: load ORIGIN_PORT [ORIGIN_ADDRESS ORIGIN_NETNS CLIENT_NETNS]\n"
				"commands: run PORT BYTES CONNECTIONS CLOSE MILLISECONDS [ADDRESS "
				"[FIRST_SOURCE SOURCES]]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (argc == 5)
		enter(argv[3]);
	prepare((uint16_t)atoi(argv[1]), argc == 5 ? inet_addr(argv[2]) : htonl(INADDR_LOOPBACK));
	if (argc == 5)
		enter(argv[4]);
	printf("{\"ready\":true}\n");
	fflush(stdout);
	char line[256];
	while (fgets(line, sizeof(line), stdin)) {
		if (!read_run(line)) {
			fprintf(stderr, "load: not a command: %s", line);
			return 2;
		}
		run_one();
	}
	return 0;
}
