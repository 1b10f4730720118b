/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: the configuration as the rest of the program sees it: checked, complete, immutable.
 *
 * One model, two notations: JSON (RFC 8259) and YAML 1.1. Both are read into the same tree of nodes that
 * know their line and column; one table of keys (the schema) checks the tree, fills in defaults and reports
 * *every* error of the file in one run as "FILE:LINE:COL: error: …; did you mean \"weight\"?".
 *
 * A `struct config` is built whole or not at all and never changes afterwards: a reload builds another one.
 */
#ifndef PHOENIX_CONFIG_H
#define PHOENIX_CONFIG_H

#include "base/buf.h"
#include "base/slice.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_ROUTES_MAX 16384
#define CONFIG_WEIGHT_ONE 10000 /* basis points in 1.0 */

enum split_by { SPLIT_BY_REQUEST, SPLIT_BY_CLIENT_IP, SPLIT_BY_HEADER, SPLIT_BY_COOKIE };
enum arbiter_policy_kind { POLICY_LITERAL, POLICY_BOUNDED };
enum on_failure { ON_FAILURE_ROLLBACK, ON_FAILURE_PAUSE };
enum noise_policy { NOISE_PROPOSE, NOISE_APPLY };
enum store_kind { STORE_FILE, STORE_MEMORY, STORE_REDIS };
enum xdp_mode { XDP_MODE_AUTO, XDP_MODE_NATIVE, XDP_MODE_GENERIC, XDP_MODE_OFF };
enum xdp_attach { XDP_BY_LINK, XDP_BY_LIBXDP };
enum dead_man_then { DEAD_MAN_CONTINUE, DEAD_MAN_FREEZE, DEAD_MAN_LEGACY };

/* A list of owned, NUL-terminated strings. */
struct string_list {
	char **items;
	size_t count;
};

/* http://host[:port][/base]; only the http scheme exists here. */
struct config_url {
	char *text;	 /* as given */
	char *host;	 /* name, IPv4 or IPv6 without brackets */
	uint16_t port;	 /* host order, 80 when not given */
	char *base_path; /* "" or "/base", never with a trailing slash; joined before the request's path */
};

/* "address:port", "[v6]:port" or "unix:/path". */
struct config_listen {
	char *text;
	char *host; /* NULL for a Unix socket */
	uint16_t port;
	char *unix_path; /* NULL for TCP */
};

struct mirror_config {
	uint32_t sample_bp; /* share of requests to compare, basis points */
	bool unsafe_methods;
	uint64_t max_body_bytes; /* per message; a larger one is "not comparable" */
	uint32_t timeout_ms;
	uint32_t control_bp; /* share of the samples (safe methods) that legacy is asked once more */
};

struct compare_config {
	struct string_list ignore;    /* RFC 6901 pointers, "*" for any array element or member */
	struct string_list headers;   /* field names compared besides status and body */
	struct string_list unordered; /* pointers of arrays compared as multisets */
	struct string_list redact;    /* pointers whose values are never stored in clear */
	double float_tolerance; /* absolute difference of two numbers that still counts as equal; 0 = exact */
	enum noise_policy noise; /* what happens where legacy disagrees with itself */
};

struct arbiter_config {
	bool enabled;
	enum arbiter_policy_kind policy;
	uint32_t promote_above_bp;     /* strictly above: consistency > this */
	uint32_t rollback_below_bp;    /* strictly below */
	uint32_t min_samples;	       /* strictly more than this many */
	uint32_t rollback_min_samples; /* left out: 20 with literal, 100 with bounded */
	uint32_t step_bp;
	uint32_t interval_ms;
	uint32_t min_step_ms;	   /* a step lasts at least this long */
	uint32_t synthetic_max_bp; /* what synthetic samples alone may unlock */
	uint32_t min_shapes;	   /* distinct request shapes a step needs */
	uint32_t max_shape_bp;	   /* share of a step's samples that one shape may have */
	uint32_t min_success;	   /* samples of a step that are no errors; 0 = no demand */
	double watch_alarm;	   /* CUSUM height after completion; 0 = no watch */
	enum on_failure on_failure;
	struct string_list notify; /* webhook URLs, http or https */
};

/* Whether a side is fit to be asked, and what happens when it is not. */
struct health_config {
	char *path; /* asked with GET below the side's base path; NULL: no active checks */
	uint32_t interval_ms;
	uint32_t timeout_ms;
	uint32_t fall;	      /* failed checks in a row that take a side out */
	uint32_t rise;	      /* good ones in a row that bring it back */
	uint32_t eject_after; /* live requests in a row that a side did not answer; 0: never */
	uint32_t eject_ms;
	bool failover; /* modern is down or cannot be reached: legacy serves */
};

struct route_config {
	char *id; /* [A-Za-z0-9._-]{1,64} */
	struct string_list methods;
	uint32_t method_mask; /* bits of enum phx_method; ~0 for "*" */
	char *host;	      /* lower case, without port; NULL = any */
	char *path;	      /* exact, "/prefix/" + "*", or with "{param}" segments */
	struct config_url legacy;
	struct config_url modern;
	bool xdp;	    /* false: never for the fast path */
	uint32_t weight_bp; /* the file's own value */
	enum split_by split_by;
	char *split_name; /* header or cookie name; NULL otherwise */
	struct mirror_config mirror;
	struct compare_config compare;
	struct arbiter_config arbiter;
	struct health_config health;
	unsigned line, col; /* where the file says it; 0 when it did not come from a file */
};

struct limits_config {
	uint32_t head_bytes;
	uint32_t fields;     /* header fields in one message */
	uint64_t body_bytes; /* 0 = unlimited */
	uint32_t header_timeout_ms;
	uint32_t idle_timeout_ms;
	uint32_t upstream_timeout_ms;
	uint32_t first_byte_timeout_ms; /* 0 = upstream_timeout_ms */
	uint32_t connect_timeout_ms;
	uint32_t drain_ms;	   /* at the end, for requests under way */
	uint32_t upgrade_drain_ms; /* the same after a takeover, when nobody is waiting */
	uint32_t min_rate_bytes; /* a second, of a body in either direction, while the client is waited for; 0
				    = any */
	uint32_t connections_per_address;  /* client connections from one address; 0 = any number */
	uint32_t connections_per_listener; /* client connections at one address of "listen"; 0 = any number */
	uint32_t pipeline; /* requests of one connection that came before the first of them was answered */
	uint64_t memory_bytes; /* connections, heads and buffers of all workers; 0 = what the system has */
	uint32_t connections;  /* client connections, all workers together */
	uint32_t upstream_connections; /* per upstream address, all workers together */
	uint64_t sample_memory_bytes;  /* bytes that captured exchanges may hold in all */
};

/* Where the state lives; see store/store.h. */
struct state_config {
	enum store_kind kind;
	char *path; /* the state file; with Redis, where this gateway remembers what it knew last */
	char *url;  /* of Redis, see redis_url_parse(); NULL with sentinels */
	char *password_file;
	char *prefix; /* of all keys */
	struct string_list sentinels;
	char *master;	     /* as the sentinels call it */
	uint32_t timeout_ms; /* for a connection and for a command */
	uint32_t refresh_ms; /* from one full read to the next */
	uint32_t lease_ms;   /* who leads is replaced at most twice this long after it died */
};

/* How much of a client's address is written down. */
enum access_format { ACCESS_FORMAT_JSON };
enum access_client { ACCESS_CLIENT_ADDRESS, ACCESS_CLIENT_NETWORK, ACCESS_CLIENT_NONE };

struct access_log_config {
	char *path; /* "stderr", "journal" or a file; NULL = none is written */
	enum access_format format;
	enum access_client client;
	bool query;	    /* with the part of the target behind "?" */
	uint64_t max_bytes; /* of a file, then it becomes FILE.1; 0 = any size */
};
/* redis://[user[:password]@]host[:port][/database], or unix://[user[:password]@]/path[?db=number] (also
 * redis+unix://). User and password may have %XX. */
struct redis_url {
	char *host; /* NULL: a Unix socket */
	char *path;
	char *user, *password; /* NULL: none */
	uint16_t port;
	uint16_t database;
};
/* NULL and *out (owned by the caller; NULL: the text is only looked at, which takes no memory), or what is
 * wrong with it: the rest of a sentence, without the text. */
const char *redis_url_parse(struct slice text, struct redis_url *out);
void redis_url_fini(struct redis_url *url);

struct config {
	char *file; /* name for messages; owned */
	struct config_listen *listen;
	size_t listen_count;
	struct {
		struct config_listen listen; /* host NULL and unix_path NULL when off */
		char *socket;		     /* Unix socket path; NULL = off */
		char *socket_group; /* whose members may use the socket as operators; NULL = nobody's */
		char *token_file;
		struct string_list allowed_hosts; /* extra Host values accepted on the TCP listener */
	} admin;
	struct state_config state;
	struct {
		struct string_list interfaces;
		enum xdp_mode mode;
		enum xdp_attach attach;
		char *pin_dir;
		char *ports; /* "16384-32767", see port_range_parse() */
		struct {
			uint32_t after_ms;
			enum dead_man_then then;
		} dead_man;
	} xdp;
	struct {
		char *directory; /* where the pipeline keeps its work; NULL: beside the state file */
	} pipeline;
	uint32_t workers; /* 0 = one a core */
	char *user;	  /* who the process becomes after its start as root; NULL = nobody else */
	bool seccomp;	  /* refuse system calls that nothing here needs */
	struct access_log_config access_log;
	struct limits_config limits;
	struct route_config **routes;
	size_t route_count;
};

/*
 * Reads and checks a configuration file. The notation is told by the name (.yaml, .yml; anything else is
 * JSON). On success returns 0 and *out is owned by the caller. On failure returns -EINVAL (or -errno when
 * the file cannot be read), *out is untouched, and `errors` holds one line for each error, in file order
 * (at most 100, then a line that says how many more). Warnings ("FILE:LINE:COL: warning: …", such as
 * unsafe methods being mirrored) are appended to `errors` on success too.
 */
int config_load(const char *path, struct config **out, struct buf *errors);
/* The same from memory; `name` is used in messages and decides the notation. */
int config_parse(const char *name, struct slice text, struct config **out, struct buf *errors);
/* All defaults and no routes: what an empty file `{}` means. NULL when out of memory. */
struct config *config_default(void);
void config_destroy(struct config *config);

/*
 * One route from its JSON text (REST POST/PUT, state file, Redis). Errors as above with `name` as FILE.
 * The result is owned by the caller.
 */
int route_config_parse(const char *name, struct slice text, struct route_config **out, struct buf *errors);
void route_config_destroy(struct route_config *route);
struct route_config *route_config_copy(const struct route_config *route);
/* Would both match the same request, with nothing to prefer one: the same host, the same path when
 * parameters' names are left aside, and a method that both name, or "*" in both? A file with two such routes
 * is refused; REST must ask. */
bool route_config_conflicts(const struct route_config *a, const struct route_config *b);
/* Does the URL lead back to one of the configuration's own listeners (a loop)? Also refused in a file. */
bool config_is_own_address(const struct config *config, const struct config_url *url);

/* The effective values as JSON with every default filled in, in the notation of the file (weights as
 * fractions). New references; NULL when out of memory. */
json_t *config_to_json(const struct config *config);
json_t *route_config_to_json(const struct route_config *route);
/* Bytes that are equal exactly when all values but the weight are: for fingerprints. Appended. */
void route_config_bytes(const struct route_config *route, struct buf *out);

/* What is shown to people: of webhooks scheme and host are left, of state.url all but the password;
 * three asterisks stand for the rest. route_config_unmask() puts the whole webhooks of `old` back where a
 * masked one stands for them, so that what was shown can be sent back. */
void route_json_mask(json_t *route);
void config_json_mask(json_t *config);
void route_config_unmask(struct route_config *route, const struct route_config *old);

/* Every key, its type, default and meaning as a JSON Schema (draft 2020-12), made from the same table. */
json_t *config_schema(void);

#endif
