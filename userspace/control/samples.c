/* SPDX-License-Identifier: Apache-2.0 */
/* samples: see samples.h. The choice depends on the count alone, so that it can be told beforehand in a test.
 */
#include "control/samples.h"

#include <phoenix/split.h>

int sample_set_place(struct sample_set *set, const struct exchange *exchange)
{
	if (exchange->synthetic)
		return -1;
	uint64_t n = set->seen++;
	if (n < SAMPLES_MAX)
		return (int)n;
	uint64_t of = n + 1 < (uint64_t)SAMPLES_MAX * SAMPLES_MEMORY ? n + 1
								     : (uint64_t)SAMPLES_MAX * SAMPLES_MEMORY;
	uint64_t place = phx_mix64(n) % of;
	return place < SAMPLES_MAX ? (int)place : -1;
}

void sample_set_keep(struct sample_set *set, int place, json_t *sample, size_t bytes, uint64_t *total)
{
	unsigned at = (unsigned)place < set->count ? (unsigned)place : set->count;
	size_t before = at < set->count ? set->bytes[at] : 0;
	if (*total + bytes - before > SAMPLES_BYTES_MAX) {
		json_decref(sample);
		return;
	}
	if (at < set->count)
		json_decref(set->items[at]);
	else
		set->count++;
	set->items[at] = sample;
	set->bytes[at] = bytes;
	*total += bytes - before;
}

json_t *sample_set_to_json(const struct sample_set *set)
{
	json_t *list = json_array();
	for (unsigned i = 0; list && i < set->count; i++)
		json_array_append(list, set->items[i]);
	return json_pack("{s:I, s:o}", "seen", (json_int_t)set->seen, "samples", list);
}

void sample_set_fini(struct sample_set *set, uint64_t *total)
{
	for (unsigned i = 0; i < set->count; i++) {
		json_decref(set->items[i]);
		*total -= set->bytes[i];
	}
	*set = (struct sample_set){0};
}
