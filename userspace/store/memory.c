/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory: a store that forgets everything when it is closed: for tests and trials.
 *
 * Keeps deep copies, as a file would: what the caller changes afterwards is not stored.
 */
#include "store/backend.h"

#include <errno.h>
#include <stdlib.h>

#define RECORDS_MAX 10000 /* of each ledger */

struct memory_store {
	struct store store;
	json_t *tree;
	uint64_t epoch;
	json_t *ledgers; /* name -> array */
};

static struct memory_store *memory_of(struct store *store)
{
	return (struct memory_store *)store;
}

static int no_memory(struct buf *why)
{
	buf_append_str(why, "out of memory");
	return -ENOMEM;
}

static int memory_load(struct store *store, struct store_records *out, uint64_t *epoch, struct buf *why)
{
	struct memory_store *memory = memory_of(store);
	/* A tree is never changed, but what was loaded may be: the records are copies. */
	json_t *copy = json_deep_copy(memory->tree);
	int err = copy ? tree_load(copy, out, why) : no_memory(why);
	json_decref(copy);
	if (!err)
		*epoch = memory->epoch;
	return err;
}

static int memory_write(struct store *store, struct store_write *writes, size_t count, uint64_t fence,
			uint64_t *epoch, struct buf *why)
{
	struct memory_store *memory = memory_of(store);
	json_t *next;
	int err = tree_write(memory->tree, writes, count, fence, memory->epoch + 1, &next, why);
	if (err)
		return err;
	json_decref(memory->tree);
	memory->tree = next;
	*epoch = ++memory->epoch;
	return 0;
}

static int memory_append(struct store *store, const char *name, const json_t *record, struct buf *why)
{
	struct memory_store *memory = memory_of(store);
	json_t *ledger = json_object_get(memory->ledgers, name);
	if (!ledger) {
		if (json_object_size(memory->ledgers) >= STORE_LEDGERS_MAX) {
			buf_printf(why, "there are %d ledgers already", STORE_LEDGERS_MAX);
			return -ENOSPC;
		}
		ledger = json_array();
		if (json_object_set_new(memory->ledgers, name, ledger))
			return no_memory(why);
	}
	if (json_array_append_new(ledger, json_deep_copy(record)))
		return no_memory(why);
	if (json_array_size(ledger) > RECORDS_MAX)
		json_array_remove(ledger, 0);
	return 0;
}

static int memory_read_tail(struct store *store, const char *name, size_t max, json_t **records,
			    size_t *unreadable, struct buf *why)
{
	const json_t *ledger = json_object_get(memory_of(store)->ledgers, name);
	size_t count = json_array_size(ledger);
	json_t *tail = json_array();
	for (size_t i = count > max ? count - max : 0; tail && i < count; i++) {
		if (json_array_append_new(tail, json_deep_copy(json_array_get(ledger, i)))) {
			json_decref(tail);
			tail = NULL;
		}
	}
	if (!tail)
		return no_memory(why);
	*records = tail;
	*unreadable = 0;
	return 0;
}

static void memory_close(struct store *store)
{
	struct memory_store *memory = memory_of(store);
	json_decref(memory->tree);
	json_decref(memory->ledgers);
	free(memory);
}

static const struct store_ops memory_ops = {
	.load = memory_load,
	.write = memory_write,
	.append = memory_append,
	.read_tail = memory_read_tail,
	.close = memory_close,
};

int store_memory_open(struct store **out, struct buf *why)
{
	struct memory_store *memory = calloc(1, sizeof(*memory));
	if (!memory)
		return no_memory(why);
	memory->store.ops = &memory_ops;
	memory->tree = tree_create();
	memory->ledgers = json_object();
	if (!memory->tree || !memory->ledgers) {
		memory_close(&memory->store);
		return no_memory(why);
	}
	*out = &memory->store;
	return 0;
}
