/* SPDX-License-Identifier: Apache-2.0 */
/* schema: values that a JSON Schema of an OpenAPI document allows, made up where the document gives none. */
#ifndef PHOENIX_TRAFFICGEN_SCHEMA_H
#define PHOENIX_TRAFFICGEN_SCHEMA_H

#include "base/buf.h"
#include "trafficgen/document.h"

#include <jansson.h>

#define SCHEMA_DEPTH_MAX 24 /* deeper, only what must be there is written */
#define SCHEMA_STEPS_MAX                                                                                     \
	100000 /* nodes looked at for one value: a small document can describe a huge one                    \
		*/

/*
 * Follows $ref (within the document only) from `node`; NULL when it leads nowhere, which is reported at the
 * place that refers. `node` itself when there is no $ref; NULL stays NULL.
 */
struct node *schema_resolve(struct document *document, struct node *node);

/*
 * Appends one value as JSON text in which "${" of the document is escaped and a made-up UUID is ${uuid}.
 * *made_up is set when something had to be invented. 0, or -EINVAL (reported), -ENOMEM.
 */
int schema_value(struct document *document, struct node *schema, struct buf *out, bool *made_up);
/* All values that a scalar schema allows or shows: examples, enum, or a range of whole numbers as {"from":,
 * "to":}. NULL when there is only schema_value(). */
json_t *schema_choices(struct document *document, struct node *schema, bool *made_up);

#endif
