/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roff: plain text as lines of a manual page in man(7), so that whatever stands in a table can stand in a
 * page.
 *
 * Every character that roff reads otherwise is spelled out, and dashes stay dashes, so that what is shown can
 * be copied to a command line. Sentences begin new lines.
 */
#ifndef PHOENIX_TOOLS_MANUAL_ROFF_H
#define PHOENIX_TOOLS_MANUAL_ROFF_H

#include "option.h"

/* Of the pages; moved on with the version, so that equal sources give equal pages. */
#define MANUAL_DATE "2026-11-28"

/* The head of a page: ("phoenixctl", 1, "look at and steer a Phoenix gateway"). */
void roff_begin(struct buf *out, const char *name, int section, const char *what);
void roff_section(struct buf *out, const char *title);
void roff_subsection(struct buf *out, const char *title);
/* Paragraphs; two line feeds in the text separate them. Within an item they are indented like it. */
void roff_text(struct buf *out, const char *text);
void roff_item_text(struct buf *out, const char *text);
/* The same on a line of its own. */
void roff_item_line(struct buf *out, const char *text);
/* An item of a list: `bold` and `slanted` (NULL = none) on a line, then the help. */
void roff_item(struct buf *out, const char *bold, const char *slanted, const char *help);
/* "-o, --output table|json", then its help. */
void roff_option(struct buf *out, const struct option_row *row);
/* An exit status. */
void roff_status(struct buf *out, int status, const char *meaning);
/* A way to call the program: its name, then words as they are, the placeholders in capitals slanted. */
void roff_synopsis(struct buf *out, const char *name, const char *words);
/* Lines as they are: a command, a file. */
void roff_literal(struct buf *out, const char *text);

#endif
