/* SPDX-License-Identifier: Apache-2.0 */
/* model: see model.h. */
#include "model.h"

#include "http/body.h"
#include "http/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONVERSATIONS 512u
#define MESSAGE_MAX   70000u
#define PERIOD	      251u

unsigned long model_failures, model_answers;
static const char *world_name;
static uint64_t world_seed, random_state;
/* How often each request was taken by each server. */
static uint8_t taken[CONVERSATIONS][MODEL_REQUESTS][MODEL_SERVERS];

void model_begin(const char *name, uint64_t seed)
{
	world_name = name;
	world_seed = seed;
	random_state = seed * 0x9e3779b97f4a7c15u + 1;
	model_answers = 0;
	memset(taken, 0, sizeof(taken));
}

uint32_t model_random(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 20) % n;
}

void model_fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fprintf(stderr, "%s, seed %llu: ", world_name, (unsigned long long)world_seed);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	model_failures++;
}

/* --- what is said --------------------------------------------------------------------------------------- */

static uint32_t mixed(uint32_t conversation, uint32_t at, uint32_t salt)
{
	return (uint32_t)phx_mix64(world_seed << 32 ^ (uint64_t)conversation << 16 ^ at << 8 ^ salt);
}

static const struct {
	const char *path;
	unsigned servers; /* bits: whom the policy allows */
} paths[] = {
	{"/legacy", 1}, {"/modern", 2}, {"/half", 3}, {"/other", 12}, {"/sampled", 12},
};

static unsigned path_of(uint32_t conversation, uint32_t at)
{
	return mixed(conversation, at, 1) % 5;
}

static bool is_head(uint32_t conversation, uint32_t at)
{
	return mixed(conversation, at, 2) % 16 == 0;
}

static void put_bytes(uint8_t *out, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		out[i] = (uint8_t)('0' + (seed + i * 7 + i / PERIOD) % 64);
}

/* The request as its client sends it. */
static uint32_t make_request(uint32_t conversation, uint32_t at, uint8_t *out)
{
	uint32_t r = mixed(conversation, at, 3), body = 0;
	bool post = !is_head(conversation, at) && r % 3 == 0;
	if (post)
		body = r / 3 % 4 ? r / 12 % 900 : r / 12 % 9000;
	char length[48] = "";
	if (post)
		snprintf(length, sizeof(length), "Content-Length: %u\r\n", body);
	int n = snprintf((char *)out, 512,
			 "%s %s HTTP/1.1\r\nHost: a.example\r\nX-Conversation: %u\r\nX-At: %u\r\n%s\r\n",
			 post			     ? "POST"
			 : is_head(conversation, at) ? "HEAD"
						     : "GET",
			 paths[path_of(conversation, at)].path, conversation, at, length);
	put_bytes(out + n, body, r);
	return (uint32_t)n + body;
}

enum framing { BY_LENGTH, CHUNKED, NOTHING_MORE, UNTIL_CLOSE };

static uint32_t make_chunks(uint8_t *out, const uint8_t *content, uint32_t len, uint32_t r)
{
	uint32_t n = 0;
	for (uint32_t at = 0; at < len;) {
		uint32_t chunk = 1 + mixed(r, at, 9) % (len < 500 ? 40 : 3000);
		if (chunk > len - at)
			chunk = len - at;
		n += (uint32_t)sprintf((char *)out + n, at % 5 ? "%x\r\n" : "%X;a=\"b\"\r\n", chunk);
		memcpy(out + n, content + at, chunk);
		n += chunk;
		n += (uint32_t)sprintf((char *)out + n, "\r\n");
		at += chunk;
	}
	return n + (uint32_t)sprintf((char *)out + n, r % 4 ? "0\r\n\r\n" : "0\r\nX-Trailer: t\r\n\r\n");
}

static uint32_t content_len(uint32_t r)
{
	return r % 8 == 0 ? r / 8 % 40000 : r / 8 % 400;
}

static enum framing framing_of(uint32_t r, unsigned server)
{
	if (server == MODEL_DAEMON)
		return BY_LENGTH;
	return r / 3 % 10 < 5	? BY_LENGTH
	       : r / 3 % 10 < 9 ? CHUNKED
	       : r / 30 % 3	? NOTHING_MORE
				: UNTIL_CLOSE;
}

/* The answer of a server; *close: it ends the connection. */
static uint32_t make_answer(uint32_t conversation, uint32_t at, unsigned server, uint8_t *out, bool *close)
{
	static uint8_t content[MESSAGE_MAX];
	uint32_t r = mixed(conversation, at, 16 + server), len = content_len(r), n = 0;
	bool head = is_head(conversation, at);
	enum framing framing = framing_of(r, server);
	*close = framing == UNTIL_CLOSE || (server != MODEL_DAEMON && r / 7 % 40 == 0);
	if (r / 11 % 12 == 0 && server != MODEL_DAEMON)
		n += (uint32_t)sprintf((char *)out, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
	n += (uint32_t)sprintf(
		(char *)out + n, "HTTP/1.1 %s\r\nX-Server: %u\r\nX-Conversation: %u\r\nX-At: %u\r\n",
		framing == NOTHING_MORE ? "204 No Content" : "200 OK", server, conversation, at);
	if (*close && framing != UNTIL_CLOSE)
		n += (uint32_t)sprintf((char *)out + n, "Connection: close\r\n");
	if (framing == BY_LENGTH)
		n += (uint32_t)sprintf((char *)out + n, "Content-Length: %u\r\n", len);
	if (framing == CHUNKED)
		n += (uint32_t)sprintf((char *)out + n, "Transfer-Encoding: chunked\r\n");
	n += (uint32_t)sprintf((char *)out + n, "\r\n");
	if (head || framing == NOTHING_MORE)
		return n;
	put_bytes(content, len, r);
	if (framing == CHUNKED)
		return n + make_chunks(out + n, content, len, r);
	memcpy(out + n, content, len);
	return n + len;
}

/* --- servers -------------------------------------------------------------------------------------------- */

static uint32_t number_in(const struct http_head *head, const char *bytes, const char *name)
{
	const struct http_field *field = http_head_find_name(head, bytes, slice_str(name));
	return field ? (uint32_t)strtoul(bytes + field->value_off, NULL, 10) : UINT32_MAX;
}

void model_server_step(struct model_server *server, struct peer_tcp *tcp)
{
	static struct http_head head;
	static uint8_t want[MESSAGE_MAX], answer[MESSAGE_MAX];
	const char *bytes = (const char *)tcp->in + server->read_at;
	uint32_t have = tcp->in_len - server->read_at;
	if (tcp->state != PEER_OPEN || server->closed)
		return;
	if (!have) {
		if (tcp->fin_came) {
			peer_close(tcp);
		} else if (server->number != MODEL_DAEMON && server->read_at && tcp->una == tcp->out_len &&
			   model_random(3000) == 0) {
			peer_close(tcp); /* it has been idle for long enough */
			server->closed = true;
		}
		return;
	}
	http_head_init(&head, 0, 64);
	if (http_head_parse(&head, bytes, have) != HTTP_PARSE_DONE) {
		if (head.scan.error)
			model_fail("server %u cannot read a request: %.40s", server->number, bytes);
		return;
	}
	uint32_t conversation = number_in(&head, bytes, "X-Conversation"),
		 at = number_in(&head, bytes, "X-At");
	if (conversation >= CONVERSATIONS || at >= MODEL_REQUESTS) {
		model_fail("server %u got a request that nobody sent", server->number);
		return;
	}
	uint32_t len = make_request(conversation, at, want);
	if (have < len)
		return;
	if (memcmp(bytes, want, len) != 0)
		model_fail("server %u got request %u of conversation %u changed", server->number, at,
			   conversation);
	if (server->number != MODEL_DAEMON &&
	    !(paths[path_of(conversation, at)].servers >> server->number & 1))
		model_fail("server %u got a request to %s", server->number,
			   paths[path_of(conversation, at)].path);
	if (taken[conversation][at][server->number]++)
		model_fail("server %u got request %u of conversation %u twice", server->number, at,
			   conversation);
	for (unsigned other = 0; other < MODEL_SERVERS; other++) {
		if (other != server->number && taken[conversation][at][other])
			model_fail("servers %u and %u both got request %u of conversation %u", other,
				   server->number, at, conversation);
	}
	bool close;
	uint32_t n = make_answer(conversation, at, server->number, answer, &close);
	server->read_at += len;
	if (!peer_write(tcp, answer, n)) {
		/* Enough said on this connection; the answer that does not fit is as if the server had gone.
		 */
		model_fail("a server's buffer is full");
		return;
	}
	if (close || tcp->out_len > PEER_BUFFER - MESSAGE_MAX || tcp->in_len > PEER_BUFFER - 30000) {
		peer_close(tcp);
		server->closed = true;
	}
}

/* --- clients -------------------------------------------------------------------------------------------- */

void model_client_begin(struct model_client *client, unsigned conversation)
{
	*client = (struct model_client){
		.conversation = conversation,
		.count = 1 + model_random(MODEL_REQUESTS),
		.aborts = model_random(12) == 0,
		.pipelines = model_random(10) == 0,
		.half_closes = model_random(8) == 0,
	};
}

/* Is the answer at read_at whole? Then 1, and it was checked. */
static bool read_answer(struct model_client *client, struct peer_tcp *tcp)
{
	static struct http_head head;
	static char copy[PEER_BUFFER], want[MESSAGE_MAX];
	const char *bytes = (const char *)tcp->in;
	uint32_t at = client->read_at, have = tcp->in_len;
	do {
		http_head_init(&head, PHX_HEAD_RESPONSE, 64);
		enum http_parse_result result = http_head_parse(&head, bytes + at, have - at);
		if (result == HTTP_PARSE_MORE)
			return false;
		if (result != HTTP_PARSE_DONE) {
			model_fail("client %u cannot read the answer to request %u at byte %u of %u: %.60s",
				   client->conversation, client->at, at, have, bytes + at);
			client->over = true;
			return true;
		}
		at += head.scan.pos;
	} while (head.scan.status < 200);
	const char *start = bytes + at - head.scan.pos;
	uint32_t conversation = number_in(&head, start, "X-Conversation"),
		 number = number_in(&head, start, "X-At"), server = number_in(&head, start, "X-Server");
	if (conversation != client->conversation || number != client->at || server >= MODEL_SERVERS) {
		model_fail("client %u got the answer to request %u of conversation %u from %u (status %u)",
			   client->conversation, number, conversation, server, head.scan.status);
		client->over = true;
		return true;
	}
	struct http_body body;
	size_t consumed = 0, produced = 0;
	http_body_of_response(&body, &head, is_head(conversation, number));
	memcpy(copy, bytes + at, have - at);
	enum http_body_result result = http_body_read(&body, copy, have - at, &consumed, &produced);
	bool whole = result == HTTP_BODY_END || (tcp->fin_came && http_body_ends_at_eof(&body));
	http_body_fini(&body);
	if (!whole) {
		if (result == HTTP_BODY_REFUSED || tcp->fin_came) {
			model_fail("client %u: the answer to request %u is cut or broken",
				   client->conversation, number);
			client->over = true;
		}
		return false;
	}
	uint32_t r = mixed(conversation, number, 16 + server);
	uint32_t len = is_head(conversation, number) || head.scan.status == 204 ? 0 : content_len(r);
	put_bytes((uint8_t *)want, len, r);
	if (produced != len || memcmp(copy, want, len) != 0)
		model_fail("client %u: the answer to request %u has other bytes (%zu of %u)",
			   client->conversation, number, produced, len);
	if (taken[conversation][number][server] != 1)
		model_fail("client %u: server %u answered request %u which it did not get",
			   client->conversation, server, number);
	client->read_at = at + (uint32_t)consumed;
	client->over |= !phx_head_persists(&head.scan) || tcp->fin_came;
	return true;
}

void model_client_step(struct model_client *client, struct peer_tcp *tcp, uint64_t tick)
{
	static uint8_t request[MESSAGE_MAX];
	while (client->at < client->written && tcp->in_len > client->read_at && read_answer(client, tcp)) {
		if (client->over)
			break;
		client->at++;
		model_answers++;
		client->think = tick + (model_random(4) ? 0 : model_random(400));
	}
	if (client->over || client->at == client->count) {
		/* A connection that the other side ends may be reset behind the answer (RFC 9112 9.6). */
		client->may_be_reset = client->over;
		peer_close(tcp);
		return;
	}
	bool next = client->written == client->at ? tick >= client->think
						  : client->pipelines && model_random(30) == 0;
	if (client->written < client->count && next && tcp->in_len < PEER_BUFFER - MESSAGE_MAX) {
		peer_write(tcp, request, make_request(client->conversation, client->written, request));
		client->written++;
		if (client->written == client->count && client->half_closes && !client->aborts)
			peer_close(tcp);
	} else if (client->written == client->at && tcp->in_len >= PEER_BUFFER - MESSAGE_MAX) {
		client->over = true;
	}
}
