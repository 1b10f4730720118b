/* SPDX-License-Identifier: Apache-2.0 */
/* frame: see frame.h. Control sequences are those that every terminal since the VT220 and xterm knows. */
#include "ctl/frame.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

/* Alternate screen, no cursor, no wrapping of what is wider than the window after all. */
#define ENTER "\033[?1049h\033[?25l\033[?7l"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"

static volatile sig_atomic_t resized, to_stop;

static void on_resize(int number)
{
	resized = 1;
}

static void on_stop(int number)
{
	to_stop = 1;
}

static bool write_all(const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, data, len);
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			data += n, len -= (size_t)n;
	}
	return true;
}

void frame_open(struct frame *frame)
{
	struct sigaction action = {.sa_handler = on_resize};

	sigaction(SIGWINCH, &action, NULL);
	action.sa_handler = on_stop;
	sigaction(SIGTSTP, &action, NULL);
	frame->keys = tcgetattr(STDIN_FILENO, &frame->before) == 0;
	if (frame->keys) {
		struct termios raw = frame->before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* signals stay */
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		frame->keys = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
	}
	frame->open = write_all(ENTER, sizeof(ENTER) - 1);
}

void frame_close(struct frame *frame)
{
	struct sigaction action = {.sa_handler = SIG_DFL};

	if (!frame->open)
		return;
	write_all(LEAVE, sizeof(LEAVE) - 1);
	if (frame->keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &frame->before);
	sigaction(SIGWINCH, &action, NULL);
	sigaction(SIGTSTP, &action, NULL);
	frame->open = frame->keys = false;
}

void frame_cut(struct slice text, size_t width, size_t height, struct buf *out)
{
	size_t rows = 0, used = 0, lines = 0;
	bool coloured = false;

	for (size_t i = 0; i < text.len; i++)
		lines += text.ptr[i] == '\n';
	size_t hidden = lines > height && height ? lines - (height - 1) : 0;
	if (hidden)
		height--;
	for (size_t i = 0; i < text.len && rows < height; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c == '\n') {
			buf_append_str(out, coloured ? "\033[0m\n" : "\n");
			coloured = false;
			used = 0;
			rows++;
		} else if (c == '\033') {
			size_t start = i;
			while (i + 1 < text.len && text.ptr[i] != 'm')
				i++;
			buf_append(out, text.ptr + start, i + 1 - start);
			coloured = start + 2 < text.len && text.ptr[start + 2] != '0';
		} else {
			used += (c & 0xc0) != 0x80;
			if (used <= width)
				buf_append_char(out, (char)c);
		}
	}
	if (hidden)
		buf_printf(out, "(%zu more lines)\n", hidden);
}

bool frame_draw(struct frame *frame, const struct style *style, struct slice text, struct slice footer)
{
	struct buf cut = {0}, line = {0}, out = {0};
	size_t height = style->height > 2 ? style->height - 1 : 1;

	frame_cut(text, style->width, height, &cut);
	frame_cut(footer, style->width, 1, &line);
	buf_append_str(&out, "\033[H");
	for (size_t i = 0; i < cut.len; i++) {
		if (cut.data[i] == '\n')
			buf_append_str(&out, "\033[K");
		buf_append_char(&out, cut.data[i]);
	}
	buf_printf(&out, "\033[J\033[%zu;1H", style->height);
	buf_append_slice(&out, slice_of(line.data, line.len - (line.len && line.data[line.len - 1] == '\n')));
	buf_append_str(&out, "\033[K");
	if (!style->unicode)
		format_ascii(&out);
	bool good = !out.failed && write_all(out.data, out.len);
	buf_fini(&cut);
	buf_fini(&line);
	buf_fini(&out);
	return good;
}

/* Ctrl-Z: the shell gets its terminal as it left it, and we take it again when it lets us go on. */
static void stop(struct frame *frame)
{
	to_stop = 0;
	frame_close(frame);
	raise(SIGSTOP);
	frame_open(frame);
	resized = 1;
}

/* Takes one key off what was typed; arrows are ESC [ A or ESC O A, other sequences are no key. */
static int take_key(struct frame *frame)
{
	const unsigned char *p = frame->typed;
	size_t used = 1;
	int key = p[0];

	if (p[0] == '\033' && frame->typed_count == 1) {
		key = FRAME_KEY_ESCAPE;
	} else if (p[0] == '\033' && (p[1] == '[' || p[1] == 'O')) {
		used = 2; /* up to the letter that ends it */
		while (used < frame->typed_count && !(p[used] >= 0x40 && p[used] <= 0x7e))
			used++;
		char last = used < frame->typed_count ? (char)p[used++] : 0;
		key = last == 'A' ? FRAME_KEY_UP : last == 'B' ? FRAME_KEY_DOWN : FRAME_KEY_NONE;
	}
	frame->typed_count -= used;
	memmove(frame->typed, frame->typed + used, frame->typed_count);
	return key;
}

static void read_keys(struct frame *frame)
{
	ssize_t n = read(STDIN_FILENO, frame->typed, sizeof(frame->typed));
	if (n <= 0)
		frame->keys = n < 0 && (errno == EINTR || errno == EAGAIN);
	frame->typed_count = n > 0 ? (size_t)n : 0;
}

int frame_key(struct frame *frame, unsigned wait_ms)
{
	struct pollfd input = {.fd = frame->keys ? STDIN_FILENO : -1, .events = POLLIN};

	if (frame->typed_count)
		return take_key(frame);
	int ready = resized || to_stop ? 0 : poll(&input, 1, (int)wait_ms);

	if (to_stop)
		stop(frame);
	if (resized) {
		resized = 0;
		return FRAME_KEY_RESIZED;
	}
	if (ready > 0)
		read_keys(frame);
	return frame->typed_count ? take_key(frame) : FRAME_KEY_NONE;
}
