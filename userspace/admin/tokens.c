/* SPDX-License-Identifier: Apache-2.0 */
/* tokens: see tokens.h. Secrets are never printed, and wiped before their memory is given back. */
#include "admin/tokens.h"

#include "base/hex.h"
#include "config_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX 65536

static const struct {
	const char *word, *help;
} roles[] = {
#define X(name, word, help) {word, help},
	ADMIN_ROLES(X)
#undef X
};

const char *role_word(enum role role)
{
	return roles[role].word;
}

const char *role_help(enum role role)
{
	return roles[role].help;
}

/* --- one line ------------------------------------------------------------------------------------------- */

/* "sha256:" and a whole digest? */
static bool take_digest(struct slice text, uint8_t digest[SHA256_BYTES])
{
	struct slice prefix = SLICE("sha256:");
	if (text.len != prefix.len + 2 * SHA256_BYTES || !slice_starts(text, prefix))
		return false;
	for (unsigned i = 0; i < SHA256_BYTES; i++) {
		const char *pair = text.ptr + prefix.len + (size_t)2 * i;
		int high = hex_digit(pair[0]), low = hex_digit(pair[1]);
		if (high < 0 || low < 0)
			return false;
		digest[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool is_name(struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!letter && c != '.' && c != '_' && c != '-')
			return false;
	}
	return name.len > 0 && name.len < TOKEN_NAME_BYTES;
}

/* What stands before the first colon; `rest` goes on behind it. False without a colon. */
static bool take_word(struct slice *rest, struct slice *word)
{
	const char *colon = rest->len ? memchr(rest->ptr, ':', rest->len) : NULL;
	if (!colon)
		return false;
	*word = slice_of(rest->ptr, (size_t)(colon - rest->ptr));
	*rest = slice_of(colon + 1, rest->len - word->len - 1);
	return true;
}

/* The role before the secret, if there is one. False: there is a word, and it is no role. */
static bool take_role(struct slice *rest, enum role *role, const char **meant)
{
	static const char *const words[] = {"viewer", "operator", "admin", NULL};
	struct slice after = *rest, word;
	*role = ROLE_ADMIN;
	if (!take_word(&after, &word) || slice_equal(word, SLICE("sha256")))
		return true;
	for (enum role r = ROLE_VIEWER; r < ROLE_COUNT; r++) {
		if (slice_equal(word, slice_str(role_word(r)))) {
			*role = r;
			*rest = after;
			return true;
		}
	}
	*meant = report_suggest(word, words);
	return false;
}

static bool take_secret(struct slice secret, struct token *token, struct buf *why)
{
	if (take_digest(secret, token->digest))
		return true;
	if (slice_starts(secret, SLICE("sha256:"))) {
		buf_append_str(why, "\"sha256:\" needs 64 hexadecimal digits behind it: printf %s TOKEN | "
				    "sha256sum");
		return false;
	}
	if (secret.len < TOKEN_BYTES_MIN || secret.len > TOKEN_BYTES_MAX) {
		buf_printf(why, "the token has %zu bytes; it needs %u to %u: openssl rand -hex 32",
			   secret.len, TOKEN_BYTES_MIN, TOKEN_BYTES_MAX);
		return false;
	}
	for (size_t i = 0; i < secret.len; i++) {
		if (secret.ptr[i] <= ' ' || secret.ptr[i] > '~') {
			buf_append_str(why, "the token has a space or a byte that is not printable ASCII: no "
					    "client could send it");
			return false;
		}
	}
	sha256(secret.ptr, secret.len, token->digest);
	return true;
}

/* Appends what is wrong with the line, if anything. */
static void read_line(struct tokens *tokens, struct slice line, struct buf *why)
{
	struct token token = {.role = ROLE_ADMIN};
	struct slice rest = line, name = {0};
	const char *meant = NULL;
	if (!take_digest(line, token.digest) && take_word(&rest, &name)) {
		if (!is_name(name)) {
			buf_printf(why,
				   "the name before the first \":\" needs 1 to %d letters, digits, \".\", "
				   "\"_\" or \"-\"",
				   TOKEN_NAME_BYTES - 1);
			return;
		}
		if (!take_role(&rest, &token.role, &meant)) {
			buf_printf(why, "what stands between name and token must be viewer, operator or "
					"admin");
			if (meant)
				buf_printf(why, "; did you mean \"%s\"?", meant);
			return;
		}
		memcpy(token.name, name.ptr, name.len);
	}
	if (!take_secret(rest, &token, why))
		return;
	for (size_t i = 0; i < tokens->count; i++) {
		if (memcmp(tokens->items[i].digest, token.digest, sizeof(token.digest)) == 0 ||
		    (token.name[0] && strcmp(tokens->items[i].name, token.name) == 0)) {
			buf_append_str(why, "this name or this token is in the file already");
			return;
		}
	}
	if (tokens->count == TOKENS_MAX)
		buf_printf(why, "more than %d tokens", TOKENS_MAX);
	else
		tokens->items[tokens->count++] = token;
}

/* --- the file ------------------------------------------------------------------------------------------- */

static int check_owner(FILE *file, const char *path, struct buf *why)
{
	struct stat status;
	if (fstat(fileno(file), &status))
		return -errno;
	unsigned mode = (unsigned)status.st_mode & 0777;
	if (mode & 077) {
		buf_printf(why,
			   "admin.token_file %s is open to others than its owner (mode %03o): chmod 600 %s",
			   path, mode, path);
		return -EACCES;
	}
	if (status.st_uid != 0 && status.st_uid != geteuid()) {
		buf_printf(why,
			   "admin.token_file %s belongs to uid %u, who could let anybody in; it must belong "
			   "to root or to the daemon's user (uid %u)",
			   path, (unsigned)status.st_uid, (unsigned)geteuid());
		return -EACCES;
	}
	return 0;
}

static int read_lines(struct tokens *tokens, struct slice text, const char *path, struct buf *why)
{
	struct slice line;
	bool wrong = false;
	for (unsigned number = 1; slice_split(&text, '\n', &line); number++) {
		while (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		struct buf about = {0};
		read_line(tokens, line, &about);
		if (about.len)
			buf_printf(why, "%s%s:%u: %s", wrong ? "\n" : "", path, number, buf_cstr(&about));
		wrong |= about.len > 0;
		buf_fini(&about);
	}
	if (!wrong && tokens->count == 0) {
		buf_printf(why, "admin.token_file %s has no token: write one a line, as \"NAME:ROLE:TOKEN\"",
			   path);
		return -EINVAL;
	}
	return wrong ? -EINVAL : 0;
}

int tokens_load(const char *path, struct tokens *out, struct buf *why)
{
	struct tokens tokens = {.items = calloc(TOKENS_MAX, sizeof(*tokens.items))};
	char *text = calloc(1, FILE_BYTES_MAX);
	FILE *file = text && tokens.items ? fopen(path, "re") : NULL;
	int err = file ? 0 : text && tokens.items ? -errno : -ENOMEM;
	if (err)
		buf_printf(why, "admin.token_file %s: %s", path, strerror(-err));
	else
		err = check_owner(file, path, why);
	if (!err) {
		setvbuf(file, NULL, _IONBF, 0); /* no copy of it stays in a buffer of stdio's */
		size_t len = fread(text, 1, FILE_BYTES_MAX, file);
		if (len == FILE_BYTES_MAX) {
			buf_printf(why, "admin.token_file %s has more than %u bytes", path,
				   FILE_BYTES_MAX - 1);
			err = -EFBIG;
		} else {
			err = read_lines(&tokens, slice_of(text, len), path, why);
		}
	}
	if (file)
		fclose(file);
	if (text)
		explicit_bzero(text, FILE_BYTES_MAX);
	free(text);
	if (err)
		tokens_fini(&tokens);
	else
		*out = tokens;
	return err;
}

void tokens_fini(struct tokens *tokens)
{
	if (tokens->items)
		explicit_bzero(tokens->items, TOKENS_MAX * sizeof(*tokens->items));
	free(tokens->items);
	*tokens = (struct tokens){0};
}

/* --- asking --------------------------------------------------------------------------------------------- */

const struct token *tokens_find(const struct tokens *tokens, struct slice secret)
{
	uint8_t digest[SHA256_BYTES];
	const struct token *found = NULL;
	sha256(secret.ptr, secret.len, digest);
	for (size_t i = 0; i < tokens->count; i++) {
		unsigned differs = 0;
		for (unsigned b = 0; b < SHA256_BYTES; b++)
			differs |= (unsigned)(digest[b] ^ tokens->items[i].digest[b]);
		found = differs ? found : &tokens->items[i];
	}
	explicit_bzero(digest, sizeof(digest));
	return found;
}

bool tokens_equal(const struct tokens *a, const struct tokens *b)
{
	if (a->count != b->count || !a->items != !b->items)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct token *x = &a->items[i], *y = &b->items[i];
		if (strcmp(x->name, y->name) != 0 || x->role != y->role ||
		    memcmp(x->digest, y->digest, sizeof(x->digest)) != 0)
			return false;
	}
	return true;
}
