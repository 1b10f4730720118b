/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen: the sockets that clients connect to.
 *
 * Every worker has a socket of its own for each TCP address (SO_REUSEPORT), so that the kernel spreads
 * connections; a Unix socket cannot be had twice, so there the workers share one. All are bound before the
 * first thread runs: a port that is taken is an error at start and never half a service.
 *
 * After a takeover the sockets come from the daemon before. All of one address must be used, whatever the
 * number of workers is now, or connections that the kernel has put into their queues would wait for ever.
 */
#include "base/log.h"
#include "gateway/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096
#define BIND_TRIES     10
#define BIND_RETRY_MS  100

static int listen_resolve(const struct config_listen *listen, uint16_t port, struct sockaddr_storage *out,
			  socklen_t *len, struct buf *why)
{
	char service[8];
	snprintf(service, sizeof(service), "%u", port);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
	int err = getaddrinfo(listen->host, service, &hints, &found);
	if (err) {
		buf_printf(why, "listen %s: %s", listen->text, gai_strerror(err));
		return -EINVAL;
	}
	memcpy(out, found->ai_addr, found->ai_addrlen);
	*len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static int listen_failed(const struct config_listen *listen, int err, struct buf *why)
{
	const char *hint = "";
	if (err == EADDRINUSE)
		hint = "; another program has this port: stop it or choose another in \"listen\"";
	else if (err == EACCES)
		hint = "; ports below 1024 need root or CAP_NET_BIND_SERVICE";
	buf_printf(why, "listen %s: %s%s", listen->text, strerror(err), hint);
	return -err;
}

static int listen_open(const struct config_listen *where, uint16_t port, struct buf *why)
{
	struct sockaddr_storage address;
	socklen_t len;
	int err = listen_resolve(where, port, &address, &len, why);
	if (err)
		return err;
	int one = 1, fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		goto fail;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		goto fail;
	if (address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, len) || listen(fd, LISTEN_BACKLOG))
		goto fail;
	return fd;
fail:
	err = listen_failed(where, errno, why);
	if (fd >= 0)
		close(fd);
	return err;
}

/* SO_REUSEPORT lets a second daemon of the same user bind the same port silently and take half of the
 * connections; a plain bind first tells. */
static int listen_probe(const struct config_listen *where, struct buf *why)
{
	struct sockaddr_storage address;
	socklen_t len;
	int err = listen_resolve(where, where->port, &address, &len, why);
	if (err || where->port == 0)
		return err;
	int one = 1, fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	/* A daemon that was killed may hold its port for a moment longer: io_uring lets go of its files late.
	 */
	for (unsigned tries = 0; (err = bind(fd, (struct sockaddr *)&address, len) ? errno : 0) == EADDRINUSE;
	     tries++) {
		if (tries == BIND_TRIES)
			break;
		usleep(BIND_RETRY_MS * 1000);
	}
	if (err)
		err = listen_failed(where, err, why);
	close(fd);
	return err;
}

static char *listen_name(int fd, uint16_t *port)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char host[64], service[8], text[80];
	if (getsockname(fd, (struct sockaddr *)&address, &len))
		return NULL;
	if (address.ss_family == AF_UNIX) {
		char path[sizeof(struct sockaddr_un) + 8];
		snprintf(path, sizeof(path), "unix:%.108s", ((struct sockaddr_un *)&address)->sun_path);
		return strdup(path);
	}
	if (getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), service, sizeof(service),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return NULL;
	*port = (uint16_t)atoi(service);
	snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, service);
	return strdup(text);
}

/* A Unix socket: one that nobody answers at any more is removed. Anybody who reaches the path may connect. */
static int listen_unix(const struct config_listen *where, struct buf *why)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat status;
	if (strlen(where->unix_path) >= sizeof(address.sun_path))
		return listen_failed(where, ENAMETOOLONG, why);
	strcpy(address.sun_path, where->unix_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return listen_failed(where, errno, why);
	if (lstat(where->unix_path, &status) == 0 && S_ISSOCK(status.st_mode) &&
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) && errno == ECONNREFUSED)
		unlink(where->unix_path);
	close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mode_t mask = umask(0);
	int err =
		fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, LISTEN_BACKLOG)
			? errno
			: 0;
	umask(mask);
	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	return listen_failed(where, err, why);
}

static int add_listener(struct gateway *gateway, unsigned w, unsigned address, int fd, struct buf *why)
{
	struct worker *worker = &gateway->workers[w];
	if (worker->listener_count == GATEWAY_LISTENERS_MAX) {
		buf_printf(why, "more than %d listening sockets for one worker", GATEWAY_LISTENERS_MAX);
		close(fd);
		return -EINVAL;
	}
	worker->listeners[worker->listener_count].address = address;
	worker->listeners[worker->listener_count++].fd = fd;
	return 0;
}

/* --- what was inherited --------------------------------------------------------------------------------- */

struct heirloom {
	int fd;
	char *name; /* as listen_name() has it */
};

struct estate {
	struct heirloom *items;
	size_t count;
};

static int estate_take(const struct gateway_options *options, struct estate *estate)
{
	int fd;
	while (options->inherit && (fd = options->inherit(options->inherit_context)) >= 0) {
		struct heirloom *items = realloc(estate->items, (estate->count + 1) * sizeof(*items));
		if (!items) {
			close(fd);
			return -ENOMEM;
		}
		uint16_t port;
		estate->items = items;
		items[estate->count++] = (struct heirloom){fd, listen_name(fd, &port)};
	}
	return 0;
}

/* Those that no address of the configuration wants: whoever waits there is told by a reset. */
static void estate_fini(struct estate *estate)
{
	for (size_t i = 0; i < estate->count; i++) {
		if (estate->items[i].fd >= 0)
			close(estate->items[i].fd);
		free(estate->items[i].name);
	}
	free(estate->items);
}

/* What listen_name() would say of a socket there. */
static int wanted_name(const struct config_listen *where, char out[128], struct buf *why)
{
	struct sockaddr_storage address;
	socklen_t len;
	char host[64], service[8];
	if (where->unix_path) {
		snprintf(out, 128, "unix:%s", where->unix_path);
		return 0;
	}
	int err = listen_resolve(where, where->port, &address, &len, why);
	if (err)
		return err;
	if (getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), service, sizeof(service),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return -EINVAL;
	snprintf(out, 128, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, service);
	return 0;
}

/* Gives the inherited sockets of this address to the workers in turn. Returns how many there were, or -errno.
 */
static int inherit_address(struct gateway *gateway, const struct config_listen *where, unsigned address,
			   struct estate *estate, struct buf *why)
{
	char wanted[128];
	unsigned found = 0;
	int err = estate->count ? wanted_name(where, wanted, why) : 0;
	for (size_t i = 0; !err && i < estate->count; i++) {
		struct heirloom *item = &estate->items[i];
		if (item->fd < 0 || !item->name || strcmp(item->name, wanted) != 0)
			continue;
		err = add_listener(gateway, found++ % gateway->worker_count, address, item->fd, why);
		item->fd = -1;
	}
	return err ? err : (int)found;
}

/* --- all of them ---------------------------------------------------------------------------------------- */

/* The sockets of one address that the workers have none of yet, from worker `have` on. */
static int open_address(struct gateway *gateway, const struct config_listen *where, unsigned address,
			unsigned have, struct buf *why)
{
	uint16_t port = where->port;
	const struct worker *first = &gateway->workers[0];
	int err = have || where->unix_path ? 0 : listen_probe(where, why);
	int shared = have ? first->listeners[first->listener_count - 1].fd : -1;
	for (unsigned w = have; !err && w < gateway->worker_count; w++) {
		int fd = !where->unix_path ? listen_open(where, port, why)
			 : shared < 0	   ? listen_unix(where, why)
					   : fcntl(shared, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return fd == -1 ? -errno : fd;
		shared = fd;
		err = add_listener(gateway, w, address, fd, why);
		/* Port 0: the first worker's socket chooses, the others follow. */
		if (!err && w == 0 && !where->unix_path && port == 0)
			free(listen_name(fd, &port));
	}
	return err;
}

int gateway_listen(struct gateway *gateway, const struct gateway_options *options, struct buf *why)
{
	const struct config *config = options->config;
	struct estate estate = {0};
	int err = estate_take(options, &estate);
	if (config->listen_count > GATEWAY_ADDRESSES_MAX) {
		buf_printf(why, "%zu listen addresses, at most %d", config->listen_count,
			   GATEWAY_ADDRESSES_MAX);
		err = -EINVAL;
	}
	for (size_t i = 0; !err && i < config->listen_count; i++) {
		unsigned at = gateway->workers[0].listener_count;
		uint16_t port;
		err = inherit_address(gateway, &config->listen[i], (unsigned)i, &estate, why);
		if (err < 0)
			break;
		err = open_address(gateway, &config->listen[i], (unsigned)i, (unsigned)err, why);
		if (!err) {
			gateway->listen_text[i] = listen_name(gateway->workers[0].listeners[at].fd, &port);
			gateway->listen_count = i + 1;
		}
	}
	estate_fini(&estate);
	return err;
}

int gateway_listener(const struct gateway *gateway, size_t index)
{
	for (unsigned w = 0; w < gateway->worker_count; w++) {
		const struct worker *worker = &gateway->workers[w];
		if (index < worker->listener_count)
			return worker->listeners[index].fd;
		index -= worker->listener_count;
	}
	return -1;
}
