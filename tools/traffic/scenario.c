/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenario: see scenario.h. Templates are cut into pieces once, when the file is read; sending a request is
 * then a handful of appends. What is drawn for request k comes from mixing the seed, k and the place's
 * number, so that two runs with one seed send the same bytes and nothing has to be remembered.
 */
#include "scenario.h"

#include <phoenix/head.h>
#include <phoenix/split.h>

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#define SCENARIO_REQUESTS  4096
#define SCENARIO_VARIABLES 64

const char *const scenario_limit_keys[] = {
#define X(name, key) key,
	SCENARIO_LIMITS(X)
#undef X
};

__attribute__((format(printf, 2, 3))) static int scenario_error(const struct scenario *s, const char *format,
								...)
{
	va_list args;
	fprintf(stderr, "%s: error: ", s->file);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return -EINVAL;
}

/* The keys of an object must be among `allowed` (a list with a NULL at its end). */
static int check_keys(const struct scenario *s, const json_t *object, const char *where,
		      const char *const *allowed)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)object, key, value)
	{
		size_t i = 0;
		while (allowed[i] && strcmp(allowed[i], key) != 0)
			i++;
		if (!allowed[i])
			return scenario_error(s, "%s: there is no key \"%s\" here", where, key);
	}
	return 0;
}

static int add_piece(struct text_template *t, struct piece piece)
{
	struct piece *pieces = realloc(t->pieces, (t->count + 1) * sizeof(*pieces));
	if (!pieces)
		return -ENOMEM;
	t->pieces = pieces;
	t->pieces[t->count++] = piece;
	return 0;
}

static int add_text(struct text_template *t, struct slice text)
{
	if (text.len == 0)
		return 0;
	struct piece piece = {.kind = PIECE_TEXT, .text = strndup(text.ptr, text.len), .len = text.len};
	int err = piece.text ? add_piece(t, piece) : -ENOMEM;
	if (err)
		free(piece.text);
	return err;
}

/* The inside of ${...}. */
static int add_place(const struct scenario *s, struct text_template *t, struct slice name)
{
	struct piece piece = {.kind = PIECE_VARIABLE};
	if (slice_equal(name, SLICE("seq")))
		piece.kind = PIECE_SEQ;
	else if (slice_equal(name, SLICE("uuid")))
		piece.kind = PIECE_UUID;
	if (piece.kind == PIECE_VARIABLE) {
		while (piece.variable < s->variable_count &&
		       !slice_equal(slice_str(s->variables[piece.variable].name), name))
			piece.variable++;
		if (piece.variable == s->variable_count)
			return scenario_error(s, "\"${%.*s}\" is used, but variables has no \"%.*s\"",
					      SLICE_ARG(name), SLICE_ARG(name));
	}
	return add_piece(t, piece);
}

/*
 * Appends `text` to the template. In a JSON body ("${name:number}"), quotes included, becomes the bare value:
 * the way to put a number where JSON has no templates.
 */
static int template_add(const struct scenario *s, struct text_template *t, struct slice text, bool is_json)
{
	static const struct slice as_number = SLICE(":number");
	for (;;) {
		char *open = text.len ? memmem(text.ptr, text.len, "${", 2) : NULL;
		char *close = open ? memchr(open, '}', text.len - (size_t)(open - text.ptr)) : NULL;
		if (!close)
			return add_text(t, text);
		struct slice before = slice_of(text.ptr, (size_t)(open - text.ptr));
		struct slice name = slice_of(open + 2, (size_t)(close - open) - 2);
		text.len -= (size_t)(close + 1 - text.ptr);
		text.ptr = close + 1;
		if (name.len > as_number.len &&
		    slice_equal(slice_of(name.ptr + name.len - as_number.len, as_number.len), as_number)) {
			name.len -= as_number.len;
			if (!is_json || !before.len || open[-1] != '"' || !text.len || text.ptr[0] != '"')
				return scenario_error(
					s, "\"${%.*s:number}\" must be a whole string of a JSON body",
					SLICE_ARG(name));
			before.len--;
			text.ptr++, text.len--;
		}
		int err = add_text(t, before);
		if (!err)
			err = add_place(s, t, name);
		if (err)
			return err;
	}
}

static void template_fini(struct text_template *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->pieces[i].text);
	free(t->pieces);
}

void scenario_fini(struct scenario *s)
{
	for (size_t i = 0; i < s->variable_count; i++) {
		for (size_t j = 0; s->variables[i].values && j < s->variables[i].count; j++)
			free(s->variables[i].values[j]);
		free(s->variables[i].values);
	}
	free(s->variables);
	for (size_t i = 0; i < s->request_count; i++) {
		template_fini(&s->requests[i].head);
		template_fini(&s->requests[i].body);
	}
	free(s->requests);
	json_decref(s->document);
}

/* Values go into paths, fields and JSON strings alike, so only what needs no escaping in any of them. */
static bool value_is_plain(const char *value)
{
	for (; *value; value++) {
		if (*value <= ' ' || *value >= 0x7f || *value == '"' || *value == '\\')
			return false;
	}
	return true;
}

static int read_variable(struct scenario *s, struct variable *v, const json_t *value)
{
	json_int_t last;
	if (json_is_object(value)) {
		json_error_t error;
		if (json_unpack_ex((json_t *)value, &error, JSON_STRICT, "{s:I, s:I}", "from", &v->first,
				   "to", &last) ||
		    last < v->first || (uint64_t)last - (uint64_t)v->first >= UINT32_MAX)
			return scenario_error(
				s,
				"variables: \"%s\" must be {\"from\": whole number, \"to\": one that "
				"is not smaller}, at most 2^32 apart",
				v->name);
		v->count = (size_t)(last - v->first) + 1;
		return 0;
	}
	if (!json_is_array(value) || json_array_size(value) == 0)
		return scenario_error(s, "variables: \"%s\" must be a list of values or {\"from\":, \"to\":}",
				      v->name);
	v->values = calloc(json_array_size(value), sizeof(*v->values));
	if (!v->values)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(value); i++) {
		json_t *item = json_array_get(value, i);
		if (!json_is_string(item) && !json_is_number(item))
			return scenario_error(
				s, "variables: \"%s\" holds something that is no string or number", v->name);
		v->values[i] = json_is_string(item)
				       ? strdup(json_string_value(item))
				       : json_dumps(item, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
		v->count = i + 1;
		if (!v->values[i])
			return -ENOMEM;
		if (!value_is_plain(v->values[i]))
			return scenario_error(
				s,
				"variables: a value of \"%s\" has a space, a quote, a backslash or a "
				"byte that is no printable ASCII",
				v->name);
	}
	return 0;
}

static int read_variables(struct scenario *s, json_t *object)
{
	const char *name;
	json_t *value;
	if (!object)
		return 0;
	if (!json_is_object(object) || json_object_size(object) > SCENARIO_VARIABLES)
		return scenario_error(s, "variables must be an object of at most %d members",
				      SCENARIO_VARIABLES);
	s->variables = calloc(json_object_size(object) + 1, sizeof(*s->variables));
	if (!s->variables)
		return -ENOMEM;
	json_object_foreach(object, name, value)
	{
		struct variable *v = &s->variables[s->variable_count++];
		v->name = name;
		int err = read_variable(s, v, value);
		if (err)
			return err;
	}
	return 0;
}

/* "expect": one status, or a list. Without it anything under 400 is right. */
static int read_expect(struct scenario *s, struct scenario_request *r, const char *where,
		       const json_t *expect)
{
	size_t count = json_is_array(expect) ? json_array_size(expect) : 1;
	for (int status = 0; !expect && status < 400; status++)
		r->expected[status] = true;
	for (size_t i = 0; expect && i < count; i++) {
		const json_t *item = json_is_array(expect) ? json_array_get(expect, i) : expect;
		json_int_t status = json_integer_value(item);
		if (!json_is_integer(item) || status < 200 || status >= SCENARIO_STATUS_MAX)
			return scenario_error(
				s, "%s: expect must be a status from 200 to 599, or a list of them", where);
		r->expected[status] = true;
	}
	return 0;
}

static bool is_token(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!phx_byte_is(PHX_TCHAR, (__u8)s.ptr[i]))
			return false;
	}
	return s.len > 0;
}

static int read_fields(struct scenario *s, struct buf *head, const char *where, json_t *fields,
		       const struct config_url *target, const char *body_type, bool synthetic)
{
	const char *name;
	json_t *value;
	bool has_host = false, has_type = false, has_agent = false;
	json_object_foreach(fields, name, value)
	{
		const char *text = json_string_value(value);
		if (!is_token(slice_str(name)) || !text || strpbrk(text, "\r\n"))
			return scenario_error(
				s, "%s: headers: \"%s\" is no field name with a string of one line", where,
				name);
		if (!strcasecmp(name, "content-length") || !strcasecmp(name, "transfer-encoding"))
			return scenario_error(s, "%s: headers: %s is set from the body, leave it out", where,
					      name);
		has_host |= !strcasecmp(name, "host");
		has_type |= !strcasecmp(name, "content-type");
		has_agent |= !strcasecmp(name, "user-agent");
		buf_printf(head, "%s: %s\r\n", name, text);
	}
	if (!has_host)
		buf_printf(head, strchr(target->host, ':') ? "Host: [%s]:%u\r\n" : "Host: %s:%u\r\n",
			   target->host, target->port);
	if (!has_agent)
		buf_append_str(head, "User-Agent: phoenix-traffic/" PHOENIX_VERSION "\r\n");
	if (body_type && !has_type)
		buf_printf(head, "Content-Type: %s\r\n", body_type);
	if (synthetic)
		buf_append_str(head, "X-Phoenix-Synthetic: 1\r\n");
	return 0;
}

static int read_request(struct scenario *s, size_t index, json_t *object, const struct config_url *target,
			bool synthetic)
{
	static const char *const keys[] = {"method", "path", "headers", "body", "weight", "expect", NULL};
	struct scenario_request *r = &s->requests[s->request_count++];
	struct buf head = {0};
	char where[32];
	snprintf(where, sizeof(where), "requests[%zu]", index);
	if (!json_is_object(object))
		return scenario_error(s, "%s must be an object", where);
	int err = check_keys(s, object, where, keys);
	if (err)
		return err;
	json_t *method = json_object_get(object, "method"), *fields = json_object_get(object, "headers");
	json_t *body = json_object_get(object, "body"), *weight = json_object_get(object, "weight");
	const char *path = json_string_value(json_object_get(object, "path"));
	const char *word = method ? json_string_value(method) : "GET";
	double share = weight ? json_number_value(weight) : 1;

	if (!word || !is_token(slice_str(word)))
		return scenario_error(s, "%s: method must be a string such as \"GET\"", where);
	if (!path || path[0] != '/' || !value_is_plain(path))
		return scenario_error(s, "%s: path must be a string that begins with \"/\", without spaces",
				      where);
	if (fields && !json_is_object(fields))
		return scenario_error(s, "%s: headers must be an object of strings", where);
	if ((weight && !json_is_number(weight)) || !(share > 0) || share > 1e9)
		return scenario_error(s, "%s: weight must be a number above 0", where);
	r->weight_end = (index ? r[-1].weight_end : 0) + share;
	r->is_head = strcmp(word, "HEAD") == 0;
	r->has_body = body != NULL;
	err = read_expect(s, r, where, json_object_get(object, "expect"));
	if (err)
		return err;

	const char *body_type = !body ? NULL : json_is_string(body) ? "text/plain" : "application/json";
	buf_printf(&head, "%s %s%s HTTP/1.1\r\n", word, target->base_path, path);
	err = read_fields(s, &head, where, fields, target, body_type, synthetic);
	if (!err)
		err = head.failed ? -ENOMEM : template_add(s, &r->head, buf_slice(&head), false);
	buf_fini(&head);
	if (err || !body)
		return err;
	char *text = json_is_string(body)
			     ? strdup(json_string_value(body))
			     : json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY);
	err = text ? template_add(s, &r->body, slice_str(text), !json_is_string(body)) : -ENOMEM;
	free(text);
	return err;
}

static int read_limits(struct scenario *s, json_t *object)
{
	static const char *const keys[] = {
#define X(name, key) key,
		SCENARIO_LIMITS(X)
#undef X
			NULL,
	};
	if (object && !json_is_object(object))
		return scenario_error(s, "thresholds must be an object of numbers");
	int err = object ? check_keys(s, object, "thresholds", keys) : 0;
	for (size_t i = 0; !err && i < SCENARIO_LIMIT_COUNT; i++) {
		json_t *value = json_object_get(object, scenario_limit_keys[i]);
		s->limits[i] = value ? json_number_value(value) : NAN;
		if (value && (!json_is_number(value) || s->limits[i] < 0))
			err = scenario_error(s, "thresholds: %s must be a number, 0 or more",
					     scenario_limit_keys[i]);
	}
	return err;
}

int scenario_read(struct scenario *s, const char *file, const struct config_url *target, bool synthetic)
{
	static const char *const keys[] = {"name", "requests", "variables", "thresholds", NULL};
	json_error_t error;
	memset(s, 0, sizeof(*s));
	s->file = file;
	s->document = json_load_file(file, JSON_REJECT_DUPLICATES, &error);
	if (!s->document && error.line > 0) {
		fprintf(stderr, "%s:%d:%d: error: %s\n", file, error.line, error.column, error.text);
		return -EINVAL;
	}
	if (!s->document)
		return scenario_error(s, "%s", error.text);
	if (!json_is_object(s->document))
		return scenario_error(s, "a scenario is an object: {\"requests\": [...]}");
	json_t *requests = json_object_get(s->document, "requests");
	json_t *name = json_object_get(s->document, "name");
	int err = check_keys(s, s->document, "scenario", keys);
	if (err)
		return err;
	if (name && !json_is_string(name))
		return scenario_error(s, "name must be a string");
	if (!json_is_array(requests) || !json_array_size(requests) ||
	    json_array_size(requests) > SCENARIO_REQUESTS)
		return scenario_error(s, "requests must be a list of 1 to %d requests", SCENARIO_REQUESTS);
	s->name = name ? json_string_value(name) : file;
	s->requests = calloc(json_array_size(requests), sizeof(*s->requests));
	if (!s->requests)
		return -ENOMEM;
	err = read_variables(s, json_object_get(s->document, "variables"));
	if (!err)
		err = read_limits(s, json_object_get(s->document, "thresholds"));
	for (size_t i = 0; !err && i < json_array_size(requests); i++)
		err = read_request(s, i, json_array_get(requests, i), target, synthetic);
	return err;
}

/* A variable has one value in the whole of request k, however often it is used there. */
static void fill(const struct scenario *s, const struct text_template *t, uint64_t seed, uint64_t k,
		 struct buf *out)
{
	uint64_t own = phx_mix64(seed ^ phx_mix64(k));
	for (size_t i = 0; i < t->count; i++) {
		const struct piece *piece = &t->pieces[i];
		const struct variable *v;
		uint64_t a = phx_mix64(own ^ 1), b = phx_mix64(own ^ 2), pick;
		switch (piece->kind) {
		case PIECE_TEXT:
			buf_append(out, piece->text, piece->len);
			break;
		case PIECE_SEQ:
			buf_printf(out, "%llu", (unsigned long long)k + 1);
			break;
		case PIECE_UUID: /* version 4 (RFC 9562 5.4) in form; reproducible from the seed */
			buf_printf(out, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
				   (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff),
				   (unsigned)(b >> 48 & 0x3fff) | 0x8000u,
				   (unsigned long long)(b & 0xffffffffffffu));
			break;
		case PIECE_VARIABLE:
			v = &s->variables[piece->variable];
			pick = phx_mix64(own ^ (piece->variable + 16)) % v->count;
			if (v->values)
				buf_append_str(out, v->values[pick]);
			else
				buf_printf(out, "%lld", (long long)(v->first + (json_int_t)pick));
			break;
		}
	}
}

const struct scenario_request *scenario_compose(const struct scenario *s, uint64_t seed, uint64_t k,
						struct buf *body, struct buf *out)
{
	double total = s->requests[s->request_count - 1].weight_end;
	double at = (double)(phx_mix64(~seed ^ phx_mix64(k)) >> 11) / (double)(UINT64_C(1) << 53) * total;
	size_t low = 0, high = s->request_count - 1;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (at < s->requests[middle].weight_end)
			high = middle;
		else
			low = middle + 1;
	}
	const struct scenario_request *r = &s->requests[low];
	buf_reset(body);
	buf_reset(out);
	fill(s, &r->body, seed, k, body);
	fill(s, &r->head, seed, k, out);
	if (r->has_body)
		buf_printf(out, "Content-Length: %zu\r\n", body->len);
	buf_append_str(out, "\r\n");
	buf_append_slice(out, buf_slice(body));
	out->failed |= body->failed;
	return r;
}
