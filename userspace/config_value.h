/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_value: the texts that mean more than their letters: fractions, URLs, addresses, path patterns.
 *
 * All pure. Each parser returns 0, -EINVAL or -ENOMEM; on -EINVAL `why` holds the rest of a sentence that
 * begins with the value ("has a query; …"). Outputs are untouched on failure and owned by the caller.
 */
#ifndef PHOENIX_CONFIG_VALUE_H
#define PHOENIX_CONFIG_VALUE_H

#include "config.h"

#define PATH_BYTES_MAX	  1024
#define PATH_SEGMENTS_MAX 64
#define URL_BYTES_MAX	  2048

enum fraction_error { FRACTION_OK, FRACTION_RANGE, FRACTION_DECIMALS };

/*
 * Decimal text -> basis points, exactly: digits are counted, nothing is rounded. `text` is a number as JSON
 * writes it. More than four decimals are refused, unless the text is how a double prints a value of four
 * (0.10000000000000001), because that is what many programs send for 0.1.
 */
enum fraction_error fraction_parse(struct slice text, uint32_t *bp);
/* Digits only, at most `max`; -ERANGE when above (or negative), -EINVAL when it is no whole number. */
int whole_number_parse(struct slice text, uint64_t max, uint64_t *value);

/* http://host[:port][/base], see struct config_url. */
int config_url_parse(struct slice text, struct config_url *url, struct buf *why);
void config_url_fini(struct config_url *url);
/* "address:port", "[v6]:port", "unix:/path". */
int config_listen_parse(struct slice text, struct config_listen *listen, struct buf *why);
void config_listen_fini(struct config_listen *listen);
/* Can only this machine connect to it? */
bool config_listen_is_local(const struct config_listen *listen);
/* Would a connection to `url` arrive at `listen`? Names other than localhost are not resolved. */
bool config_url_is_listen(const struct config_url *url, const struct config_listen *listen);
/* Same host, port and base path. */
bool config_url_equal(const struct config_url *a, const struct config_url *b);

/* "request", "client_ip", "header:NAME", "cookie:NAME"; *name is NULL for the first two. */
int split_by_parse(struct slice text, enum split_by *by, char **name, struct buf *why);
/* A method's bit of enum phx_method; -ENOENT when it is unknown. Case counts (RFC 9110 9.1). */
int method_parse(struct slice text, uint32_t *bit);
/* The methods that a route can name, in the order of enum phx_method, without CONNECT; ends with NULL. */
extern const char *const config_method_words[];

/* Checks without a result: true when fine. */
bool route_id_check(struct slice text, struct buf *why);
bool path_pattern_check(struct slice text, struct buf *why);
bool host_check(struct slice text, struct buf *why);
bool user_check(struct slice text, struct buf *why);
bool group_check(struct slice text, struct buf *why);
bool health_path_check(struct slice text, struct buf *why);
bool field_name_check(struct slice text, struct buf *why);
bool pointer_text_check(struct slice text, struct buf *why);
bool webhook_check(struct slice text, struct buf *why);
bool interface_check(struct slice text, struct buf *why);
bool file_path_check(struct slice text, struct buf *why);
bool pin_dir_check(struct slice text, struct buf *why);
bool port_range_check(struct slice text, struct buf *why);
bool socket_path_check(struct slice text, struct buf *why);
bool redis_url_check(struct slice text, struct buf *why);
bool redis_prefix_check(struct slice text, struct buf *why);
bool redis_master_check(struct slice text, struct buf *why);
/* "host[:port]", with *port as it was when none is given. False and *complaint when it is none. */
bool redis_host_check(struct slice text, const char **complaint, struct slice *host, uint16_t *port);
bool host_port_check(struct slice text, struct buf *why);

/* "first-last", both ports, at least PORT_RANGE_MIN of them. Outputs untouched on -EINVAL. */
#define PORT_RANGE_MIN 16
int port_range_parse(struct slice text, uint16_t *first, uint16_t *last);

/* RFC 9110 5.6.2. */
bool is_token(struct slice text);

#endif
