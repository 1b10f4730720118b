/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatcher: see dispatcher.h. A program in a dispatcher is loaded as an extension of it, so the skeleton's
 * own copy cannot be used: another one is loaded from the same object, with the same pinned maps.
 */
#include "dataplane/dispatcher.h"

#include "base/log.h"
#include "phoenix.skel.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xdp/libxdp.h>

static struct xdp_program *find_ours(struct xdp_multiprog *multiprog)
{
	if (!multiprog || xdp_multiprog__is_legacy(multiprog))
		return NULL;
	struct xdp_program *program = NULL;
	while ((program = xdp_multiprog__next_prog(program, multiprog))) {
		const char *name = xdp_program__name(program);
		if (name && strcmp(name, "phx_xdp") == 0)
			return program;
	}
	return NULL;
}

bool dispatcher_has(uint32_t ifindex)
{
	struct xdp_multiprog *multiprog = xdp_multiprog__get_from_ifindex((int)ifindex);
	if (libxdp_get_error(multiprog))
		return false;
	bool found = find_ours(multiprog) != NULL;
	xdp_multiprog__close(multiprog);
	return found;
}

int dispatcher_detach(uint32_t ifindex)
{
	struct xdp_multiprog *multiprog = xdp_multiprog__get_from_ifindex((int)ifindex);
	int err = (int)libxdp_get_error(multiprog);
	if (err)
		return err == -ENOENT ? 0 : err;
	struct xdp_program *ours = find_ours(multiprog);
	if (ours)
		err = xdp_program__detach(ours, (int)ifindex, xdp_multiprog__attach_mode(multiprog), 0);
	xdp_multiprog__close(multiprog);
	if (!err && dispatcher_has(ifindex))
		err = -EBUSY;
	return err;
}

/* The object once more, unloaded, with only the program that goes into the dispatcher. */
static struct phoenix_bpf *open_copy(const char *pin_dir, uint32_t ports)
{
	struct bpf_object_open_opts options = {
		.sz = sizeof(options),
		.pin_root_path = pin_dir,
	};
	struct phoenix_bpf *copy = phoenix_bpf__open_opts(&options);
	if (!copy)
		return NULL;
	bpf_program__set_autoload(copy->progs.phx_tc, false);
	bpf_program__set_autoload(copy->progs.phx_trace, false);
	bpf_map__set_max_entries(copy->maps.phx_ports, ports);
	bpf_map__set_max_entries(copy->maps.phx_flows, ports);
	bpf_map__set_max_entries(copy->maps.phx_free, ports);
	return copy;
}

/* Its own words go to our log, where somebody looks for them. */
static int on_print(enum libxdp_print_level level, const char *format, va_list args)
{
	char line[512];
	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = 0;
	if (level != LIBXDP_DEBUG)
		log_debug("dataplane", "%s", line);
	return 0;
}

int dispatcher_attach(const char *pin_dir, uint32_t ports, uint32_t ifindex, bool generic)
{
	static bool refused; /* by this kernel, once: the next device need not try */
	if (refused)
		return -EOPNOTSUPP;
	libxdp_set_print(on_print);
	enum xdp_attach_mode mode = generic ? XDP_MODE_SKB : XDP_MODE_NATIVE;
	struct phoenix_bpf *copy = open_copy(pin_dir, ports);
	if (!copy)
		return -errno;
	DECLARE_LIBXDP_OPTS(xdp_program_opts, options, .obj = copy->obj, .prog_name = "phx_xdp");
	struct xdp_program *program = xdp_program__create(&options);
	int err = (int)libxdp_get_error(program);
	if (!err) {
		err = xdp_program__attach(program, (int)ifindex, mode, 0);
		if (!err && !dispatcher_has(ifindex)) {
			xdp_program__detach(program, (int)ifindex, mode, 0);
			err = -EOPNOTSUPP;
			refused = true;
		}
		xdp_program__close(program);
	}
	phoenix_bpf__destroy(copy);
	return err;
}
