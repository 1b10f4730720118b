/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_process: the families that are about the whole gateway (metrics.h). */
#include "base/log.h"
#include "control/datapath.h"
#include "control/metrics.h"
#include "gateway/access_log.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static bool is_upstream_kind(unsigned error)
{
	return error >= GATEWAY_ERROR_UPSTREAM_CONNECT && error <= GATEWAY_ERROR_POOL_EMPTY;
}

static void gateway(struct control *control, struct exposition *e)
{
	struct gateway_stats stats = {0};
	if (control->gateway)
		gateway_stats(control->gateway, &stats);
	for (unsigned error = 1; error < GATEWAY_ERROR_COUNT; error++) {
		char label[64];
		snprintf(label, sizeof(label), "kind=\"%s\"", gateway_error_word((enum gateway_error)error));
		expose(e, is_upstream_kind(error) ? METRIC_UPSTREAM_ERRORS : METRIC_REFUSED, label, "",
		       stats.errors[error]);
	}
	expose(e, METRIC_ACCEPTED, "", "", stats.connections_accepted);
	expose(e, METRIC_CONNECTIONS_REFUSED, "", "", stats.connections_refused);
	expose(e, METRIC_ACTIVE, "", "", stats.connections_active);
	expose(e, METRIC_CONNECTS, "", "", stats.upstream_connects);
	expose(e, METRIC_REUSED, "", "", stats.upstream_reused);
	expose(e, METRIC_SHADOW_ACTIVE, "", "", stats.shadow_active);
	expose(e, METRIC_STARVED, "", "", stats.buffers_starved);
}

static void access_log(struct control *control, struct exposition *e)
{
	struct access_log_stats stats = {0};
	if (control->gateway)
		gateway_access_stats(control->gateway, &stats);
	expose(e, METRIC_ACCESS_LINES, "path=\"daemon\"", "", stats.lines[0]);
	expose(e, METRIC_ACCESS_LINES, "path=\"xdp\"", "", stats.lines[1]);
	expose(e, METRIC_ACCESS_DROPPED, "reason=\"full\"", "", stats.dropped_full);
	expose(e, METRIC_ACCESS_DROPPED, "reason=\"write\"", "", stats.dropped_io);
}

static void xdp(struct control *control, struct exposition *e)
{
	struct dataplane_info info = {0};
	struct phx_counters counters = {0};
	char label[160];
	if (control->plane) {
		dataplane_info(control->plane, &info);
		dataplane_counters(control->plane, &counters);
	}
	for (size_t i = 0; i < info.interface_count; i++) {
		for (unsigned mode = DATAPLANE_NATIVE; mode <= DATAPLANE_GENERIC; mode++) {
			snprintf(label, sizeof(label), "interface=\"%s\",mode=\"%s\"",
				 info.interfaces[i].name, dataplane_mode_word((enum dataplane_mode)mode));
			expose(e, METRIC_XDP_ATTACHED, label, "", info.interfaces[i].mode == mode);
		}
	}
	for (unsigned i = 0; control->plane && i < PHX_VERDICT_COUNT; i++) {
		snprintf(label, sizeof(label), "verdict=\"%s\"", dataplane_verdict_word(i));
		expose(e, METRIC_XDP_VERDICTS, label, "", dataplane_verdict_count(&counters, i));
	}
	for (unsigned i = 1; control->plane && i < PHX_REASON_COUNT; i++) {
		snprintf(label, sizeof(label), "reason=\"%s\"", dataplane_reason_word(i));
		expose(e, METRIC_XDP_HANDOVERS, label, "", dataplane_reason_count(&counters, i));
	}
	expose(e, METRIC_XDP_FLOWS, "", "", info.flows);
	expose(e, METRIC_KILL_SWITCH, "", "", policy_is_killed(&control->policy));
	expose(e, METRIC_XDP_FORCED, "", "", (uint64_t)counters.forced_legacy);
	expose(e, METRIC_RING_DROPPED, "", "", (uint64_t)counters.ring_dropped);
}

static unsigned open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;
	if (!directory)
		return 0;
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count ? count - 1 : 0; /* without the one that looks */
}

static uint64_t resident_bytes(void)
{
	unsigned long long size = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	if (!file || fscanf(file, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	if (file)
		fclose(file);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void resources(struct exposition *e)
{
	struct rusage usage = {0};
	struct rlimit limit = {0};
	getrusage(RUSAGE_SELF, &usage);
	getrlimit(RLIMIT_NOFILE, &limit);
	expose_real(e, METRIC_CPU, "", "",
		    (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
			    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	expose(e, METRIC_RESIDENT, "", "", resident_bytes());
	expose(e, METRIC_OPEN_FDS, "", "", open_descriptors());
	expose(e, METRIC_MAX_FDS, "", "", limit.rlim_cur);
}

void metrics_process(struct control *control, struct exposition *e)
{
	struct notify_stats hooks;
	gateway(control, e);
	xdp(control, e);
	access_log(control, e);
	expose(e, METRIC_LOG_SUPPRESSED, "", "", log_suppressed());
	notify_stats(control->notify, &hooks);
	expose(e, METRIC_WEBHOOKS, "result=\"sent\"", "", hooks.sent);
	expose(e, METRIC_WEBHOOKS, "result=\"failed\"", "", hooks.failed);
	expose(e, METRIC_WEBHOOKS, "result=\"dropped\"", "", hooks.dropped);
	expose(e, METRIC_ALERTS, "", "", control->events.alerts);
	expose(e, METRIC_STORE_OK, "", "", control->state.ok);
	share_metrics(control, e);
	fleet_metrics(control, e);
	expose(e, METRIC_RELOAD_OK, "", "", control->reload_ok);
	expose_real(e, METRIC_RELOAD_AT, "", "", (double)control->loaded_wall_ns / 1e9);
	expose(e, METRIC_ROUTES, "", "", control->registry.count);
	resources(e);
	expose_real(e, METRIC_STARTED, "", "", (double)control->started.wall_ns / 1e9);
	expose(e, METRIC_BUILD_INFO, "version=\"" PHOENIX_VERSION "\"", "", 1);
}
