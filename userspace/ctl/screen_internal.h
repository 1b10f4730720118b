/* SPDX-License-Identifier: Apache-2.0 */
/* screen_internal: what the table of all routes and the block of one have in common. */
#ifndef PHOENIX_CTL_SCREEN_INTERNAL_H
#define PHOENIX_CTL_SCREEN_INTERNAL_H

#include "ctl/field.h"
#include "ctl/figure.h"
#include "ctl/screen.h"

#include <inttypes.h>

#define BAR_COLUMNS   20
#define LABEL_COLUMNS 15 /* a name and what is in front of it */

enum tint side_tint(const json_t *side);
/* Green only when the evidence would do: a perfect ratio of three samples says nothing yet. */
enum tint consistency_tint(const json_t *consistency);
/* "  name         text", the text cleaned and, on a terminal, broken to its width. */
void screen_named(struct buf *out, const struct style *style, const char *name, enum tint tint,
		  const char *text);
/* The same without a name, from column `indent` on. */
void screen_text(struct buf *out, const struct style *style, size_t indent, enum tint tint, const char *text);

#endif
