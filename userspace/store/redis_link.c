/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_link: one connection to a Redis (redis.h).
 *
 * hiredis does the protocol, this file the waiting: its own timeouts begin anew with every byte, so that a
 * server which answers a byte at a time could hold the control thread for as long as it likes. Here all of a
 * call has one deadline. Names are resolved on the store's thread only.
 */
#include "store/redis.h"

#include "base/clock.h"
#include "config_value.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PASSWORD_MAX 512

/* --- waiting ---------------------------------------------------------------------------------------------
 */

static int wait_for(const redisContext *link, short events, uint64_t deadline_ns)
{
	struct pollfd fd = {.fd = link->fd, .events = events};
	for (;;) {
		uint64_t now_ns = clock_now_ns();
		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		int n = poll(&fd, 1, (int)((deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

int redis_send(redisContext *link, int argc, const char **argv, const size_t *lens)
{
	return redisAppendCommandArgv(link, argc, argv, lens) == REDIS_OK ? 0 : -ENOMEM;
}

static int flush(redisContext *link, uint64_t deadline_ns)
{
	int done = 0;
	for (;;) {
		if (redisBufferWrite(link, &done) != REDIS_OK)
			return -EPIPE;
		if (done)
			return 0;
		int err = wait_for(link, POLLOUT, deadline_ns);
		if (err)
			return err;
	}
}

int redis_receive(redisContext *link, uint64_t deadline_ns, redisReply **out)
{
	int err = flush(link, deadline_ns);
	while (!err) {
		void *reply = NULL;
		if (redisGetReplyFromReader(link, &reply) != REDIS_OK)
			return -EPROTO;
		if (reply) {
			*out = reply;
			return 0;
		}
		if (link->reader->len - link->reader->pos > REDIS_REPLY_MAX)
			return -EMSGSIZE;
		err = wait_for(link, POLLIN, deadline_ns);
		if (!err && redisBufferRead(link) != REDIS_OK)
			err = -EPIPE;
	}
	return err;
}

int redis_call(redisContext *link, uint64_t deadline_ns, int argc, const char **argv, const size_t *lens,
	       redisReply **out)
{
	int err = redis_send(link, argc, argv, lens);
	return err ? err : redis_receive(link, deadline_ns, out);
}

void redis_address(const redisContext *link, struct buf *out)
{
	if (link->connection_type == REDIS_CONN_UNIX)
		buf_append_str(out, link->unix_sock.path);
	else
		buf_printf(out, strchr(link->tcp.host, ':') ? "[%s]:%d" : "%s:%d", link->tcp.host,
			   link->tcp.port);
}

void redis_complain(const redisContext *link, int err, const redisReply *reply, struct buf *why)
{
	static const struct {
		const char *begins, *means;
	} known[] = {
		{"OOM", "it is full (maxmemory); give it more memory"},
		{"READONLY",
		 "it is a read-only replica; state.url must name the master, or use state.sentinels"},
		{"NOAUTH", "it wants a password; set state.password_file"},
		{"WRONGPASS", "it does not take this user and password"},
		{"NOPERM", "its user may not do this (ACL)"},
		{"MISCONF", "it cannot save to its disk and refuses writes"},
		{"LOADING", "it is loading its data"},
		{"MASTERDOWN", "it is a replica without its master"},
		{"NOREPLICAS", "it has too few replicas to take writes (min-replicas-to-write)"},
		{"BUSY", "it is busy with somebody's script"},
	};
	buf_append_str(why, "redis ");
	redis_address(link, why);
	buf_append_str(why, ": ");
	if (err == -ETIMEDOUT)
		buf_append_str(why, "no answer in time");
	else if (err == -EPIPE)
		buf_printf(why, "the connection was closed");
	else if (err)
		buf_append_str(why, strerror(-err));
	if (!reply)
		return;
	if (reply->type != REDIS_REPLY_ERROR) {
		buf_append_str(why, "an answer that is none to this question; is it a Redis?");
		return;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strncmp(reply->str, known[i].begins, strlen(known[i].begins)) == 0) {
			buf_append_str(why, known[i].means);
			return;
		}
	}
	buf_printf(why, "%.160s", reply->str);
}

/* --- log-in ----------------------------------------------------------------------------------------------
 */

/* A command whose answer only has to be no error. */
static int ask(redisContext *link, uint64_t deadline_ns, int argc, const char **argv, struct buf *why)
{
	redisReply *reply = NULL;
	int err = redis_call(link, deadline_ns, argc, argv, NULL, &reply);
	if (err || reply->type == REDIS_REPLY_ERROR) {
		redis_complain(link, err, reply, why);
		if (!err)
			err = -EACCES;
	}
	freeReplyObject(reply);
	return err;
}

/* The first line of the file. */
static int read_password(const char *path, char **out, struct buf *why)
{
	char text[PASSWORD_MAX + 2];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	int err = n < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	if (!err) {
		text[n] = '\0';
		text[strcspn(text, "\r\n")] = '\0';
		if (!text[0] || strlen(text) > PASSWORD_MAX)
			err = -EINVAL;
	}
	if (err)
		buf_printf(why, "state.password_file %s: %s", path,
			   err == -EINVAL ? "its first line is no password of 1 to 512 bytes"
					  : strerror(-err));
	else if (!(*out = strdup(text)))
		err = -ENOMEM;
	explicit_bzero(text, sizeof(text));
	return err;
}

int redis_target_init(struct redis_target *target, const struct state_config *config, const char *name,
		      struct buf *why)
{
	struct redis_target made = {.config = config, .name = name};
	const char *complaint = config->url ? redis_url_parse(slice_str(config->url), &made.url) : NULL;
	if (complaint) {
		buf_printf(why, "state.url %s", complaint);
		return -EINVAL;
	}
	int err = 0;
	if (config->password_file)
		err = read_password(config->password_file, &made.password, why);
	else if (made.url.password && !(made.password = strdup(made.url.password)))
		err = -ENOMEM;
	if (err)
		redis_target_fini(&made);
	else
		*target = made;
	return err;
}

void redis_target_fini(struct redis_target *target)
{
	redis_url_fini(&target->url);
	if (target->password)
		explicit_bzero(target->password, strlen(target->password));
	free(target->password);
	*target = (struct redis_target){0};
}

static int log_in(const struct redis_target *target, redisContext *link, uint64_t deadline_ns,
		  struct buf *why)
{
	char database[8];
	const char *name[] = {"CLIENT", "SETNAME", target->name};
	const char *select[] = {"SELECT", database};
	int err = 0;
	if (target->password) {
		const char *with_user[] = {"AUTH", target->url.user, target->password};
		const char *without[] = {"AUTH", target->password};
		err = target->url.user ? ask(link, deadline_ns, 3, with_user, why)
				       : ask(link, deadline_ns, 2, without, why);
	}
	snprintf(database, sizeof(database), "%u", target->url.database);
	if (!err && target->url.database)
		err = ask(link, deadline_ns, 2, select, why);
	return err ? err : ask(link, deadline_ns, 3, name, why);
}

/* --- connecting ------------------------------------------------------------------------------------------
 */

static int finish_connect(redisContext *link, uint64_t deadline_ns, struct buf *why)
{
	int err = link->err ? -ECONNREFUSED : wait_for(link, POLLOUT, deadline_ns), failure = 0;
	socklen_t len = sizeof(failure);
	if (!err && getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &failure, &len) == 0 && failure)
		err = -failure;
	if (err == -ETIMEDOUT)
		buf_append_str(why, "no connection in time");
	else if (err)
		buf_append_str(why, link->err && link->errstr[0] ? link->errstr : strerror(-err));
	return err;
}

static int dial(const char *host, int port, const char *path, uint64_t deadline_ns, redisContext **out,
		struct buf *why)
{
	struct buf complaint = {0};
	redisContext *link = path ? redisConnectUnixNonBlock(path) : redisConnectNonBlock(host, port);
	int err = link ? finish_connect(link, deadline_ns, &complaint) : -ENOMEM;
	if (err) {
		if (path)
			buf_printf(why, "redis %s: %s", path, buf_cstr(&complaint));
		else
			buf_printf(why, "redis %s:%d: %s", host, port, buf_cstr(&complaint));
		if (link)
			redisFree(link);
	} else {
		if (!path)
			redisEnableKeepAlive(link);
		*out = link;
	}
	buf_fini(&complaint);
	return err;
}

/* "host:port" of a sentinel; the port is there or 26379. */
static void split_sentinel(const char *text, char host[256], uint16_t *port)
{
	const char *complaint;
	struct slice name;
	*port = 26379;
	redis_host_check(slice_str(text), &complaint, &name, port);
	snprintf(host, 256, "%.*s", SLICE_ARG(name));
}

/* Where the master is, as the first sentinel says that knows it. */
static int ask_sentinels(const struct redis_target *target, uint64_t patience_ns, char host[256], int *port,
			 struct buf *why)
{
	const struct string_list *sentinels = &target->config->sentinels;
	const char *words[] = {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", target->config->master};
	struct buf complaint = {0};
	int err = -ENOENT;
	for (size_t i = 0; err && i < sentinels->count; i++) {
		uint64_t deadline_ns = clock_now_ns() + patience_ns;
		char name[256];
		uint16_t sentinel_port;
		redisContext *link = NULL;
		redisReply *reply = NULL;
		split_sentinel(sentinels->items[i], name, &sentinel_port);
		buf_append_str(&complaint, i ? "; " : "");
		err = dial(name, sentinel_port, NULL, deadline_ns, &link, &complaint);
		if (!err)
			err = redis_call(link, deadline_ns, 3, words, NULL, &reply);
		if (!err && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
			snprintf(host, 256, "%s", reply->element[0]->str);
			*port = atoi(reply->element[1]->str);
		} else if (link) {
			redis_complain(link, err, err || reply->type == REDIS_REPLY_ERROR ? reply : NULL,
				       &complaint);
			if (!err)
				buf_printf(&complaint, "it knows no master \"%s\"", target->config->master);
			err = -ENOENT;
		}
		freeReplyObject(reply);
		if (link)
			redisFree(link);
	}
	if (err)
		buf_printf(why, "no sentinel names the master: %s", buf_cstr(&complaint));
	buf_fini(&complaint);
	return err;
}

/* Is it the master? A replica would take no write, and what it shows may be old. */
static int check_role(redisContext *link, uint64_t deadline_ns, struct buf *why)
{
	const char *words[] = {"ROLE"};
	redisReply *reply = NULL;
	int err = redis_call(link, deadline_ns, 1, words, NULL, &reply);
	if (err || reply->type == REDIS_REPLY_ERROR) {
		redis_complain(link, err, reply, why);
		err = err ? err : -EACCES;
	} else if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 1 || !reply->element[0]->str ||
		   strcmp(reply->element[0]->str, "master") != 0) {
		buf_append_str(why, "redis ");
		redis_address(link, why);
		buf_append_str(why, ": it is a read-only replica; state.url must name the master, or use "
				    "state.sentinels");
		err = -EROFS;
	}
	freeReplyObject(reply);
	return err;
}

int redis_connect(const struct redis_target *target, bool writable, uint64_t deadline_ns, redisContext **out,
		  struct buf *why)
{
	redisContext *link = NULL;
	char host[256] = "";
	int port = target->url.port, err = 0;
	uint64_t now_ns = clock_now_ns();
	if (target->config->sentinels.count) {
		err = ask_sentinels(target, deadline_ns > now_ns ? deadline_ns - now_ns : 0, host, &port,
				    why);
		deadline_ns += clock_now_ns() - now_ns;
	} else if (target->url.host) {
		snprintf(host, sizeof(host), "%s", target->url.host);
	}
	if (!err)
		err = dial(host, port, host[0] ? NULL : target->url.path, deadline_ns, &link, why);
	if (!err)
		err = log_in(target, link, deadline_ns, why);
	if (!err && writable)
		err = check_role(link, deadline_ns, why);
	if (!err)
		*out = link;
	else if (link)
		redisFree(link);
	return err;
}
