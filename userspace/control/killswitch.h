/* SPDX-License-Identifier: Apache-2.0 */
/*
 * killswitch: everything to legacy, whatever the weights say, and no copy to modern; and back again.
 *
 * It is one word that both paths read with every request (base/policy.h). With the NIC path the word lies in
 * a pinned map: phoenixctl and bpftool turn it without this process, so it is looked at here, not remembered.
 * Weights and migrations stay as they are and are in force again when it is off; meanwhile nothing is
 * promoted, because the weight that is read back is 0.
 */
#ifndef PHOENIX_CONTROL_KILLSWITCH_H
#define PHOENIX_CONTROL_KILLSWITCH_H

#include "control/control.h"

/* Turns it, and tells it. Returns what is read back. */
bool kill_switch_set(struct control *control, bool on, const char *who, const char *reason);
/* At the start: as it was when the last daemon ended, where its map does not say so. */
void kill_switch_restore(struct control *control);
/* Tells when somebody else (phoenixctl, bpftool) turned it. Once a second. */
void kill_switch_watch(struct control *control);
/* {"on":…, "by":…, "reason":…, "since":…, "routes":…, "highest_set":…}: the highest weight that acts on any
 * route. */
json_t *kill_switch_json(struct control *control);

#endif
