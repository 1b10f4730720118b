/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load: the programs into the kernel, with the maps that are there or with new ones.
 *
 * Maps are adopted when all of them have the shape that this build expects and phx_config says that an
 * earlier daemon finished making them. Otherwise their pins are removed and new ones are made: flows under
 * way break, which is said loudly. The old program keeps the old maps until the new one takes its place.
 */
#include "dataplane/plane.h"

#include "base/log.h"
#include "phoenix.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BPFFS		"/sys/fs/bpf"
#define KERNEL_TEXT_MAX 2048

/* The last lines that libbpf said: they hold the verifier's complaint. */
static char kernel_text[KERNEL_TEXT_MAX];

static int on_print(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[1024];
	int len = vsnprintf(line, sizeof(line), format, args);
	if (level == LIBBPF_DEBUG || len <= 0)
		return 0;
	size_t have = strlen(kernel_text), add = strlen(line);
	if (have + add + 1 > sizeof(kernel_text)) {
		size_t drop = have + add + 1 - sizeof(kernel_text);
		drop = drop < have ? drop : have;
		memmove(kernel_text, kernel_text + drop, have - drop + 1);
		have -= drop;
	}
	snprintf(kernel_text + have, sizeof(kernel_text) - have, "%s", line);
	log_debug("dataplane", "%.*s", len - (line[strlen(line) - 1] == '\n'), line);
	return 0;
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;
	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

int plane_pin_dir(const char *pin_dir, struct buf *why)
{
	size_t len = strlen(BPFFS);
	if (strncmp(pin_dir, BPFFS "/", len + 1) == 0 && !is_bpffs(BPFFS)) {
		if (mount("bpf", BPFFS, "bpf", 0, NULL)) {
			buf_printf(why,
				   "xdp.pin_dir %s: no bpf file system at " BPFFS
				   " and none can be mounted: %s",
				   pin_dir, strerror(errno));
			return -errno;
		}
		log_info("dataplane", "mounted a bpf file system at " BPFFS);
	}
	char path[256];
	snprintf(path, sizeof(path), "%s", pin_dir);
	for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = 0;
		if (mkdir(path, 0700) && errno != EEXIST) {
			int err = -errno;
			buf_printf(why, "xdp.pin_dir: cannot make %s: %s", path, strerror(-err));
			return err;
		}
		if (!slash)
			break;
		*slash = '/';
	}
	if (is_bpffs(pin_dir))
		return 0;
	rmdir(pin_dir);
	buf_printf(why, "xdp.pin_dir %s is not on a bpf file system; " BPFFS " is one", pin_dir);
	return -EINVAL;
}

/* "" when the pinned map is like the one that this build wants, or is not there; else what differs. */
static void map_differs(const struct bpf_map *map, char *out, size_t size, bool *there)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	out[0] = 0;
	int fd = bpf_obj_get(bpf_map__pin_path(map));
	*there = fd >= 0;
	if (fd < 0)
		return;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		snprintf(out, size, "%s cannot be read", bpf_map__name(map));
	else if (info.type != bpf_map__type(map) || info.map_flags != bpf_map__map_flags(map))
		snprintf(out, size, "%s is of another kind", bpf_map__name(map));
	else if (info.key_size != bpf_map__key_size(map) || info.value_size != bpf_map__value_size(map))
		snprintf(out, size, "%s has values of %u bytes, this build's have %u", bpf_map__name(map),
			 info.value_size, bpf_map__value_size(map));
	else if (info.max_entries != bpf_map__max_entries(map))
		snprintf(out, size, "%s has %u entries, %u are wanted", bpf_map__name(map), info.max_entries,
			 bpf_map__max_entries(map));
	close(fd);
}

/* What an earlier daemon wrote last, when everything was made. */
static bool config_differs(const struct bpf_map *map, const struct plane_load *load, char *out, size_t size)
{
	struct phx_config config;
	__u32 zero = 0;
	int fd = bpf_obj_get(bpf_map__pin_path(map));
	if (fd < 0)
		return false;
	int err = bpf_map_lookup_elem(fd, &zero, &config);
	close(fd);
	if (err)
		snprintf(out, size, "phx_config cannot be read");
	else if (config.abi != PHX_ABI)
		snprintf(out, size,
			 config.abi ? "they are of ABI %u, this build is of ABI %u"
				    : "an earlier start was interrupted (ABI %u, wanted %u)",
			 config.abi, PHX_ABI);
	else if (config.port_first != load->port_first)
		snprintf(out, size, "they begin at port %u, xdp.ports says %u", config.port_first,
			 load->port_first);
	else
		return false;
	return true;
}

/* Pins that are not adopted make room first, and go when the new ones are there. */
enum aside { PINS_ASIDE, PINS_BACK, PINS_GONE };

static void put_aside(struct phoenix_bpf *skeleton, enum aside what)
{
	struct bpf_map *map;
	char aside[300];
	bpf_object__for_each_map(map, skeleton->obj)
	{
		const char *path = bpf_map__pin_path(map);
		if (!path)
			continue;
		snprintf(aside, sizeof(aside), "%s_old", path);
		if (what == PINS_ASIDE)
			rename(path, aside);
		else if (what == PINS_GONE)
			unlink(aside);
		else if (access(aside, F_OK) == 0)
			rename(aside, path);
	}
}

/* Puts the pins aside when they cannot be adopted. Returns whether there is something to adopt. */
static bool adopt_or_replace(struct phoenix_bpf *skeleton, const struct plane_load *load)
{
	char what[160];
	bool any = false, all = true, there;
	struct bpf_map *map;
	bool differs = config_differs(skeleton->maps.phx_config, load, what, sizeof(what));
	bpf_object__for_each_map(map, skeleton->obj)
	{
		if (!bpf_map__pin_path(map) || differs)
			continue;
		map_differs(map, what, sizeof(what), &there);
		any |= there;
		all &= there;
		differs = what[0] != 0;
	}
	if (!differs && any && !all) {
		snprintf(what, sizeof(what), "some of them are missing");
		differs = true;
	}
	if (!differs)
		return any;
	log_warn("dataplane",
		 "the maps in %s cannot be adopted: %s; they are replaced, and connections on the fast path "
		 "break",
		 load->pin_dir, what);
	put_aside(skeleton, PINS_ASIDE);
	return false;
}

static int set_sizes(struct phoenix_bpf *skeleton, uint32_t ports)
{
	int err = bpf_map__set_max_entries(skeleton->maps.phx_ports, ports);
	if (!err)
		err = bpf_map__set_max_entries(skeleton->maps.phx_flows, ports);
	if (!err)
		err = bpf_map__set_max_entries(skeleton->maps.phx_free, ports);
	return err;
}

/* The first daemon: secrets, and every port is free. The ABI is written last. */
static int fill(struct phoenix_bpf *skeleton, const struct plane_load *load)
{
	struct phx_config config = {
		.port_first = load->port_first,
		.port_count = load->port_last - load->port_first + 1u,
	};
	__u32 zero = 0;
	struct {
		__u64 seed, split[2], cookie[2][2], port;
	} secret;
	if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret))
		return -EIO;
	config.split_seed = secret.seed;
	memcpy(config.split_key, secret.split, sizeof(config.split_key));
	memcpy(config.cookie, secret.cookie, sizeof(config.cookie));
	config.port_key = secret.port;
	int free = bpf_map__fd(skeleton->maps.phx_free);
	for (__u32 i = config.port_count; i-- > 0;) {
		if (bpf_map_update_elem(free, NULL, &i, BPF_ANY))
			return -errno;
	}
	config.abi = PHX_ABI;
	if (bpf_map_update_elem(bpf_map__fd(skeleton->maps.phx_config), &zero, &config, BPF_ANY))
		return -errno;
	return 0;
}

static int load_failed(int err, struct buf *why)
{
	if (err == -EPERM || err == -EACCES)
		buf_printf(why,
			   "the fast path cannot be loaded: %s; it needs root (CAP_BPF, CAP_NET_ADMIN, "
			   "CAP_PERFMON)",
			   strerror(-err));
	else
		buf_printf(why, "the fast path cannot be loaded: %s; it needs Linux 6.9 with BTF",
			   strerror(-err));
	struct slice rest = slice_str(kernel_text), line;
	while (slice_split(&rest, '\n', &line)) {
		if (line.len)
			log_error("dataplane", "%.*s", SLICE_ARG(line));
	}
	return err;
}

int plane_load(const struct plane_load *load, struct plane_programs *out, bool *adopted, struct buf *why)
{
	libbpf_set_print(on_print);
	kernel_text[0] = 0;
	struct bpf_object_open_opts options = {
		.sz = sizeof(options),
		.pin_root_path = load->pin_dir,
	};
	struct phoenix_bpf *skeleton = phoenix_bpf__open_opts(&options);
	if (!skeleton)
		return load_failed(-errno, why);
	int err = set_sizes(skeleton, load->port_last - load->port_first + 1u);
	if (!err) {
		*adopted = adopt_or_replace(skeleton, load);
		err = phoenix_bpf__load(skeleton);
	}
	if (!err && !*adopted)
		err = fill(skeleton, load);
	put_aside(skeleton, err ? PINS_BACK : PINS_GONE);
	if (err) {
		phoenix_bpf__destroy(skeleton);
		return load_failed(err, why);
	}
	*out = (struct plane_programs){
		.skeleton = skeleton,
		.xdp = bpf_program__fd(skeleton->progs.phx_xdp),
		.tc = bpf_program__fd(skeleton->progs.phx_tc),
		.trace = bpf_program__fd(skeleton->progs.phx_trace),
	};
	return 0;
}

void plane_unload(struct plane_programs *programs)
{
	if (programs->skeleton)
		phoenix_bpf__destroy(programs->skeleton);
	memset(programs, 0, sizeof(*programs));
}
