/* SPDX-License-Identifier: Apache-2.0 */
/* auth: see auth.h. Secrets are never logged, and wiped before their memory is given back. */
#include "admin/auth.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define TOKEN_FILE_BYTES_MAX 65536

static void host_add(struct auth *auth, const char *host)
{
	if (!host || !*host)
		return;
	char **hosts = realloc(auth->hosts, (auth->host_count + 1) * sizeof(*hosts));
	char *copy = hosts ? strdup(host) : NULL;
	if (hosts)
		auth->hosts = hosts;
	if (!copy)
		return;
	for (char *c = copy; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
	auth->hosts[auth->host_count++] = copy;
}

/* "name:token" or a bare token, a line each; "#" begins a comment. */
static int token_add(struct auth *auth, struct slice line, unsigned number, const char *path, struct buf *why)
{
	line = slice_trim(line);
	while (line.len && line.ptr[line.len - 1] == '\r')
		line.len--;
	if (line.len == 0 || line.ptr[0] == '#')
		return 0;
	struct slice name = {0}, secret = line;
	const char *colon = memchr(line.ptr, ':', line.len);
	if (colon) {
		name = slice_of(line.ptr, (size_t)(colon - line.ptr));
		secret = slice_of(colon + 1, line.len - name.len - 1);
	}
	if (secret.len < AUTH_TOKEN_BYTES_MIN || secret.len > AUTH_TOKEN_BYTES_MAX) {
		buf_printf(why, "%s:%u: the token has %zu bytes; it needs %u to %u", path, number, secret.len,
			   AUTH_TOKEN_BYTES_MIN, AUTH_TOKEN_BYTES_MAX);
		return -EINVAL;
	}
	if (auth->token_count == AUTH_TOKENS_MAX) {
		buf_printf(why, "%s:%u: more than %u tokens", path, number, AUTH_TOKENS_MAX);
		return -EINVAL;
	}
	struct auth_token *token = &auth->tokens[auth->token_count++];
	if (name.len)
		snprintf(token->name, sizeof(token->name), "token %.*s", SLICE_ARG(name));
	else
		snprintf(token->name, sizeof(token->name), "token");
	memcpy(token->secret, secret.ptr, secret.len);
	token->len = secret.len;
	return 0;
}

static int tokens_read(struct auth *auth, const char *path, struct buf *why)
{
	char *text = calloc(1, TOKEN_FILE_BYTES_MAX);
	auth->tokens = calloc(AUTH_TOKENS_MAX, sizeof(*auth->tokens));
	FILE *file = text && auth->tokens ? fopen(path, "re") : NULL;
	int err = file ? 0 : text && auth->tokens ? -errno : -ENOMEM;
	if (err)
		buf_printf(why, "admin.token_file %s: %s", path, strerror(-err));
	size_t len = file ? fread(text, 1, TOKEN_FILE_BYTES_MAX - 1, file) : 0;
	struct stat status;
	if (file && fstat(fileno(file), &status) == 0 && (status.st_mode & S_IROTH)) {
		buf_printf(why, "admin.token_file %s can be read by everybody (mode %03o): chmod 600 it",
			   path, (unsigned)status.st_mode & 0777);
		err = -EACCES;
	}
	struct slice rest = slice_of(text, len), line;
	for (unsigned number = 1; !err && slice_split(&rest, '\n', &line); number++)
		err = token_add(auth, line, number, path, why);
	if (!err && auth->token_count == 0) {
		buf_printf(why, "admin.token_file %s has no token: write one a line, as \"name:token\"",
			   path);
		err = -EINVAL;
	}
	if (file)
		fclose(file);
	if (text)
		explicit_bzero(text, TOKEN_FILE_BYTES_MAX);
	free(text);
	return err;
}

int auth_init(struct auth *auth, const struct config *config, struct buf *why)
{
	*auth = (struct auth){0};
	host_add(auth, "localhost");
	host_add(auth, "127.0.0.1");
	host_add(auth, "::1");
	host_add(auth, config->admin.listen.host);
	for (size_t i = 0; i < config->admin.allowed_hosts.count; i++)
		host_add(auth, config->admin.allowed_hosts.items[i]);
	int err = config->admin.token_file ? tokens_read(auth, config->admin.token_file, why) : 0;
	if (err)
		auth_fini(auth);
	return err;
}

void auth_fini(struct auth *auth)
{
	if (auth->tokens)
		explicit_bzero(auth->tokens, AUTH_TOKENS_MAX * sizeof(*auth->tokens));
	free(auth->tokens);
	for (size_t i = 0; i < auth->host_count; i++)
		free(auth->hosts[i]);
	free(auth->hosts);
	*auth = (struct auth){0};
}

void peer_init(struct peer *peer, int fd, bool unix_socket)
{
	memset(peer, 0, sizeof(*peer));
	peer->unix_socket = unix_socket;
	if (unix_socket) {
		struct ucred credentials = {.uid = (uid_t)-1};
		socklen_t len = sizeof(credentials);
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len);
		peer->uid = credentials.uid;
		snprintf(peer->address, sizeof(peer->address), "unix");
		snprintf(peer->who, sizeof(peer->who), "uid %u", credentials.uid);
		return;
	}
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);
	char text[INET6_ADDRSTRLEN] = "?";
	unsigned port = 0;
	if (getpeername(fd, (struct sockaddr *)&address, &len) == 0) {
		if (address.ss_family == AF_INET) {
			const struct sockaddr_in *in = (const void *)&address;
			inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
			port = ntohs(in->sin_port);
		} else if (address.ss_family == AF_INET6) {
			const struct sockaddr_in6 *in = (const void *)&address;
			inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof(text));
			port = ntohs(in->sin6_port);
		}
	}
	snprintf(peer->address, sizeof(peer->address), "%s:%u", text, port);
	snprintf(peer->who, sizeof(peer->who), "%s", text);
}

/* The host without port and brackets. */
static struct slice host_name(struct slice host)
{
	if (host.len && host.ptr[0] == '[') {
		const char *end = memchr(host.ptr, ']', host.len);
		return end ? slice_of(host.ptr + 1, (size_t)(end - host.ptr) - 1) : host;
	}
	const char *colon = host.len ? memchr(host.ptr, ':', host.len) : NULL;
	return colon ? slice_of(host.ptr, (size_t)(colon - host.ptr)) : host;
}

bool auth_host_is_ours(const struct auth *auth, struct slice host)
{
	struct slice name = host_name(host);
	for (size_t i = 0; i < auth->host_count; i++) {
		if (slice_equal_nocase(name, slice_str(auth->hosts[i])) ||
		    slice_equal_nocase(host, slice_str(auth->hosts[i])))
			return true;
	}
	return false;
}

bool auth_origin_is_ours(struct slice origin, struct slice host)
{
	if (!origin.ptr)
		return true;
	if (!slice_starts(origin, SLICE("http://")))
		return false;
	return slice_equal_nocase(slice_of(origin.ptr + 7, origin.len - 7), host);
}

/* Takes as long whatever is wrong: every byte of every token is looked at. */
static bool secret_equal(const struct auth_token *token, struct slice given)
{
	unsigned differs = token->len != given.len;
	for (size_t i = 0; i < given.len; i++)
		differs |= (unsigned char)given.ptr[i] ^ (unsigned char)token->secret[i % (token->len + 1)];
	return differs == 0;
}

bool auth_token_is_ours(const struct auth *auth, struct slice authorization, struct peer *peer)
{
	if (authorization.len < 7 || strncasecmp(authorization.ptr, "Bearer ", 7) != 0)
		return false;
	struct slice given = slice_trim(slice_of(authorization.ptr + 7, authorization.len - 7));
	if (given.len == 0 || given.len > AUTH_TOKEN_BYTES_MAX)
		return false;
	const struct auth_token *found = NULL;
	for (size_t i = 0; i < auth->token_count; i++) {
		if (secret_equal(&auth->tokens[i], given))
			found = &auth->tokens[i];
	}
	if (found)
		snprintf(peer->who, sizeof(peer->who), "%s", found->name);
	return found != NULL;
}
