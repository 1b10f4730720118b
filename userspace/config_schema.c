/* SPDX-License-Identifier: Apache-2.0 */
/* config_schema: the table, and the JSON Schema made from it. See config_schema.h. */
#include "config_schema.h"

#include "config_value.h"

#define ROUTE(field)  offsetof(struct route_config, field)
#define CONFIG(field) offsetof(struct config, field)
#define SECOND_MS     UINT64_C(1000)
#define HOUR_MS	      (3600 * SECOND_MS)
#define DAY_MS	      (24 * HOUR_MS)

static const char *const policy_words[] = {
	[POLICY_LITERAL] = "literal", [POLICY_BOUNDED] = "bounded", [POLICY_BOUNDED + 1] = NULL};
static const char *const failure_words[] = {
	[ON_FAILURE_ROLLBACK] = "rollback", [ON_FAILURE_PAUSE] = "pause", [ON_FAILURE_PAUSE + 1] = NULL};
static const char *const noise_words[] = {
	[NOISE_PROPOSE] = "propose", [NOISE_APPLY] = "apply", [NOISE_APPLY + 1] = NULL};
static const char *const store_words[] = {
	[STORE_FILE] = "file", [STORE_MEMORY] = "memory", [STORE_REDIS] = "redis", [STORE_REDIS + 1] = NULL};
static const char *const dead_man_words[] = {[DEAD_MAN_CONTINUE] = "continue",
					     [DEAD_MAN_FREEZE] = "freeze",
					     [DEAD_MAN_LEGACY] = "legacy",
					     [DEAD_MAN_LEGACY + 1] = NULL};
static const char *const xdp_words[] = {[XDP_MODE_AUTO] = "auto",
					[XDP_MODE_NATIVE] = "native",
					[XDP_MODE_GENERIC] = "generic",
					[XDP_MODE_OFF] = "off",
					[XDP_MODE_OFF + 1] = NULL};
static const char *const attach_words[] = {
	[XDP_BY_LINK] = "link", [XDP_BY_LIBXDP] = "libxdp", [XDP_BY_LIBXDP + 1] = NULL};

#define POINTER_FORM	"a JSON pointer such as \"/items/*/updated_at\""
#define POINTER_PATTERN "^(/([^~]|~[01])*)?$"

static const struct key_spec split_keys[] = {{"by", KEY_SPLIT, ROUTE(split_by), "\"request\"",
					      .pattern = "^(request|client_ip|(header|cookie):.+)$",
					      .help = "What decides the side: each request by itself, or a "
						      "key whose owner always gets the same side."},
					     {.key = NULL}};

static const struct key_spec mirror_keys[] = {
	{"sample", KEY_FRACTION, ROUTE(mirror.sample_bp), "1.0", 0, CONFIG_WEIGHT_ONE,
	 .help = "Share of the requests that are also sent to the other side and compared."},
	{"unsafe_methods", KEY_BOOL, ROUTE(mirror.unsafe_methods), "false",
	 .help = "Also send POST, PUT, PATCH, DELETE and the like to both services. They must bear that."},
	{"max_body_bytes", KEY_U64, ROUTE(mirror.max_body_bytes), "1048576", 0, 1u << 30,
	 .help = "A message with a larger body is not compared, and counted so."},
	{"timeout_ms", KEY_U32, ROUTE(mirror.timeout_ms), "2000", 1, HOUR_MS,
	 .help = "The other side must answer within this; the client never waits for it."},
	{"control", KEY_FRACTION, ROUTE(mirror.control_bp), "0.02", 0, CONFIG_WEIGHT_ONE,
	 .help = "Share of the compared requests (safe methods only) that legacy is asked once more, to "
		 "learn "
		 "where it disagrees with itself; 0: never."},
	{.key = NULL}};

static const struct key_spec compare_keys[] = {
	{"ignore", KEY_STRINGS, ROUTE(compare.ignore), "[]", 0, LIST_ITEMS_MAX, .check = pointer_text_check,
	 .form = POINTER_FORM, .pattern = POINTER_PATTERN, .help = "Places in the body that may differ."},
	{"headers", KEY_STRINGS, ROUTE(compare.headers), "[\"content-type\"]", 0, LIST_ITEMS_MAX,
	 .lower = true, .check = field_name_check, .form = "a header name",
	 .help = "Header fields that are compared besides status and body."},
	{"float_tolerance", KEY_REAL, ROUTE(compare.float_tolerance), "0", 0, 1000000,
	 .help = "Numbers in the body that differ by no more than this are equal; 0 means exactly."},
	{"unordered", KEY_STRINGS, ROUTE(compare.unordered), "[]", 0, LIST_ITEMS_MAX,
	 .check = pointer_text_check, .form = POINTER_FORM, .pattern = POINTER_PATTERN,
	 .help = "Arrays in the body whose order does not matter."},
	{"redact", KEY_STRINGS, ROUTE(compare.redact), "[]", 0, LIST_ITEMS_MAX, .check = pointer_text_check,
	 .form = POINTER_FORM, .pattern = POINTER_PATTERN,
	 .help = "Places in the body whose values are never stored or shown in clear."},
	{"noise", KEY_WORD, ROUTE(compare.noise), "\"propose\"", .words = noise_words,
	 .help = "Places where legacy disagrees with itself: propose them for the ignore list, or apply: put "
		 "them on it."},
	{.key = NULL}};

static const struct key_spec arbiter_keys[] = {
	{"enabled", KEY_BOOL, ROUTE(arbiter.enabled), "true",
	 .help = "Let the arbiter move this route's weight."},
	{"policy", KEY_WORD, ROUTE(arbiter.policy), "\"literal\"", .words = policy_words,
	 .help = "literal: thresholds over the samples of a step; bounded: and a sequential test besides."},
	{"promote_above", KEY_FRACTION, ROUTE(arbiter.promote_above_bp), "0.99", 0, CONFIG_WEIGHT_ONE,
	 .help = "A step is done when consistency is strictly above this."},
	{"rollback_below", KEY_FRACTION, ROUTE(arbiter.rollback_below_bp), "0.95", 0, CONFIG_WEIGHT_ONE,
	 .help = "The weight goes to 0 when consistency is strictly below this."},
	{"min_samples", KEY_U32, ROUTE(arbiter.min_samples), "100", 0, 1000000000,
	 .help = "A step needs strictly more comparable samples than this."},
	{"rollback_min_samples", KEY_U32, ROUTE(arbiter.rollback_min_samples), "null", 1, 1000000000,
	 .nullable = true,
	 .help = "No rollback on fewer comparable samples than this; null: 20 with literal, 100 with bounded "
		 "(which rolls back earlier when the likelihood ratio is overwhelming)."},
	{"step", KEY_FRACTION, ROUTE(arbiter.step_bp), "0.10", 1, CONFIG_WEIGHT_ONE,
	 .help = "What a step adds to the weight."},
	{"interval_ms", KEY_U32, ROUTE(arbiter.interval_ms), "1000", 10, HOUR_MS,
	 .help = "How often the arbiter looks."},
	{"min_step_ms", KEY_U32, ROUTE(arbiter.min_step_ms), "0", 0, 30 * DAY_MS,
	 .help = "A step lasts at least this long."},
	{"synthetic_max_weight", KEY_FRACTION, ROUTE(arbiter.synthetic_max_bp), "1.0", 0, CONFIG_WEIGHT_ONE,
	 .help = "A higher weight than this needs its evidence from real requests: those marked "
		 "X-Phoenix-Synthetic do not count for it."},
	{"min_shapes", KEY_U32, ROUTE(arbiter.min_shapes), "1", 1, 64,
	 .help = "Distinct request shapes (method, query names, body structure, status class) a step needs."},
	{"max_shape_share", KEY_FRACTION, ROUTE(arbiter.max_shape_bp), "1.0", 1, CONFIG_WEIGHT_ONE,
	 .help = "No step is done while one request shape has more than this share of its samples."},
	{"min_success", KEY_U32, ROUTE(arbiter.min_success), "1", 0, 1000000000,
	 .help = "Matching samples with a status below 400 that a step needs: a route whose answers are all "
		 "404 "
		 "has shown nothing. 0: errors are what it is asked for."},
	{"watch_alarm", KEY_REAL, ROUTE(arbiter.watch_alarm), "8", 0, 1000,
	 .help = "After completion: the CUSUM height at which on_failure acts; higher is slower and quieter; "
		 "0: no watch."},
	{"on_failure", KEY_WORD, ROUTE(arbiter.on_failure), "\"rollback\"", .words = failure_words,
	 .help = "What happens below rollback_below: weight 0, or stop where it is and wait for a person."},
	{"notify", KEY_STRINGS, ROUTE(arbiter.notify), "[]", 0, 16, .check = webhook_check, .secret = true,
	 .form = "an http:// or https:// URL", .pattern = "^https?://.+$",
	 .help = "Webhooks that get each decision as a JSON POST."},
	{.key = NULL}};

static const struct key_spec health_keys[] = {
	{"path", KEY_STRING, ROUTE(health.path), "null", .nullable = true, .check = health_path_check,
	 .pattern = "^/[!-~]*$",
	 .help = "Both services are asked for this with GET; an answer from 200 to 399 is good. null: no "
		 "checks."},
	{"interval_ms", KEY_U32, ROUTE(health.interval_ms), "2000", 50, HOUR_MS,
	 .help = "From one check to the next."},
	{"timeout_ms", KEY_U32, ROUTE(health.timeout_ms), "1000", 1, HOUR_MS,
	 .help = "A check must be answered within this."},
	{"fall", KEY_U32, ROUTE(health.fall), "3", 1, 1000, .help = "Failed checks in a row: down."},
	{"rise", KEY_U32, ROUTE(health.rise), "2", 1, 1000, .help = "Good checks in a row: up again."},
	{"eject_after", KEY_U32, ROUTE(health.eject_after), "5", 0, 1000000,
	 .help = "Live requests in a row that a service does not answer: down for eject_ms; 0: never."},
	{"eject_ms", KEY_U32, ROUTE(health.eject_ms), "10000", 1, DAY_MS,
	 .help = "After this, live requests may try it again; the first that fails ejects it once more."},
	{"failover", KEY_BOOL, ROUTE(health.failover), "true",
	 .help = "Requests for modern go to legacy while modern is down, and when it cannot have seen them."},
	{.key = NULL}};

static const struct section_spec health_section = {"When a service is not asked for a while.", health_keys};
static const struct section_spec split_section = {"How requests are split.", split_keys};
static const struct section_spec mirror_section = {"How the other side is asked as well.", mirror_keys};
static const struct section_spec compare_section = {"What counts as the same answer.", compare_keys};
static const struct section_spec arbiter_section = {"When the weight moves by itself.", arbiter_keys};

static const struct key_spec route_keys[] = {
	{"id", KEY_STRING, ROUTE(id), NULL, .check = route_id_check, .pattern = "^[A-Za-z0-9._-]{1,64}$",
	 .help = "The route's name in the API, in metrics and in phoenixctl; unique."},
	{"method", KEY_METHODS, ROUTE(methods), "\"*\"",
	 .help = "One method, a list of methods, or \"*\" for all."},
	{"host", KEY_STRING, ROUTE(host), "null", .nullable = true, .lower = true, .check = host_check,
	 .help = "Only requests for this host, without port; left out: any host."},
	{"path", KEY_STRING, ROUTE(path), NULL, .check = path_pattern_check, .pattern = "^/[^?#]*$",
	 .help = "Exact (/api/users), prefix (/api/*) or with parameters (/users/{id}/orders)."},
	{"legacy_url", KEY_URL, ROUTE(legacy), NULL, .pattern = "^http://[^?#@]+$",
	 .help = "The old service: http://host[:port][/base]."},
	{"modern_url", KEY_URL, ROUTE(modern), NULL, .pattern = "^http://[^?#@]+$",
	 .help = "The new service: http://host[:port][/base]."},
	{"weight", KEY_FRACTION, ROUTE(weight_bp), "0.0", 0, CONFIG_WEIGHT_ONE,
	 .help = "Share of the requests that the modern service answers, in steps of 0.0001."},
	{"xdp", KEY_BOOL, ROUTE(xdp), "true", .help = "false: this route is never for the fast path."},
	{"split", KEY_SECTION, 0, "", .section = &split_section},
	{"mirror", KEY_SECTION, 0, "", .section = &mirror_section},
	{"compare", KEY_SECTION, 0, "", .section = &compare_section},
	{"arbiter", KEY_SECTION, 0, "", .section = &arbiter_section},
	{"health", KEY_SECTION, 0, "", .section = &health_section},
	{.key = NULL}};

const struct section_spec route_section = {"One endpoint that moves from legacy to modern.", route_keys};

static const struct key_spec admin_keys[] = {
	{"listen", KEY_LISTEN, CONFIG(admin.listen), "\"127.0.0.1:9900\"", .nullable = true,
	 .help = "Address of the admin API and the page; null: none. Not loopback: token_file is needed."},
	{"socket", KEY_STRING, CONFIG(admin.socket), "\"/run/phoenix/admin.sock\"", .nullable = true,
	 .check = socket_path_check, .help = "Unix socket of the admin API; null: none."},
	{"socket_group", KEY_STRING, CONFIG(admin.socket_group), "null", .nullable = true,
	 .check = group_check, .pattern = "^[a-z_][a-z0-9_-]{0,31}$",
	 .help = "Members of this group may use the socket too, as operators; null: only root and the "
		 "daemon's user may, as admins."},
	{"token_file", KEY_STRING, CONFIG(admin.token_file), "null", .nullable = true,
	 .check = file_path_check,
	 .help = "File with the tokens that the admin API accepts, NAME:ROLE:TOKEN a line (roles viewer, "
		 "operator, admin), mode 600; null: none is asked for."},
	{"allowed_hosts", KEY_STRINGS, CONFIG(admin.allowed_hosts), "[]", 0, LIST_ITEMS_MAX, .lower = true,
	 .check = host_port_check, .form = "a host name",
	 .help = "Host values that browsers may use besides the address itself and localhost."},
	{.key = NULL}};

static const struct key_spec state_keys[] = {
	{"store", KEY_WORD, CONFIG(state.kind), "\"file\"", .words = store_words,
	 .help = "Where weights, decisions and routes made by REST live."},
	{"path", KEY_STRING, CONFIG(state.path), "\"/var/lib/phoenix/state.json\"", .check = file_path_check,
	 .help = "The state file of the store \"file\"."},
	{"url", KEY_STRING, CONFIG(state.url), "null", .nullable = true, .secret = true,
	 .check = redis_url_check,
	 .help = "The server of the store \"redis\": redis://[user:password@]host:port/database or "
		 "unix:///path?db=number."},
	{"password_file", KEY_STRING, CONFIG(state.password_file), "null", .nullable = true,
	 .check = file_path_check,
	 .help = "File whose first line is Redis' password; null: that of the URL."},
	{"prefix", KEY_STRING, CONFIG(state.prefix), "\"phoenix:\"", .check = redis_prefix_check,
	 .pattern = "^[A-Za-z0-9:._-]{1,64}$", .help = "What all keys in Redis begin with."},
	{"sentinels", KEY_STRINGS, CONFIG(state.sentinels), "[]", 0, 16, .check = host_port_check,
	 .form = "a sentinel's host:port",
	 .help = "Redis Sentinels that are asked for the server; then state.url only says user and "
		 "database."},
	{"master", KEY_STRING, CONFIG(state.master), "null", .nullable = true, .check = redis_master_check,
	 .help = "What the sentinels call the server."},
	{"timeout_ms", KEY_U32, CONFIG(state.timeout_ms), "250", 10, 400,
	 .help = "Redis must take a connection, and answer a command, within this."},
	{"lease_ms", KEY_U32, CONFIG(state.lease_ms), "3000", 500, HOUR_MS,
	 .help = "With Redis: one gateway leads, by a lease of this length; when it dies, another one does "
		 "at "
		 "the latest after twice this time."},
	{"refresh_ms", KEY_U32, CONFIG(state.refresh_ms), "2000", 100, HOUR_MS,
	 .help = "All records in Redis are read again this often; changes are also announced at once."},
	{.key = NULL}};

static const struct key_spec dead_man_keys[] = {
	{"after_ms", KEY_U32, CONFIG(xdp.dead_man.after_ms), "10000", 1000, DAY_MS,
	 .help = "The daemon is taken for dead when it has not said for this long that it lives."},
	{"then", KEY_WORD, CONFIG(xdp.dead_man.then), "\"freeze\"", .words = dead_man_words,
	 .help = "freeze: weights stay, nothing is mirrored; legacy: every new request to legacy until the "
		 "daemon is back; continue: weights stay, samples are kept for the next daemon."},
	{.key = NULL}};
static const struct section_spec dead_man_section = {"What the fast path does without a daemon.",
						     dead_man_keys};

static const struct key_spec xdp_keys[] = {
	{"interfaces", KEY_STRINGS, CONFIG(xdp.interfaces), "[]", 0, 64, .check = interface_check,
	 .form = "an interface name", .help = "Network interfaces that get the fast path."},
	{"mode", KEY_WORD, CONFIG(xdp.mode), "\"auto\"", .words = xdp_words,
	 .help = "auto: native where possible, else generic; native: or fail; generic; off."},
	{"attach", KEY_WORD, CONFIG(xdp.attach), "\"link\"", .words = attach_words,
	 .help = "link: a program of its own on the interface, or libxdp's dispatcher where another one is "
		 "there already; libxdp: always by its dispatcher."},
	{"pin_dir", KEY_STRING, CONFIG(xdp.pin_dir), "\"/sys/fs/bpf/phoenix\"", .check = pin_dir_check,
	 .pattern = "^/[^.]+$",
	 .help = "Where programs, maps and links are pinned, below a bpf file system."},
	{"ports", KEY_STRING, CONFIG(xdp.ports), "\"16384-32767\"", .check = port_range_check,
	 .pattern = "^[0-9]+-[0-9]+$",
	 .help = "TCP ports that the fast path uses towards upstreams; one for each client connection. Must "
		 "not overlap net.ipv4.ip_local_port_range."},
	{"dead_man", KEY_SECTION, 0, "", .section = &dead_man_section},
	{.key = NULL}};

static const struct key_spec limit_keys[] = {
	{"head_bytes", KEY_U32, CONFIG(limits.head_bytes), "16384", 256, 1u << 20,
	 .help = "Request or response line and header fields of a message."},
	{"fields", KEY_U32, CONFIG(limits.fields), "128", 8, 256, .help = "Header fields in a message."},
	{"body_bytes", KEY_U64, CONFIG(limits.body_bytes), "0", 0, UINT64_C(1) << 53,
	 .help = "Body of a request; 0: any size."},
	{"header_timeout_ms", KEY_U32, CONFIG(limits.header_timeout_ms), "10000", 1, DAY_MS,
	 .help = "From a request's first byte to the end of its head."},
	{"idle_timeout_ms", KEY_U32, CONFIG(limits.idle_timeout_ms), "60000", 1, DAY_MS,
	 .help = "A client connection may be idle for this long."},
	{"upstream_timeout_ms", KEY_U32, CONFIG(limits.upstream_timeout_ms), "30000", 1, DAY_MS,
	 .help = "From the end of a request to the head of its response."},
	{"first_byte_timeout_ms", KEY_U32, CONFIG(limits.first_byte_timeout_ms), "0", 0, DAY_MS,
	 .help = "From the end of a request to the first byte of its response; 0: upstream_timeout_ms."},
	{"connect_timeout_ms", KEY_U32, CONFIG(limits.connect_timeout_ms), "3000", 1, DAY_MS,
	 .help = "To set up a connection to an upstream."},
	{"drain_ms", KEY_U32, CONFIG(limits.drain_ms), "5000", 0, DAY_MS,
	 .help = "When the daemon is told to end, requests under way may take this long."},
	{"upgrade_drain_ms", KEY_U32, CONFIG(limits.upgrade_drain_ms), "60000", 0, DAY_MS,
	 .help = "After another daemon took over, requests and idle connections of this one may stay this "
		 "long."},
	{"min_rate_bytes", KEY_U32, CONFIG(limits.min_rate_bytes), "100", 0, 1000000000,
	 .help = "A client that sends or takes a body more slowly, in bytes a second over idle_timeout_ms, "
		 "is cut; 0: never."},
	{"connections_per_address", KEY_U32, CONFIG(limits.connections_per_address), "0", 0, 10000000,
	 .help = "Client connections from one address; 0: any number."},
	{"connections_per_listener", KEY_U32, CONFIG(limits.connections_per_listener), "0", 0, 10000000,
	 .help = "Client connections at one address of listen; 0: any number."},
	{"pipeline", KEY_U32, CONFIG(limits.pipeline), "128", 1, 100000,
	 .help = "Requests that a client may send in one go, before the answer to the first."},
	{"memory_bytes", KEY_U64, CONFIG(limits.memory_bytes), "0", 0, UINT64_C(1) << 46,
	 .help = "What connections, heads and buffers may take in all; 0: what the system has."},
	{"connections", KEY_U32, CONFIG(limits.connections), "20000", 1, 10000000,
	 .help = "Client connections, all workers together."},
	{"upstream_connections", KEY_U32, CONFIG(limits.upstream_connections), "4096", 1, 10000000,
	 .help = "Connections to one upstream, all workers together."},
	{"sample_memory_bytes", KEY_U64, CONFIG(limits.sample_memory_bytes), "67108864", 1u << 16,
	 UINT64_C(1) << 40, .help = "What sampled exchanges may hold in all; over it, samples are dropped."},
	{.key = NULL}};

static const struct key_spec pipeline_keys[] = {{"directory", KEY_STRING, CONFIG(pipeline.directory), "null",
						 .nullable = true, .check = file_path_check,
						 .help = "Where migrations keep specs, logs, cases and, "
							 "unless a spec says otherwise, the deployed code; "
							 "null: the folder \"pipeline\" beside state.path."},
						{.key = NULL}};

static const char *const access_client_words[] = {"address", "network", "none", NULL};
static const char *const access_format_words[] = {"json", NULL};

static const struct key_spec access_log_keys[] = {
	{"path", KEY_STRING, CONFIG(access_log.path), "null", .nullable = true, .check = file_path_check,
	 .help = "Where a line for each request goes: \"stderr\", \"journal\", or a file or pipe; null: "
		 "nowhere. SIGUSR1 opens a file anew."},
	{"format", KEY_WORD, CONFIG(access_log.format), "\"json\"", .words = access_format_words,
	 .help = "json: an object a line, which \"phoenixctl traffic generate\" reads."},
	{"client", KEY_WORD, CONFIG(access_log.client), "\"address\"", .words = access_client_words,
	 .help = "The client's address: whole, its network (24 bits, IPv6 48), or none."},
	{"query", KEY_BOOL, CONFIG(access_log.query), "true",
	 .help = "false: what stands behind \"?\" is not written down."},
	{"max_bytes", KEY_U64, CONFIG(access_log.max_bytes), "1073741824", 0, UINT64_C(1) << 50,
	 .help = "A file that would become longer becomes FILE.1 first, in the place of the one before; 0: "
		 "any "
		 "size."},
	{.key = NULL}};

static const struct section_spec access_log_section = {"What is written down of each request.",
						       access_log_keys};
static const struct section_spec pipeline_section = {"Deployment of modern services.", pipeline_keys};
static const struct section_spec admin_section = {"The admin API and the web page.", admin_keys};
static const struct section_spec state_section = {"What survives a restart.", state_keys};
static const struct section_spec xdp_section = {"The fast path in the network driver.", xdp_keys};
static const struct section_spec limits_section = {"Limits and deadlines.", limit_keys};

static const struct key_spec config_keys[] = {
	{"listen", KEY_LISTENS, CONFIG(listen), "[\"127.0.0.1:8080\"]", 1, LISTEN_MAX,
	 .help = "Addresses that clients connect to: \"address:port\", \"[v6]:port\" or \"unix:/path\"."},
	{"admin", KEY_SECTION, 0, "", .section = &admin_section},
	{"state", KEY_SECTION, 0, "", .section = &state_section},
	{"xdp", KEY_SECTION, 0, "", .section = &xdp_section},
	{"pipeline", KEY_SECTION, 0, "", .section = &pipeline_section},
	{"workers", KEY_U32, CONFIG(workers), "0", 0, 256, .help = "Worker threads; 0: one a core."},
	{"user", KEY_STRING, CONFIG(user), "null", .nullable = true, .check = user_check,
	 .pattern = "^[a-z_][a-z0-9_-]{0,31}$",
	 .help = "Started as root, the daemon becomes this user when all is open; null: it stays who it is."},
	{"seccomp", KEY_BOOL, CONFIG(seccomp), "true",
	 .help = "Refuse system calls that nothing here needs, and privileges gained by programs it starts."},
	{"access_log", KEY_SECTION, 0, "", .section = &access_log_section},
	{"limits", KEY_SECTION, 0, "", .section = &limits_section},
	{"routes", KEY_ROUTES, CONFIG(routes), "[]", 0, CONFIG_ROUTES_MAX, .section = &route_section,
	 .help = "The endpoints. More can come by the admin API."},
	{.key = NULL}};

const struct section_spec config_section = {"Phoenix configuration.", config_keys};

void section_defaults(const struct section_spec *section, struct buf *out)
{
	const char *separator = "{";
	for (const struct key_spec *spec = section->keys; spec->key; spec++) {
		if (!spec->fallback)
			continue;
		buf_printf(out, "%s\"%s\":", separator, spec->key);
		if (spec->type == KEY_SECTION)
			section_defaults(spec->section, out);
		else
			buf_append_str(out, spec->fallback);
		separator = ",";
	}
	buf_append_str(out, *separator == '{' ? "{}" : "}");
}

/* --- JSON Schema --- */

static json_t *section_schema(const struct section_spec *section);

static json_t *words_schema(const char *const *words)
{
	json_t *list = json_array();
	for (; words && *words; words++)
		json_array_append_new(list, json_string(*words));
	return json_pack("{s:o*}", "enum", list);
}

static json_t *strings_schema(const struct key_spec *spec)
{
	return json_pack("{s:s, s:I, s:I, s:{s:s, s:s*}}", "type", "array", "minItems", (json_int_t)spec->min,
			 "maxItems", (json_int_t)spec->max, "items", "type", "string", "pattern",
			 spec->pattern);
}

static json_t *methods_schema(void)
{
	json_t *one = words_schema(config_method_words);
	return json_pack("{s:[{s:s}, O*, {s:s, s:i, s:b, s:o*}]}", "anyOf", "const", "*", one, "type",
			 "array", "minItems", 1, "uniqueItems", 1, "items", one);
}

/* The value's own shape, without default and description. */
static json_t *value_schema(const struct key_spec *spec)
{
	switch (spec->type) {
	case KEY_BOOL:
		return json_pack("{s:s}", "type", "boolean");
	case KEY_U32:
	case KEY_U64:
		if (spec->nullable)
			return json_pack("{s:[s, s], s:I, s:I}", "type", "integer", "null", "minimum",
					 (json_int_t)spec->min, "maximum", (json_int_t)spec->max);
		return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", (json_int_t)spec->min,
				 "maximum", (json_int_t)spec->max);
	case KEY_FRACTION:
		return json_pack("{s:s, s:f, s:f}", "type", "number", "minimum",
				 (double)spec->min / CONFIG_WEIGHT_ONE, "maximum",
				 (double)spec->max / CONFIG_WEIGHT_ONE);
	case KEY_REAL:
		return json_pack("{s:s, s:I, s:I}", "type", "number", "minimum", (json_int_t)spec->min,
				 "maximum", (json_int_t)spec->max);
	case KEY_WORD:
		return words_schema(spec->words);
	case KEY_STRINGS:
	case KEY_LISTENS:
		return strings_schema(spec);
	case KEY_METHODS:
		return methods_schema();
	case KEY_ROUTES:
		return json_pack("{s:s, s:I, s:o*}", "type", "array", "maxItems", (json_int_t)spec->max,
				 "items", section_schema(spec->section));
	case KEY_JSON:
		return json_object();
	case KEY_SECTION:
		return section_schema(spec->section);
	case KEY_STRING:
	case KEY_URL:
	case KEY_LISTEN:
	case KEY_SPLIT:
		break;
	}
	if (spec->nullable)
		return json_pack("{s:[s, s], s:s*}", "type", "string", "null", "pattern", spec->pattern);
	return json_pack("{s:s, s:s*}", "type", "string", "pattern", spec->pattern);
}

static json_t *section_schema(const struct section_spec *section)
{
	json_t *properties = json_object(), *required = json_array();
	bool failed = !properties || !required;
	for (const struct key_spec *spec = section->keys; spec->key; spec++) {
		json_t *value = value_schema(spec);
		if (value && spec->help)
			failed |= json_object_set_new(value, "description", json_string(spec->help)) != 0;
		if (value && spec->fallback && spec->type != KEY_SECTION)
			failed |= json_object_set_new(value, "default",
						      json_loads(spec->fallback, JSON_DECODE_ANY, NULL)) != 0;
		if (!spec->fallback)
			failed |= json_array_append_new(required, json_string(spec->key)) != 0;
		failed |= json_object_set_new(properties, spec->key, value) != 0;
	}
	json_t *schema = NULL;
	if (!failed)
		schema =
			json_pack("{s:s, s:s, s:b, s:O, s:O}", "description", section->help, "type", "object",
				  "additionalProperties", 0, "properties", properties, "required", required);
	json_decref(properties);
	json_decref(required);
	return schema;
}

json_t *config_schema(void)
{
	json_t *schema = section_schema(&config_section);
	if (schema && json_object_set_new(schema, "$schema",
					  json_string("https://json-schema.org/draft/2020-12/schema"))) {
		json_decref(schema);
		return NULL;
	}
	return schema;
}
