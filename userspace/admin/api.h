/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api: the REST interface as one table of method, path and handler; from it come the dispatch, the Allow
 * field and /openapi.json.
 */
#ifndef PHOENIX_ADMIN_API_H
#define PHOENIX_ADMIN_API_H

#include "admin/server.h"
#include "config_report.h"

#include <jansson.h>

struct request {
	struct admin *admin;
	struct control *control;
	struct peer *peer;
	struct slice method, path, query;
	char id[80];	    /* of the route in the path; "" = none */
	char verb[16];	    /* last piece of a verb's path */
	struct slice text;  /* the body as it came */
	json_t *body;	    /* an object; NULL when the entry takes none */
	const char *reason; /* from the body, "" when there is none */
	bool denied;	    /* a wrong token, or a role that is not enough */
	struct slice if_match, if_none_match, accept, last_event_id;
};

struct response {
	int status;
	const char *type; /* content type */
	char *body;	  /* malloc()ed, taken; or NULL */
	const char *body_static;
	size_t body_bytes;
	char etag[64];		/* "" = none */
	char allow[64];		/* "" = none */
	char location[128];	/* "" = none */
	bool cacheable;		/* otherwise Cache-Control: no-store */
	bool page;		/* security fields of the page */
	bool stream;		/* the connection becomes an event stream */
	bool scrape;		/* the metrics are the content: scrape.c answers */
	const char *challenge;	/* more of WWW-Authenticate (RFC 6750 3), on 403 too; NULL = none */
	uint32_t retry_after_s; /* 0 = none */
	uint64_t since; /* for it: the id after which events are wanted; UINT64_MAX = none of the past */
	bool changes;	/* for it: of the status only what changed, since the look `cursor` */
	uint64_t cursor;
};

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum endpoint_flag {
	ENDPOINT_ROUTE = 1 << 1,  /* {id} must be a route */
	ENDPOINT_RAW = 1 << 2,	  /* the handler reads the body's text itself */
	ENDPOINT_EMPTY = 1 << 3,  /* takes no body */
	ENDPOINT_HIDDEN = 1 << 4, /* not in /openapi.json */
};

/* A member of a request body: X in the table of an endpoint. */
struct body_key {
	const char *name;
	const char *type; /* JSON Schema: "number", "string", "array" */
	const char *help;
	bool required;
};

struct endpoint {
	const char *method;
	const char *pattern; /* "{id}" and "{verb}" stand for one segment */
	enum role role;	     /* that it needs; ROLE_NONE: anybody's, without a token */
	unsigned flags;
	const struct body_key *keys; /* of the JSON body; ends with a NULL name; NULL = no body, or RAW */
	const char *summary;
	const char *answer; /* description of the 200 */
	void (*handle)(struct request *request, struct response *response);
};
extern const struct endpoint api_endpoints[];
extern const size_t api_endpoint_count;

/* Answers a complete request. Fills in `response`; never fails. */
void api_dispatch(struct connection *connection, struct response *response);

/* problem+json (RFC 9457); `detail` may be NULL. `more` (taken, may be NULL) has additional members. */
void respond_problem(struct response *response, int status, const char *detail, json_t *more);
void respond_problem_format(struct response *response, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Lines of errors as a problem: 400 when the request's text is no JSON at all, otherwise 422. writes.c */
void respond_errors(struct response *response, const struct request *request, const char *detail,
		    struct slice lines);
/* Takes the reference; NULL is a 500. */
void respond_json(struct response *response, int status, json_t *json);
/* Writes the answer's head (status line and fields) for `response` into `out`. */
void response_write_head(const struct response *response, bool close, struct buf *out);

/* The value of a query parameter, percent-decoded, into out (cut at size); false when it is not there. */
bool query_get(struct slice query, const char *name, char *out, size_t size);
/* Percent-decodes into out; false when it does not fit or is malformed. */
bool percent_decode(struct slice text, char *out, size_t size);

/* reads.c, writes.c, page.c, openapi.c: the handlers */
void handle_status(struct request *request, struct response *response);
void handle_routes(struct request *request, struct response *response);
void handle_route(struct request *request, struct response *response);
void handle_route_create(struct request *request, struct response *response);
void handle_route_replace(struct request *request, struct response *response);
void handle_route_delete(struct request *request, struct response *response);
void handle_weight(struct request *request, struct response *response);
void handle_weight_set(struct request *request, struct response *response);
void handle_verb(struct request *request, struct response *response);
void handle_diffs(struct request *request, struct response *response);
void handle_samples(struct request *request, struct response *response);
void handle_decisions(struct request *request, struct response *response);
void handle_series(struct request *request, struct response *response);
void handle_ignore(struct request *request, struct response *response);
void handle_migrations(struct request *request, struct response *response);
void handle_migration(struct request *request, struct response *response);
void handle_migration_create(struct request *request, struct response *response);
void handle_migration_delete(struct request *request, struct response *response);
void handle_events(struct request *request, struct response *response);
void handle_data_path(struct request *request, struct response *response);
void handle_trace(struct request *request, struct response *response);
void handle_kill_switch(struct request *request, struct response *response);
void handle_kill_switch_set(struct request *request, struct response *response);
void handle_config(struct request *request, struct response *response);
void handle_reload(struct request *request, struct response *response);
void handle_audit(struct request *request, struct response *response);
void handle_healthz(struct request *request, struct response *response);
void handle_readyz(struct request *request, struct response *response);
void handle_metrics(struct request *request, struct response *response);
void handle_openapi(struct request *request, struct response *response);
void handle_page(struct request *request, struct response *response);

#endif
