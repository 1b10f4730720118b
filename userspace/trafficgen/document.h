/* SPDX-License-Identifier: Apache-2.0 */
/*
 * document: a JSON or YAML document of somebody else, read with the configuration's reader, so that every
 * complaint has its line and column.
 */
#ifndef PHOENIX_TRAFFICGEN_DOCUMENT_H
#define PHOENIX_TRAFFICGEN_DOCUMENT_H

#include "base/buf.h"
#include "config_report.h"
#include "config_tree.h"

struct document {
	struct report report;
	struct tree tree;
};

/* 0, or -EINVAL/-ENOMEM (reported); document_close() is due either way. */
int document_open(struct document *document, const char *file, struct slice text);
/* Moves what was reported to `errors`; 0, -EINVAL when there was an error, -ENOMEM. */
int document_close(struct document *document, struct buf *errors);
/* The member of that name if it has that kind, else NULL. */
struct node *document_get(const struct node *map, const char *key, enum node_kind kind);
/* The text of a string member, or NULL. */
const char *document_text(const struct node *map, const char *key);
/* What an RFC 6901 pointer leads to, NULL when nowhere; percent-encoding (URI fragment, RFC 6901 6) is
 * undone. */
struct node *document_find(const struct node *root, struct slice pointer);
/* The node as compact JSON text; numbers as they were written. */
void document_json(const struct node *node, struct buf *out);

#endif
