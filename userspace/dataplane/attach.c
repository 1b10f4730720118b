/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach: the programs onto the devices, and off again.
 *
 * XDP by a bpf_link that is pinned: it stays when this process ends, and a new daemon swaps the program in it
 * with no packet in between. Where another XDP program has the device, libxdp's dispatcher lets both run
 * (dispatcher.c). The tc program hangs at clsact ingress with a handle of its own. What else has to be so for
 * the programs to work (forwarding on the device, SYN cookies in the kernel) is set, said, and written down
 * in phx_interfaces for whoever detaches, perhaps another process.
 *
 * Attached is what the device says, never what a library returned.
 */
#include "dataplane/plane.h"

#include "base/log.h"
#include "dataplane/dispatcher.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TC_HANDLE   0x5048u
#define TC_PRIORITY 0x50u

static const char *const mode_words[] = {"off", "native", "generic"};

const char *dataplane_mode_word(enum dataplane_mode mode)
{
	return mode_words[mode];
}

/* --- sysctl --------------------------------------------------------------------------------------------- */

int plane_sysctl_get(const char *path, int *value)
{
	FILE *file = fopen(path, "re");
	if (!file)
		return -errno;
	int got = fscanf(file, "%d", value);
	fclose(file);
	return got == 1 ? 0 : -EIO;
}

int plane_sysctl_set(const char *path, int value)
{
	FILE *file = fopen(path, "we");
	if (!file)
		return -errno;
	fprintf(file, "%d\n", value);
	return fclose(file) ? -errno : 0;
}

/* Sets what is `wrong` to 1; *was gets 1 + the old value. Complains when it cannot. */
static void sysctl_need(const char *path, const char *need, uint32_t *was)
{
	int value, err = plane_sysctl_get(path, &value);
	if (err == -ENOENT || (!err && value != 0))
		return;
	if (!err)
		err = plane_sysctl_set(path, 1);
	if (err) {
		log_error("dataplane", "%s must be 1 (%s), and cannot be set: %s", path, need,
			  strerror(-err));
		return;
	}
	*was = 1 + (uint32_t)value;
	log_info("dataplane", "%s: %d -> 1: %s; detaching sets it back", path, value, need);
}

static void prepare_device(const char *name, struct phx_interface *what)
{
	char path[96];
	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/forwarding", name);
	sysctl_need(path, "the fast path asks the kernel for the way to upstreams", &what->forwarding4);
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/forwarding", name);
	sysctl_need(path, "the fast path asks the kernel for the way to upstreams", &what->forwarding6);
	sysctl_need("/proc/sys/net/ipv4/tcp_syncookies", "the daemon takes connections over with it",
		    &what->syncookies);
}

static void restore_device(const struct phx_interface *what)
{
	char path[96];
	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/forwarding", what->name);
	if (what->forwarding4)
		plane_sysctl_set(path, (int)what->forwarding4 - 1);
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/forwarding", what->name);
	if (what->forwarding6)
		plane_sysctl_set(path, (int)what->forwarding6 - 1);
	if (what->syncookies)
		plane_sysctl_set("/proc/sys/net/ipv4/tcp_syncookies", (int)what->syncookies - 1);
}

/* --- asking the device ---------------------------------------------------------------------------------- */

/* The id of the program in XDP, 0 = none, and its mode. */
static int device_program(uint32_t ifindex, uint32_t *id, enum dataplane_mode *mode)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	int err = bpf_xdp_query((int)ifindex, 0, &query);
	if (err)
		return err;
	*id = query.prog_id ? query.prog_id : query.drv_prog_id ? query.drv_prog_id : query.skb_prog_id;
	*mode = !*id					? DATAPLANE_OFF
		: query.attach_mode == XDP_ATTACHED_SKB ? DATAPLANE_GENERIC
							: DATAPLANE_NATIVE;
	return 0;
}

static uint32_t program_id(int fd, char name[BPF_OBJ_NAME_LEN])
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		return 0;
	if (name)
		memcpy(name, info.name, BPF_OBJ_NAME_LEN);
	return info.id;
}

static void link_path(const char *pin_dir, uint32_t ifindex, char *out, size_t size)
{
	snprintf(out, size, "%s/link_%u", pin_dir, ifindex);
}

static uint32_t device_mtu(const char *name)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	int err = fd < 0 ? -1 : ioctl(fd, SIOCGIFMTU, &request);
	if (fd >= 0)
		close(fd);
	return err ? 0 : (uint32_t)request.ifr_mtu;
}

/* Is the program of that id ours: by name, or inside a dispatcher? */
static bool is_ours(uint32_t id, uint32_t ifindex, bool *dispatcher)
{
	char name[BPF_OBJ_NAME_LEN] = "";
	int fd = bpf_prog_get_fd_by_id(id);
	program_id(fd, name);
	if (fd >= 0)
		close(fd);
	*dispatcher = false;
	if (strcmp(name, "phx_xdp") == 0)
		return true;
	*dispatcher = dispatcher_has(ifindex);
	return *dispatcher;
}

void plane_interface_ask(const struct plane_maps *maps, struct dataplane_interface *interface)
{
	uint32_t id;
	enum dataplane_mode mode;
	bool dispatcher = false;
	int err = device_program(interface->ifindex, &id, &mode);
	interface->mode = DATAPLANE_OFF;
	interface->mtu = device_mtu(interface->name);
	if (err) {
		snprintf(interface->error, sizeof(interface->error), "the device cannot be asked: %s",
			 strerror(-err));
		return;
	}
	/* What this process attached is known by its id: other ways to tell need more than the daemon may
	 * have kept. */
	bool known = id && id == interface->program;
	if (known || (id && is_ours(id, interface->ifindex, &dispatcher))) {
		interface->mode = mode;
		interface->dispatcher = known ? interface->dispatcher : dispatcher;
		interface->error[0] = 0;
	} else if (!interface->error[0]) {
		snprintf(interface->error, sizeof(interface->error), "%s",
			 id ? "another XDP program is attached" : "no XDP program is attached");
	}
}

int plane_interface_next(const struct plane_maps *maps, const uint32_t *before, uint32_t *ifindex,
			 struct phx_interface *out)
{
	int fd = maps->fd[PLANE_MAP_interfaces];
	if (bpf_map_get_next_key(fd, before, ifindex) || bpf_map_lookup_elem(fd, ifindex, out))
		return -ENOENT;
	return 0;
}

/* --- xdp ------------------------------------------------------------------------------------------------ */

static uint32_t link_flags(enum dataplane_mode mode)
{
	return mode == DATAPLANE_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
}

/* Off the device at once: the pin's end alone would take effect a little later. */
static void remove_link(const char *pin_dir, uint32_t ifindex)
{
	char path[256];
	link_path(pin_dir, ifindex, path, sizeof(path));
	int fd = bpf_obj_get(path);
	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	unlink(path);
}

/* An earlier daemon's link on this device: swaps the program in it. False when there is none that fits. */
static bool adopt_link(const struct dataplane *plane, struct dataplane_interface *interface)
{
	char path[256];
	struct bpf_link_info info = {0};
	__u32 len = sizeof(info);
	uint32_t id;
	enum dataplane_mode mode, unwanted = plane->settings.mode == XDP_MODE_NATIVE	? DATAPLANE_GENERIC
					     : plane->settings.mode == XDP_MODE_GENERIC ? DATAPLANE_NATIVE
											: DATAPLANE_OFF;
	link_path(plane->settings.pin_dir, interface->ifindex, path, sizeof(path));
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return false;
	bool fits = bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.type == BPF_LINK_TYPE_XDP &&
		    info.xdp.ifindex == interface->ifindex &&
		    !device_program(interface->ifindex, &id, &mode) && id == info.prog_id && mode != unwanted;
	if (fits && bpf_link_update(fd, plane->programs.xdp, NULL) == 0) {
		interface->adopted = true;
	} else {
		fits = false;
		remove_link(plane->settings.pin_dir, interface->ifindex);
	}
	close(fd);
	return fits;
}

static int new_link(const struct dataplane *plane, const struct dataplane_interface *interface,
		    enum dataplane_mode mode)
{
	char path[256];
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = link_flags(mode));
	int fd = bpf_link_create(plane->programs.xdp, (int)interface->ifindex, BPF_XDP, &options);
	if (fd < 0)
		return fd;
	link_path(plane->settings.pin_dir, interface->ifindex, path, sizeof(path));
	int err = bpf_obj_pin(fd, path) ? -errno : 0;
	close(fd);
	return err;
}

/* By a link of our own, or by the dispatcher; in this mode. Asks the device whether it is so. */
static int attach_in(const struct dataplane *plane, struct dataplane_interface *interface,
		     enum dataplane_mode mode, bool dispatcher)
{
	const struct plane_settings *settings = &plane->settings;
	int err = dispatcher ? dispatcher_attach(settings->pin_dir,
						 settings->port_last - settings->port_first + 1u,
						 interface->ifindex, mode == DATAPLANE_GENERIC)
			     : new_link(plane, interface, mode);
	uint32_t want = program_id(plane->programs.xdp, NULL), id = 0;
	enum dataplane_mode has = DATAPLANE_OFF;
	bool by_dispatcher = false;
	if (err)
		return err;
	err = device_program(interface->ifindex, &id, &has);
	if (!err && has != mode)
		err = -EOPNOTSUPP;
	if (!err && !(dispatcher ? is_ours(id, interface->ifindex, &by_dispatcher) : id == want))
		err = -EIO;
	return err;
}

/* Native or generic, as the settings say. */
static int attach_by(const struct dataplane *plane, struct dataplane_interface *interface, bool dispatcher)
{
	enum xdp_mode wanted = plane->settings.mode;
	int err = wanted == XDP_MODE_GENERIC ? -EOPNOTSUPP
					     : attach_in(plane, interface, DATAPLANE_NATIVE, dispatcher);
	if (!err || wanted == XDP_MODE_NATIVE)
		return err;
	if (wanted == XDP_MODE_AUTO && !dispatcher)
		log_warn("dataplane", "%s: native XDP: %s; falling back to generic mode, which is slower",
			 interface->name, strerror(-err));
	return attach_in(plane, interface, DATAPLANE_GENERIC, dispatcher);
}

static int attach_xdp(const struct dataplane *plane, struct dataplane_interface *interface)
{
	uint32_t id = 0;
	enum dataplane_mode has;
	if (adopt_link(plane, interface))
		return 0;
	if (dispatcher_has(interface->ifindex))
		dispatcher_detach(interface->ifindex);
	int err = device_program(interface->ifindex, &id, &has);
	if (err || (id == 0 && plane->settings.attach == XDP_BY_LINK))
		return err ? err : attach_by(plane, interface, false);
	err = attach_by(plane, interface, true);
	if (!err)
		return 0;
	if (id)
		return -EBUSY;
	log_warn("dataplane", "%s: libxdp's dispatcher does not load here (%s); attaching without it",
		 interface->name, strerror(-err));
	return attach_by(plane, interface, false);
}

/* --- tc ------------------------------------------------------------------------------------------------- */

static int attach_tc(const struct dataplane *plane, uint32_t ifindex, struct phx_interface *what)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = TC_HANDLE, .priority = TC_PRIORITY,
		    .prog_fd = plane->programs.tc, .flags = BPF_TC_F_REPLACE);
	int err = bpf_tc_hook_create(&hook);
	if (err == 0)
		what->clsact = 1;
	else if (err != -EEXIST)
		return err;
	return bpf_tc_attach(&hook, &options);
}

static int detach_tc(uint32_t ifindex, bool clsact)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = TC_HANDLE, .priority = TC_PRIORITY);
	int err = bpf_tc_detach(&hook, &options);
	if (err == -ENOENT || err == -EINVAL)
		err = 0; /* the filter, or the whole qdisc, is gone already */
	if (!err && clsact) {
		hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
		bpf_tc_hook_destroy(&hook);
	}
	return err;
}

/* --- one device ----------------------------------------------------------------------------------------- */

static int attach_failed(struct dataplane_interface *interface, int err)
{
	snprintf(interface->error, sizeof(interface->error), "%s",
		 err == -EBUSY ? "another XDP program is attached, and libxdp's dispatcher does not load"
		 : err == -EOPNOTSUPP ? "the driver does not take XDP in this mode"
		 : err == -EPERM      ? "not permitted: needs root (CAP_NET_ADMIN, CAP_BPF)"
				      : strerror(-err));
	return err;
}

static int attach_interface(struct dataplane *plane, struct dataplane_interface *interface)
{
	struct phx_interface what = {0};
	int fd = plane->maps.fd[PLANE_MAP_interfaces];
	interface->ifindex = if_nametoindex(interface->name);
	if (!interface->ifindex) {
		snprintf(interface->error, sizeof(interface->error), "there is no such interface");
		return -ENODEV;
	}
	bpf_map_lookup_elem(fd, &interface->ifindex, &what);
	snprintf(what.name, sizeof(what.name), "%s", interface->name);
	prepare_device(interface->name, &what);
	/* tc first: XDP may pass packets that only the tc program can hand over. */
	int err = attach_tc(plane, interface->ifindex, &what);
	if (!err)
		err = attach_xdp(plane, interface);
	/* Known by its id, so that asking the device needs no CAP_SYS_ADMIN; a dispatcher has another one. */
	if (!err)
		interface->program = program_id(plane->programs.xdp, NULL);
	plane_interface_ask(&plane->maps, interface);
	enum dataplane_mode ignored_mode;
	if (!err && device_program(interface->ifindex, &interface->program, &ignored_mode))
		interface->program = 0;
	what.dispatcher = interface->dispatcher;
	what.generic = interface->mode == DATAPLANE_GENERIC;
	if (bpf_map_update_elem(fd, &interface->ifindex, &what, BPF_ANY) && !err)
		err = -errno;
	if (err) {
		struct buf ignored = {0};
		plane_detach_interface(plane->settings.pin_dir, &plane->maps, interface->ifindex, &what,
				       &ignored);
		buf_fini(&ignored);
		interface->mode = DATAPLANE_OFF;
		return attach_failed(interface, err);
	}
	log_info("dataplane", "%s: attached in %s mode, dispatcher: %s%s", interface->name,
		 dataplane_mode_word(interface->mode), interface->dispatcher ? "yes" : "no",
		 interface->adopted ? ", adopted from an earlier daemon" : "");
	return 0;
}

int plane_detach_interface(const char *pin_dir, const struct plane_maps *maps, uint32_t ifindex,
			   const struct phx_interface *what, struct buf *why)
{
	char name[IF_NAMESIZE];
	uint32_t id = 0;
	enum dataplane_mode mode;
	bool dispatcher;
	int err = 0;
	bool gone = !if_indextoname(ifindex, name);
	if (what->dispatcher && !gone)
		err = dispatcher_detach(ifindex);
	remove_link(pin_dir, ifindex);
	if (!gone) {
		int tc = detach_tc(ifindex, what->clsact);
		err = err ? err : tc;
		if (device_program(ifindex, &id, &mode) == 0 && id && is_ours(id, ifindex, &dispatcher)) {
			buf_printf(why, "%s still has the program (id %u); ", name, id);
			err = err ? err : -EBUSY;
		}
		restore_device(what);
	}
	if (err) {
		buf_printf(why, "%s: %s", what->name, strerror(-err));
		return err;
	}
	bpf_map_delete_elem(maps->fd[PLANE_MAP_interfaces], &ifindex);
	return 0;
}

/* --- all ------------------------------------------------------------------------------------------------ */

static bool is_wanted(const struct dataplane *plane, uint32_t ifindex)
{
	for (size_t i = 0; i < plane->interface_count; i++) {
		if (plane->interfaces[i].ifindex == ifindex)
			return true;
	}
	return false;
}

/* Devices that an earlier daemon had and this one is not told to have. */
static void detach_others(struct dataplane *plane)
{
	uint32_t found[PLANE_INTERFACES_MAX], before, ifindex;
	struct phx_interface what;
	size_t count = 0;
	for (int err = plane_interface_next(&plane->maps, NULL, &ifindex, &what);
	     !err && count < PLANE_INTERFACES_MAX;
	     before = ifindex, err = plane_interface_next(&plane->maps, &before, &ifindex, &what)) {
		if (!is_wanted(plane, ifindex))
			found[count++] = ifindex;
	}
	for (size_t i = 0; i < count; i++) {
		struct buf why = {0};
		if (bpf_map_lookup_elem(plane->maps.fd[PLANE_MAP_interfaces], &found[i], &what))
			continue;
		if (plane_detach_interface(plane->settings.pin_dir, &plane->maps, found[i], &what, &why))
			log_error("dataplane",
				  "cannot detach from an interface that is not configured any more: %s",
				  buf_cstr(&why));
		else
			log_info("dataplane", "%s: detached, it is not in xdp.interfaces any more",
				 what.name);
		buf_fini(&why);
	}
}

int plane_attach(struct dataplane *plane, struct buf *why)
{
	for (size_t i = 0; i < plane->settings.name_count; i++) {
		struct dataplane_interface *interface = &plane->interfaces[plane->interface_count++];
		snprintf(interface->name, sizeof(interface->name), "%s", plane->settings.names[i]);
		int err = attach_interface(plane, interface);
		if (!err)
			continue;
		if (plane->settings.mode != XDP_MODE_AUTO) {
			buf_printf(why, "xdp: %s: %s (xdp.mode is \"%s\")", interface->name, interface->error,
				   plane->settings.mode == XDP_MODE_NATIVE ? "native" : "generic");
			return err;
		}
		log_error("dataplane", "%s: %s; the daemon alone serves what comes there", interface->name,
			  interface->error);
	}
	detach_others(plane);
	return 0;
}
