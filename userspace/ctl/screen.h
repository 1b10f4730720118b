/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen: the JSON of GET /admin/status as text. Pure: JSON and a style in, bytes out.
 *
 * Three numbers stand for a weight, never one: wanted, set (read back) and seen (counted). A consistency
 * never stands without its denominator.
 */
#ifndef PHOENIX_CTL_SCREEN_H
#define PHOENIX_CTL_SCREEN_H

#include "ctl/format.h"

#include <jansson.h>

/* The whole answer: headline, what is wrong, and a table of the routes; where that is too wide for the
 * terminal, blocks for a few routes and a narrower table for many. The route `selected` has a mark in front
 * (NULL: nothing is to be chosen). */
void screen_status(const json_t *status, const struct style *style, const char *selected, struct buf *out);
/* One route with all that is known; `brief` is the form used in lists. */
void screen_route(const json_t *route, const struct style *style, bool brief, struct buf *out);
/* One line without a time: "users: Migration in Progress: 30% Traffic Shifted; wanted 30%, …". */
void screen_line(const json_t *route, struct buf *out);
/*
 * What has to differ for a change to be worth a line: state, headline, wanted and set weight. Two equal
 * keys mean that nothing happened but counting.
 */
void screen_key(const json_t *route, struct buf *out);

/* "99.01% (100 of 101)"; without samples "- (0 samples)". */
void screen_consistency(const json_t *consistency, struct buf *out);
#endif
