/* SPDX-License-Identifier: Apache-2.0 */
/* What goes on to the next hop, byte for byte; and that an exchange keeps its fields while it grows. */
#include "gateway/forward.h"
#include "http/exchange.h"
#include "unit.h"

#define TAIL                                                                                                 \
	"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h:1\r\nX-Request-Id: "   \
	"NEW\r\n"

static size_t forward(const char *bytes, const char *base_path, bool upgrade, char *out, size_t cap)
{
	struct http_head head;
	struct http_target target;
	struct slice id;
	http_head_init(&head, 0, HTTP_FIELDS_MAX);
	CHECK_INT(http_head_parse(&head, bytes, strlen(bytes)), HTTP_PARSE_DONE);
	CHECK_INT(http_target_parse(&head, bytes, &target), 0);
	struct forward_request request = {
		.head = &head,
		.bytes = bytes,
		.target = &target,
		.base_path = slice_str(base_path),
		.client_ip = SLICE("192.0.2.1"),
		.authority = SLICE("up:9"),
		.request_id = "NEW",
		.upgrade = upgrade,
	};
	size_t len = forward_request_write(&request, out, cap, &id);
	if (len)
		out[len] = 0;
	return len;
}

static const struct {
	const char *name, *in, *base_path, *out;
	bool upgrade;
} requests[] = {
	{"plain", "GET /a?b HTTP/1.1\r\nHost: h:1\r\nA: b\r\n\r\n", "",
	 "GET /a?b HTTP/1.1\r\nHost: h:1\r\nA: b\r\n" TAIL "\r\n", false},
	{"base path", "GET /a?b HTTP/1.1\r\nHost: h:1\r\n\r\n", "/v1",
	 "GET /v1/a?b HTTP/1.1\r\nHost: h:1\r\n" TAIL "\r\n", false},
	{"odd spacing is made even", "GET / HTTP/1.1\r\nHost:h:1\r\nA: \t b \r\nC:\r\n\r\n", "",
	 "GET / HTTP/1.1\r\nHost: h:1\r\nA: b\r\nC: \r\n" TAIL "\r\n", false},
	{"hop-by-hop",
	 "GET / HTTP/1.1\r\nHost: h:1\r\nConnection: close, X-A\r\nKeep-Alive: 5\r\nX-A: 1\r\nTE: "
	 "trailers\r\n"
	 "Proxy-Connection: x\r\nProxy-Authorization: y\r\nUpgrade: foo\r\nB: 2\r\n\r\n",
	 "", "GET / HTTP/1.1\r\nHost: h:1\r\nB: 2\r\n" TAIL "\r\n", false},
	{"order and doubles", "GET / HTTP/1.1\r\nB: 1\r\nHost: h:1\r\nA: 1\r\nB: 2\r\n\r\n", "",
	 "GET / HTTP/1.1\r\nB: 1\r\nHost: h:1\r\nA: 1\r\nB: 2\r\n" TAIL "\r\n", false},
	{"length", "POST / HTTP/1.1\r\nHost: h:1\r\nContent-Length: 007\r\nA: b\r\n\r\n", "",
	 "POST / HTTP/1.1\r\nHost: h:1\r\nA: b\r\n" TAIL "Content-Length: 7\r\n\r\n", false},
	{"chunked", "POST / HTTP/1.1\r\nTransfer-Encoding: CHUNKED\r\nHost: h:1\r\n\r\n", "",
	 "POST / HTTP/1.1\r\nHost: h:1\r\n" TAIL "Transfer-Encoding: chunked\r\n\r\n", false},
	{"forwarded fields are not the client's",
	 "GET / HTTP/1.1\r\nHost: h:1\r\nX-Forwarded-For: 10.0.0.1\r\n"
	 "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-For: 10.0.0.2\r\n\r\n",
	 "",
	 "GET / HTTP/1.1\r\nHost: h:1\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2, "
	 "192.0.2.1\r\nX-Forwarded-Proto: http\r\n"
	 "X-Forwarded-Host: h:1\r\nX-Request-Id: NEW\r\n\r\n",
	 false},
	{"a good request id is kept", "GET / HTTP/1.1\r\nHost: h:1\r\nX-Request-Id: abc-1\r\n\r\n", "",
	 "GET / HTTP/1.1\r\nHost: h:1\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: "
	 "http\r\nX-Forwarded-Host: h:1\r\n"
	 "X-Request-Id: abc-1\r\n\r\n",
	 false},
	{"a bad request id is not", "GET / HTTP/1.1\r\nHost: h:1\r\nX-Request-Id: a b\r\n\r\n", "",
	 "GET / HTTP/1.1\r\nHost: h:1\r\n" TAIL "\r\n", false},
	{"the shadow mark is not the client's to give",
	 "GET / HTTP/1.1\r\nHost: h:1\r\nX-Phoenix-Shadow: 1\r\n\r\n", "",
	 "GET / HTTP/1.1\r\nHost: h:1\r\n" TAIL "\r\n", false},
	{"absolute form", "GET http://h:1/a HTTP/1.1\r\nHost: other\r\nA: b\r\n\r\n", "",
	 "GET /a HTTP/1.1\r\nHost: h:1\r\nA: b\r\n" TAIL "\r\n", false},
	{"absolute form with a query only", "GET http://h:1?x HTTP/1.1\r\nHost: h:1\r\n\r\n", "/v1",
	 "GET /v1/?x HTTP/1.1\r\nHost: h:1\r\n" TAIL "\r\n", false},
	{"upgrade without h2c",
	 "GET / HTTP/1.1\r\nHost: h:1\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket ,H2C, x\r\n\r\n", "",
	 "GET / HTTP/1.1\r\nHost: h:1\r\n" TAIL "Connection: Upgrade\r\nUpgrade: websocket, x\r\n\r\n", true},
	{"1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "",
	 "GET / HTTP/1.1\r\nHost: up:9\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: "
	 "http\r\nX-Forwarded-Host: up:9\r\n"
	 "X-Request-Id: NEW\r\n\r\n",
	 false},
	{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: h:1\r\n\r\n", "",
	 "OPTIONS * HTTP/1.1\r\nHost: h:1\r\n" TAIL "\r\n", false},
	{"asterisk below a base path", "OPTIONS * HTTP/1.1\r\nHost: h:1\r\n\r\n", "/v1",
	 "OPTIONS /v1 HTTP/1.1\r\nHost: h:1\r\n" TAIL "\r\n", false},
	{"blank line first", "\r\nGET / HTTP/1.1\r\nHost: h:1\r\n\r\n", "",
	 "GET / HTTP/1.1\r\nHost: h:1\r\n" TAIL "\r\n", false},
	{"upgrade",
	 "GET / HTTP/1.1\r\nHost: h:1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", "",
	 "GET / HTTP/1.1\r\nHost: h:1\r\n" TAIL "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", true},
};

TEST(requests_are_written_anew)
{
	char out[4096];
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		size_t len = forward(requests[i].in, requests[i].base_path, requests[i].upgrade, out,
				     sizeof(out) - 1);
		CHECK_MSG(len && strcmp(out, requests[i].out) == 0, "%s:\n%s", requests[i].name,
			  len ? out : "(nothing)");
		/* What does not fit is not written at all, at any size. */
		size_t need = strlen(requests[i].out);
		for (size_t cap = 0; cap < need; cap++)
			CHECK_INT(
				forward(requests[i].in, requests[i].base_path, requests[i].upgrade, out, cap),
				0);
	}
}

TEST(responses_are_written_anew)
{
	static const char bytes[] =
		"HTTP/1.0 200 Very OK\r\nServer: x\r\nConnection: X-A\r\nX-A: 1\r\nKeep-Alive: 5\r\n"
		"Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 3\r\n\r\n";
	struct http_head head;
	char out[1024];
	http_head_init(&head, PHX_HEAD_RESPONSE, HTTP_FIELDS_MAX);
	CHECK_INT(http_head_parse(&head, bytes, sizeof(bytes) - 1), HTTP_PARSE_DONE);
	struct forward_response response = {
		.head = &head, .bytes = bytes, .kind = HTTP_BODY_LENGTH, .length = 3};
	out[forward_response_write(&response, out, sizeof(out) - 1)] = 0;
	CHECK_STR(out, "HTTP/1.1 200 Very OK\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: "
		       "b\r\nContent-Length: 3\r\n\r\n");
	response.kind = HTTP_BODY_CHUNKED;
	response.close = true;
	out[forward_response_write(&response, out, sizeof(out) - 1)] = 0;
	CHECK_STR(out, "HTTP/1.1 200 Very OK\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: "
		       "b\r\nTransfer-Encoding: chunked\r\n"
		       "Connection: close\r\n\r\n");
}

TEST(an_exchange_keeps_its_fields_while_it_grows)
{
	struct exchange_budget budget = {.max_bytes = 1 << 20};
	struct exchange *exchange = exchange_create(&budget, 1000);
	CHECK(exchange != NULL);
	char name[32], value[64];
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "X-Name-%d", i);
		snprintf(value, sizeof(value), "value %d", i * i);
		CHECK(exchange_add_field(exchange, &exchange->request, slice_str(name), slice_str(value)));
	}
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "x-name-%d", i);
		snprintf(value, sizeof(value), "value %d", i * i);
		CHECK(slice_equal(exchange_field(&exchange->request, slice_str(name)), slice_str(value)));
	}
	CHECK(exchange_field(&exchange->request, SLICE("missing")).ptr == NULL);
	CHECK(exchange_add_body(exchange, &exchange->served, slice_of(value, 10)));
	char big[1000] = {0};
	CHECK(!exchange_add_body(exchange, &exchange->served, slice_of(big, 991)));
	CHECK_INT(exchange->outcome, EXCHANGE_BODY_OVER_CAP);
	CHECK_INT(exchange->served.body.len, 10);
	CHECK(budget.used_bytes > 5000);
	exchange_destroy(exchange);
	CHECK_INT(budget.used_bytes, 0);
}

TEST(a_used_up_budget_drops_the_sample)
{
	struct exchange_budget budget = {.max_bytes = 4096};
	struct exchange *exchange = exchange_create(&budget, 1 << 20);
	CHECK(exchange != NULL);
	char big[8192] = {0};
	CHECK(!exchange_add_body(exchange, &exchange->served, slice_of(big, sizeof(big))));
	CHECK_INT(exchange->outcome, EXCHANGE_MEMORY);
	exchange_destroy(exchange);
	CHECK_INT(budget.used_bytes, 0);
	exchange = exchange_create(&budget, 1 << 20);
	snprintf(big, sizeof(big), "GET / HTTP/1.1\r\nHost: a\r\nX-Big: %06000d\r\n\r\n", 7);
	struct http_head head;
	http_head_init(&head, 0, 10);
	CHECK_INT(http_head_parse(&head, big, strlen(big)), HTTP_PARSE_DONE);
	CHECK(!exchange_add_fields(exchange, &exchange->request, &head, big));
	CHECK_INT(exchange->outcome, EXCHANGE_MEMORY);
	exchange_destroy(exchange);
	CHECK_INT(budget.used_bytes, 0);
	budget.max_bytes = 100;
	CHECK(exchange_create(&budget, 1) == NULL);
	CHECK_INT(budget.used_bytes, 0);
}

UNIT_MAIN
