/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask: hosts, origins, tokens. */
#include "admin/auth.h"
#include "base/clock.h"
#include "unit.h"

#include <arpa/inet.h>
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

static enum auth_result identify(struct auth *auth, const char *value, struct peer *peer)
{
	return auth_identify(auth, slice_str(value), NS_PER_SEC, peer);
}

TEST(token_file)
{
	struct auth auth;
	struct buf why = {0};
	struct peer peer = {.ip = "192.0.2.7"};
	CHECK_INT(tokens(&auth,
			 "# who\ndeploy:open-sesame\n\nlonely-token\r\n"
			 "grafana:viewer:look-only\nci:operator:sha256:"
			 "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n",
			 0600, &why),
		  0);
	CHECK_STR(buf_cstr(&why), "");
	CHECK_INT(auth.tokens.count, 4);
	static const struct {
		const char *value, *who;
		enum role role;
	} right[] = {
		{"Bearer open-sesame", "token deploy", ROLE_ADMIN},
		{"bearer  lonely-token ", "token", ROLE_ADMIN},
		{"Bearer look-only", "token grafana", ROLE_VIEWER},
		{"Bearer test", "token ci", ROLE_OPERATOR}, /* that is what the hash is of */
	};
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		CHECK_INT(identify(&auth, right[i].value, &peer), AUTH_KNOWN);
		CHECK_STR(peer.who, right[i].who);
		CHECK_INT(peer.role, right[i].role);
	}
	static const char *const wrong[] = {
		"Bearer",
		"Bearer open-sesam",
		"Bearer open-sesame1",
		"Basic open-sesame",
		"open-sesame",
		"Bearer deploy:open-sesame",
		"Bearer OPEN-SESAME",
		"Bearer sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		CHECK_INT(identify(&auth, wrong[i], &peer), AUTH_WRONG);
		CHECK_STR(peer.who, "192.0.2.7");
		CHECK_INT(peer.role, ROLE_NONE);
	}
	CHECK_INT(identify(&auth, "", &peer), AUTH_MISSING);
	auth_fini(&auth);
	buf_fini(&why);
}

TEST(no_token_file_lets_everybody_in)
{
	struct config *config = config_of("{}");
	struct auth auth;
	struct buf why = {0};
	struct peer peer = {.ip = "127.0.0.1"};
	CHECK_INT(auth_init(&auth, config, &why), 0);
	CHECK_INT(identify(&auth, "", &peer), AUTH_KNOWN);
	CHECK_INT(peer.role, ROLE_ADMIN);
	auth_fini(&auth);
	config_destroy(config);
	buf_fini(&why);
}

TEST(bad_token_files)
{
	static const struct {
		const char *text;
		mode_t mode;
		int err;
		const char *why;
	} rows[] = {
		{"deploy:5ecre\n", 0600, -EINVAL, ":1: the token has 5 bytes; it needs 8 to 512"},
		{"# nothing\n", 0600, -EINVAL, "has no token"},
		{"", 0600, -EINVAL, "has no token"},
		{"deploy:5ecret-sesame\n", 0644, -EACCES, "mode 644): chmod 600"},
		{"deploy:5ecret-sesame\n", 0640, -EACCES, "mode 640"},
		{"deploy:5ecret-sesame\n", 0602, -EACCES, "mode 602"},
		{"a b:viewer:5ecret-sesame\n", 0600, -EINVAL, "the name before the first \":\""},
		{"d:veiwer:5ecret-sesame\n", 0600, -EINVAL, "did you mean \"viewer\"?"},
		{"d:5ecret:5ecret-sesame\n", 0600, -EINVAL, "must be viewer, operator or admin"},
		{"d:viewer:sha256:5ecret\n", 0600, -EINVAL, "needs 64 hexadecimal digits"},
		{"sha256:5ecret\n", 0600, -EINVAL, "has 6 bytes"},
		{"d:admin:5ecret sesame\n", 0600, -EINVAL, "a space"},
		{"d:admin:5ecret-sesame\nd:viewer:5ecret-other\n", 0600, -EINVAL,
		 ":2: this name or this token"},
		{"d:admin:5ecret-sesame\ne:viewer:5ecret-sesame\n", 0600, -EINVAL,
		 ":2: this name or this token"},
		{"x\n\nd:veiwer:5ecret-sesame\n", 0600, -EINVAL, "bytes; it needs"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct auth auth;
		struct buf why = {0};
		CHECK_INT(tokens(&auth, rows[i].text, rows[i].mode, &why), rows[i].err);
		CHECK_MSG(strstr(buf_cstr(&why), rows[i].why), "row %zu: %s", i, buf_cstr(&why));
		CHECK_MSG(!strstr(buf_cstr(&why), "5ecre"), "a secret: %s", buf_cstr(&why));
		CHECK(auth.tokens.items == NULL);
		buf_fini(&why);
	}
	struct buf many = {0}, why = {0};
	struct auth auth;
	for (unsigned i = 0; i <= TOKENS_MAX; i++)
		buf_printf(&many, "t%u:viewer:5ecret-number-%u\n", i, i);
	CHECK_INT(tokens(&auth, buf_cstr(&many), 0600, &why), -EINVAL);
	CHECK(strstr(buf_cstr(&why), ":65: more than 64 tokens"));
	buf_reset(&why);
	for (unsigned i = 0; i < 70000; i++)
		buf_append_char(&many, '#');
	CHECK_INT(tokens(&auth, buf_cstr(&many), 0600, &why), -EFBIG);
	buf_fini(&many);
	buf_fini(&why);
}

/* FIPS 180-4's own examples, and every length around the ends of blocks against the command of the system. */
TEST(sha256_examples)
{
	static const struct {
		const char *text, *digest;
	} rows[] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	};
	uint8_t digest[SHA256_BYTES];
	char text[2 * SHA256_BYTES + 1];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		sha256(rows[i].text, strlen(rows[i].text), digest);
		for (unsigned b = 0; b < SHA256_BYTES; b++)
			snprintf(text + (size_t)2 * b, 3, "%02x", digest[b]);
		CHECK_STR(text, rows[i].digest);
	}
	for (size_t len = 50; len < 140; len += len == 70 ? 40 : 1) {
		char command[400], theirs[80] = "";
		snprintf(command, sizeof(command), "printf %%0%zud 0 | sha256sum", len);
		FILE *pipe = popen(command, "r");
		CHECK(pipe && fgets(theirs, sizeof(theirs), pipe));
		pclose(pipe);
		char zeros[140];
		memset(zeros, '0', sizeof(zeros));
		sha256(zeros, len, digest);
		for (unsigned b = 0; b < SHA256_BYTES; b++)
			snprintf(text + (size_t)2 * b, 3, "%02x", digest[b]);
		CHECK_MSG(strncmp(text, theirs, 64) == 0, "%zu zeros: %s, not %s", len, text, theirs);
	}
}

static void network_of(const char *text, uint8_t network[8])
{
	uint8_t address[16];
	bool v6 = strchr(text, ':') != NULL;
	CHECK_INT(inet_pton(v6 ? AF_INET6 : AF_INET, text, address), 1);
	limiter_network(address, v6 ? 16 : 4, network);
}

TEST(limiter)
{
	struct limiter *limiter = calloc(1, sizeof(*limiter));
	uint8_t a[8], b[8], same[8];
	uint64_t now = 1000 * NS_PER_SEC;
	network_of("192.0.2.7", a);
	network_of("192.0.2.8", b);
	network_of("::ffff:192.0.2.7", same);
	CHECK(memcmp(a, same, 8) == 0);
	for (unsigned i = 0; i < LIMITER_BURST; i++) {
		CHECK_INT(limiter_wait_ms(limiter, a, now), 0);
		limiter_fail(limiter, a, now);
	}
	CHECK_INT(limiter_wait_ms(limiter, a, now), LIMITER_REFILL_MS);
	CHECK_INT(limiter_wait_ms(limiter, a, now + 1000 * NS_PER_MS), LIMITER_REFILL_MS - 1000);
	CHECK_INT(limiter_wait_ms(limiter, b, now), 0);
	/* One more after a while, and then not at once another one. */
	now += LIMITER_REFILL_MS * NS_PER_MS;
	CHECK_INT(limiter_wait_ms(limiter, a, now), 0);
	limiter_fail(limiter, a, now);
	CHECK_INT(limiter_wait_ms(limiter, a, now), LIMITER_REFILL_MS);
	/* All is forgiven when the bucket is full again. */
	now += (uint64_t)LIMITER_BURST * LIMITER_REFILL_MS * NS_PER_MS;
	for (unsigned i = 0; i < LIMITER_BURST; i++) {
		CHECK_INT(limiter_wait_ms(limiter, a, now), 0);
		limiter_fail(limiter, a, now);
	}
	/* A whole IPv6 network is one, since its addresses are one machine's to choose. */
	network_of("2001:db8:1:2::1", a);
	network_of("2001:db8:1:2:ffff::9", same);
	network_of("2001:db8:1:3::1", b);
	CHECK(memcmp(a, same, 8) == 0);
	CHECK(memcmp(a, b, 8) != 0);
	/* Ten thousand strangers fit into the same table; one who goes on failing is still found. */
	for (unsigned i = 0; i < 10000; i++) {
		memcpy(b + 4, &i, 4);
		limiter_fail(limiter, b, now);
		if (i >= 10000 - LIMITER_BURST)
			limiter_fail(limiter, a, now);
	}
	CHECK_INT(limiter_wait_ms(limiter, a, now), LIMITER_REFILL_MS);
	free(limiter);
}

UNIT_MAIN
