/* SPDX-License-Identifier: Apache-2.0 */
/* scrape: see scrape.h. */
#include "admin/scrape.h"

#include "admin/api.h"

#include <stdlib.h>

static void text_put(struct scrape_text *text)
{
	if (!text || --text->references)
		return;
	text->scrape->bytes -= text->text.len;
	buf_fini(&text->text);
	free(text);
}

static void answer_all(struct scrape *scrape, struct scrape_text *text)
{
	struct list *link;
	while ((link = list_pop(&scrape->waiting))) {
		struct connection *connection = container_of(link, struct connection, scrape_link);
		struct response response = {.status = 200, .type = METRICS_TYPE};
		if (!text) {
			respond_problem(&response, 500, "out of memory", NULL);
		} else {
			text->references++;
			connection->out_shared = text;
			response.body_static = text->text.data;
			response.body_bytes = text->text.len;
		}
		connection_answer(connection, &response);
	}
}

static void finish(struct scrape *scrape)
{
	struct buf *made = &scrape->job.exposition.text;
	struct scrape_text *text = made->failed ? NULL : calloc(1, sizeof(*text));
	if (text) {
		*text = (struct scrape_text){.scrape = scrape, .references = 1, .text = *made};
		*made = (struct buf){0};
		scrape->bytes += text->text.len;
	}
	metrics_fini(&scrape->job);
	scrape->running = false;
	answer_all(scrape, text);
	text_put(text);
}

static void work(struct scrape *scrape)
{
	uint64_t now_ns = clock_now_ns();
	if (metrics_step(scrape->control, &scrape->job, now_ns + SCRAPE_SLICE_NS))
		finish(scrape);
	else
		timer_set(&scrape->control->ring.timers, &scrape->timer, clock_now_ns());
}

static void on_timer(struct timer *timer)
{
	work(container_of(timer, struct scrape, timer));
}

void scrape_init(struct scrape *scrape, struct control *control)
{
	*scrape = (struct scrape){.control = control};
	list_init(&scrape->waiting);
	timer_init(&scrape->timer, on_timer);
}

void scrape_fini(struct scrape *scrape)
{
	timer_cancel(&scrape->control->ring.timers, &scrape->timer);
	metrics_fini(&scrape->job);
}

void scrape_start(struct scrape *scrape, struct connection *connection)
{
	if (!scrape->running && scrape->bytes >= SCRAPE_BYTES_MAX) {
		struct response response = {.retry_after_s = 5};
		respond_problem_format(
			&response, 503,
			"earlier answers of %zu bytes are still being read, the limit is %u: try again later",
			scrape->bytes, SCRAPE_BYTES_MAX);
		connection_answer(connection, &response);
		return;
	}
	connection->state = CONNECTION_SCRAPE;
	list_push_back(&scrape->waiting, &connection->scrape_link);
	if (scrape->running)
		return;
	scrape->running = true;
	work(scrape);
}

void scrape_stop(struct connection *connection)
{
	list_remove(&connection->scrape_link);
	text_put(connection->out_shared);
	connection->out_shared = NULL;
}
