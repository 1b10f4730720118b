/* SPDX-License-Identifier: Apache-2.0 */
/* file: the insides of the file store, shared by file.c (state, lock) and ledger.c. */
#ifndef PHOENIX_STORE_FILE_H
#define PHOENIX_STORE_FILE_H

#include "store/backend.h"

#include <limits.h>

#define FILE_PATH_MAX	 4096
#define LEDGER_NAME_SIZE 33

struct ledger {
	char name[LEDGER_NAME_SIZE]; /* "" when unused */
	int fd;			     /* of the growing file; -1 until the first append */
	size_t bytes;
};

struct file_store {
	struct store store;
	char *path;	  /* as given, for messages */
	const char *name; /* its last part; within path */
	int directory;
	int lock;
	json_t *tree; /* as it is on the disk; NULL before it was loaded */
	struct ledger ledgers[STORE_LEDGERS_MAX];
};

int file_complain(struct buf *why, const char *what, const char *path, const char *suffix, int err);
int file_write_all(int fd, struct slice data);
/* Appends the rest of the file to `out`; -EFBIG when it is longer than `max`. */
int file_read_all(int fd, size_t max, struct buf *out);

void ledger_init(struct ledger *ledger, const char *name);
void ledger_fini(struct ledger *ledger);
int ledger_append(struct file_store *file, struct ledger *ledger, const json_t *record, struct buf *why);
int ledger_read_tail(struct file_store *file, const char *name, size_t max, json_t **records,
		     size_t *unreadable, struct buf *why);

#endif
