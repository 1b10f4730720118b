/* SPDX-License-Identifier: Apache-2.0 */
/* probe_internal: one question to a service, for probe.c and replay.c. */
#ifndef PHOENIX_PIPELINE_PROBE_INTERNAL_H
#define PHOENIX_PIPELINE_PROBE_INTERNAL_H

#include "base/slice.h"
#include "judge/compare.h"
#include "pipeline/probe.h"

#define FIELDS_MAX 64

struct answer {
	struct job *job;
	int status;
	struct buf head, body; /* head: "name\0value\0" pairs */
	struct header_field fields[FIELDS_MAX];
	size_t field_count;
};

struct question {
	const char *method, *url;
	const json_t *headers; /* {name: text}; may be NULL */
	struct slice body;
	bool has_body, json;
	uint32_t timeout_ms;
};

/* 0 when there was an answer, whatever it says; -EIO with `why` when there was none. */
int probe_ask(struct job *job, const struct question *question, struct answer *answer, struct buf *why);
void probe_answer_fini(struct answer *answer);

#endif
