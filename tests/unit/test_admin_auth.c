/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask: hosts, origins, tokens. */
#include "admin/auth.h"
#include "unit.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config *config_of(const char *text)
{
	struct config *config;
	struct buf errors = {0};
	if (config_parse("test.json", slice_str(text), &config, &errors)) {
		fprintf(stderr, "%s\n", buf_cstr(&errors));
		exit(1);
	}
	buf_fini(&errors);
	return config;
}

TEST(hosts)
{
	struct config *config =
		config_of("{\"admin\":{\"listen\":\"127.0.0.2:99\",\"allowed_hosts\":[\"gw.example\"]}}");
	struct auth auth;
	struct buf why = {0};
	CHECK_INT(auth_init(&auth, config, &why), 0);
	static const struct {
		const char *host;
		bool ours;
	} rows[] = {
		{"localhost", true},	   {"LocalHost:9900", true},
		{"127.0.0.1", true},	   {"127.0.0.1:1", true},
		{"[::1]", true},	   {"[::1]:9900", true},
		{"127.0.0.2:99", true},	   {"gw.example", true},
		{"GW.example:80", true},   {"", false},
		{"evil.example", false},   {"127.0.0.1.evil.example", false},
		{"localhost.evil", false}, {"[::2]:99", false},
		{"gw.example.", false},	   {"[::1", false},
		{":9900", false},	   {"10.0.0.1", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_MSG(auth_host_is_ours(&auth, slice_str(rows[i].host)) == rows[i].ours, "%s",
			  rows[i].host);
	auth_fini(&auth);
	config_destroy(config);
	buf_fini(&why);
}

TEST(origins)
{
	CHECK(auth_origin_is_ours((struct slice){0}, SLICE("localhost:9900")));
	CHECK(auth_origin_is_ours(SLICE("http://localhost:9900"), SLICE("localhost:9900")));
	CHECK(auth_origin_is_ours(SLICE("http://LOCALHOST:9900"), SLICE("localhost:9900")));
	CHECK(!auth_origin_is_ours(SLICE("null"), SLICE("localhost:9900")));
	CHECK(!auth_origin_is_ours(SLICE(""), SLICE("localhost:9900")));
	CHECK(!auth_origin_is_ours(SLICE("https://localhost:9900"), SLICE("localhost:9900")));
	CHECK(!auth_origin_is_ours(SLICE("http://localhost"), SLICE("localhost:9900")));
	CHECK(!auth_origin_is_ours(SLICE("http://evil.example"), SLICE("localhost:9900")));
}

/* Writes a token file and reads it. */
static int tokens(struct auth *auth, const char *text, mode_t mode, struct buf *why)
{
	char path[] = "/tmp/phx-token-XXXXXX", json[256];
	int fd = mkstemp(path);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		exit(1);
	fchmod(fd, mode);
	close(fd);
	snprintf(json, sizeof(json), "{\"admin\":{\"token_file\":\"%s\"}}", path);
	struct config *config = config_of(json);
	int err = auth_init(auth, config, why);
	config_destroy(config);
	unlink(path);
	return err;
}

TEST(token_file)
{
	struct auth auth;
	struct buf why = {0};
	struct peer peer = {0};
	CHECK_INT(tokens(&auth, "# who\ndeploy:open-sesame\n\nlonely-token\r\n", 0600, &why), 0);
	CHECK_INT(auth.token_count, 2);
	CHECK(auth_token_is_ours(&auth, SLICE("Bearer open-sesame"), &peer));
	CHECK_STR(peer.who, "token deploy");
	CHECK(auth_token_is_ours(&auth, SLICE("bearer  lonely-token "), &peer));
	CHECK_STR(peer.who, "token");
	static const char *const wrong[] = {"",
					    "Bearer",
					    "Bearer ",
					    "Bearer open-sesam",
					    "Bearer open-sesame1",
					    "Basic open-sesame",
					    "open-sesame",
					    "Bearer deploy:open-sesame",
					    "Bearer OPEN-SESAME"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_MSG(!auth_token_is_ours(&auth, slice_str(wrong[i]), &peer), "%s", wrong[i]);
	auth_fini(&auth);

	CHECK_INT(tokens(&auth, "deploy:short\n", 0600, &why), -EINVAL);
	CHECK(strstr(buf_cstr(&why), ":1: the token has 5 bytes"));
	buf_reset(&why);
	CHECK_INT(tokens(&auth, "# nothing\n", 0600, &why), -EINVAL);
	buf_reset(&why);
	CHECK_INT(tokens(&auth, "deploy:open-sesame\n", 0644, &why), -EACCES);
	CHECK(strstr(buf_cstr(&why), "chmod 600"));
	CHECK(!strstr(buf_cstr(&why), "sesame"));
	CHECK(auth.tokens == NULL);
	buf_fini(&why);
}

UNIT_MAIN
