/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatcher: libxdp, by which several XDP programs share a device. Used when another program is there
 * already, or when xdp.attach is "libxdp". (A header of its own: libxdp and the configuration have names in
 * common.)
 */
#ifndef PHOENIX_DATAPLANE_DISPATCHER_H
#define PHOENIX_DATAPLANE_DISPATCHER_H

#include <stdbool.h>
#include <stdint.h>

/* Is our program in a dispatcher on the device? */
bool dispatcher_has(uint32_t ifindex);
/* 0, or -errno and nothing is attached: also when libxdp attached without its dispatcher. */
int dispatcher_attach(const char *pin_dir, uint32_t ports, uint32_t ifindex, bool generic);
/* Takes our program out of the device's dispatcher and leaves the others. */
int dispatcher_detach(uint32_t ifindex);

#endif
