/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokens: the file behind admin.token_file, and whose token one is.
 *
 * A line is NAME:ROLE:SECRET, with the roles viewer, operator and admin; "#" begins a comment. SECRET is the
 * token itself, or "sha256:" and the 64 hexadecimal digits of its SHA-256, so that the file gives nothing
 * away: printf %s TOKEN | sha256sum. NAME:SECRET and a bare SECRET are admins. In memory there are only
 * hashes, and they are compared in constant time.
 */
#ifndef PHOENIX_ADMIN_TOKENS_H
#define PHOENIX_ADMIN_TOKENS_H

#include "base/buf.h"
#include "base/sha256.h"

#include <stddef.h>

#define TOKENS_MAX	 64
#define TOKEN_BYTES_MIN	 8
#define TOKEN_BYTES_MAX	 512
#define TOKEN_NAME_BYTES 64

/* What somebody may do. Each may do what those before may; what an operation needs is in api.c's table. */
#define ADMIN_ROLES(X)                                                                                       \
	X(NONE, "none", "nothing")                                                                           \
	X(VIEWER, "viewer", "read everything")                                                               \
	X(OPERATOR, "operator", "also move weights, pause, promote, roll back, ignore, reload")              \
	X(ADMIN, "admin", "also make and delete routes, and run migrations, whose specs are code")

enum role {
#define X(name, word, help) ROLE_##name,
	ADMIN_ROLES(X)
#undef X
		ROLE_COUNT,
};
const char *role_word(enum role role);
const char *role_help(enum role role);

struct token {
	char name[TOKEN_NAME_BYTES]; /* "" for a bare one */
	enum role role;
	uint8_t digest[SHA256_BYTES];
};

struct tokens {
	struct token *items; /* NULL: no token is asked for */
	size_t count;
};

/*
 * Reads a token file. Every error is a line of `why`, without a byte of a secret. -EACCES when others than
 * its owner may read it, or when its owner is neither root nor this process's user; -EINVAL, or -errno.
 * `out` is untouched then.
 */
int tokens_load(const char *path, struct tokens *out, struct buf *why);
void tokens_fini(struct tokens *tokens);
/* The token that this is, or NULL. Takes as long whichever it is, and whether it is one. */
const struct token *tokens_find(const struct tokens *tokens, struct slice secret);
/* Do both accept the same secrets for the same names and roles? */
bool tokens_equal(const struct tokens *a, const struct tokens *b);

#endif
