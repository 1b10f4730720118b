/* SPDX-License-Identifier: Apache-2.0 */
/* spec_internal: what the two readers of a spec share. Each check reports what is wrong with its place. */
#ifndef PHOENIX_PIPELINE_SPEC_INTERNAL_H
#define PHOENIX_PIPELINE_SPEC_INTERNAL_H

#include "config_tree.h"
#include "config_report.h"
#include "pipeline/spec.h"

bool spec_has_control_bytes(struct slice text);
bool spec_absolute_path_check(struct slice text, struct buf *why);

/* --- spec_values.c; `base`: what relative paths are relative to, see spec_parse() --- */

void spec_check_source(struct report *report, const struct node *service, const char *base,
		       struct spec *spec);
void spec_check_deploy(struct report *report, const struct node *deploy, const char *base, struct spec *spec);
void spec_check_environment(struct report *report, const struct node *service);
void spec_check_cases(struct report *report, const struct node *root);
void spec_check_generate(struct report *report, const struct node *traffic);

#endif
