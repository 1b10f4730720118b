/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis: the insides of the Redis store, shared by its files. Only this folder sees hiredis.
 *
 *   redis.c         the store: writes of the control thread, what is handed to it
 *   redis_thread.c  the thread that keeps the connections, follows changes and writes back what was lost
 *   redis_link.c    one connection: URL, sentinels, log-in, calls with a deadline
 *   redis_record.c  records as keys and hash fields, and back
 *   redis_decisions.c  the ledger of decisions, shared
 *   redis_script.c  the Lua scripts
 */
#ifndef PHOENIX_STORE_REDIS_H
#define PHOENIX_STORE_REDIS_H

#include "base/list.h"
#include "store/backend.h"

#include <hiredis/hiredis.h>
#include <pthread.h>

#define REDIS_BATCH	64	    /* records that one script reads or writes back */
#define REDIS_TOMB_MS	86400000    /* a deleted record is remembered as such for a day */
#define REDIS_REPLY_MAX (64u << 20) /* bytes of an answer */
#define REDIS_JOBS_MAX	1024
#define REDIS_SENTENCE	256

/* --- redis_link.c ----------------------------------------------------------------------------------------
 */

struct redis_target {
	const struct state_config *config; /* borrowed */
	struct redis_url url;
	char *password;	  /* of url or password_file; NULL = none */
	const char *name; /* CLIENT SETNAME */
};

int redis_target_init(struct redis_target *target, const struct state_config *config, const char *name,
		      struct buf *why);
void redis_target_fini(struct redis_target *target);
/* Connects, logs in, selects the database. With `writable` the server must be a master. 0 or -errno with a
 * sentence that never holds a password. */
int redis_connect(const struct redis_target *target, bool writable, uint64_t deadline_ns, redisContext **out,
		  struct buf *why);
/* "10.0.0.1:6379", "/run/redis.sock": where the connection goes. */
void redis_address(const redisContext *link, struct buf *out);

/* Queues a command. -ENOMEM. */
int redis_send(redisContext *link, int argc, const char **argv, const size_t *lens);
/* The next answer (freeReplyObject), at the latest at the deadline. -ETIMEDOUT, -EPIPE, -EPROTO, -EMSGSIZE:
 * the connection is of no use any more. An answer that is an error is an answer. */
int redis_receive(redisContext *link, uint64_t deadline_ns, redisReply **out);
/* Both. */
int redis_call(redisContext *link, uint64_t deadline_ns, int argc, const char **argv, const size_t *lens,
	       redisReply **out);
/* The sentence about an answer that is an error, or about -errno. */
void redis_complain(const redisContext *link, int err, const redisReply *reply, struct buf *why);

/* --- redis_script.c --------------------------------------------------------------------------------------
 */

/* X(NAME) */
#define REDIS_SCRIPTS(X)                                                                                     \
	X(READ)	   /* records as they are, but none that is too large */                                     \
	X(WRITE)   /* compare and set, all or none */                                                        \
	X(RESTORE) /* what is older there, or missing, is replaced */                                        \
	X(DECIDE)  /* appends decisions */                                                                   \
	X(DECIDED) /* decisions after a place in the stream */

enum redis_script {
#define X(name) REDIS_##name,
	REDIS_SCRIPTS(X)
#undef X
		REDIS_SCRIPT_COUNT,
};

/* The words of one command, owned as far as they were made here. */
struct redis_words {
	const char **words;
	size_t *lens;
	char **owned; /* as many places as words; NULL where it is borrowed */
	int count, max;
	bool failed;
};
void redis_words_add(struct redis_words *words, const char *text, size_t len); /* copied */
void redis_words_str(struct redis_words *words, const char *text);
void redis_words_number(struct redis_words *words, uint64_t number);
void redis_words_fini(struct redis_words *words);
/* Begins a call of the script with `keys` keys: add the keys, then the arguments, then run it. */
void redis_script_begin(struct redis_words *words, enum redis_script script, size_t keys);
/* By its digest; sends the text when the server does not know it. As redis_call(). */
int redis_script_run(redisContext *link, enum redis_script script, struct redis_words *words,
		     uint64_t deadline_ns, redisReply **out);

/* --- redis_record.c --------------------------------------------------------------------------------------
 */

/* "phoenix:weight:users" */
void redis_key(const char *prefix, enum store_section section, const char *id, struct buf *out);
/* False when the key (without prefix) is not a record's. id[STORE_ID_MAX + 1]; *bad_id when only the id is
 * wrong. */
bool redis_key_parse(struct slice key, enum store_section *section, char *id, bool *bad_id);
/* Adds field, text, field, text, … of the record; returns how many fields. */
size_t redis_fields_add(struct redis_words *words, const json_t *record);

/* A record as it was read. */
struct redis_item {
	enum store_section section;
	char id[STORE_ID_MAX + 1];
	enum { ITEM_NONE, ITEM_RECORD, ITEM_DELETED, ITEM_BAD } kind;
	json_t *value;			/* ITEM_RECORD */
	uint64_t epoch;			/* 0: nobody who counts wrote it */
	uint64_t digest;		/* of the text; equal text has an equal one */
	char complaint[REDIS_SENTENCE]; /* ITEM_BAD: the rest of a sentence about the key */
};
void redis_item_fini(struct redis_item *item);
/* From one element of what the READ script answers; the item's section and id are set. */
void redis_item_read(const redisReply *reply, struct redis_item *item);
/* From HGETALL's flat list. */
void redis_item_from_hash(redisReply *const *flat, size_t count, struct redis_item *item);

/* --- redis.c, redis_thread.c -----------------------------------------------------------------------------
 */

struct redis_store;

/* Something to be done on the store's thread, embedded in its owner, who keeps it until `done`. */
struct redis_job {
	struct list link;
	/* On the store's thread, with a connection that works: within state.timeout_ms, 0 or -errno; -EPIPE,
	 * -ETIMEDOUT and -EPROTO say that the connection is broken. */
	int (*run)(struct redis_job *job, redisContext *link, uint64_t deadline_ns);
	/* On the control thread, from store_changes(); err: what run() said, or -ENOTCONN when there was no
	 * connection. */
	void (*done)(struct redis_job *job, int err);
	int err;
};
/* NULL when the store is no Redis. */
struct redis_store *redis_of(struct store *store);
/* Always ends in `done`. */
void redis_submit(struct redis_store *redis, struct redis_job *job);
const char *redis_prefix(const struct redis_store *redis);

#define REDIS_DECISIONS_OWN	 256 /* decisions of ours that are kept until Redis is sure to have them */
#define REDIS_DECISION_ID_MAX	 160
#define REDIS_DECISION_BYTES_MAX 65536

struct redis_own {
	char id[REDIS_DECISION_ID_MAX + 1];
	char *text;
	bool there; /* in the stream, as far as this connection has seen */
};
struct redis_decisions {
	json_t *ids; /* the control thread's: what is in the file already */
	/* Under the store's lock: ours, oldest first. */
	struct redis_own own[REDIS_DECISIONS_OWN];
	size_t own_count;
	/* The thread's own. */
	char position[48];
	bool look;	   /* there may be entries after it */
	uint64_t again_ns; /* Redis refused; not before */
};

struct redis_store {
	struct store store;
	struct state_config config; /* strings borrowed from the configuration's copy */
	struct redis_target target;
	char name[112];
	struct store *local; /* a file: ledgers, and what was known last */
	json_t *tree;	     /* all records as a tree, for `local` */
	bool tree_dirty;
	uint64_t tree_saved_ns;

	pthread_t thread;
	bool running;
	int wake_fd;	/* to the thread */
	int changes_fd; /* to the control thread */

	pthread_mutex_t lock; /* over all that follows */
	bool stop;
	bool broken;	      /* the thread shall connect anew */
	redisContext *writer; /* the control thread's; NULL while it is used, or there is none */
	uint64_t generation;  /* of the connections */
	int64_t clock_ms;     /* Redis' clock less ours */
	struct store_changes changes;
	struct store_records restore; /* to be written back */
	struct list jobs, jobs_done;
	size_t job_count;
	struct store_health health;

	/* The thread's own. */
	redisContext *reader, *listener;
	struct redis_decisions decisions;
	json_t *seen; /* digest of what was read last, by key */
	uint32_t backoff_ms;
	uint64_t next_read_ns;
};

int redis_thread_start(struct redis_store *redis);
void redis_thread_stop(struct redis_store *redis);
void redis_wake(int fd);
uint64_t redis_deadline(const struct redis_store *redis); /* of a call that begins now */
/* The thread's: hands it to the control thread. Takes what the change owns. */
void redis_tell(struct redis_store *redis, struct store_change change);
/* Under the lock. */
void redis_note_down(struct redis_store *redis, const char *sentence);
/*
 * All keys that are records', read with a deadline for each command; `each` gets every item (and does not
 * keep it). 0 or -errno with a sentence.
 */
int redis_read_all(const struct redis_store *redis, redisContext *link,
		   int (*each)(void *context, const struct redis_item *item), void *context, struct buf *why);

/* --- redis_decisions.c -----------------------------------------------------------------------------------
 */

/* The control thread's: learns which decisions the file has. 0 or -errno with `why`. */
int redis_decisions_known(struct redis_store *redis, struct buf *why);
/* A decision of ours, in the file by now: the thread tells the others. Too many that wait are counted. */
void redis_decisions_share(struct redis_store *redis, const json_t *record);
/* Takes out of the changes what is known already; the rest goes into the file. */
void redis_decisions_take(struct redis_store *redis, struct store_changes *changes);
/* The thread's: there is a new connection; a turn with it (0, or -errno with `why` when it broke). */
void redis_decisions_connected(struct redis_store *redis);
int redis_decisions_turn(struct redis_store *redis, struct buf *why);
void redis_decisions_fini(struct redis_store *redis);
/* A new reference; NULL with the rest of a sentence when the text is no decision. Pure. */
json_t *redis_decision_parse(struct slice text, struct buf *why);

#endif
