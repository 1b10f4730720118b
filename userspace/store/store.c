/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: the common half of all stores: arguments, and the envelope around a state. See store.h.
 *
 * A state is believed only when its checksum says so. Half a state (a full disk, a copy that was cut, an
 * editor) could set weights nobody chose; so it is refused loudly and a person decides.
 */
#include "store/backend.h"

#include "base/siphash.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT 2

static int append_dump(const char *data, size_t len, void *buf)
{
	buf_append(buf, data, len);
	return ((struct buf *)buf)->failed ? -1 : 0;
}

/* The normal form of a value: equal values have equal bytes. */
static int dump(const json_t *value, struct buf *out)
{
	int err = json_dump_callback(value, append_dump, out, JSON_COMPACT | JSON_SORT_KEYS);
	return err || out->failed ? -ENOMEM : 0;
}

/* Against accidents, not against people: the key is no secret. The epoch is covered as well. */
static void checksum(struct slice text, uint64_t epoch, char out[17])
{
	uint8_t key[SIPHASH_KEY_SIZE] = {0};
	uint64_t wire = htole64(epoch);
	memcpy(key, &wire, sizeof(wire));
	snprintf(out, 17, "%016" PRIx64, siphash24(key, text.ptr, text.len));
}

int state_encode(const json_t *state, uint64_t epoch, struct buf *out)
{
	struct buf body = {0};
	char sum[17];
	int err = dump(state, &body);
	if (!err) {
		checksum(buf_slice(&body), epoch, sum);
		buf_printf(out, "{\"format\":%d,\"epoch\":%" PRIu64 ",\"checksum\":\"%s\",\"state\":\n",
			   FORMAT, epoch, sum);
		buf_append_slice(out, buf_slice(&body));
		buf_append_str(out, "\n}\n");
		err = out->failed ? -ENOMEM : 0;
	}
	buf_fini(&body);
	return err;
}

/* The envelope's members, borrowed; a complaint or NULL. */
static int open_envelope(const json_t *file, json_t **state, uint64_t *epoch, const char **sum,
			 struct buf *why)
{
	const json_t *format = json_object_get(file, "format");
	const json_t *number = json_object_get(file, "epoch");
	if (!json_is_integer(format)) {
		buf_append_str(why, "is no Phoenix state (it has no \"format\")");
		return -EBADMSG;
	}
	if (json_integer_value(format) > FORMAT) {
		buf_printf(why,
			   "has format %lld, this program knows formats up to %d: it was written by a newer "
			   "version",
			   (long long)json_integer_value(format), FORMAT);
		return -EPROTO;
	}
	*state = json_object_get(file, "state");
	*sum = json_string_value(json_object_get(file, "checksum"));
	if (json_integer_value(format) < 1 || !json_is_object(*state) || !*sum || !json_is_integer(number) ||
	    json_integer_value(number) < 0) {
		buf_append_str(
			why,
			"is damaged: \"format\", \"epoch\", \"checksum\" or \"state\" is missing or wrong");
		return -EBADMSG;
	}
	*epoch = (uint64_t)json_integer_value(number);
	return 0;
}

int state_decode(struct slice text, json_t **state, uint64_t *epoch, struct buf *why)
{
	json_error_t error;
	struct buf body = {0};
	json_t *inner = NULL;
	const char *sum = NULL;
	uint64_t number = 0;
	char computed[17];
	json_t *file = json_loadb(text.len ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
				  &error);
	int err = -EBADMSG;
	if (!file) {
		if (json_error_code(&error) == json_error_out_of_memory)
			err = -ENOMEM;
		else
			buf_printf(why, "is cut or damaged: line %d, column %d: %s", error.line, error.column,
				   error.text);
		goto done;
	}
	err = open_envelope(file, &inner, &number, &sum, why);
	if (!err)
		err = dump(inner, &body);
	if (err)
		goto done;
	checksum(buf_slice(&body), number, computed);
	if (strcmp(sum, computed) != 0) {
		buf_printf(why, "is damaged or was edited: its checksum is %s, its content has %s", sum,
			   computed);
		err = -EBADMSG;
		goto done;
	}
	json_t *tree = json_integer_value(json_object_get(file, "format")) == 1 ? tree_from_format_1(inner)
										: json_incref(inner);
	err = tree ? 0 : -ENOMEM;
	if (err)
		goto done;
	*state = tree;
	*epoch = number ? number : 1;
done:
	json_decref(file);
	buf_fini(&body);
	return err;
}

int store_open(const struct state_config *config, const char *instance, struct store **out, struct buf *why)
{
	switch (config->kind) {
	case STORE_FILE:
		return store_file_open(config->path, out, why);
	case STORE_MEMORY:
		return store_memory_open(out, why);
	case STORE_REDIS:
		break;
	}
	return store_redis_open(config, instance, out, why);
}

void store_close(struct store *store)
{
	if (store)
		store->ops->close(store);
}

void store_yield(struct store *store)
{
	if (!store->yielded && store->ops->yield)
		store->ops->yield(store);
	store->yielded = true;
}

int store_regain(struct store *store, struct buf *why)
{
	if (!store->yielded)
		return 0;
	int err = store->ops->regain ? store->ops->regain(store, why) : 0;
	if (!err)
		store->yielded = false;
	return err;
}

/* Another process has it. */
static int refuse_yielded(struct buf *why)
{
	buf_append_str(why, "not stored: another daemon is taking over the state");
	return -EROFS;
}

int store_load(struct store *store, struct store_records *out, struct buf *why)
{
	uint64_t epoch;
	int err = store->ops->load(store, out, &epoch, why);
	if (err)
		return err;
	store->loaded = true;
	store->epoch = epoch;
	return 0;
}

/* Ids become parts of keys that people read. */
static bool is_id(const char *id)
{
	size_t len = strlen(id);
	return len >= 1 && len <= STORE_ID_MAX &&
	       strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

int store_write(struct store *store, struct store_write *writes, size_t count, uint64_t fence,
		struct buf *why)
{
	if (store->yielded)
		return refuse_yielded(why);
	if (!store->loaded) {
		buf_append_str(why, "the state is not saved because the stored one was not loaded");
		return -EPERM;
	}
	if (count > STORE_WRITES_MAX) {
		buf_printf(why, "%zu records at once are more than %d", count, STORE_WRITES_MAX);
		return -E2BIG;
	}
	for (size_t i = 0; i < count; i++) {
		const struct store_write *write = &writes[i];
		if ((write->value && !json_is_object(write->value)) || !is_id(write->id) ||
		    write->section >= STORE_SECTION_COUNT) {
			buf_append_str(why, "a record is an object with a section and an id of letters, "
					    "digits, \".\", \"_\" and \"-\"");
			return -EINVAL;
		}
		writes[i].stale = false;
		writes[i].there = NULL;
	}
	return store->ops->write(store, writes, count, fence, &store->epoch, why);
}

uint64_t store_epoch(const struct store *store)
{
	return store->epoch;
}

/* --- several gateways ------------------------------------------------------------------------------------
 */

int store_changes_fd(const struct store *store)
{
	return store->ops->changes_fd ? store->ops->changes_fd(store) : -1;
}

void store_changes(struct store *store, struct store_changes *out)
{
	*out = (struct store_changes){0};
	if (store->ops->changes)
		store->ops->changes(store, out);
}

int store_changes_add(struct store_changes *changes, struct store_change change)
{
	if (changes->count == changes->max) {
		size_t max = changes->max ? 2 * changes->max : 64;
		struct store_change *items = realloc(changes->items, max * sizeof(*items));
		if (!items) {
			json_decref(change.value);
			free(change.text);
			return -ENOMEM;
		}
		changes->items = items;
		changes->max = max;
	}
	changes->items[changes->count++] = change;
	return 0;
}

void store_changes_fini(struct store_changes *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		json_decref(changes->items[i].value);
		free(changes->items[i].text);
	}
	free(changes->items);
	*changes = (struct store_changes){0};
}

void store_restore(struct store *store, enum store_section section, const char *id, const json_t *value,
		   uint64_t epoch)
{
	if (store->ops->restore && !store->yielded)
		store->ops->restore(store, section, id, value, epoch);
}

void store_tick(struct store *store)
{
	if (store->ops->tick && !store->yielded)
		store->ops->tick(store);
}

void store_place(const struct store *store, enum store_section section, const char *id, struct buf *out)
{
	if (store->ops->place)
		store->ops->place(store, section, id, out);
	else
		buf_printf(out, "%s/%s", store_section_word(section), id);
}

void store_health(struct store *store, struct store_health *out)
{
	*out = (struct store_health){.reachable = true};
	if (store->ops->health)
		store->ops->health(store, out);
}

/* --- ledgers ---------------------------------------------------------------------------------------------
 */

/* A ledger's name becomes part of a file's name. */
static bool is_ledger_name(const char *name)
{
	size_t len = strlen(name);
	return len >= 1 && len <= 32 && strspn(name, "abcdefghijklmnopqrstuvwxyz_-") == len;
}

int store_append(struct store *store, const char *name, const json_t *record, struct buf *why)
{
	if (!is_ledger_name(name) || !json_is_object(record)) {
		buf_append_str(why, "a ledger has a name of letters and its records are objects");
		return -EINVAL;
	}
	if (store->yielded)
		return refuse_yielded(why);
	return store->ops->append(store, name, record, why);
}

int store_read_tail(struct store *store, const char *name, size_t max, json_t **records, size_t *unreadable,
		    struct buf *why)
{
	size_t ignored;
	if (!is_ledger_name(name)) {
		buf_append_str(why, "a ledger has a name of letters");
		return -EINVAL;
	}
	return store->ops->read_tail(store, name, max, records, unreadable ? unreadable : &ignored, why);
}
