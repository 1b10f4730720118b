/* SPDX-License-Identifier: Apache-2.0 */
/* handlers: one function a row of the command table (commands.c), grouped by the file that has them. */
#ifndef PHOENIX_CTL_HANDLERS_H
#define PHOENIX_CTL_HANDLERS_H

#include "ctl/command.h"

/* status.c */
int run_status(struct ctl *ctl, const struct ctl_line *line);
/* routes.c */
int run_route_ls(struct ctl *ctl, const struct ctl_line *line);
int run_route_add(struct ctl *ctl, const struct ctl_line *line);
int run_route_rm(struct ctl *ctl, const struct ctl_line *line);
int run_weight_get(struct ctl *ctl, const struct ctl_line *line);
int run_weight_set(struct ctl *ctl, const struct ctl_line *line);
int run_verb(struct ctl *ctl, const struct ctl_line *line);
int run_trace(struct ctl *ctl, const struct ctl_line *line);
/* evidence.c */
int run_decisions(struct ctl *ctl, const struct ctl_line *line);
int run_diff_ls(struct ctl *ctl, const struct ctl_line *line);
int run_diff_show(struct ctl *ctl, const struct ctl_line *line);
int run_diff_ignore(struct ctl *ctl, const struct ctl_line *line);
/* replay.c */
int run_decisions_replay(struct ctl *ctl, const struct ctl_line *line);
/* traffic.c */
int run_traffic_generate(struct ctl *ctl, const struct ctl_line *line);
/* traffic_run.c */
int run_traffic_run(struct ctl *ctl, const struct ctl_line *line);
/* xdp.c */
int run_xdp_status(struct ctl *ctl, const struct ctl_line *line);
int run_xdp_detach(struct ctl *ctl, const struct ctl_line *line);
int run_maps(struct ctl *ctl, const struct ctl_line *line);
/* kill.c */
int run_kill_switch(struct ctl *ctl, const struct ctl_line *line);
/* migrate.c */
int run_migrate(struct ctl *ctl, const struct ctl_line *line);
int run_migration_ls(struct ctl *ctl, const struct ctl_line *line);
int run_migration_show(struct ctl *ctl, const struct ctl_line *line);
int run_migration_retry(struct ctl *ctl, const struct ctl_line *line);
int run_migration_rm(struct ctl *ctl, const struct ctl_line *line);
/* configuration.c */
int run_config_check(struct ctl *ctl, const struct ctl_line *line);
int run_config_show(struct ctl *ctl, const struct ctl_line *line);
int run_config_diff(struct ctl *ctl, const struct ctl_line *line);
int run_config_reload(struct ctl *ctl, const struct ctl_line *line);
int run_config_schema(struct ctl *ctl, const struct ctl_line *line);
/* events.c */
int run_events(struct ctl *ctl, const struct ctl_line *line);
/* doctor.c */
int run_doctor(struct ctl *ctl, const struct ctl_line *line);
/* complete.c */
int run_completion(struct ctl *ctl, const struct ctl_line *line);
int run_complete(struct ctl *ctl, const struct ctl_line *line);
/* commands.c */
int run_help(struct ctl *ctl, const struct ctl_line *line);
int run_version(struct ctl *ctl, const struct ctl_line *line);

#endif
