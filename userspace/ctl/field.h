/* SPDX-License-Identifier: Apache-2.0 */
/*
 * field: what is at a dotted path ("weight.seen") of a JSON answer, whatever the answer turns out to be.
 *
 * A missing member, null and a value of another type all read as "unknown": a newer or older daemon may
 * say more or less than this program knows, and that must not stop it.
 */
#ifndef PHOENIX_CTL_FIELD_H
#define PHOENIX_CTL_FIELD_H

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Borrowed; NULL when missing or null. */
static inline json_t *field(const json_t *object, const char *path)
{
	char name[64];
	const json_t *at = object;
	while (at && *path) {
		size_t len = strcspn(path, ".");
		if (len >= sizeof(name))
			return NULL;
		memcpy(name, path, len);
		name[len] = '\0';
		at = json_object_get(at, name);
		path += len + (path[len] == '.');
	}
	return json_is_null(at) ? NULL : (json_t *)at;
}

static inline const char *field_text(const json_t *object, const char *path, const char *otherwise)
{
	const char *text = json_string_value(field(object, path));
	return text ? text : otherwise;
}

/* NaN when unknown. */
static inline double field_number(const json_t *object, const char *path)
{
	json_t *value = field(object, path);
	return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* 0 when unknown or negative. */
static inline uint64_t field_count(const json_t *object, const char *path)
{
	double value = field_number(object, path);
	return value > 0 && value < 9e15 ? (uint64_t)value : 0;
}

static inline bool field_true(const json_t *object, const char *path)
{
	return json_is_true(field(object, path));
}

#endif
