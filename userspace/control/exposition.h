/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exposition: the text of GET /metrics (Prometheus text format 0.0.4): the one list of families, and how a
 * sample is written.
 *
 * All samples of a family have to follow its HELP and TYPE lines, and routes are looked at one after another:
 * so each family gathers in a buffer of its own, and the buffers are joined at the end. Ten thousand routes
 * are half a million lines: numbers are written by hand, not by printf.
 */
#ifndef PHOENIX_CONTROL_EXPOSITION_H
#define PHOENIX_CONTROL_EXPOSITION_H

#include "base/buf.h"

#include <stdint.h>

#define METRIC_FAMILIES(X)                                                                                   \
	X(REQUESTS, "requests_total", "counter",                                                             \
	  "Live requests by the side that served them, the path they took and the answer's class.")          \
	X(SYNTHETIC, "synthetic_requests_total", "counter",                                                  \
	  "Of phoenix_requests_total: marked X-Phoenix-Synthetic, by the class of the whole answer.")        \
	X(DURATION, "request_duration_seconds", "histogram",                                                 \
	  "First byte of the request to last byte of the response.")                                         \
	X(REQUEST_BYTES, "request_body_bytes_total", "counter", "Bytes of request bodies.")                  \
	X(RESPONSE_BYTES, "response_body_bytes_total", "counter", "Bytes of response bodies.")               \
	X(UPSTREAM_UP, "upstream_up", "gauge",                                                               \
	  "0 while a route's service is down: ejected or failing its checks.")                               \
	X(EJECTIONS, "upstream_ejections_total", "counter",                                                  \
	  "Times that a service was taken out after health.eject_after unanswered requests.")                \
	X(RETRIES, "upstream_retries_total", "counter",                                                      \
	  "Requests sent again on another connection to the same service.")                                  \
	X(CHECKS, "health_checks_total", "counter", "Active checks by result.")                              \
	X(FAILOVERS, "failovers_total", "counter", "Requests for modern that legacy served instead.")        \
	X(SHADOW, "shadow_requests_total", "counter", "Sampled exchanges by how they ended.")                \
	X(COMPARE, "compare_total", "counter", "Comparisons by result.")                                     \
	X(NOT_COMPARABLE, "not_comparable_total", "counter", "Samples without a verdict, by reason.")        \
	X(CONSISTENCY, "consistency_ratio", "gauge",                                                         \
	  "Matches of the comparable samples of the present step; missing without a sample.")                \
	X(LOWER_BOUND, "consistency_lower_bound_ratio", "gauge",                                             \
	  "Wilson lower bound of the present step, one-sided 95 %; missing without a sample.")               \
	X(STEP_SAMPLES, "step_samples", "gauge", "Comparable samples of the present step.")                  \
	X(CONTROL_ANSWERS, "control_answers_total", "counter",                                               \
	  "Exchanges that legacy answered twice, by whether it agreed with itself.")                         \
	X(WEIGHT_WANTED, "weight_wanted_ratio", "gauge", "Share of requests that modern should serve.")      \
	X(WEIGHT_SET, "weight_set_ratio", "gauge", "The share that the data path has, read back.")           \
	X(STATE, "migration_state", "gauge", "1 for the state that the migration is in.")                    \
	X(ROLLBACKS, "rollbacks_total", "counter", "Rollbacks by what caused them.")                         \
	X(UPSTREAM_ERRORS, "upstream_errors_total", "counter", "Requests that an upstream failed, by kind.") \
	X(REFUSED, "refused_requests_total", "counter",                                                      \
	  "Requests that the gateway did not pass on, by kind.")                                             \
	X(ACCEPTED, "connections_accepted_total", "counter", "Client connections accepted.")                 \
	X(CONNECTIONS_REFUSED, "connections_refused_total", "counter",                                       \
	  "Client connections over limits.connections.")                                                     \
	X(ACTIVE, "connections_active", "gauge", "Client connections open.")                                 \
	X(CONNECTS, "upstream_connects_total", "counter", "Connections opened to upstreams.")                \
	X(REUSED, "upstream_reused_total", "counter",                                                        \
	  "Requests sent over an upstream connection that was open already.")                                \
	X(SHADOW_ACTIVE, "shadow_requests_active", "gauge", "Shadow requests under way.")                    \
	X(STARVED, "buffers_starved_total", "counter", "Receives that had to wait for a buffer.")            \
	X(XDP_ATTACHED, "xdp_attached", "gauge",                                                             \
	  "1 for the mode in which the fast path is attached to an interface.")                              \
	X(XDP_VERDICTS, "xdp_verdicts_total", "counter", "Packets by what the fast path did with them.")     \
	X(XDP_HANDOVERS, "xdp_handovers_total", "counter",                                                   \
	  "Requests and connections left to the daemon, by reason.")                                         \
	X(XDP_FLOWS, "xdp_flows", "gauge", "Client connections that the fast path serves.")                  \
	X(KILL_SWITCH, "kill_switch", "gauge", "1 while every request is sent to legacy.")                   \
	X(XDP_FORCED, "xdp_forced_legacy_total", "counter",                                                  \
	  "Requests that the kill switch or the dead-man sent to legacy on the fast path.")                  \
	X(RING_DROPPED, "ring_dropped_total", "counter",                                                     \
	  "Records of sampled exchanges that found no room in the ring.")                                    \
	X(ACCESS_LINES, "access_log_lines_total", "counter",                                                 \
	  "Requests written to the access log by path; the NIC path's are those that were sampled.")         \
	X(ACCESS_DROPPED, "access_log_dropped_total", "counter",                                             \
	  "Lines that the access log lost: a worker's buffer was full, or the file took no more.")           \
	X(LOG_SUPPRESSED, "log_suppressed_total", "counter",                                                 \
	  "Log lines left out because the same place had said too much.")                                    \
	X(WEBHOOKS, "webhooks_total", "counter", "Webhook messages by result.")                              \
	X(ALERTS, "alerts_total", "counter", "Events of level alert.")                                       \
	X(STORE_OK, "store_ok", "gauge", "1 when the state was stored the last time it had to be.")          \
	X(REDIS_UP, "redis_up", "gauge", "With state.store redis: 1 when it answers and takes writes.")      \
	X(REDIS_CONNECTS, "redis_connects_total", "counter", "Times that Redis was reached anew.")           \
	X(REDIS_FAILURES, "redis_failures_total", "counter", "Times that Redis was lost.")                   \
	X(STORE_CONFLICTS, "store_conflicts_total", "counter", "Writes that came after somebody else's.")    \
	X(STORE_REFUSED, "store_refused_records_total", "counter",                                           \
	  "Records in the store that could not be used.")                                                    \
	X(STORE_RESTORED, "store_restored_records_total", "counter",                                         \
	  "Records that the store had lost, written back.")                                                  \
	X(STORE_DECISIONS_LOST, "store_decisions_dropped_total", "counter",                                  \
	  "Decisions that the other gateways were never told: too many waited for Redis.")                   \
	X(STORE_UNSAVED, "store_unsaved", "gauge", "1 while something acts that is not stored yet.")         \
	X(STORE_WRITES, "store_writes_total", "counter", "Writes to a shared store that were answered.")     \
	X(STORE_WRITE_TIME, "store_write_seconds_total", "counter",                                          \
	  "Time that these writes took in all; by store_writes_total: their mean.")                          \
	X(RELOAD_OK, "config_last_reload_successful", "gauge",                                               \
	  "1 when the configuration file could be read the last time.")                                      \
	X(RELOAD_AT, "config_last_reload_timestamp_seconds", "gauge",                                        \
	  "When the configuration in effect was loaded.")                                                    \
	X(ROUTES, "routes", "gauge", "Routes in effect.")                                                    \
	X(CPU, "process_cpu_seconds_total", "counter", "User and system CPU time of the daemon.")            \
	X(RESIDENT, "process_resident_memory_bytes", "gauge", "Memory that the daemon has in use.")          \
	X(OPEN_FDS, "process_open_fds", "gauge", "File descriptors that are open.")                          \
	X(MAX_FDS, "process_max_fds", "gauge", "File descriptors that may be open.")                         \
	X(STARTED, "start_time_seconds", "gauge", "When this process started.")                              \
	X(FLEET_ROLE, "fleet_role", "gauge", "1 for what this gateway is in its fleet.")                     \
	X(FLEET_MEMBERS, "fleet_members", "gauge", "Gateways that were seen within two leases.")             \
	X(FLEET_TAKEOVERS, "fleet_takeovers_total", "counter", "Times that this process began to lead.")     \
	X(FLEET_REPORTS, "fleet_reports_total", "counter", "What others had seen, taken in while leading.")  \
	X(FLEET_COMMANDS, "fleet_commands_total", "counter",                                                 \
	  "Commands to Redis for lease, membership and facts.")                                              \
	X(BUILD_INFO, "build_info", "gauge", "1; the version is in the label.")

enum metric {
#define X(name, text, type, help) METRIC_##name,
	METRIC_FAMILIES(X)
#undef X
		METRIC_COUNT,
};

struct exposition {
	struct buf families[METRIC_COUNT];
	struct buf text; /* of the families that were joined already */
	unsigned next;	 /* family to be joined */
	size_t joined;	 /* bytes of it that were */
};

/*
 * One sample. `labels` and `more` are written as they are, with a comma between them when neither is "";
 * values in them are words of ours or ids, which need no escape.
 */
void expose(struct exposition *e, enum metric metric, const char *labels, const char *more, uint64_t value);
void expose_real(struct exposition *e, enum metric metric, const char *labels, const char *more,
		 double value);
/* A sample whose name has an ending: "_bucket", "_sum", "_count". */
void expose_part(struct exposition *e, enum metric metric, const char *ending, const char *labels,
		 const char *more, uint64_t value);
void expose_part_real(struct exposition *e, enum metric metric, const char *ending, const char *labels,
		      double value);

/* Joins the next piece to the text; false when that was the last. `e->text.failed` when out of memory. */
bool exposition_join(struct exposition *e);
void exposition_fini(struct exposition *e);

#endif
