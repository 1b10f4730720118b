/* SPDX-License-Identifier: Apache-2.0 */
/* progress: see progress.h. */
#include "ctl/progress.h"

#include "ctl/frame.h"

#define BAR_COLUMNS 20

static void put(struct buf *out, const struct style *style)
{
	if (!style->unicode)
		format_ascii(out);
	fwrite(out->data, 1, out->len, stderr);
	fflush(stderr);
}

void progress_show(struct progress *progress, double ratio, const char *text)
{
	struct style style = style_of(stderr); /* the window may have another size now */
	struct buf line = {0}, out = {0};

	if (!style.redraws)
		return;
	format_bar(&line, ratio, BAR_COLUMNS, style.unicode);
	buf_printf(&line, " %3d%%  ", (int)(ratio * 100)); /* whole: it must not flicker */
	format_clean(&line, text);
	buf_append_str(&out, "\r");
	frame_cut(buf_slice(&line), style.width - 1, 1,
		  &out); /* a full line would wrap and could not be taken back */
	if (out.len && out.data[out.len - 1] == '\n')
		out.len--;
	buf_append_str(&out, "\033[K");
	put(&out, &style);
	progress->shown = true;
	buf_fini(&line);
	buf_fini(&out);
}

void progress_hide(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	fflush(stderr);
	progress->shown = false;
}
