/* SPDX-License-Identifier: Apache-2.0 */
/* numbers: what the programs counted, summed over CPUs and given names. */
#include "dataplane/plane.h"

#include "dataplane/netlink.h"
#include "dataplane/packet.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

_Static_assert(sizeof(((struct phx_counters *)0)->verdict) == PHX_VERDICT_COUNT * sizeof(__u64), "one list");
_Static_assert(sizeof(((struct phx_counters *)0)->reason) == PHX_REASON_COUNT * sizeof(__u64), "one list");

const struct phx_route_stats *dataplane_route_stats(struct dataplane *plane, uint32_t slot)
{
	return &plane->maps.route_stats[slot];
}

void dataplane_route_reset(struct dataplane *plane, uint32_t slot)
{
	memset(&plane->maps.route_stats[slot], 0, sizeof(plane->maps.route_stats[slot]));
}

void plane_counters(const struct plane_maps *maps, struct phx_counters *out)
{
	int cpus = libbpf_num_possible_cpus();
	struct phx_counters *each = cpus > 0 ? calloc((size_t)cpus, sizeof(*each)) : NULL;
	__u32 zero = 0;
	memset(out, 0, sizeof(*out));
	if (each && bpf_map_lookup_elem(maps->fd[PLANE_MAP_counters], &zero, each) == 0) {
		uint64_t *sum = (uint64_t *)out;
		for (int cpu = 0; cpu < cpus; cpu++) {
			const uint64_t *add = (const uint64_t *)&each[cpu];
			for (size_t i = 0; i < sizeof(*out) / sizeof(uint64_t); i++)
				sum[i] += add[i];
		}
	}
	free(each);
}

void dataplane_counters(struct dataplane *plane, struct phx_counters *out)
{
	plane_counters(&plane->maps, out);
}

#define WORDS_MAX 24
static char verdict_words[PHX_VERDICT_COUNT][WORDS_MAX], reason_words[PHX_REASON_COUNT][WORDS_MAX];

static void lower(char *out, const char *name)
{
	while ((*out++ = (char)tolower((unsigned char)*name++)))
		;
}

/* Before any thread runs. */
__attribute__((constructor)) static void make_words(void)
{
#define X(name, help) lower(verdict_words[PHX_VERDICT_##name], #name);
	PHX_VERDICTS(X)
#undef X
#define X(name, help) lower(reason_words[PHX_REASON_##name], #name);
	PHX_REASONS(X)
#undef X
}

const char *dataplane_verdict_word(unsigned verdict)
{
	return verdict < PHX_VERDICT_COUNT ? verdict_words[verdict] : "unknown";
}

const char *dataplane_reason_word(unsigned reason)
{
	return reason < PHX_REASON_COUNT ? reason_words[reason] : "unknown";
}

uint64_t dataplane_verdict_count(const struct phx_counters *counters, unsigned verdict)
{
	return ((const uint64_t *)&counters->verdict)[verdict];
}

uint64_t dataplane_reason_count(const struct phx_counters *counters, unsigned reason)
{
	return ((const uint64_t *)&counters->reason)[reason];
}

const char *dataplane_reason_help(unsigned reason)
{
	static const char *const help[] = {
#define X(name, text) text,
		PHX_REASONS(X)
#undef X
	};
	return reason < PHX_REASON_COUNT ? help[reason] : "unknown";
}

/* --- trace ---------------------------------------------------------------------------------------------- */

#define TRACE_HEAD_MAX 1400 /* of a first segment */

int dataplane_trace(struct dataplane *plane, struct slice head, struct phx_trace *out)
{
	uint8_t frame[PACKET_HEADERS_MAX + TRACE_HEAD_MAX];
	/* From nobody to nobody (RFC 5737): the program looks at the head. */
	struct packet packet = {
		.src = phx_addr_v4(htonl(0xc0000201)),
		.dst = phx_addr_v4(htonl(0xc0000202)),
		.sport = 1024,
		.dport = 80,
		.flags = PACKET_ACK | PACKET_PSH,
		.window = 65535,
		.payload = head,
	};
	__u32 zero = 0;
	if (head.len > TRACE_HEAD_MAX)
		return -EMSGSIZE;
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .repeat = 1);
	run.data_size_in = (__u32)packet_write(&packet, frame, sizeof(frame));
	int fd = plane->maps.fd[PLANE_MAP_traced];
	struct phx_trace nothing = {.reason = PHX_REASON_COUNT};
	if (bpf_map_update_elem(fd, &zero, &nothing, BPF_ANY))
		return -errno;
	int err = bpf_prog_test_run_opts(plane->programs.trace, &run);
	if (err)
		return err;
	if (bpf_map_lookup_elem(fd, &zero, out))
		return -errno;
	return (unsigned)out->reason == PHX_REASON_COUNT ? -EIO : 0;
}
