/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen: the addresses of the admin interface.
 *
 * The Unix socket belongs to root or the daemon's user alone (0600), or, with admin.socket_group, also to
 * that group (0660). One that a dead process left behind is removed; one that still answers is not ours to
 * take. A TCP address that others can reach needs a token.
 */
#include "admin/server.h"
#include "base/log.h"
#include "config_value.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BIND_TRIES    20
#define BIND_PAUSE_MS 50

/* 0: somebody listens there. */
static int try_connect(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int err = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ? -errno : 0;
	close(fd);
	return err;
}

/* Removes a socket that nobody listens on. One of a process that was just killed may answer for a moment: the
 * kernel closes what an io_uring holds a little later. */
static int clear_path(const struct sockaddr_un *address, struct buf *why)
{
	struct stat status;
	const char *path = address->sun_path;
	if (lstat(path, &status))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(status.st_mode)) {
		buf_printf(why, "admin.socket %s exists and is no socket: remove it or choose another path",
			   path);
		return -EEXIST;
	}
	int err = try_connect(address);
	for (unsigned tries = 0; err == 0 && tries < BIND_TRIES; tries++) {
		usleep(BIND_PAUSE_MS * 1000);
		err = try_connect(address);
	}
	if (err == -ENOENT)
		return 0;
	if (err == -ECONNREFUSED) {
		log_info("admin", "%s: removing the socket of a process that is gone", path);
		return unlink(path) ? -errno : 0;
	}
	if (err == 0 || err == -EAGAIN) {
		buf_printf(why,
			   "admin.socket %s: another process answers there; stop it or choose another path",
			   path);
		return -EADDRINUSE;
	}
	return err;
}

static int bind_unix(struct admin *admin, const char *path, int *out, struct buf *why)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path)) {
		buf_printf(why, "admin.socket %s has %zu bytes; a socket's path has at most %zu", path,
			   strlen(path), sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(address.sun_path, path);
	char folder[sizeof(address.sun_path)];
	strcpy(folder, path);
	if (mkdir(dirname(folder), 0755) == 0)
		log_info("admin", "created the directory of %s", path);
	int err = clear_path(&address, why);
	int fd = -1;
	if (!err) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		/* The mode must be right from the first moment on. */
		mode_t mask = umask(0177);
		if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)))
			err = -errno;
		umask(mask);
		if (!err)
			admin->socket_path = strdup(path);
		if (!err && admin->auth.group >= 0 &&
		    (chown(path, (uid_t)-1, (gid_t)admin->auth.group) || chmod(path, 0660))) {
			err = -errno;
			buf_printf(
				why,
				"admin.socket %s cannot be given to the group \"%s\": %s; start as root, or "
				"as a member of it",
				path, admin->control->config->admin.socket_group, strerror(errno));
		}
		if (!err && listen(fd, 128))
			err = -errno;
	}
	if (err) {
		if (fd >= 0)
			close(fd);
		if (why->len == 0)
			buf_printf(why, "admin.socket %s: %s", path, strerror(-err));
		return err;
	}
	*out = fd;
	return 0;
}

static int bind_tcp(const struct config_listen *listen_at, int *out, struct buf *why)
{
	char port[8];
	snprintf(port, sizeof(port), "%u", listen_at->port);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
			*found = NULL;
	int failure = getaddrinfo(listen_at->host[0] ? listen_at->host : NULL, port, &hints, &found);
	if (failure) {
		buf_printf(why, "admin.listen %s: %s", listen_at->text, gai_strerror(failure));
		return -EADDRNOTAVAIL;
	}
	int one = 1, err = 0;
	int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		err = -errno;
	else
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* The kernel may still be closing the sockets of a process that was just killed. */
	for (unsigned tries = 0; !err && bind(fd, found->ai_addr, found->ai_addrlen); tries++) {
		if (errno != EADDRINUSE || tries == BIND_TRIES)
			err = -errno;
		else
			usleep(BIND_PAUSE_MS * 1000);
	}
	if (!err && listen(fd, 128))
		err = -errno;
	freeaddrinfo(found);
	if (err) {
		buf_printf(why, "admin.listen %s: %s", listen_at->text, strerror(-err));
		if (fd >= 0)
			close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

static void tcp_text(struct admin *admin, const struct config_listen *listen_at, int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char port[8] = "?";
	if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
		getnameinfo((struct sockaddr *)&address, len, NULL, 0, port, sizeof(port), NI_NUMERICSERV);
	bool v6 = strchr(listen_at->host, ':') != NULL;
	snprintf(admin->listen_text, sizeof(admin->listen_text), "%s%s%s:%s", v6 ? "[" : "", listen_at->host,
		 v6 ? "]" : "", port);
	log_info("admin", "REST and page on http://%s/", admin->listen_text);
}

/* Does an inherited socket listen where the configuration says? */
static bool is_there(int fd, const struct config_listen *listen_at)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char port[8];
	return getsockname(fd, (struct sockaddr *)&address, &len) == 0 &&
	       getnameinfo((struct sockaddr *)&address, len, NULL, 0, port, sizeof(port), NI_NUMERICSERV) ==
		       0 &&
	       strtoul(port, NULL, 10) == listen_at->port;
}

int admin_listen(struct admin *admin, struct inheritance *inheritance, struct buf *why)
{
	const struct config *config = admin->control->config;
	const struct config_listen *tcp = &config->admin.listen;
	if (tcp->host && !config->admin.token_file && !config_listen_is_local(tcp)) {
		buf_printf(
			why,
			"admin.listen %s can be reached by others, so it needs admin.token_file; or listen "
			"on 127.0.0.1",
			tcp->text);
		return -EPERM;
	}
	const char *path = config->admin.socket ? config->admin.socket : tcp->unix_path;
	int err = 0, inherited = path ? inheritance_claim(inheritance, HANDOVER_ADMIN_UNIX) : -1;
	if (inherited >= 0) {
		/* The old daemon was found beside this path, so the socket is there. */
		admin->listeners[0].fd = inherited;
		admin->socket_path = strdup(path);
	} else if (path) {
		err = bind_unix(admin, path, &admin->listeners[0].fd, why);
	}
	admin->listeners[0].unix_socket = true;
	if (!err && tcp->host) {
		inherited = inheritance_claim(inheritance, HANDOVER_ADMIN_TCP);
		if (inherited >= 0 && is_there(inherited, tcp)) {
			admin->listeners[1].fd = inherited;
		} else {
			if (inherited >= 0)
				close(inherited);
			err = bind_tcp(tcp, &admin->listeners[1].fd, why);
		}
		if (!err)
			tcp_text(admin, tcp, admin->listeners[1].fd);
	}
	return err;
}
