/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox: what the process gives up once everything is open: its user, and system calls that nothing here
 * needs.
 *
 * Both act on all threads. The filter refuses (EPERM) and does not kill: a service that meets a call nobody
 * thought of should go on serving. It names what a taken-over process would want (other processes' memory,
 * mounts, modules, namespaces, keys, clocks, raw devices, another user) rather than all that may be used,
 * because the programs that a deployment starts inherit it. Privileges can never be regained: no_new_privs is
 * part of it.
 */
#ifndef PHOENIX_BASE_SANDBOX_H
#define PHOENIX_BASE_SANDBOX_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Becomes `user` (with that user's groups) for good. Files below, owned by root until now, that the process
 * must be able to change later are given to the user first: paths that end in "*" are prefixes of names in
 * their directory, which is given as well. keep_network: this thread keeps the capabilities that an XDP
 * program's owner needs (CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON). Only for a process that runs as root: -EPERM
 * otherwise, unless it is that user already. 0 or -errno with `why`.
 */
int sandbox_become(const char *user, const char *const *paths, bool keep_network, struct buf *why);
/* Refuses the system calls of the table from now on, in all threads. 0 or -errno with `why`. */
int sandbox_filter(struct buf *why);

#endif
