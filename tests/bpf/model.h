/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model: the HTTP of the model test: what clients ask, what servers answer, and what must be true of both.
 * Requests and answers follow from numbers, so that each end knows what the other must have said.
 */
#ifndef PHOENIX_TESTS_MODEL_H
#define PHOENIX_TESTS_MODEL_H

#include "peer.h"

#define MODEL_DAEMON   4u
#define MODEL_SERVERS  5u
#define MODEL_REQUESTS 6u

/* One end of a server's connection. */
struct model_server {
	unsigned number;
	uint32_t read_at;
	bool closed; /* it sends no more, and takes no more */
};

struct model_client {
	unsigned conversation;
	unsigned count, at, written; /* requests in all, answered, sent */
	uint32_t read_at;
	uint64_t think;
	bool aborts, pipelines, half_closes, may_be_reset, over;
};

extern unsigned long model_failures, model_answers;

/* 0..n-1; everything that happens by chance comes from here. */
uint32_t model_random(uint32_t n);
void model_begin(const char *name, uint64_t seed);
void model_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void model_client_begin(struct model_client *client, unsigned conversation);
/* Sends what is due, checks what came. */
void model_client_step(struct model_client *client, struct peer_tcp *tcp, uint64_t tick);
/* Checks the requests that came whole, and answers. */
void model_server_step(struct model_server *server, struct peer_tcp *tcp);

#endif
