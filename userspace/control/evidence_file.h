/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evidence_file: what was counted survives a restart, and kill -9: the counts of the step and of the build,
 * and the CUSUM after completion. A file of this gateway beside its state: "state.json.evidence".
 *
 * Evidence may get lost, it is never counted twice and never taken for evidence about something else. The
 * file is replaced as a whole, at most every two seconds and at a clean stop, so after a crash it has less
 * than was counted. It is sealed with the key of the state: damage, and a file of another state, are refused
 * as a whole. Each route's line names what it is about (rules, weight, the stored record with its last
 * change); a line about anything else than what acts now is left out.
 *
 * In a fleet what this process counted goes on counting in Redis, under this process's name (tally.h). So the
 * next one takes only the CUSUM over, of which the highest counts and nothing is added up.
 *
 * With --takeover the old daemon writes before it lets go of the state and not again unless it gets it back;
 * the new one writes once it serves.
 */
#ifndef PHOENIX_CONTROL_EVIDENCE_FILE_H
#define PHOENIX_CONTROL_EVIDENCE_FILE_H

#include "base/buf.h"
#include "base/siphash.h"
#include "control/tally.h"

#define EVIDENCE_FILE_MAX (16u << 20) /* bytes that are read */

struct control;

struct evidence_file {
	bool active; /* this process serves: the file is its own */
	bool failed; /* the last time it could not be written, and that was said */
	uint64_t next_ns;
	uint64_t seal; /* of what lies there */
};

/* The text: a line with the seal (SipHash of the rest), then a line for each route: id and report (tally.h),
 * whose build is what it is about. */
uint64_t evidence_text_seal(const uint8_t key[SIPHASH_KEY_SIZE], struct slice lines);
void evidence_text_write(const uint8_t key[SIPHASH_KEY_SIZE], struct slice lines, struct buf *out);
/* *lines within text. -EBADMSG when it is damaged or has another key's seal, -EPROTO of a later format. */
int evidence_text_open(const uint8_t key[SIPHASH_KEY_SIZE], struct slice text, struct slice *lines);

/* At the start, when all routes are there. What cannot be used is told as an alert. */
void evidence_restore(struct control *control);
/* Writes when something changed and it is time, or at once. Nothing while another daemon has the state. */
void evidence_tick(struct control *control, uint64_t now_ns);
void evidence_save(struct control *control);

#endif
