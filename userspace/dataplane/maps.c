/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maps: the pinned maps, by name. Whoever may open the pins sees what the programs see: the daemon, and
 * phoenixctl when there is no daemon.
 */
#include "dataplane/plane.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

const char *const plane_map_names[PLANE_MAP_COUNT] = {
#define X(name, ...) [PLANE_MAP_##name] = "phx_" #name,
	PLANE_MAPPED(X) PLANE_OTHERS(X)
#undef X
};

/* Array maps lay their values out at multiples of eight bytes (kernel/bpf/arraymap.c). */
static size_t map_bytes(const struct bpf_map_info *info)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = ((size_t)info->value_size + 7) / 8 * 8 * info->max_entries;
	return (bytes + page - 1) / page * page;
}

/* *memory: where it is mapped; `memory` NULL: not at all. */
static int map_open(struct plane_maps *maps, unsigned map, const char *pin_dir, void **memory)
{
	char path[256];
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	snprintf(path, sizeof(path), "%s/%s", pin_dir, plane_map_names[map]);
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	maps->fd[map] = fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (!memory)
		return 0;
	void *at = mmap(NULL, map_bytes(&info), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	*memory = at;
	maps->bytes[map] = map_bytes(&info);
	return 0;
}

#define X(name, type) _Static_assert(sizeof(type) % 8 == 0, "no gaps in a mapped array");
PLANE_MAPPED(X)
#undef X

int plane_maps_open(const char *pin_dir, struct plane_maps *maps)
{
	struct plane_maps new = {0};
	int err = 0;
	for (unsigned i = 0; i < PLANE_MAP_COUNT; i++)
		new.fd[i] = -1;
	void *at;
#define X(name, type)                                                                                        \
	if (!err)                                                                                            \
		err = map_open(&new, PLANE_MAP_##name, pin_dir, &at);                                        \
	if (!err)                                                                                            \
		new.name = at;
	PLANE_MAPPED(X)
#undef X
#define X(name)                                                                                              \
	if (!err)                                                                                            \
		err = map_open(&new, PLANE_MAP_##name, pin_dir, NULL);
	PLANE_OTHERS(X)
#undef X
	if (err) {
		plane_maps_close(&new);
		return err;
	}
	*maps = new;
	return 0;
}

void plane_maps_close(struct plane_maps *maps)
{
#define X(name, type)                                                                                        \
	if (maps->bytes[PLANE_MAP_##name])                                                                   \
		munmap(maps->name, maps->bytes[PLANE_MAP_##name]);
	PLANE_MAPPED(X)
#undef X
	for (unsigned i = 0; i < PLANE_MAP_COUNT; i++) {
		if (maps->fd[i] > 0)
			close(maps->fd[i]);
	}
	memset(maps, 0, sizeof(*maps));
}

void plane_remove_pins(const char *pin_dir)
{
	char path[512];
	struct dirent *entry;
	DIR *dir = opendir(pin_dir);
	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "phx_", 4) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", pin_dir, entry->d_name);
		unlink(path);
	}
	if (dir)
		closedir(dir);
	rmdir(pin_dir);
}
