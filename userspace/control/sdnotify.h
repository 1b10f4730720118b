/* SPDX-License-Identifier: Apache-2.0 */
/* sdnotify: tells the service manager how it goes (sd_notify(3)), when it asked to be told. */
#ifndef PHOENIX_CONTROL_SDNOTIFY_H
#define PHOENIX_CONTROL_SDNOTIFY_H

/* One datagram to $NOTIFY_SOCKET: "READY=1\nSTATUS=…". Without the variable, or when it fails, nothing. */
void sdnotify(const char *state);

#endif
