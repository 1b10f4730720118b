/* SPDX-License-Identifier: Apache-2.0 */
/* connect: which daemon a command talks to, and with which token. */
#include "ctl/parse.h"
#include "ctl/talk.h"

#include <stdlib.h>

#define DEFAULT_ADMIN	"unix:/run/phoenix/admin.sock"
#define TOKEN_BYTES_MAX 8192

/* The token from --token-file, else from PHOENIX_TOKEN; empty when there is none. An exit status. */
static int find_token(const struct ctl *ctl, const struct ctl_line *line, struct buf *token)
{
	const char *path = line->options[OPTION_TOKEN_FILE], *env = getenv("PHOENIX_TOKEN");
	struct buf why = {0};
	struct buf text = {0};

	if (!path && !(env && *env))
		return CTL_DONE;
	int rc = path ? talk_read_text(path, TOKEN_BYTES_MAX, &text) : 0;
	if (rc < 0) {
		talk_unreadable(ctl, path, rc, TOKEN_BYTES_MAX);
		buf_fini(&text);
		return CTL_USAGE;
	}
	rc = parse_token(path ? buf_slice(&text) : slice_str(env), token, &why);
	if (rc < 0)
		talk_error(ctl, "%s: %s", path ? path : "PHOENIX_TOKEN", buf_cstr(&why));
	buf_fini(&text);
	buf_fini(&why);
	return rc < 0 ? CTL_USAGE : CTL_DONE;
}

int talk_connect(struct ctl *ctl, const struct ctl_line *line)
{
	const char *admin = line->options[OPTION_ADMIN], *env = getenv("PHOENIX_ADMIN");
	struct buf token = {0}, why = {0};

	if (!admin)
		admin = env && *env ? env : DEFAULT_ADMIN;
	ctl->admin = admin;
	int status = find_token(ctl, line, &token);
	if (status == CTL_DONE) {
		status = client_open(admin, token.len ? buf_cstr(&token) : NULL, ctl->interrupted,
				     &ctl->client, &why);
		if (status)
			talk_error(ctl, "%s", buf_cstr(&why));
	}
	buf_fini(&token);
	buf_fini(&why);
	return status;
}
