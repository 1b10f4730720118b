/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_schema: the one table of keys. Checking, defaults, printing, copying and freeing all walk it, so a
 * new key is one row here and one field in config.h.
 */
#ifndef PHOENIX_CONFIG_SCHEMA_H
#define PHOENIX_CONFIG_SCHEMA_H

#include "config.h"
#include "config_tree.h"

#define LIST_ITEMS_MAX	 256
#define LISTEN_MAX	 64
#define SECTION_KEYS_MAX 32

enum key_type {
	KEY_BOOL,     /* bool */
	KEY_U32,      /* uint32_t, min..max */
	KEY_U64,      /* uint64_t, min..max */
	KEY_FRACTION, /* uint32_t basis points, min..max in basis points */
	KEY_REAL,     /* double, 0..max */
	KEY_STRING,   /* char *, see check */
	KEY_WORD,     /* an enum, the index into words */
	KEY_STRINGS,  /* struct string_list, each item see check */
	KEY_URL,      /* struct config_url */
	KEY_LISTEN,   /* struct config_listen */
	KEY_LISTENS,  /* config.listen and listen_count; base is struct config */
	KEY_METHODS,  /* route.methods and method_mask; base is struct route_config */
	KEY_SPLIT,    /* route.split_by and split_name; base is struct route_config */
	KEY_ROUTES,   /* config.routes and route_count; base is struct config */
	KEY_JSON,     /* json_t *: any value, taken as it is; NULL when it is null */
	KEY_SECTION,  /* an object; its rows' offsets are in the same struct */
};

struct section_spec {
	const char *help;
	const struct key_spec *keys; /* ends with a row without a key */
};

struct key_spec {
	const char *key;
	enum key_type type;
	size_t offset;
	const char *fallback; /* the default as JSON; NULL: none, the key is required */
	uint64_t min, max;
	bool nullable; /* null means "none" */
	bool lower;    /* kept in lower case */
	bool secret;   /* never quoted in a message */
	const char *const *words;
	bool (*check)(struct slice text, struct buf *why);
	const struct section_spec *section;
	const char *form;    /* what an item is, for messages: "a header name" */
	const char *pattern; /* the same as a regular expression, for the JSON Schema */
	const char *help;
};

extern const struct section_spec config_section; /* base: struct config */
extern const struct section_spec route_section;	 /* base: struct route_config */

/* Appends the section's defaults as a JSON object; required keys are left out. */
void section_defaults(const struct section_spec *section, struct buf *out);

/* Where in the file a value stands, for messages: "routes[3].mirror.sample". */
struct where {
	const struct where *up; /* NULL: the file itself */
	const char *key;	/* NULL: an item of a list */
	size_t index;
};

struct config_reader {
	struct report *report;
	const struct node *route_defaults;
};

/*
 * Checks `map` (NULL: everything is left out) against the table and fills the fields of `base`, which is
 * zeroed before. What is wrong is reported, and its field stays zero. `defaults` is the section's own node.
 */
void section_read(struct config_reader *reader, const struct section_spec *section, const struct node *map,
		  const struct node *defaults, const struct where *where, void *base);
/* Fills in defaults that depend on other keys of the route. */
void route_settle(struct route_config *route);
/* Text -> tree whose root is an object; `name` decides the notation (.yaml, .yml: YAML, else JSON). What is
 * wrong is reported. 0, -EINVAL or -ENOMEM. */
int config_read_tree(const char *name, struct slice text, struct tree *tree);
/* The section's defaults as a tree, for section_read(); `more` are further members ("\"a\":1,\"b\":2"), or
 * "". */
int config_read_defaults(struct tree *tree, const struct section_spec *section, const char *more);
/* A node as JSON; NULL when out of memory. */
json_t *node_to_json(const struct node *node);
/* Frees what the fields own; they are zero afterwards. */
void section_fini(const struct section_spec *section, void *base);
/* Deep copy of the fields; false when out of memory (then `to` may be half filled, section_fini cleans up).
 */
bool section_copy(const struct section_spec *section, const void *from, void *to);
/* The fields as a JSON object; NULL when out of memory. */
json_t *section_dump(const struct section_spec *section, const void *base);
/* Appends every key but `skip` (NULL: none) with its value: the same bytes for the same values, and only
 * then. Thirty times as fast as a JSON text. */
void section_text(const struct section_spec *section, const void *base, const char *skip, struct buf *out);
/* As printed: "routes[3].mirror"; "" for the file itself. */
struct path_text {
	char text[160];
};
struct path_text where_text(const struct where *where);

/* What only several values together can tell; `map` is the node that `config` was read from, or NULL. */
void config_check(struct report *report, const struct node *map, const struct config *config);
void route_check(struct report *report, const struct node *map, const struct where *where,
		 const struct route_config *route);

#endif
