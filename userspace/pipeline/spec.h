/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec: what `phoenixctl migrate FILE` is given: a service's code, its route, and how to get there.
 *
 *   {"id": "users",
 *    "route":   {"method": "GET", "path": "/users/{id}", "legacy_url": "http://127.0.0.1:9001"},
 *    "service": {"source": {"directory": "users-service"}, "language": "python", "port": 9102, "health":
 * "/healthz"}, "verify":  [{"request": {"path": "/users/1"}, "response": {"status": 200, "body": {"id":
 * 1}}}], "deploy":  {"kind": "process"}, "traffic": {"scenario": {…}, "rate": 100}, "policy": {"min_samples":
 * 100, "step": 0.25}}
 *
 * JSON or YAML, read by the table and with the messages of the configuration (config_schema.h). "route" is
 * one element of the configuration's "routes" whose modern_url is the service's port, and "policy" is its
 * "arbiter". Nothing of a spec is believed: names, paths, counts and sizes are checked here, before anything
 * is done.
 */
#ifndef PHOENIX_PIPELINE_SPEC_H
#define PHOENIX_PIPELINE_SPEC_H

#include "config.h"

#define SPEC_FILES_MAX		512
#define SPEC_FILE_BYTES_MAX	(16u << 20)
#define SPEC_SOURCE_BYTES_MAX	(256u << 20) /* all files of a source */
#define SPEC_SOURCE_ENTRIES_MAX 20000	     /* files, links and folders of a source directory */
#define SPEC_PATH_BYTES_MAX	512
#define SPEC_CASES_MAX		1000
#define SPEC_ENVIRONMENT_MAX	128

/* X(NAME, word) */
#define LANGUAGES(X)                                                                                         \
	X(AUTO, "auto")                                                                                      \
	X(C, "c")                                                                                            \
	X(PYTHON, "python")                                                                                  \
	X(NODE, "node")                                                                                      \
	X(GO, "go")                                                                                          \
	X(JAVA, "java")

enum language {
#define X(name, word) LANGUAGE_##name,
	LANGUAGES(X)
#undef X
		LANGUAGE_COUNT
};
extern const char *const language_words[];

enum deploy_kind { DEPLOY_AUTO, DEPLOY_PROCESS, DEPLOY_DOCKER, DEPLOY_KIND_COUNT };
extern const char *const deploy_words[];

/* X(NAME, word): who sends the traffic; the words of `phoenixctl traffic run --with` */
#define TRAFFIC_RUNNERS(X)                                                                                   \
	X(PHOENIX, "phoenix-traffic")                                                                        \
	X(K6, "k6")

enum traffic_runner {
#define X(name, word) TRAFFIC_##name,
	TRAFFIC_RUNNERS(X)
#undef X
		TRAFFIC_RUNNER_COUNT
};

enum deploy_network { NETWORK_HOST, NETWORK_BRIDGE, NETWORK_COUNT };

struct spec {
	char *id;
	json_t *document;	    /* the whole, as JSON */
	json_t *route_raw, *policy; /* as they came; `route` is what counts */
	struct route_config *route;
	struct {
		json_t *source;	       /* {"files": {path: text}} or {"directory": path} */
		const json_t *files;   /* borrowed from source; NULL when it is a directory */
		const char *directory; /* borrowed from source; NULL when it is files */
		enum language language;
		char *dockerfile; /* its text; NULL: the source's own, or a template */
		char *image;	  /* base image of the template; NULL: the template's own */
		char *entry;	  /* file that is run; NULL: found by its name */
		uint32_t port;
		char *health; /* path; NULL: any answer below 500 to GET / */
		struct string_list build, command;
		json_t *environment; /* {name: text} */
	} service;
	json_t *verify; /* array of cases and of file names within the source; may be NULL */
	struct {
		enum deploy_kind kind;
		char *directory; /* absolute; NULL: the pipeline's own */
		char *project, *service;
		enum deploy_network network;
		char *user; /* a process runs as; NULL: as the daemon */
		uint32_t memory_mb;
	} deploy;
	struct {
		json_t *scenario, *generate;
		enum traffic_runner runner;
		uint32_t rate, connections, round_ms, rounds;
	} traffic;
	struct {
		uint32_t verify_ms, deploy_ms, healthy_ms, mirror_ms, migrate_ms;
	} deadline;
};

/*
 * Reads a spec; `name` is used in messages and decides the notation. `base`: the folder that relative
 * directories are relative to (they are absolute in the document then); NULL: they must be absolute. 0 and
 * *out (owned by the caller), or -EINVAL/-ENOMEM with a line for every error in `errors`, which has warnings
 * on success too.
 */
int spec_parse(const char *name, struct slice text, const char *base, struct spec **out, struct buf *errors);
/* NULL-safe. */
void spec_destroy(struct spec *spec);

/*
 * May this be the path of a file within a source? Relative, no "." or "..", no empty piece, no control
 * characters, nothing that begins with ".phoenix". On false `why` has the rest of a sentence.
 */
bool source_path_check(struct slice path, struct buf *why);

/* The table of keys (config_schema.h). */
extern const struct section_spec spec_section;

#endif
