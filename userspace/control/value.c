/* SPDX-License-Identifier: Apache-2.0 */
/* value: see value.h. */
#include "control/value.h"

#include <math.h>

json_t *json_text(struct slice text)
{
	if (!text.ptr)
		return json_null();
	json_t *value = json_stringn(text.ptr, text.len);
	if (value)
		return value;
	/* Not UTF-8 (or no memory): the buffer's writer replaces what is wrong, the reader takes it back. */
	struct buf quoted = {0};
	buf_append_json(&quoted, text);
	if (!quoted.failed)
		value = json_loadb(quoted.data, quoted.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	buf_fini(&quoted);
	return value;
}

json_t *json_text_or_null(const char *text)
{
	return text && *text ? json_text(slice_str(text)) : json_null();
}

json_t *json_time(uint64_t wall_ns)
{
	if (!wall_ns)
		return json_null();
	char text[CLOCK_RFC3339_SIZE];
	clock_rfc3339(wall_ns, text);
	return json_string(text);
}

json_t *json_ratio(uint32_t bp)
{
	return json_real(bp / 10000.0);
}

json_t *json_ms(double ms)
{
	return isfinite(ms) ? json_real(round(ms * 1000) / 1000) : json_null();
}

uint64_t json_get_u64(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));
	return value > 0 ? (uint64_t)value : 0;
}

bool json_get_bool(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

const char *json_get_str(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}
