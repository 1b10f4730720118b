/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_tree: a configuration file as nodes that know where they stand, whatever notation it came in.
 *
 * Two readers (config_json.c, config_yaml.c) feed the same builder, so that the checks behind it see one
 * shape. Everything of a tree lies in its arena and goes at once. All limits are the builder's: depth,
 * number of nodes; both readers therefore have them.
 */
#ifndef PHOENIX_CONFIG_TREE_H
#define PHOENIX_CONFIG_TREE_H

#include "base/slice.h"
#include "config_report.h"

#include <stdbool.h>
#include <stddef.h>

#define TREE_FILE_BYTES_MAX (32u << 20)
#define TREE_DEPTH_MAX	    32
#define TREE_DEPTH_CEILING  128 /* of tree.depth_max */
#define TREE_NODES_MAX	    2000000

enum node_kind { NODE_NULL, NODE_BOOL, NODE_NUMBER, NODE_STRING, NODE_LIST, NODE_MAP };

struct node {
	enum node_kind kind;
	bool truth;	    /* NODE_BOOL */
	struct mark at;	    /* where the value begins */
	struct mark key_at; /* where its key begins, when it is a member of a map */
	struct slice key;
	struct slice text; /* string: decoded; number: the decimal text. NUL-terminated, without NULs */
	struct node *first, *last; /* list, map: children in file order */
	struct node *next;
	size_t count;
};

struct tree {
	struct report *report;
	struct tree_chunk *chunks;
	struct node *root; /* NULL until the first value */
	struct node *open[TREE_DEPTH_CEILING];
	unsigned depth, depth_max; /* TREE_DEPTH_MAX, unless a reader of other documents says otherwise */
	size_t nodes;
	struct slice key; /* of the next value */
	struct mark key_at;
	bool has_key;
};

void tree_init(struct tree *tree, struct report *report);
void tree_fini(struct tree *tree);

/*
 * The builder. Each call returns 0, -EINVAL (reported: too deep, too many values, a NUL character) or
 * -ENOMEM (noted in the report). Texts are copied. A reader calls them in file order and keeps maps and
 * lists balanced; tree_key() comes before each value of a map.
 */
int tree_key(struct tree *tree, struct mark at, struct slice text);
int tree_scalar(struct tree *tree, struct mark at, enum node_kind kind, struct slice text);
int tree_open(struct tree *tree, struct mark at, enum node_kind kind);
void tree_close(struct tree *tree);
/* Is the innermost open node a map whose next item is a key? */
bool tree_wants_key(const struct tree *tree);

/* The readers: the whole of `text` into `tree`; syntax errors are reported. 0, -EINVAL or -ENOMEM. */
int config_json_read(struct tree *tree, struct slice text);
int config_yaml_read(struct tree *tree, struct slice text);

/* The member of that name (the first, when there are several); NULL when `map` is NULL, no map or has none.
 */
struct node *node_find(const struct node *map, const char *key);
/* "a string", "null", … for messages. */
const char *node_kind_name(enum node_kind kind);
/* Is it a number as JSON writes it (RFC 8259 section 6)? */
bool text_is_number(struct slice text);

#endif
