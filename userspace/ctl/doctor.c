/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor: looks for what keeps a gateway from working, and says what to do about each finding.
 *
 * Every check is a row of the table at the end: it looks at one thing and adds findings. A check that
 * cannot be made is "skipped" with the reason, never silently "ok". io_uring is tried with the bare system
 * call: this program needs to know whether the kernel lets it, not how to use it.
 */
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/talk.h"
#include "config.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/io_uring.h>
#include <linux/magic.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DEFAULT_CONFIG	 "/etc/phoenix/phoenix.json"
#define KERNEL_NEEDED	 601 /* 6.1: IORING_SETUP_DEFER_TASKRUN */
#define KERNEL_FAST_PATH 609 /* 6.9: bpf_sk_assign_tcp_reqsk */
#define FILES_PER_CLIENT 2   /* the client and its upstream */
#define CHECK_TIMEOUT_MS 5000u
#define FINDING_COLUMN	 21

enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL, VERDICT_SKIPPED };
static const char *const verdict_words[] = {"ok", "warn", "FAIL", "skipped"};
static const enum tint verdict_tints[] = {TINT_GREEN, TINT_YELLOW, TINT_RED, TINT_DIM};

struct doctor {
	struct ctl *ctl;
	const char *file;      /* of the command line; NULL = the daemon's or the default */
	json_t *status;	       /* of the daemon; NULL when it does not answer */
	struct config *config; /* NULL when the file is bad or cannot be read */
	json_t *findings;
	size_t failures;
};

static void finding(struct doctor *doctor, enum verdict verdict, const char *check, const char *fix,
		    const char *format, ...) __attribute__((format(printf, 5, 6)));

/* `fix` is what to do, NULL when there is nothing to do. */
static void finding(struct doctor *doctor, enum verdict verdict, const char *check, const char *fix,
		    const char *format, ...)
{
	char text[600];
	struct buf clean = {0};
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	format_clean(&clean, text);
	json_array_append_new(doctor->findings,
			      json_pack("{s:s, s:s, s:s, s:s?}", "check", check, "verdict",
					verdict == VERDICT_FAIL ? "fail" : verdict_words[verdict], "finding",
					buf_cstr(&clean), "fix", fix));
	doctor->failures += verdict == VERDICT_FAIL;
	if (!doctor->ctl->json) {
		struct buf out = {0};
		struct ctl *ctl = doctor->ctl;
		tint_printf(&out, ctl->out.colour, verdict_tints[verdict], "%-8s", verdict_words[verdict]);
		size_t width = ctl->out.width ? ctl->out.width : SIZE_MAX;
		buf_printf(&out, "%-12s ", check);
		option_wrap(&out, buf_cstr(&clean), FINDING_COLUMN, FINDING_COLUMN, width);
		if (fix) {
			buf_printf(&out, "%*sfix: ", FINDING_COLUMN, "");
			option_wrap(&out, fix, FINDING_COLUMN + 5, FINDING_COLUMN + 5, width);
		}
		talk_write(ctl, &out);
	}
	buf_fini(&clean);
}

static void check_daemon(struct doctor *doctor)
{
	struct answer answer;
	int got = client_call(doctor->ctl->client, "GET", "/admin/status", NULL, NULL, CHECK_TIMEOUT_MS,
			      &answer);

	if (got == CTL_DONE) {
		const char *version = field_text(answer.json, "version", "?");
		doctor->status = json_incref(answer.json);
		if (strcmp(version, PHOENIX_VERSION) == 0)
			finding(doctor, VERDICT_OK, "daemon", NULL, "phoenixd %s answers: %s", version,
				field_text(answer.json, "headline", "?"));
		else
			finding(doctor, VERDICT_WARN, "daemon", "install the same version of both",
				"phoenixd is %s, phoenixctl is %s", version, PHOENIX_VERSION);
	} else {
		const char *fix =
			got == CTL_NOT_PERMITTED
				? "run as root, or give --token-file FILE for a TCP admin address"
				: "start it (phoenixd --config FILE), or name its address with --admin";
		finding(doctor, VERDICT_FAIL, "daemon", fix, "%s", buf_cstr(&answer.message));
	}
	answer_fini(&answer);
}

static void check_config(struct doctor *doctor)
{
	const char *path = doctor->file;
	struct buf lines = {0};

	if (!path)
		path = field_text(doctor->status, "config.file", DEFAULT_CONFIG);
	int rc = config_load(path, &doctor->config, &lines);
	size_t count = 0;
	for (size_t i = 0; i < lines.len; i++)
		count += lines.data[i] == '\n';
	if (rc == -ENOENT || rc == -EACCES)
		finding(doctor, doctor->file || !doctor->status ? VERDICT_FAIL : VERDICT_SKIPPED, "config",
			"name the file: phoenixctl doctor FILE", "cannot read %s: %s", path, strerror(-rc));
	else if (rc < 0)
		finding(doctor, VERDICT_FAIL, "config", "phoenixctl config check FILE says each error",
			"%s is not valid: %zu message%s, the first: %.*s", path, count, count == 1 ? "" : "s",
			lines.len ? (int)strcspn(buf_cstr(&lines), "\n") : 0, buf_cstr(&lines));
	else if (count)
		finding(doctor, VERDICT_WARN, "config", "phoenixctl config check FILE says each warning",
			"%s is valid with %zu warning%s", path, count, count == 1 ? "" : "s");
	else
		finding(doctor, VERDICT_OK, "config", NULL, "%s is valid, %zu routes", path,
			doctor->config->route_count);
	if (json_is_false(field(doctor->status, "config.last_reload_successful")))
		finding(doctor, VERDICT_FAIL, "reload", "mend the file, then: phoenixctl config reload",
			"the last reload failed and the old configuration runs on: %s",
			field_text(doctor->status, "config.last_reload_error", "see the log"));
	buf_fini(&lines);
}

static void check_kernel(struct doctor *doctor)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2) {
		finding(doctor, VERDICT_SKIPPED, "kernel", NULL, "cannot tell the kernel's version");
		return;
	}
	unsigned version = major * 100 + (minor > 99 ? 99 : minor);
	if (version < KERNEL_NEEDED)
		finding(doctor, VERDICT_FAIL, "kernel", "boot Linux 6.1 or later",
			"Linux %s is older than the 6.1 that the daemon's io_uring mode needs", name.release);
	else if (version < KERNEL_FAST_PATH)
		finding(doctor, VERDICT_WARN, "kernel", "boot Linux 6.9 or later for the fast path",
			"Linux %s serves through the daemon alone; the fast path needs 6.9", name.release);
	else
		finding(doctor, VERDICT_OK, "kernel", NULL, "Linux %s", name.release);
}

static void check_io_uring(struct doctor *doctor)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
	char disabled[8] = "";
	long fd = syscall(SYS_io_uring_setup, 4, &params);

	if (fd >= 0) {
		close((int)fd);
		finding(doctor, VERDICT_OK, "io_uring", NULL,
			"allowed, with single issuer and deferred work");
		return;
	}
	int error = errno;
	FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "r");
	if (file) {
		if (!fgets(disabled, sizeof(disabled), file))
			disabled[0] = '\0';
		fclose(file);
	}
	if (disabled[0] == '1' || disabled[0] == '2')
		finding(doctor, VERDICT_FAIL, "io_uring", "sysctl -w kernel.io_uring_disabled=0",
			"switched off: kernel.io_uring_disabled is %c", disabled[0]);
	else if (error == EINVAL)
		finding(doctor, VERDICT_FAIL, "io_uring", "boot Linux 6.1 or later",
			"the kernel does not know single issuer and deferred work");
	else if (error == EPERM || error == ENOSYS)
		finding(doctor, VERDICT_FAIL, "io_uring",
			"allow io_uring_setup, io_uring_enter and io_uring_register in the container's "
			"seccomp profile",
			"refused: %s", strerror(error));
	else
		finding(doctor, VERDICT_FAIL, "io_uring", "raise the memory lock limit (ulimit -l)",
			"a ring cannot be made: %s", strerror(error));
}

/* The limit `name` of process `pid` as /proc shows it; RLIM_INFINITY for "unlimited". False: not readable. */
static bool process_limit(long pid, const char *name, rlim_t *limit)
{
	char path[64], line[256];
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%ld/limits", pid);
	FILE *file = fopen(path, "r");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, strlen(name)) != 0)
			continue;
		const char *value = line + strlen(name);
		value += strspn(value, " ");
		*limit = *value == 'u' ? RLIM_INFINITY : (rlim_t)strtoull(value, NULL, 10);
		found = true;
	}
	fclose(file);
	return found;
}

/* The daemon's process when its instance name ends in ":PID" and that is a phoenixd on this machine. */
static long daemon_pid(const json_t *status)
{
	char path[64], comm[32] = "";
	const char *colon = strrchr(field_text(status, "instance", ""), ':');
	long pid = colon ? strtol(colon + 1, NULL, 10) : 0;

	snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	FILE *file = pid > 0 ? fopen(path, "r") : NULL;
	if (!file)
		return 0;
	bool ours = fgets(comm, sizeof(comm), file) && strncmp(comm, "phoenixd", 8) == 0;
	fclose(file);
	return ours ? pid : 0;
}

static void check_limits(struct doctor *doctor)
{
	long pid = daemon_pid(doctor->status);
	const char *whose = pid ? "the daemon" : "this shell";
	rlim_t files = 0, locked = 0;
	uint64_t clients = doctor->config ? doctor->config->limits.connections : 0;

	if (!process_limit(pid ? pid : (long)getpid(), "Max open files", &files) ||
	    !process_limit(pid ? pid : (long)getpid(), "Max locked memory", &locked)) {
		finding(doctor, VERDICT_SKIPPED, "limits", NULL, "cannot read the limits of %s", whose);
		return;
	}
	if (files != RLIM_INFINITY && files < 1024)
		finding(doctor, VERDICT_FAIL, "open files", "ulimit -n 65536, or LimitNOFILE= of the service",
			"%s may open %llu files, a gateway needs 1024 or more", whose,
			(unsigned long long)files);
	else if (files != RLIM_INFINITY && clients && files / FILES_PER_CLIENT < clients)
		finding(doctor, VERDICT_WARN, "open files", "ulimit -n, or LimitNOFILE= of the service",
			"%s may open %llu files: enough for about %llu clients, limits.connections is %llu",
			whose, (unsigned long long)files, (unsigned long long)files / FILES_PER_CLIENT,
			(unsigned long long)clients);
	else
		finding(doctor, VERDICT_OK, "open files", NULL, "%s may open %llu files", whose,
			(unsigned long long)files);
	if (locked != RLIM_INFINITY && locked < (1u << 20))
		finding(doctor, VERDICT_WARN, "memory lock",
			"ulimit -l unlimited, or LimitMEMLOCK= of the service",
			"%s may lock %llu KiB; rings and maps on older kernels count against it", whose,
			(unsigned long long)locked / 1024);
	else
		finding(doctor, VERDICT_OK, "memory lock", NULL, "enough for %s", whose);
}

/* Connects to (or, with `bind_it`, binds) host:port. 0 or an errno. */
static int try_address(const char *host, uint16_t port, bool bind_it)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = bind_it ? AI_PASSIVE : 0},
			*list = NULL;
	struct timeval limit = {.tv_sec = 2};
	char service[8];
	int one = 1;

	snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(host && *host && strcmp(host, "*") != 0 ? host : NULL, service, &hints, &list) != 0)
		return EADDRNOTAVAIL;
	int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		freeaddrinfo(list);
		return errno;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* also bounds connect() */
	int rc = bind_it ? bind(fd, list->ai_addr, list->ai_addrlen)
			 : connect(fd, list->ai_addr, list->ai_addrlen);
	int error = rc < 0 ? errno : 0;
	close(fd);
	freeaddrinfo(list);
	return error;
}

/* With a daemon its ports must answer; without one they must be free for it. */
static void check_ports(struct doctor *doctor)
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

/* As the daemon sees them: it is the daemon that has to reach them. */
static void check_upstreams(struct doctor *doctor)
{
	struct answer answer;
	json_t *upstream;
	size_t i, down = 0;

	if (!doctor->status) {
		finding(doctor, VERDICT_SKIPPED, "upstreams", NULL, "only the daemon can tell");
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

static void check_store(struct doctor *doctor)
{
	if (!doctor->status)
		finding(doctor, VERDICT_SKIPPED, "store", NULL, "only the daemon can tell");
	else if (json_is_false(field(doctor->status, "store.ok")))
		finding(doctor, VERDICT_FAIL, "store",
			"see \"state\" in the configuration: is the path writable?",
			"the %s store does not work: %s", field_text(doctor->status, "store.kind", "?"),
			field_text(doctor->status, "store.error", "see the log"));
	else
		finding(doctor, VERDICT_OK, "store", NULL, "%s",
			field_text(doctor->status, "store.kind", "?"));
}

/* The first number in a file below /proc/sys; -1 when it cannot be read. */
static int sysctl_number(const char *path)
{
	int value = -1;
	FILE *file = fopen(path, "re");
	if (!file)
		return -1;
	if (fscanf(file, "%d", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

static bool is_veth(const char *interface)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {.ifr_data = (char *)&info};
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool veth = fd >= 0 && ioctl(fd, SIOCETHTOOL, &request) == 0 && strcmp(info.driver, "veth") == 0;
	if (fd >= 0)
		close(fd);
	return veth;
}

static void check_interface(struct doctor *doctor, const char *name)
{
	char path[96];
	if (if_nametoindex(name) == 0) {
		finding(doctor, VERDICT_FAIL, "interface", "correct xdp.interfaces (ip link lists them)",
			"there is no interface %s here", name);
		return;
	}
	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/forwarding", name);
	if (sysctl_number(path) == 0)
		finding(doctor, VERDICT_WARN, "interface", "the daemon sets it when it attaches",
			"net.ipv4.conf.%s.forwarding is 0: no way to upstreams is found without it", name);
	else
		finding(doctor, VERDICT_OK, "interface", NULL, "%s%s", name,
			is_veth(name) ? ": a veth device: its other end needs an XDP program of its own and "
					"\"ethtool -K DEVICE tx off tso off gso off gro off\""
				      : "");
}

/* What the NIC path needs of this machine; with the daemon, also what it says about it. */
static void check_fast_path(struct doctor *doctor)
{
	struct statfs fs;
	if (!doctor->config || doctor->config->xdp.mode == XDP_MODE_OFF ||
	    !doctor->config->xdp.interfaces.count) {
		finding(doctor, VERDICT_SKIPPED, "fast path", NULL, "not configured (xdp.interfaces)");
		return;
	}
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		finding(doctor, VERDICT_FAIL, "BTF", "boot a kernel with CONFIG_DEBUG_INFO_BTF",
			"the kernel has no BTF: the fast path cannot be loaded");
	if (statfs("/sys/fs/bpf", &fs) || (unsigned long)fs.f_type != BPF_FS_MAGIC)
		finding(doctor, VERDICT_WARN, "bpffs", "mount -t bpf bpf /sys/fs/bpf",
			"/sys/fs/bpf is not a bpf file system; the daemon mounts one when it is root");
	if (sysctl_number("/proc/sys/net/ipv4/tcp_syncookies") == 0)
		finding(doctor, VERDICT_WARN, "syncookies", "sysctl -w net.ipv4.tcp_syncookies=1",
			"net.ipv4.tcp_syncookies is 0: no connection can be handed to the daemon; it sets it "
			"to 1");
	for (size_t i = 0; i < doctor->config->xdp.interfaces.count; i++)
		check_interface(doctor, doctor->config->xdp.interfaces.items[i]);
	if (!doctor->status)
		return;
	if (strcmp(field_text(doctor->status, "path", ""), "xdp") == 0)
		finding(doctor, VERDICT_OK, "fast path", NULL, "the daemon's requests take it");
	else
		finding(doctor, VERDICT_FAIL, "fast path",
			"GET /admin/datapath says why; phoenixctl xdp status asks the devices",
			"configured, but the daemon serves alone");
}

static void (*const checks[])(struct doctor *) = {
	check_daemon, check_config,    check_kernel, check_io_uring,  check_limits,
	check_ports,  check_upstreams, check_store,  check_fast_path,
};

int run_doctor(struct ctl *ctl, const struct ctl_line *line)
{
	struct doctor doctor = {.ctl = ctl, .file = line->argument_count ? line->arguments[0] : NULL};
	int status = CTL_DONE;

	doctor.findings = json_array();
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](&doctor);
	if (ctl->json)
		status = talk_json(ctl, doctor.findings);
	else if (doctor.failures)
		talk_note(ctl, "%zu check%s failed", doctor.failures, doctor.failures == 1 ? "" : "s");
	if (doctor.failures)
		status = CTL_FAILED;
	json_decref(doctor.findings);
	json_decref(doctor.status);
	config_destroy(doctor.config);
	return status;
}
