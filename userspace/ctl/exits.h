/* SPDX-License-Identifier: Apache-2.0 */
/* exits: the exit statuses of phoenixctl. Scripts depend on them; one table gives the enum and the help. */
#ifndef PHOENIX_CTL_EXITS_H
#define PHOENIX_CTL_EXITS_H

#define CTL_EXITS(X)                                                                                         \
	X(DONE, 0, "done")                                                                                   \
	X(FAILED, 1, "failed")                                                                               \
	X(USAGE, 2, "the command line is wrong")                                                             \
	X(BAD_CONFIG, 3, "bad configuration")                                                                \
	X(UNREACHABLE, 4, "the daemon is not reachable")                                                     \
	X(CONFLICT, 5, "conflict: not possible in this state, or somebody else changed it")                  \
	X(NOT_PERMITTED, 6, "not permitted")                                                                 \
	X(ROLLED_BACK, 10, "rolled back while waiting")                                                      \
	X(TIMED_OUT, 12, "the time given with --timeout is over")                                            \
	X(THRESHOLD, 20, "thresholds of a traffic run were crossed")                                         \
	X(INTERRUPTED, 130, "interrupted while waiting")

enum ctl_exit {
#define X(name, value, help) CTL_##name = (value),
	CTL_EXITS(X)
#undef X
};

#endif
