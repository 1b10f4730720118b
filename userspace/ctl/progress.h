/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress: one line at the bottom of stderr that tells how far a long work is, on a terminal only.
 *
 * Whoever prints something else hides it first; the next progress_show() puts it below what was printed.
 */
#ifndef PHOENIX_CTL_PROGRESS_H
#define PHOENIX_CTL_PROGRESS_H

#include "ctl/format.h"

struct progress {
	bool shown;
};

/* "█████░░░░░ 50%  text", cut to the width; `ratio` from 0 to 1. Nothing unless stderr can redraw. */
void progress_show(struct progress *progress, double ratio, const char *text);
void progress_hide(struct progress *progress);

#endif
