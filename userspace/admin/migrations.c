/* SPDX-License-Identifier: Apache-2.0 */
/* migrations: the pipeline's part of the REST API: submit a spec, look at it, stop it. */
#include "admin/api.h"
#include "control/pipeline.h"
#include "control/value.h"

#include <errno.h>
#include <stdlib.h>

void handle_migrations(struct request *request, struct response *response)
{
	respond_json(response, 200, pipeline_view_all(request->control->pipeline));
}

static void respond_unknown(const struct request *request, struct response *response)
{
	struct quoted name = quote(slice_str(request->id));
	respond_problem_format(response, 404, "there is no migration %s; GET /admin/migrations lists them",
			       name.text);
}

void handle_migration(struct request *request, struct response *response)
{
	char text[24];
	uint64_t since =
		query_get(request->query, "since", text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
	json_t *json = pipeline_view(request->control->pipeline, request->id, since);
	if (json)
		respond_json(response, 200, json);
	else
		respond_unknown(request, response);
}

void handle_migration_create(struct request *request, struct response *response)
{
	struct spec *spec;
	struct buf lines = {0}, why = {0};
	char text[16] = "";
	bool deploy_only =
		query_get(request->query, "until", text, sizeof(text)) && strcmp(text, "healthy") == 0;
	if (text[0] && !deploy_only) {
		respond_problem(response, 400, "until can only be \"healthy\"", NULL);
	} else if (spec_parse("body", request->text, NULL, &spec, &lines)) {
		respond_errors(response, request, "the spec has errors, nothing was begun",
			       buf_slice(&lines));
	} else {
		char id[80];
		text_copy(id, sizeof(id), slice_str(spec->id));
		int err = pipeline_submit(request->control->pipeline, spec, deploy_only, request->peer->who,
					  &why);
		if (err) {
			int status = err == -EBUSY || err == -EEXIST ? 409
				     : err == -ENOSPC && !why.len    ? 507
								     : 503;
			spec_destroy(spec);
			respond_problem_format(response, status, "refused, nothing was begun: %s",
					       why.len ? buf_cstr(&why) : strerror(-err));
		} else {
			respond_json(response, 202, pipeline_view(request->control->pipeline, id, 0));
			snprintf(response->location, sizeof(response->location), "/admin/migrations/%s", id);
		}
	}
	buf_fini(&lines);
	buf_fini(&why);
}

void handle_migration_delete(struct request *request, struct response *response)
{
	struct buf why = {0};
	int err = pipeline_delete(request->control->pipeline, request->id, request->peer->who, &why);
	if (err == -ENOENT)
		respond_unknown(request, response);
	else if (err)
		respond_problem(response, 409, buf_cstr(&why), NULL);
	json_t *left = err ? NULL : pipeline_view(request->control->pipeline, request->id, UINT64_MAX);
	if (left) /* what is under way is undone first; it is gone when that is over */
		respond_json(response, 202, left);
	else if (!err)
		response->status = 204;
	buf_fini(&why);
}
