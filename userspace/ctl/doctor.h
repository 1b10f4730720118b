/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor: looks for what keeps a gateway from working, and says what to do about each finding.
 *
 * Every check is a row of the table in doctor.c: it looks at one thing and adds findings. A check that cannot
 * be made is "skipped" with the reason, never silently "ok". What is the daemon's to tell is asked of the
 * daemon; all the rest is looked at here, so that it also works before the first start.
 */
#ifndef PHOENIX_CTL_DOCTOR_H
#define PHOENIX_CTL_DOCTOR_H

#include "config.h"
#include "ctl/field.h"
#include "ctl/talk.h"

#define CHECK_TIMEOUT_MS 5000u

enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL, VERDICT_SKIPPED };

struct doctor {
	struct ctl *ctl;
	const char *file;      /* of the command line; NULL = the daemon's or the default */
	json_t *status;	       /* of the daemon; NULL when it does not answer */
	long pid;	       /* of the daemon, when it is on this machine; 0 = not known */
	struct config *config; /* NULL when the file is bad or cannot be read */
	json_t *findings;
	size_t failures;
};

/* `fix` is what to do, NULL when there is nothing to do. */
void finding(struct doctor *doctor, enum verdict verdict, const char *check, const char *fix,
	     const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The daemon's process, or this one. */
long doctor_process(const struct doctor *doctor, const char **whose);
/* Is the NIC path configured? */
bool doctor_wants_fast_path(const struct doctor *doctor);

/* X(function): in the order that they are shown in. */
#define DOCTOR_CHECKS(X)                                                                                     \
	X(check_daemon)                                                                                      \
	X(check_config)                                                                                      \
	X(check_kernel)                                                                                      \
	X(check_io_uring)                                                                                    \
	X(check_limits)                                                                                      \
	X(check_capabilities)                                                                                \
	X(check_clock)                                                                                       \
	X(check_socket)                                                                                      \
	X(check_permissions)                                                                                 \
	X(check_ports)                                                                                       \
	X(check_upstreams)                                                                                   \
	X(check_store)                                                                                       \
	X(check_redis)                                                                                       \
	X(check_samples)                                                                                     \
	X(check_docker)                                                                                      \
	X(check_bpf)                                                                                         \
	X(check_interfaces)                                                                                  \
	X(check_fast_path)

#define X(function) void function(struct doctor *doctor);
DOCTOR_CHECKS(X)
#undef X

#endif
