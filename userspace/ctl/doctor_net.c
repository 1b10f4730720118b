/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_net: whom the gateway talks to: ports, services behind it, Redis, Docker, and the samples that come
 * of it. */
#include "ctl/doctor.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define UPSTREAMS_MAX	64 /* are tried from here */
#define CONNECT_LIMIT_S 2
#define REPLY_BYTES	128
#define SILENT_S	60 /* without a sample is worth a word */

/* connect() bounded by the socket's SO_SNDTIMEO; a signal that a child's end sends does not count as an
 * answer. 0 or an errno. */
static int connect_within(int fd, const struct sockaddr *address, socklen_t len)
{
	if (connect(fd, address, len) == 0)
		return 0;
	if (errno != EINTR)
		return errno;
	/* It goes on by itself (connect(2)): wait for its end. */
	struct pollfd wait = {.fd = fd, .events = POLLOUT};
	int n, error = 0;
	while ((n = poll(&wait, 1, CONNECT_LIMIT_S * 1000)) < 0 && errno == EINTR)
		;
	socklen_t size = sizeof(error);
	if (n <= 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size))
		return n == 0 ? EAGAIN : errno;
	return error;
}

/* A socket for the first address of host:port whose calls end after CONNECT_LIMIT_S; -1 with *error when
 * there is none. *list is for freeaddrinfo(). */
static int open_socket(const char *host, uint16_t port, int flags, struct addrinfo **list, int *error)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
	struct timeval limit = {.tv_sec = CONNECT_LIMIT_S};
	char service[8];

	snprintf(service, sizeof(service), "%u", port);
	*list = NULL;
	*error = EADDRNOTAVAIL;
	if (getaddrinfo(host, service, &hints, list) != 0)
		return -1;
	int fd = socket((*list)->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		*error = errno;
		freeaddrinfo(*list);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* also bounds connect() */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

/* Connects to (or, with `bind_it`, binds) host:port. 0 or an errno. */
static int try_address(const char *host, uint16_t port, bool bind_it)
{
	struct addrinfo *list;
	int one = 1, error;
	int fd = open_socket(host && *host && strcmp(host, "*") != 0 ? host : NULL, port,
			     bind_it ? AI_PASSIVE : 0, &list, &error);
	if (fd < 0)
		return error;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind_it)
		error = bind(fd, list->ai_addr, list->ai_addrlen) ? errno : 0;
	else
		error = connect_within(fd, list->ai_addr, list->ai_addrlen);
	close(fd);
	freeaddrinfo(list);
	return error;
}

/* With a daemon its ports must answer; without one they must be free for it. */
void check_ports(struct doctor *doctor)
{
	if (!doctor->config) {
		finding(doctor, VERDICT_SKIPPED, "ports", NULL, "no valid configuration that names them");
		return;
	}
	for (size_t i = 0; i < doctor->config->listen_count; i++) {
		const struct config_listen *listen = &doctor->config->listen[i];
		if (listen->unix_path)
			continue;
		int error = try_address(listen->host, listen->port, !doctor->status);
		if (doctor->status && error)
			finding(doctor, VERDICT_FAIL, "ports",
				"phoenixctl config diff: does the daemon run with this file?",
				"%s does not answer: %s", listen->text, strerror(error));
		else if (doctor->status)
			finding(doctor, VERDICT_OK, "ports", NULL, "%s answers", listen->text);
		else if (error == EADDRINUSE)
			finding(doctor, VERDICT_FAIL, "ports",
				"ss -ltnp names the program; stop it or change \"listen\"",
				"%s is taken by another program", listen->text);
		else if (error)
			finding(doctor, VERDICT_FAIL, "ports",
				error == EACCES ? "run as root, or grant CAP_NET_BIND_SERVICE"
						: "\"listen\" must name an address of this machine",
				"%s cannot be used: %s", listen->text, strerror(error));
		else
			finding(doctor, VERDICT_OK, "ports", NULL, "%s is free", listen->text);
	}
}

/* Without a daemon: from here, each address once. */
static void try_upstreams(struct doctor *doctor)
{
	json_t *tried = json_object();
	size_t down = 0;

	for (size_t i = 0; doctor->config && i < 2 * doctor->config->route_count; i++) {
		const struct route_config *route = doctor->config->routes[i / 2];
		const struct config_url *url = i % 2 ? &route->modern : &route->legacy;
		char address[300];
		snprintf(address, sizeof(address), "%s:%u", url->host, url->port);
		if (json_object_get(tried, address) || json_object_size(tried) == UPSTREAMS_MAX)
			continue;
		json_object_set_new(tried, address, json_true());
		int error = try_address(url->host, url->port, false);
		down += error != 0;
		if (error)
			finding(doctor, VERDICT_FAIL, "upstreams",
				"start the service, or correct its URL in the configuration",
				"%s of route %s does not take connections: %s", address, route->id,
				error == EINPROGRESS ? "timed out" : strerror(error));
	}
	if (json_object_size(tried) == 0)
		finding(doctor, VERDICT_SKIPPED, "upstreams", NULL, "no valid configuration that names any");
	else if (!down)
		finding(doctor, VERDICT_OK, "upstreams", NULL, "all %zu addresses take connections",
			json_object_size(tried));
	json_decref(tried);
}

/* As the daemon sees them: it is the daemon that has to reach them. */
void check_upstreams(struct doctor *doctor)
{
	struct answer answer;
	json_t *upstream;
	size_t i, down = 0;

	if (!doctor->status) {
		try_upstreams(doctor);
		return;
	}
	if (client_call(doctor->ctl->client, "GET", "/admin/datapath", NULL, NULL, CHECK_TIMEOUT_MS,
			&answer)) {
		finding(doctor, VERDICT_SKIPPED, "upstreams", NULL, "%s", buf_cstr(&answer.message));
		answer_fini(&answer);
		return;
	}
	json_t *upstreams = field(answer.json, "upstreams");
	json_array_foreach(upstreams, i, upstream)
	{
		if (!field_true(upstream, "down"))
			continue;
		down++;
		finding(doctor, VERDICT_FAIL, "upstreams",
			"start the service, or correct its URL in the configuration", "%s:%llu is down: %s",
			field_text(upstream, "host", "?"), (unsigned long long)field_count(upstream, "port"),
			field_text(upstream, "last_error", "no reason given"));
	}
	if (down == 0)
		finding(doctor, VERDICT_OK, "upstreams", NULL, "none of %zu is down",
			json_array_size(upstreams));
	answer_fini(&answer);
}

/* What the server says to PING (also "-NOAUTH …", which is an answer); false when it says nothing. */
static bool redis_ping(const char *host, uint16_t port, char reply[REPLY_BYTES], int *error)
{
	struct addrinfo *list;
	ssize_t n = -1;
	int fd = open_socket(host, port, 0, &list, error);
	if (fd < 0)
		return false;
	*error = connect_within(fd, list->ai_addr, list->ai_addrlen);
	if (!*error && send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6) {
		while ((n = recv(fd, reply, REPLY_BYTES - 1, 0)) < 0 && errno == EINTR)
			;
		*error = n < 0 ? errno : 0;
	}
	close(fd);
	freeaddrinfo(list);
	reply[n > 0 ? strcspn((reply[n] = '\0', reply), "\r\n") : 0] = '\0';
	return n > 0;
}

void check_redis(struct doctor *doctor)
{
	const char *text = doctor->config ? doctor->config->state.url : NULL;
	char reply[REPLY_BYTES] = "";
	struct redis_url url = {0};
	int error;

	if (!doctor->config || doctor->config->state.kind != STORE_REDIS || !text ||
	    redis_url_parse(slice_str(text), &url) || !url.host) {
		finding(doctor, VERDICT_SKIPPED, "redis", NULL, "not configured (state.store)");
		redis_url_fini(&url);
		return;
	}
	const char *host = url.host;
	uint16_t port = url.port;
	if (!redis_ping(host, port, reply, &error))
		finding(doctor, VERDICT_FAIL, "redis",
			"start it, or correct state.url (redis-cli ping shows the same)",
			"%s:%u does not answer: %s", host, port,
			error == EAGAIN || error == EINPROGRESS ? "timed out"
			: error					? strerror(error)
								: "it closed the connection");
	else if (strcmp(reply, "+PONG") == 0 || strncmp(reply, "-NOAUTH", 7) == 0)
		finding(doctor, VERDICT_OK, "redis", NULL, "%s:%u answers%s", host, port,
			reply[0] == '-' ? ", and asks for the password" : "");
	else
		finding(doctor, VERDICT_FAIL, "redis", "correct state.url: this port is another service's",
			"%s:%u answers \"%s\" to PING: that is not Redis", host, port, reply);
	redis_url_fini(&url);
}

/* Seconds since the last sample of a route; -1: none in all that is kept. `points` are a second apart. */
static long since_last_sample(const json_t *points)
{
	for (size_t i = json_array_size(points); i > 1; i--)
		if (field_number(json_array_get(points, i - 1), "samples") !=
		    field_number(json_array_get(points, i - 2), "samples"))
			return (long)(json_array_size(points) - i);
	return -1;
}

/* A migration that waits for evidence which does not come looks just like one that waits. */
void check_samples(struct doctor *doctor)
{
	json_t *route;
	size_t i, silent = 0, asked = 0;

	json_array_foreach(field(doctor->status, "routes"), i, route)
	{
		const char *id = field_text(route, "id", "?"), *state = field_text(route, "state", "");
		struct answer answer;
		if (strcmp(state, "mirroring") != 0 && strcmp(state, "migrating") != 0 &&
		    strcmp(state, "holding") != 0)
			continue;
		if (asked++ == UPSTREAMS_MAX)
			break;
		char *path = client_path("/admin/routes/%s/series", id);
		if (!path)
			break;
		client_call(doctor->ctl->client, "GET", path, NULL, NULL, CHECK_TIMEOUT_MS, &answer);
		long ago = since_last_sample(field(answer.json, "points"));
		bool idle = field_count(route, "sides.legacy.requests") +
				    field_count(route, "sides.modern.requests") ==
			    0;
		if (answer.status == 200 && (ago < 0 || ago > SILENT_S)) {
			char when[48] = "since it is known";
			if (ago >= 0)
				snprintf(when, sizeof(when), "for %ld s", ago);
			silent++;
			finding(doctor, VERDICT_WARN, "samples",
				idle ? "send traffic through the gateway (phoenixctl traffic run)"
				     : "is mirror.sample 0, or are the methods unsafe ones "
				       "(mirror.unsafe_methods)?",
				"route %s is %s and no sample came %s", id, state, when);
		}
		answer_fini(&answer);
		free(path);
	}
	if (!doctor->status)
		finding(doctor, VERDICT_SKIPPED, "samples", NULL, "only the daemon can tell");
	else if (!asked)
		finding(doctor, VERDICT_SKIPPED, "samples", NULL, "no route is being migrated");
	else if (!silent)
		finding(doctor, VERDICT_OK, "samples", NULL, "every route that is being migrated gets them");
}

static bool in_path(const char *program)
{
	for (struct slice rest = slice_str(getenv("PATH") ?: "/usr/bin:/bin"), folder;
	     slice_split(&rest, ':', &folder);) {
		char path[4096];
		snprintf(path, sizeof(path), "%.*s/%s", SLICE_ARG(folder), program);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

/* Only migrations of kind "docker" need it; the others run as plain processes. */
void check_docker(struct doctor *doctor)
{
	static const char *const plugins[] = {"/usr/libexec/docker/cli-plugins/docker-compose",
					      "/usr/lib/docker/cli-plugins/docker-compose",
					      "/usr/local/lib/docker/cli-plugins/docker-compose"};
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/var/run/docker.sock"};
	bool compose = in_path("docker-compose");

	for (size_t i = 0; i < sizeof(plugins) / sizeof(plugins[0]); i++)
		compose = compose || access(plugins[i], X_OK) == 0;
	if (!in_path("docker") && !compose) {
		finding(doctor, VERDICT_SKIPPED, "docker", NULL,
			"not installed; \"phoenixctl migrate\" deploys plain processes");
		return;
	}
	if (!compose) {
		finding(doctor, VERDICT_WARN, "docker", "apt-get install docker-compose",
			"docker is there, docker-compose is not: deploy.kind docker does not work");
		return;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answers = fd >= 0 && connect_within(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	int error = errno;
	if (fd >= 0)
		close(fd);
	if (answers)
		finding(doctor, VERDICT_OK, "docker", NULL, "docker and docker-compose are there");
	else
		finding(doctor, VERDICT_WARN, "docker", "systemctl start docker",
			"docker-compose is there, but %s does not answer: %s", address.sun_path,
			strerror(error));
}

/* A socket's file that nobody listens at. */
void check_socket(struct doctor *doctor)
{
	const char *path = doctor->config ? doctor->config->admin.socket : NULL;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat file;

	if (!path || stat(path, &file) < 0 || strlen(path) >= sizeof(address.sun_path)) {
		finding(doctor, VERDICT_SKIPPED, "socket", NULL, "%s%s", path ? path : "not configured",
			path ? " is not there" : "");
		return;
	}
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answers = fd >= 0 && connect_within(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	int error = errno;
	if (fd >= 0)
		close(fd);
	if (!S_ISSOCK(file.st_mode))
		finding(doctor, VERDICT_FAIL, "socket", "remove it, or give admin.socket another name",
			"%s is there and is no socket: the daemon cannot start", path);
	else if (!answers && error == EACCES)
		finding(doctor, VERDICT_FAIL, "socket", "run as root, or as a member of admin.socket_group",
			"%s (mode %o) does not let user id %u in", path, (unsigned)(file.st_mode & 07777),
			(unsigned)geteuid());
	else if (!answers)
		finding(doctor, VERDICT_WARN, "socket",
			"start the daemon; it removes what an earlier one left",
			"%s is left over: nobody listens there", path);
	else if (file.st_mode & S_IWOTH)
		finding(doctor, VERDICT_FAIL, "socket",
			"chmod o= on it; admin.socket_group names who may besides root",
			"%s has mode %o: everybody on this machine may steer the gateway", path,
			(unsigned)(file.st_mode & 07777));
	else
		finding(doctor, VERDICT_OK, "socket", NULL, "%s, mode %o", path,
			(unsigned)(file.st_mode & 07777));
}
