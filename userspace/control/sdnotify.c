/* SPDX-License-Identifier: Apache-2.0 */
/* sdnotify: see sdnotify.h. An address that begins with "@" is in the abstract namespace. */
#include "control/sdnotify.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_INTERVAL_NS (5 * NS_PER_SEC)
#define LEAST_PATIENCE_NS   (3 * NS_PER_SEC) /* three turns of an idle worker */

/* Who listens; len 0: nobody. Written once, before there are threads. */
static struct {
	struct sockaddr_un address;
	socklen_t len;
	struct sdnotify_watchdog watchdog;
} manager;

struct sdnotify_watchdog sdnotify_watchdog(bool socket, const char *usec, const char *pid, long self)
{
	struct sdnotify_watchdog watchdog = {socket ? DEFAULT_INTERVAL_NS : 0, 2 * DEFAULT_INTERVAL_NS};
	char *end = NULL;
	bool ours = !pid || strtol(pid, NULL, 10) == self;
	uint64_t value = usec && ours && usec[0] >= '0' && usec[0] <= '9' ? strtoull(usec, &end, 10) : 0;
	if (!socket || !value || *end || value > UINT64_MAX / 1000)
		return watchdog;
	/* Twice in each interval is what sd_watchdog_enabled(3) asks for; once more, for a busy machine. */
	watchdog.interval_ns = value * 1000 / 3;
	watchdog.patience_ns = value * 1000 / 2;
	if (watchdog.patience_ns < LEAST_PATIENCE_NS)
		watchdog.patience_ns = LEAST_PATIENCE_NS;
	return watchdog;
}

void sdnotify_init(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un *address = &manager.address;
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	manager.len = 0;
	if (path && (path[0] == '/' || path[0] == '@') && strlen(path) < sizeof(address->sun_path)) {
		strcpy(address->sun_path, path);
		if (path[0] == '@')
			address->sun_path[0] = '\0';
		manager.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	}
	manager.watchdog = sdnotify_watchdog(manager.len > 0, getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"),
					     (long)getpid());
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void sdnotify(const char *state)
{
	int fd = manager.len ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&manager.address, manager.len) <
	    0) {
		/* The service manager has gone: nobody is left to tell. */
	}
	close(fd);
}

void sdnotify_reloading(void)
{
	char text[64];
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_ns() / 1000);
	sdnotify(text);
}

uint64_t sdnotify_interval_ns(void)
{
	return manager.watchdog.interval_ns;
}

uint64_t sdnotify_patience_ns(void)
{
	return manager.watchdog.patience_ns;
}
