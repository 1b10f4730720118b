/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame: a terminal taken over for a while: a screen of its own, single keys, and everything as it was
 * afterwards.
 *
 * The alternate screen keeps what was on the terminal; a frame is one write, so nothing flickers; lines are
 * cut to the window, whose size is asked anew for each frame. Ctrl-Z gives the terminal back and takes it
 * again with fg.
 */
#ifndef PHOENIX_CTL_FRAME_H
#define PHOENIX_CTL_FRAME_H

#include "ctl/format.h"

#include <termios.h>

struct frame {
	bool open;
	bool keys; /* stdin is a terminal too */
	struct termios before;
	unsigned char typed[64]; /* read and not yet taken */
	size_t typed_count;
};

enum frame_key {
	FRAME_KEY_NONE = 0,
	FRAME_KEY_UP = 256,
	FRAME_KEY_DOWN,
	FRAME_KEY_ESCAPE,
	FRAME_KEY_RESIZED
};

void frame_open(struct frame *frame);
/* Gives the terminal back as it was. Does nothing when it is not open. */
void frame_close(struct frame *frame);
/* Shows `text` from the top and `footer` (one line) at the bottom. False when the terminal is gone. */
bool frame_draw(struct frame *frame, const struct style *style, struct slice text, struct slice footer);
/* The next key (a character or a frame_key), FRAME_KEY_NONE after wait_ms or a signal. */
int frame_key(struct frame *frame, unsigned wait_ms);

/* Cuts lines to width x height; colour sequences take no room, and the last line says what was left out. */
void frame_cut(struct slice text, size_t width, size_t height, struct buf *out);

#endif
