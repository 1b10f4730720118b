/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handover: see handover.h.
 *
 * The socket is SOCK_SEQPACKET, so a message is a message. The old daemon looks at it with every tick, like
 * at signals; the new one has nothing better to do than to wait. A message is one line; those with sockets
 * carry one kind byte for each of them.
 *
 *   new -> old   TAKEOVER 1
 *   old -> new   SOCKETS <kinds>   (up to SOCKETS_AT_ONCE descriptors; as often as it takes)
 *   old -> new   THAT IS ALL
 *   new -> old   SERVING
 *   old -> new   GOODBYE
 */
#include "control/handover.h"

#include "base/clock.h"
#include "base/log.h"
#include "control/control.h"
#include "control/sdnotify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SUFFIX		".takeover"
#define HELLO		"TAKEOVER 1"
#define SOCKETS		"SOCKETS "
#define ALL		"THAT IS ALL"
#define SERVING		"SERVING"
#define GOODBYE		"GOODBYE"
#define SOCKETS_AT_ONCE 64
#define SOCKETS_MAX	65536
#define MESSAGE_MAX	128
#define ANSWER_MS	10000 /* the new one waits so long for each message */
#define START_MS	60000 /* the old one waits so long for the new one to serve */

static int path_of(const struct config *config, struct sockaddr_un *out, struct buf *why)
{
	const char *socket = config->admin.socket ? config->admin.socket : config->admin.listen.unix_path;
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!socket) {
		buf_append_str(why,
			       "admin.socket is null: the daemons meet beside it; set it and restart once");
		return -ENOTSUP;
	}
	int n = snprintf(out->sun_path, sizeof(out->sun_path), "%s" SUFFIX, socket);
	if (n >= (int)sizeof(out->sun_path)) {
		buf_printf(why,
			   "admin.socket %s is too long: with \"" SUFFIX "\" behind it at most %zu bytes are "
			   "possible",
			   socket, sizeof(out->sun_path) - 1);
		return -ENAMETOOLONG;
	}
	return 0;
}

/* --- the new daemon ------------------------------------------------------------------------------------- */

static int say(int fd, const char *text)
{
	return send(fd, text, strlen(text), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int keep(struct inheritance *inheritance, int fd, unsigned char kind)
{
	struct inherited *sockets =
		realloc(inheritance->sockets, (inheritance->count + 1) * sizeof(*sockets));
	if (!sockets)
		return -ENOMEM;
	inheritance->sockets = sockets;
	sockets[inheritance->count++] = (struct inherited){fd, (enum handover_kind)kind};
	return 0;
}

/* One message into text[0..MESSAGE_MAX), with its sockets kept. Returns its length or -errno. */
static ssize_t hear(struct inheritance *inheritance, char text[MESSAGE_MAX + 1])
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(SOCKETS_AT_ONCE * sizeof(int))];
	} control;
	struct iovec piece = {text, MESSAGE_MAX};
	struct msghdr message = {.msg_iov = &piece,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(inheritance->connection, &message, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	text[n] = 0;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return n;
	size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int err = strncmp(text, SOCKETS, strlen(SOCKETS)) || strlen(text) != strlen(SOCKETS) + count ? -EPROTO
												     : 0;
	for (size_t i = 0; i < count; i++) {
		int fd;
		memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
		unsigned char kind = err ? 0 : (unsigned char)(text[strlen(SOCKETS) + i] - '0');
		if (!err && kind >= HANDOVER_KIND_COUNT)
			err = -EPROTO;
		if (!err)
			err = keep(inheritance, fd, kind);
		if (err)
			close(fd);
	}
	return err ? err : n;
}

int inheritance_take(const struct config *config, struct inheritance *out, struct buf *why)
{
	struct sockaddr_un address;
	struct inheritance new = {.connection = -1};
	struct timeval patience = {.tv_sec = ANSWER_MS / 1000};
	char text[MESSAGE_MAX + 1] = "";
	int err = path_of(config, &address, why);
	if (err)
		return err;
	new.connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (new.connection < 0 ||
	    setsockopt(new.connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    connect(new.connection, (struct sockaddr *)&address, sizeof(address)))
		err = -errno;
	if (!err)
		err = say(new.connection, HELLO);
	ssize_t n = err;
	while (n >= 0 && strcmp(text, ALL) != 0)
		n = hear(&new, text);
	if (n < 0) {
		err = (int)n;
		buf_printf(why, "takeover: %s: %s%s", address.sun_path,
			   err == -EPIPE ? "the daemon that runs refused (its log says why)" : strerror(-err),
			   err == -ENOENT || err == -ECONNREFUSED
				   ? "; no daemon runs with this configuration: start without --takeover"
				   : "");
		inheritance_fini(&new);
		return err;
	}
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);
	getsockopt(new.connection, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	new.old_pid = peer.pid;
	*out = new;
	return 0;
}

int inheritance_claim(struct inheritance *inheritance, enum handover_kind kind)
{
	for (size_t i = 0; inheritance && i < inheritance->count; i++) {
		int fd = inheritance->sockets[i].fd;
		if (fd < 0 || inheritance->sockets[i].kind != kind)
			continue;
		inheritance->sockets[i].fd = -1;
		return fd;
	}
	return -1;
}

int inheritance_confirm(struct inheritance *inheritance, struct buf *why)
{
	char text[MESSAGE_MAX + 1];
	int err = say(inheritance->connection, SERVING);
	ssize_t n = err ? err : hear(inheritance, text);
	if (n < 0 || strcmp(text, GOODBYE) != 0) {
		buf_printf(why, "takeover: the daemon that ran (pid %d) did not let go: %s",
			   inheritance->old_pid, n < 0 ? strerror(-(int)n) : text);
		return n < 0 ? (int)n : -EPROTO;
	}
	log_info("takeover", "pid %d has handed over; it ends when its last requests are answered",
		 inheritance->old_pid);
	return 0;
}

void inheritance_fini(struct inheritance *inheritance)
{
	for (size_t i = 0; i < inheritance->count; i++) {
		if (inheritance->sockets[i].fd >= 0)
			close(inheritance->sockets[i].fd);
	}
	free(inheritance->sockets);
	if (inheritance->connection >= 0)
		close(inheritance->connection);
	*inheritance = (struct inheritance){.connection = -1};
}

/* --- the old daemon ------------------------------------------------------------------------------------- */

void handover_init(struct handover *handover)
{
	*handover = (struct handover){.listener = -1, .connection = -1, .admin_fds = {-1, -1}};
}

int handover_open(struct control *control, struct inheritance *inheritance, struct buf *why)
{
	struct handover *handover = &control->handover;
	struct sockaddr_un address;
	struct buf no = {0};
	int err = path_of(control->config, &address, &no);
	/* Not to be replaceable is no reason not to run. */
	if (err)
		log_info("takeover", "not possible: %s", buf_cstr(&no));
	buf_fini(&no);
	if (err)
		return 0;
	handover->path = strdup(address.sun_path);
	if (!handover->path)
		return -ENOMEM;
	handover->listener = inheritance_claim(inheritance, HANDOVER_TAKEOVER);
	if (handover->listener >= 0)
		return 0;
	unlink(address.sun_path); /* the state's lock says that nobody lives there */
	handover->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0177);
	if (handover->listener < 0 ||
	    bind(handover->listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(handover->listener, 4))
		err = -errno;
	umask(mask);
	if (err)
		buf_printf(why, "%s: %s", address.sun_path, strerror(-err));
	return err;
}

static void end_talk(struct handover *handover)
{
	if (handover->connection >= 0)
		close(handover->connection);
	handover->connection = -1;
}

/* Whoever takes the sockets could have taken the process: root, or the user that it runs as. */
static bool may_take(struct handover *handover)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	if (getsockopt(handover->connection, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return false;
	handover->other_pid = peer.pid;
	if (peer.uid == 0 || peer.uid == geteuid())
		return true;
	log_warn("takeover", "refused to pid %d of uid %u: only root and uid %u may", peer.pid, peer.uid,
		 geteuid());
	return false;
}

static int send_some(int connection, const int *fds, const char *kinds, size_t count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(SOCKETS_AT_ONCE * sizeof(int))];
	} control = {0};
	char text[MESSAGE_MAX];
	int n = snprintf(text, sizeof(text), SOCKETS "%.*s", (int)count, kinds);
	struct iovec piece = {text, (size_t)n};
	struct msghdr message = {.msg_iov = &piece,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	return sendmsg(connection, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int send_sockets(struct control *control)
{
	struct handover *handover = &control->handover;
	int fds[SOCKETS_AT_ONCE], err = 0;
	char kinds[SOCKETS_AT_ONCE];
	size_t count = 0;
	for (unsigned i = 0; i < 2; i++) {
		if (handover->admin_fds[i] < 0)
			continue;
		kinds[count] = (char)('0' + (i ? HANDOVER_ADMIN_TCP : HANDOVER_ADMIN_UNIX));
		fds[count++] = handover->admin_fds[i];
	}
	kinds[count] = '0' + HANDOVER_TAKEOVER;
	fds[count++] = handover->listener;
	for (size_t i = 0; !err && i < SOCKETS_MAX; i++) {
		int fd = gateway_listener(control->gateway, i);
		if (fd >= 0) {
			kinds[count] = '0' + HANDOVER_REQUESTS;
			fds[count++] = fd;
		}
		if (count && (fd < 0 || count == SOCKETS_AT_ONCE)) {
			err = send_some(handover->connection, fds, kinds, count);
			count = 0;
		}
		if (fd < 0)
			break;
	}
	return err;
}

/* The new daemon failed: everything is ours again. */
static void thaw(struct control *control)
{
	struct handover *handover = &control->handover;
	struct buf why = {0};
	int err = store_regain(control->store, &why);
	if (err)
		log_error("takeover", "the state could not be taken back: %s; trying again", buf_cstr(&why));
	buf_fini(&why);
	if (err)
		return; /* the next tick */
	handover->state = HANDOVER_WAITS;
	log_warn("takeover", "pid %d did not come to serve; nothing has changed", handover->other_pid);
}

/* The one on the other side asks for everything. */
static void freeze(struct control *control)
{
	struct handover *handover = &control->handover;
	state_retry(&control->state);
	int err = send_sockets(control);
	if (!err) {
		/* The other one reads the state as soon as it has heard that it has all. */
		log_info("takeover", "pid %d takes over", handover->other_pid);
		evidence_save(control);
		store_yield(control->store);
		handover->state = HANDOVER_FROZEN;
		handover->deadline_ns = clock_now_ns() + START_MS * NS_PER_MS;
		err = say(handover->connection, ALL);
	}
	if (!err)
		return;
	log_error("takeover", "the sockets could not be sent to pid %d: %s", handover->other_pid,
		  strerror(-err));
	end_talk(handover);
	if (handover->state == HANDOVER_FROZEN)
		thaw(control);
	else
		handover->state = HANDOVER_WAITS;
}

static void go(struct control *control)
{
	struct handover *handover = &control->handover;
	char text[64];
	handover->state = HANDOVER_DONE;
	/* Before the new one knows, or the manager would not believe what it says about itself. */
	snprintf(text, sizeof(text), "MAINPID=%d", handover->other_pid);
	sdnotify(text);
	say(handover->connection, GOODBYE);
	end_talk(handover);
	log_info("takeover", "pid %d serves; answering what is under way, then ending", handover->other_pid);
	control->stopping = true;
}

static void accept_one(struct handover *handover)
{
	handover->connection = accept4(handover->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (handover->connection < 0)
		return;
	handover->state = HANDOVER_ASKED;
	handover->deadline_ns = clock_now_ns() + ANSWER_MS * NS_PER_MS;
	if (!may_take(handover)) {
		end_talk(handover);
		handover->state = HANDOVER_WAITS;
	}
}

void handover_tick(struct control *control)
{
	struct handover *handover = &control->handover;
	if (handover->listener < 0 || handover->state == HANDOVER_DONE)
		return;
	if (handover->state == HANDOVER_WAITS)
		accept_one(handover);
	if (handover->state == HANDOVER_WAITS)
		return;
	char text[MESSAGE_MAX + 1];
	ssize_t n =
		handover->connection < 0 ? 0 : recv(handover->connection, text, MESSAGE_MAX, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN && clock_now_ns() < handover->deadline_ns)
		return;
	text[n > 0 ? n : 0] = 0;
	if (handover->state == HANDOVER_ASKED && strcmp(text, HELLO) == 0) {
		freeze(control);
	} else if (handover->state == HANDOVER_FROZEN && strcmp(text, SERVING) == 0) {
		go(control);
	} else {
		bool frozen = handover->state == HANDOVER_FROZEN;
		end_talk(handover);
		if (frozen)
			thaw(control);
		else
			handover->state = HANDOVER_WAITS;
	}
}

void handover_fini(struct handover *handover)
{
	end_talk(handover);
	if (handover->listener >= 0)
		close(handover->listener);
	if (handover->path && handover->listener >= 0 && handover->state != HANDOVER_DONE)
		unlink(handover->path);
	free(handover->path);
	handover_init(handover);
}
