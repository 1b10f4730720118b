/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold: sends every frame that arrives on a device back out of it, some milliseconds later.
 *
 *     hold DEVICE MIN_US MAX_US SEED
 *
 * The delay line of tests/bpf/lossy.bpf.c. Each frame has its own delay between MIN_US and MAX_US, so held
 * frames overtake one another as well. It runs until it is ended, and ends with its parent.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOTS	    1024
#define FRAME_BYTES 2048

struct frame {
	int64_t due_us; /* 0: free */
	size_t bytes;
	uint8_t data[FRAME_BYTES];
};

static struct frame frames[SLOTS];

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int open_device(const char *name)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL)), one = 1;

	address.sll_ifindex = (int)if_nametoindex(name);
	if (fd < 0 || !address.sll_ifindex ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		fprintf(stderr, "hold: %s: %s\n", name, strerror(errno));
		exit(1);
	}
	return fd;
}

/* Sends what is due; returns how long to wait for the next one, in milliseconds rounded up, -1 for ever. */
static int send_due(int fd)
{
	int64_t next = INT64_MAX, now = now_us();

	for (int i = 0; i < SLOTS; i++) {
		if (frames[i].due_us && frames[i].due_us <= now) {
			if (send(fd, frames[i].data, frames[i].bytes, 0) < 0 && errno == EAGAIN)
				continue;
			frames[i].due_us = 0;
		}
		if (frames[i].due_us && frames[i].due_us < next)
			next = frames[i].due_us;
	}
	return next == INT64_MAX ? -1 : (int)((next - now + 999) / 1000);
}

static void receive(int fd, int64_t min_us, int64_t max_us)
{
	for (int i = 0; i < SLOTS; i++) {
		if (frames[i].due_us)
			continue;
		ssize_t got = recv(fd, frames[i].data, FRAME_BYTES, 0);
		if (got <= 0)
			return;
		frames[i].bytes = (size_t)got;
		frames[i].due_us = now_us() + min_us + random() % (max_us - min_us + 1);
	}
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: hold DEVICE MIN_US MAX_US SEED\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int64_t min_us = atoll(argv[2]), max_us = atoll(argv[3]);
	srandom((unsigned)atoi(argv[4]));
	struct pollfd poller = {.fd = open_device(argv[1]), .events = POLLIN};
	for (;;) {
		int wait_ms = send_due(poller.fd);
		if (poll(&poller, 1, wait_ms) < 0 && errno != EINTR)
			return 1;
		receive(poller.fd, min_us, max_us < min_us ? min_us : max_us);
	}
}
