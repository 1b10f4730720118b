/* SPDX-License-Identifier: Apache-2.0 */
/* exposition: see exposition.h. */
#include "control/exposition.h"

#include <stdio.h>

#define PIECE_BYTES (1u << 20) /* joined in one go */

static const struct {
	struct slice name;
	const char *type, *help;
} families[] = {
#define X(name, text, type, help) {{text, sizeof(text) - 1}, type, help},
	METRIC_FAMILIES(X)
#undef X
};

static void append_number(struct buf *out, uint64_t value)
{
	char digits[20];
	unsigned at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	buf_append(out, digits + at, sizeof(digits) - at);
}

/* All of the line but the value. */
static struct buf *begin(struct exposition *e, enum metric metric, const char *ending, const char *labels,
			 const char *more)
{
	struct buf *out = &e->families[metric];
	buf_append(out, "phoenix_", 8);
	buf_append_slice(out, families[metric].name);
	buf_append_str(out, ending);
	if (labels[0] || more[0]) {
		buf_append_char(out, '{');
		buf_append_str(out, labels);
		if (labels[0] && more[0])
			buf_append_char(out, ',');
		buf_append_str(out, more);
		buf_append_char(out, '}');
	}
	buf_append_char(out, ' ');
	return out;
}

void expose_part(struct exposition *e, enum metric metric, const char *ending, const char *labels,
		 const char *more, uint64_t value)
{
	struct buf *out = begin(e, metric, ending, labels, more);
	append_number(out, value);
	buf_append_char(out, '\n');
}

void expose(struct exposition *e, enum metric metric, const char *labels, const char *more, uint64_t value)
{
	expose_part(e, metric, "", labels, more, value);
}

void expose_real(struct exposition *e, enum metric metric, const char *labels, const char *more, double value)
{
	buf_printf(begin(e, metric, "", labels, more), "%.12g\n", value);
}

void expose_part_real(struct exposition *e, enum metric metric, const char *ending, const char *labels,
		      double value)
{
	buf_printf(begin(e, metric, ending, labels, ""), "%.12g\n", value);
}

bool exposition_join(struct exposition *e)
{
	if (e->next == METRIC_COUNT)
		return false;
	if (e->next == 0 && e->joined == 0) {
		size_t bytes = 16384; /* for HELP and TYPE */
		for (unsigned i = 0; i < METRIC_COUNT; i++)
			bytes += e->families[i].len;
		buf_reserve(&e->text, bytes);
	}
	struct buf *samples = &e->families[e->next];
	struct slice name = families[e->next].name;
	if (e->joined == 0)
		buf_printf(&e->text, "# HELP phoenix_%s %s\n# TYPE phoenix_%s %s\n", name.ptr,
			   families[e->next].help, name.ptr, families[e->next].type);
	size_t left = samples->len - e->joined, piece = left < PIECE_BYTES ? left : PIECE_BYTES;
	if (piece)
		buf_append(&e->text, samples->data + e->joined, piece);
	e->joined += piece;
	if (e->joined < samples->len)
		return true;
	e->text.failed |= samples->failed;
	buf_fini(samples);
	e->joined = 0;
	e->next++;
	return e->next < METRIC_COUNT;
}

void exposition_fini(struct exposition *e)
{
	for (unsigned i = 0; i < METRIC_COUNT; i++)
		buf_fini(&e->families[i]);
	buf_fini(&e->text);
	*e = (struct exposition){0};
}
