/* SPDX-License-Identifier: Apache-2.0 */
/* spec: see spec.h. The tables, then what only several values together can tell. */
#include "pipeline/spec_internal.h"

#include "config_schema.h"
#include "config_value.h"

#include <errno.h>
#include <stdlib.h>

#define SPEC(field) offsetof(struct spec, field)
#define MINUTE_MS   UINT64_C(60000)
#define DAY_MS	    (24 * 60 * MINUTE_MS)

const char *const language_words[] = {
#define X(name, word) word,
	LANGUAGES(X)
#undef X
		NULL};
const char *const deploy_words[] = {[DEPLOY_AUTO] = "auto",
				    [DEPLOY_PROCESS] = "process",
				    [DEPLOY_DOCKER] = "docker",
				    [DEPLOY_KIND_COUNT] = NULL};
static const char *const runner_words[] = {
#define X(name, word) word,
	TRAFFIC_RUNNERS(X)
#undef X
		NULL};
static const char *const network_words[] = {
	[NETWORK_HOST] = "host", [NETWORK_BRIDGE] = "bridge", [NETWORK_COUNT] = NULL};

/* --- single values --- */

bool spec_has_control_bytes(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
			return true;
	}
	return false;
}

static bool refuse(struct buf *why, const char *sentence)
{
	buf_append_str(why, sentence);
	return false;
}

bool source_path_check(struct slice path, struct buf *why)
{
	if (path.len == 0 || path.len > SPEC_PATH_BYTES_MAX) {
		buf_printf(why, "is %zu bytes long, must be 1 to %u", path.len, SPEC_PATH_BYTES_MAX);
		return false;
	}
	if (path.ptr[0] == '/')
		return refuse(why, "is absolute, must be relative to the service's directory");
	if (spec_has_control_bytes(path) || memchr(path.ptr, '\\', path.len))
		return refuse(why, "has control characters or a backslash");
	const char *end = path.ptr + path.len;
	for (const char *piece = path.ptr;;) {
		const char *slash = memchr(piece, '/', (size_t)(end - piece));
		struct slice name = slice_of(piece, (size_t)((slash ? slash : end) - piece));
		if (name.len == 0 || slice_equal(name, SLICE(".")))
			return refuse(why, "has an empty piece or \".\"");
		if (slice_equal(name, SLICE("..")))
			return refuse(why, "leads outside the service's directory (\"..\")");
		if (name.len > 200)
			return refuse(why, "has a piece longer than 200 bytes");
		if (slice_starts(name, SLICE(".phoenix")))
			return refuse(why, "begins with \".phoenix\": such names are Phoenix's own");
		if (!slash)
			return true;
		piece = slash + 1;
	}
}

bool spec_absolute_path_check(struct slice text, struct buf *why)
{
	if (text.len < 2 || text.ptr[0] != '/')
		return refuse(why, "must be an absolute path");
	return source_path_check(slice_of(text.ptr + 1, text.len - 1), why);
}

static bool any_path_check(struct slice text, struct buf *why)
{
	if (text.len == 0 || text.len > SPEC_PATH_BYTES_MAX || spec_has_control_bytes(text)) {
		buf_printf(why, "must be a path of 1 to %u bytes", SPEC_PATH_BYTES_MAX);
		return false;
	}
	return true;
}

static bool health_check(struct slice text, struct buf *why)
{
	if (text.len == 0 || text.len > PATH_BYTES_MAX || text.ptr[0] != '/')
		return refuse(why, "must be a path that begins with \"/\"");
	for (size_t i = 0; i < text.len; i++) {
		if ((unsigned char)text.ptr[i] <= 0x20 || (unsigned char)text.ptr[i] >= 0x7f ||
		    text.ptr[i] == '#')
			return refuse(why, "has white space, \"#\" or bytes that must be percent-encoded");
	}
	return true;
}

/* What docker and docker-compose take for names, and all that a name can do is name something. */
static bool name_check(struct slice text, struct buf *why)
{
	bool fine = text.len >= 1 && text.len <= 63 && text.ptr[0] != '-' && text.ptr[0] != '_';
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		fine &= (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
	}
	return fine ||
	       refuse(why, "must be 1 to 63 of a-z, 0-9, \"-\" and \"_\", beginning with a letter or digit");
}

/* Also a folder's name, a label, and (in lower case) an image's. */
static bool id_check(struct slice text, struct buf *why)
{
	bool fine = text.len >= 1 && text.len <= 64;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool letter = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
		fine &= letter || (i > 0 && (c == '-' || c == '_' || c == '.'));
	}
	return fine || refuse(why, "must be 1 to 64 of letters, digits, \"-\", \"_\" and \".\", beginning "
				   "with a letter or "
				   "digit");
}

static bool image_check(struct slice text, struct buf *why)
{
	bool fine = text.len >= 1 && text.len <= 255 && text.ptr[0] != '-';
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		fine &= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			strchr("._-/:@", c);
	}
	return fine || refuse(why, "is no image name such as \"python:3-slim\"");
}

static bool account_check(struct slice text, struct buf *why)
{
	bool fine = text.len >= 1 && text.len <= 32 && text.ptr[0] != '-';
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		fine &= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '-' || c == '_' || c == '.';
	}
	return fine || refuse(why, "is no user name");
}

static bool argument_check(struct slice text, struct buf *why)
{
	if (text.len > 8192)
		return refuse(why, "is longer than 8192 bytes");
	return true;
}

static bool dockerfile_check(struct slice text, struct buf *why)
{
	if (text.len == 0 || text.len > (1u << 16))
		return refuse(why, "must be the Dockerfile's text, 1 to 65536 bytes");
	return true;
}

/* --- the tables --- */

static const struct key_spec service_keys[] = {
	{"source", KEY_JSON, SPEC(service.source), NULL,
	 .help = "The code: {\"files\": {path: text}} or {\"directory\": path}."},
	{"language", KEY_WORD, SPEC(service.language), "\"auto\"", .words = language_words,
	 .help = "Decides template, build and start where they are not given; auto: by the files' names."},
	{"dockerfile", KEY_STRING, SPEC(service.dockerfile), "null", .nullable = true,
	 .check = dockerfile_check,
	 .help = "Text of the Dockerfile; null: the source's own, or the language's template."},
	{"image", KEY_STRING, SPEC(service.image), "null", .nullable = true, .check = image_check,
	 .help = "Base image of the template."},
	{"entry", KEY_STRING, SPEC(service.entry), "null", .nullable = true, .check = source_path_check,
	 .help = "The file that is run; null: found by its name (server.py, app.py, index.js, …)."},
	{"port", KEY_U32, SPEC(service.port), NULL, 1, 65535,
	 .help = "The service listens here, on 127.0.0.1; it is told in $PORT."},
	{"health", KEY_STRING, SPEC(service.health), "null", .nullable = true, .check = health_check,
	 .help = "GET of this path must answer 2xx or 3xx; null: GET / must answer anything below 500."},
	{"build", KEY_STRINGS, SPEC(service.build), "[]", 0, 64, .check = argument_check,
	 .form = "an argument",
	 .help = "Program and arguments that build it, without a shell; []: the language's."},
	{"command", KEY_STRINGS, SPEC(service.command), "[]", 0, 64, .check = argument_check,
	 .form = "an argument",
	 .help = "Program and arguments that run it, without a shell; []: the language's."},
	{"environment", KEY_JSON, SPEC(service.environment), "{}", .help = "Its variables: {NAME: text}."},
	{.key = NULL}};

static const struct key_spec deploy_keys[] = {
	{"kind", KEY_WORD, SPEC(deploy.kind), "\"auto\"", .words = deploy_words,
	 .help = "docker (docker-compose), process (a plain process), auto: docker where it is, else "
		 "process."},
	{"directory", KEY_STRING, SPEC(deploy.directory), "null", .nullable = true, .check = any_path_check,
	 .help = "Where docker-compose.yml and a folder of the service's name go; null: the pipeline's own."},
	{"project", KEY_STRING, SPEC(deploy.project), "\"phoenix\"", .check = name_check,
	 .help = "Project of docker-compose (-p)."},
	{"service", KEY_STRING, SPEC(deploy.service), "null", .nullable = true, .check = name_check,
	 .help = "The service in docker-compose.yml; null: the spec's id. One that Phoenix did not write is "
		 "replaced only when it is named here."},
	{"network", KEY_WORD, SPEC(deploy.network), "\"host\"", .words = network_words,
	 .help = "host: the machine's own loopback; bridge: a port published on 127.0.0.1; the service must "
		 "listen on "
		 "0.0.0.0 (told in $HOST)."},
	{"user", KEY_STRING, SPEC(deploy.user), "null", .nullable = true, .check = account_check,
	 .help = "A process builds and runs as this user; null: as the daemon."},
	{"memory_mb", KEY_U32, SPEC(deploy.memory_mb), "0", 0, 1u << 20,
	 .help = "Memory the service may use; 0: no limit."},
	{.key = NULL}};

static const struct key_spec traffic_keys[] = {
	{"scenario", KEY_JSON, SPEC(traffic.scenario), "null", .nullable = true,
	 .help = "What is sent, as an object, or a file's name within the source."},
	{"generate", KEY_JSON, SPEC(traffic.generate), "null", .nullable = true,
	 .help = "Arguments of `phoenixctl traffic generate` that make the scenario, run in the source's "
		 "folder. With "
		 "neither it is made of the cases of \"verify\" and the route's path."},
	{"runner", KEY_WORD, SPEC(traffic.runner), "\"phoenix-traffic\"", .words = runner_words,
	 .help = "Who sends it: phoenix-traffic, or k6, which must be installed; the scenario becomes its "
		 "script."},
	{"rate", KEY_U32, SPEC(traffic.rate), "100", 0, 100000,
	 .help = "Requests a second; 0: Phoenix sends none."},
	{"connections", KEY_U32, SPEC(traffic.connections), "16", 1, 1000, .help = "Keep-alive connections."},
	{"round_ms", KEY_U32, SPEC(traffic.round_ms), "5000", 100, 10 * MINUTE_MS,
	 .help = "After so long the client's counts and thresholds are looked at, then it goes on."},
	{"rounds", KEY_U32, SPEC(traffic.rounds), "0", 0, 1000000,
	 .help = "At most so many rounds; 0: until the migration is over."},
	{.key = NULL}};

static const struct key_spec deadline_keys[] = {
	{"verify_ms", KEY_U32, SPEC(deadline.verify_ms), "600000", 100, DAY_MS,
	 .help = "Files, build, trial."},
	{"deploy_ms", KEY_U32, SPEC(deadline.deploy_ms), "600000", 100, DAY_MS,
	 .help = "Putting it in place."},
	{"healthy_ms", KEY_U32, SPEC(deadline.healthy_ms), "60000", 100, DAY_MS,
	 .help = "From the start (also of the trial) to the first healthy answer."},
	{"mirror_ms", KEY_U32, SPEC(deadline.mirror_ms), "0", 0, 30 * DAY_MS,
	 .help = "Until the first step; then it is rolled back. 0: no limit."},
	{"migrate_ms", KEY_U32, SPEC(deadline.migrate_ms), "0", 0, 30 * DAY_MS,
	 .help = "Until 100 %; then it is rolled back. 0: no limit."},
	{.key = NULL}};

static const struct section_spec service_section = {"The service's code and how it runs.", service_keys};
static const struct section_spec deploy_section = {"Where and how it is deployed.", deploy_keys};
static const struct section_spec traffic_section = {"Requests that Phoenix makes itself.", traffic_keys};
static const struct section_spec deadline_section = {"How long each stage may take.", deadline_keys};

static const struct key_spec spec_keys[] = {
	{"id", KEY_STRING, SPEC(id), NULL, .check = id_check,
	 .help = "Name of migration, route and service."},
	{"route", KEY_JSON, SPEC(route_raw), NULL, .help = "An element of the configuration's routes."},
	{"service", KEY_SECTION, 0, "", .section = &service_section},
	{"verify", KEY_JSON, SPEC(verify), "[]",
	 .help = "Cases {request, response} that must be answered equally; without response legacy is asked. "
		 "A "
		 "text is the name of a file with a case, within the source or as Phoenix wrote it."},
	{"deploy", KEY_SECTION, 0, "", .section = &deploy_section},
	{"traffic", KEY_SECTION, 0, "", .section = &traffic_section},
	{"policy", KEY_JSON, SPEC(policy), "{}", .help = "The route's arbiter."},
	{"deadline", KEY_SECTION, 0, "", .section = &deadline_section},
	{.key = NULL}};

const struct section_spec spec_section = {"One migration.", spec_keys};

/* --- what only several values together can tell --- */

static struct mark mark_at(const struct node *map, const char *key)
{
	const struct node *node = node_find(map, key);
	return node ? node->at : map ? map->at : (struct mark){1, 1};
}

static bool is_loopback(const char *host)
{
	return strcmp(host, "127.0.0.1") == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

static void check_together(struct report *report, const struct node *root, const struct spec *spec)
{
	const struct node *route = node_find(root, "route");
	const struct config_url *modern = &spec->route->modern, *legacy = &spec->route->legacy;
	if (spec->route->id && spec->id && strcmp(spec->route->id, spec->id) != 0)
		report_error(report, mark_at(route, "id"),
			     "route.id %s is not the spec's id %s; leave it out",
			     quote(slice_str(spec->route->id)).text, quote(slice_str(spec->id)).text);
	if (modern->host && spec->service.port &&
	    (!is_loopback(modern->host) || modern->port != spec->service.port))
		report_error(report, mark_at(route, "modern_url"),
			     "route.modern_url %s is not where the service is deployed "
			     "(http://127.0.0.1:%u); leave it out",
			     quote(slice_str(modern->text)).text, spec->service.port);
	if (legacy->host && is_loopback(legacy->host) && legacy->port == spec->service.port)
		report_error(report, mark_at(node_find(root, "service"), "port"),
			     "service.port %u is the legacy service's own port; the new one needs another",
			     spec->service.port);
	if (spec->route->weight_bp)
		report_error(report, mark_at(route, "weight"),
			     "route.weight is not for a spec: a migration begins at 0");
	if (spec->traffic.scenario && spec->traffic.generate)
		report_error(report, mark_at(node_find(root, "traffic"), "generate"),
			     "traffic has both \"scenario\" and \"generate\"; give one");
}

/* --- the whole --- */

/* Lets "policy" stand for the route's arbiter: its members go there, and a key in both is a duplicate. */
static void move_policy(struct tree *tree, struct node *route)
{
	struct node *policy = node_find(tree->root, "policy"), *arbiter = node_find(route, "arbiter");
	if (!policy || policy->kind != NODE_MAP || policy->count == 0)
		return;
	if (arbiter && arbiter->kind == NODE_MAP) {
		if (arbiter->last)
			arbiter->last->next = policy->first;
		else
			arbiter->first = policy->first;
		arbiter->last = policy->last;
		arbiter->count += policy->count;
	} else if (!arbiter) {
		/* A second node over the same members: the first stays in its own list. */
		static const char word[] = "arbiter";
		struct node *copy = policy;
		struct node *previous = NULL;
		for (struct node *node = tree->root->first; node && node != policy; node = node->next)
			previous = node;
		if (previous)
			previous->next = policy->next;
		else
			tree->root->first = policy->next;
		if (tree->root->last == policy)
			tree->root->last = previous;
		tree->root->count--;
		copy->key = slice_of(word, sizeof(word) - 1);
		copy->next = NULL;
		if (route->last)
			route->last->next = copy;
		else
			route->first = copy;
		route->last = copy;
		route->count++;
	}
}

static void read_route(struct report *report, struct tree *tree, struct spec *spec)
{
	struct node *node = node_find(tree->root, "route");
	if (!node)
		return;
	if (node->kind != NODE_MAP) {
		report_error(report, node->at, "route is %s, must be an object", node_kind_name(node->kind));
		return;
	}
	const struct node *policy = node_find(tree->root, "policy");
	if (policy && policy->kind != NODE_MAP) {
		report_error(report, policy->at, "policy is %s, must be an object",
			     node_kind_name(policy->kind));
		return;
	}
	struct report nothing = {.file = "defaults"};
	struct tree defaults;
	struct buf more = {0};
	tree_init(&defaults, &nothing);
	if (spec->id)
		buf_printf(&more, "\"id\":\"%s\",", spec->id); /* name_check: nothing to escape */
	buf_printf(&more, "\"modern_url\":\"http://127.0.0.1:%u\"",
		   spec->service.port ? spec->service.port : 1);
	if (config_read_defaults(&defaults, &route_section, buf_cstr(&more)))
		report->no_memory = true;
	move_policy(tree, node);
	struct where root = {0}, here = {.up = &root, .key = "route"};
	struct config_reader reader = {.report = report};
	spec->route->line = node->at.line;
	spec->route->col = node->at.col;
	section_read(&reader, &route_section, node, defaults.root, &here, spec->route);
	route_settle(spec->route);
	route_check(report, node, &here, spec->route);
	check_together(report, tree->root, spec);
	tree_fini(&defaults);
	struct buf lines = {0};
	report_finish(&nothing, &lines);
	buf_fini(&lines);
	buf_fini(&more);
}

/* Without a service the rest is not looked at; but its name may only be misspelt. */
static void complain_about_service(struct report *report, const struct node *root, const struct node *service)
{
	static const char *const words[] = {"service", NULL};
	for (const struct node *key = root->first; key && !service; key = key->next) {
		if (report_suggest(key->key, words)) {
			report_error(report, key->key_at, "unknown key %s; did you mean \"service\"?",
				     quote(key->key).text);
			return;
		}
	}
	report_error(report, service ? service->at : root->at,
		     "\"service\" must be an object with source and port");
}

static void read_spec(struct report *report, struct tree *tree, const char *base, struct spec *spec)
{
	struct report nothing = {.file = "defaults"};
	struct tree defaults;
	struct where root = {0};
	struct config_reader reader = {.report = report};
	tree_init(&defaults, &nothing);
	if (config_read_defaults(&defaults, &spec_section, ""))
		report->no_memory = true;
	spec->document = node_to_json(tree->root);
	report->no_memory |= !spec->document;
	const struct node *service = node_find(tree->root, "service");
	if (!service || service->kind != NODE_MAP)
		complain_about_service(report, tree->root, service);
	else
		section_read(&reader, &spec_section, tree->root, defaults.root, &root, spec);
	spec_check_source(report, service, base, spec);
	spec_check_deploy(report, node_find(tree->root, "deploy"), base, spec);
	spec_check_environment(report, service);
	spec_check_cases(report, tree->root);
	spec_check_generate(report, node_find(tree->root, "traffic"));
	read_route(report, tree, spec);
	tree_fini(&defaults);
	struct buf lines = {0};
	report_finish(&nothing, &lines);
	buf_fini(&lines);
}

int spec_parse(const char *name, struct slice text, const char *base, struct spec **out, struct buf *errors)
{
	struct report report = {.file = name};
	struct tree tree;
	tree_init(&tree, &report);
	struct spec *spec = calloc(1, sizeof(*spec));
	if (spec)
		spec->route = calloc(1, sizeof(*spec->route));
	report.no_memory = !spec || !spec->route;
	if (!report.no_memory && config_read_tree(name, text, &tree) == 0)
		read_spec(&report, &tree, base, spec);
	tree_fini(&tree);
	int err = report_finish(&report, errors);
	if (err)
		spec_destroy(spec);
	else
		*out = spec;
	return err;
}

void spec_destroy(struct spec *spec)
{
	if (!spec)
		return;
	section_fini(&spec_section, spec);
	json_decref(spec->document);
	route_config_destroy(spec->route);
	free(spec);
}
