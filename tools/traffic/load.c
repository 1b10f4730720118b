/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load: see load.h. One thread, one ring.
 *
 * A connection is closed, connecting, idle or busy, and carries one request at a time. An idle one keeps its
 * receive armed, so a server that hangs up is noticed before the next request is given to it; one that is
 * idle for IDLE_NS is closed from this side, so that a server's own idle limit never meets a request on its
 * way. The backlog needs no queue: which request is next, and when it was due, follow from a counter.
 */
#include "load.h"

#include "base/clock.h"
#include "base/list.h"
#include "http/body.h"
#include "http/parse.h"
#include "io/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#define REQUEST_BYTES_MAX (16u << 20)
#define HEAD_BYTES_MAX	  65536u
#define IDLE_NS		  (4 * NS_PER_SEC)
#define SEND_GRACE_NS	  NS_PER_SEC	   /* what was due in time may be sent this much later */
#define STOP_DRAIN_NS	  (5 * NS_PER_SEC) /* how long to wait for answers after a signal */
#define TURN_NS		  (50 * NS_PER_MS) /* longest wait: signals and progress are looked at then */

const char *const load_error_words[] = {
#define X(name, word, help) word,
	LOAD_ERRORS(X)
#undef X
};

struct connection {
	struct stream stream;
	struct load *load;
	struct list link; /* in load->idle or load->closed; unlinked while busy or closing */
	struct timer deadline;
	bool busy;
	bool in_body;
	bool keeps_text; /* the answer's content is wanted for its checks */
	uint32_t mark;	 /* the observer's */
	uint64_t intended_ns, sent_ns;
	const struct scenario_request *request;
	struct buf out;	 /* the request's bytes, the kernel's until sent */
	struct buf in;	 /* the answer's head */
	struct buf text; /* the answer's content */
	struct http_head head;
	struct http_body body;
};

struct load {
	const struct load_options *options;
	const struct scenario *scenario;
	struct load_figures *figures;
	struct ring ring;
	struct list idle, closed;
	uint32_t open;	/* connections that the ring still knows */
	uint64_t total; /* requests; UINT64_MAX = until the time is over */
	uint64_t in_flight;
	uint64_t start_ns;
	struct buf scratch;
	struct json_tokens tokens;
	struct connection *connections;
};

int load_figures_init(struct load_figures *f, const struct scenario *scenario)
{
	memset(f, 0, sizeof(*f));
	f->shares = calloc(scenario->request_count, sizeof(*f->shares));
	if (!f->shares)
		return -ENOMEM;
	f->share_count = scenario->request_count;
	for (size_t i = 0; i < f->share_count && f->share_count <= LOAD_DETAILED_MAX; i++) {
		f->shares[i].latency = calloc(1, sizeof(*f->shares[i].latency));
		if (!f->shares[i].latency)
			return -ENOMEM;
	}
	return 0;
}

void load_figures_fini(struct load_figures *f)
{
	for (size_t i = 0; i < f->share_count; i++)
		free(f->shares[i].latency);
	free(f->shares);
}

uint64_t load_errors(const struct load_figures *f)
{
	uint64_t errors = 0;
	for (unsigned i = 0; i < LOAD_ERROR_COUNT; i++)
		errors += f->errors[i];
	return errors;
}

uint64_t load_failed(const struct load_figures *f)
{
	return f->unexpected + load_errors(f);
}

static struct load_share *share_of(const struct connection *c)
{
	return &c->load->figures->shares[c->request - c->load->scenario->requests];
}

/* Counts one failure of the connection's request. */
static void note_failure(struct connection *c, const char *why)
{
	struct load_figures *f = c->load->figures;
	share_of(c)->failed++;
	if (f->example_count < LOAD_EXAMPLES_MAX)
		snprintf(f->examples[f->example_count++], LOAD_EXAMPLE_SIZE, "%s: %s", c->request->name, why);
}

/* ---- one connection --------------------------------------------------------------------------------- */

static void hang_up(struct connection *c, bool reset)
{
	list_remove(&c->link);
	timer_cancel(&c->load->ring.timers, &c->deadline);
	stream_close(&c->stream, reset); /* may call on_closed */
}

/* The request got no answer. */
static void fail(struct connection *c, enum load_error error)
{
	if (c->busy) {
		c->busy = false;
		c->load->in_flight--;
		c->load->figures->errors[error]++;
		note_failure(c, load_error_words[error]);
	}
	hang_up(c, true);
}

static void count_answer(struct connection *c, uint64_t now_ns)
{
	struct load *load = c->load;
	struct load_figures *f = load->figures;
	uint64_t latency_ns = now_ns > c->intended_ns ? now_ns - c->intended_ns : 0;
	unsigned status = c->head.scan.status;
	struct load_share *share = share_of(c);
	f->answered++;
	share->answered++;
	f->status[status < CHECK_STATUS_MAX ? status : CHECK_STATUS_MAX - 1]++;
	histogram_add(&f->latency, latency_ns);
	histogram_add(&f->service, now_ns > c->sent_ns ? now_ns - c->sent_ns : 0);
	if (share->latency)
		histogram_add(share->latency, latency_ns);
	if (load->options->observer)
		load->options->observer->answered(load->options->observer, c->mark, status);
	buf_reset(&load->scratch);
	if (check_answer(&c->request->checks, &c->head, c->in.data, buf_slice(&c->text), c->text.failed,
			 &load->tokens, &load->scratch))
		return;
	f->unexpected++;
	note_failure(c, buf_cstr(&load->scratch));
}

/* The answer is complete. */
static void finish(struct connection *c, bool reusable)
{
	struct load *load = c->load;
	uint64_t now_ns = clock_now_ns();
	c->busy = false;
	load->in_flight--;
	count_answer(c, now_ns);
	/* An answer before the request was sent whole ends the connection (RFC 9112 9.3). */
	if (reusable && !load->options->one_request && !c->stream.sending && !c->stream.ended) {
		timer_set(&load->ring.timers, &c->deadline, now_ns + IDLE_NS);
		list_push_front(&load->idle, &c->link);
	} else {
		hang_up(c, c->stream.sending);
	}
}

static bool keeps_alive(const struct connection *c)
{
	if (c->head.scan.flags & PHX_HEAD_CLOSE || c->body.kind == HTTP_BODY_CLOSE)
		return false;
	return c->head.scan.minor >= 1 || c->head.scan.flags & PHX_HEAD_KEEP_ALIVE;
}

/* Content of the answer. It is only counted off. */
static void take_body(struct connection *c, char *data, size_t len)
{
	while (!http_body_complete(&c->body) && len) {
		size_t consumed, produced;
		if (http_body_read(&c->body, data, len, &consumed, &produced) == HTTP_BODY_REFUSED) {
			fail(c, LOAD_ERROR_INVALID);
			return;
		}
		if (c->keeps_text)
			buf_append(&c->text, data, produced);
		data += consumed;
		len -= consumed;
	}
	if (!http_body_complete(&c->body))
		return;
	bool reusable = keeps_alive(c) && len == 0; /* bytes that nobody asked for: never trust it again */
	http_body_fini(&c->body);
	c->in_body = false;
	finish(c, reusable);
}

static void answer_init(struct connection *c)
{
	c->in_body = false;
	c->keeps_text = c->request->checks.place_count > 0;
	buf_reset(&c->text);
	buf_reset(&c->in);
	http_head_init(&c->head, PHX_HEAD_RESPONSE, HTTP_FIELDS_MAX);
}

/* Bytes of the answer's head, and perhaps of what follows. */
static void take_head(struct connection *c, const char *data, size_t len)
{
	buf_append(&c->in, data, len);
	for (;;) {
		enum http_parse_result result = http_head_parse(&c->head, c->in.data, c->in.len);
		if (c->in.failed || (result != HTTP_PARSE_MORE && result != HTTP_PARSE_DONE)) {
			fail(c, LOAD_ERROR_INVALID);
			return;
		}
		if (result == HTTP_PARSE_MORE)
			return;
		if (c->head.scan.status >= 200)
			break;
		if (c->head.scan.status == 101) { /* nobody asked to switch */
			fail(c, LOAD_ERROR_INVALID);
			return;
		}
		/* Interim (RFC 9110 15.2): the answer proper is still to come. */
		size_t used = c->head.scan.pos;
		memmove(c->in.data, c->in.data + used, c->in.len - used);
		c->in.len -= used;
		http_head_init(&c->head, PHX_HEAD_RESPONSE, HTTP_FIELDS_MAX);
	}
	c->in_body = true;
	http_body_of_response(&c->body, &c->head, c->request->is_head);
	take_body(c, c->in.data + c->head.scan.pos, c->in.len - c->head.scan.pos);
}

static void on_data(struct stream *stream, struct ring_buffer buffer)
{
	struct connection *c = container_of(stream, struct connection, stream);
	if (!c->busy)
		fail(c, LOAD_ERROR_INVALID); /* an answer to nothing */
	else if (c->in_body)
		take_body(c, buffer.data, buffer.len);
	else
		take_head(c, buffer.data, buffer.len);
	ring_buffer_put(&c->load->ring, &buffer);
	stream_read(stream); /* harmless when it is closing */
}

static void on_end(struct stream *stream, int err)
{
	struct connection *c = container_of(stream, struct connection, stream);
	if (c->busy && c->in_body && err == 0 && http_body_ends_at_eof(&c->body)) {
		http_body_fini(&c->body);
		c->in_body = false;
		finish(c, false);
	} else {
		fail(c, LOAD_ERROR_CLOSED);
	}
}

static void on_sent(struct stream *stream, int err)
{
	/* A broken pipe may have an early answer before it: let the receiving side find out (on_end). */
	if (err && err != -EPIPE && err != -ECONNRESET)
		fail(container_of(stream, struct connection, stream), LOAD_ERROR_SEND);
}

static void send_request(struct connection *c)
{
	struct load_observer *observer = c->load->options->observer;
	struct iovec piece = {.iov_base = c->out.data, .iov_len = c->out.len};
	answer_init(c);
	if (observer)
		c->mark = observer->sent(observer, buf_slice(&c->out));
	stream_send(&c->stream, &piece, 1);
	stream_read(&c->stream);
}

static void on_connected(struct stream *stream, int err)
{
	struct connection *c = container_of(stream, struct connection, stream);
	int on = 1;
	if (err) {
		fail(c, LOAD_ERROR_CONNECT);
		return;
	}
	setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->load->figures->connects++;
	send_request(c);
}

static void on_closed(struct stream *stream)
{
	struct connection *c = container_of(stream, struct connection, stream);
	if (c->in_body)
		http_body_fini(&c->body);
	c->in_body = false;
	c->load->open--;
	list_push_front(&c->load->closed, &c->link);
}

static void on_deadline(struct timer *timer)
{
	struct connection *c = container_of(timer, struct connection, deadline);
	if (c->busy)
		fail(c, LOAD_ERROR_TIMEOUT);
	else
		hang_up(c, false);
}

/* ---- the schedule ----------------------------------------------------------------------------------- */

/* Gives the next request, due at intended_ns, to a free connection. There is one. */
static void dispatch(struct load *load, uint64_t intended_ns, uint64_t now_ns)
{
	static const struct stream_events events = {on_data, on_end, on_sent, on_connected, on_closed};
	uint64_t k = load->figures->sent++;
	bool open = !list_empty(&load->idle);
	struct connection *c =
		container_of(list_pop(open ? &load->idle : &load->closed), struct connection, link);
	c->intended_ns = intended_ns;
	c->sent_ns = now_ns;
	c->request = scenario_compose(load->scenario, load->options->seed, k, &load->scratch, &c->out);
	share_of(c)->sent++;
	int fd = -1;
	if (!open && !c->out.failed)
		fd = socket(load->options->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->out.failed || (!open && fd < 0)) {
		load->figures->errors[LOAD_ERROR_LOCAL]++;
		note_failure(c, load_error_words[LOAD_ERROR_LOCAL]);
		list_push_back(open ? &load->idle : &load->closed, &c->link);
		return;
	}
	c->busy = true;
	load->in_flight++;
	timer_set(&load->ring.timers, &c->deadline, intended_ns + load->options->timeout_ns);
	if (open) {
		send_request(c);
		return;
	}
	load->open++;
	stream_init(&c->stream, &load->ring, &events, fd);
	stream_connect(&c->stream, (const struct sockaddr *)&load->options->address,
		       load->options->address_len);
}

static bool has_free_connection(const struct load *load)
{
	return !list_empty(&load->idle) || !list_empty(&load->closed);
}

/* Sends what is due. Returns how long the ring may wait at most. */
static uint64_t send_due(struct load *load, uint64_t now_ns)
{
	while (load->figures->sent < load->total) {
		uint64_t next_ns = now_ns;
		if (!load->options->closed)
			next_ns = load->start_ns +
				  schedule_due_ns(&load->options->schedule, load->figures->sent);
		if (next_ns > now_ns)
			return next_ns - now_ns < TURN_NS ? next_ns - now_ns : TURN_NS;
		if (!has_free_connection(load))
			return TURN_NS;
		dispatch(load, next_ns, now_ns);
	}
	return TURN_NS;
}

/* How many requests should have been sent by now. */
static uint64_t planned(const struct load *load, uint64_t now_ns)
{
	uint64_t sent = load->figures->sent;
	if (load->options->closed)
		return sent;
	uint64_t due = schedule_due_count(&load->options->schedule, now_ns - load->start_ns);
	if (due > load->total)
		due = load->total;
	return due < sent ? sent : due;
}

/* After this nothing more is sent. */
static uint64_t last_send_ns(const struct load *load)
{
	const struct load_options *options = load->options;
	if (!options->closed)
		return load->start_ns + schedule_due_ns(&options->schedule, load->total - 1) + SEND_GRACE_NS;
	return options->duration_s > 0 ? load->start_ns + (uint64_t)(options->duration_s * (double)NS_PER_SEC)
				       : UINT64_MAX;
}

static int run(struct load *load)
{
	const struct load_options *options = load->options;
	struct load_figures *f = load->figures;
	uint64_t progress_ns = options->progress_ns, drain_end_ns = 0;
	load->start_ns = clock_now_ns();
	uint64_t end_ns = last_send_ns(load);
	for (;;) {
		uint64_t now_ns = clock_now_ns(), wait_ns = TURN_NS;
		int stop = *options->stop;
		bool sending = drain_end_ns == 0;
		if (sending && (stop || now_ns > end_ns || f->sent == load->total)) {
			sending = false;
			f->planned = planned(load, now_ns);
			drain_end_ns = now_ns + options->timeout_ns + NS_PER_SEC;
		}
		if (stop && drain_end_ns > now_ns + STOP_DRAIN_NS)
			drain_end_ns = now_ns + STOP_DRAIN_NS;
		if (!sending && (load->in_flight == 0 || stop > 1 || now_ns > drain_end_ns))
			break;
		if (sending)
			wait_ns = send_due(load, now_ns);
		int err = ring_turn(&load->ring, wait_ns);
		if (err)
			return err;
		f->elapsed_ns = clock_now_ns() - load->start_ns;
		if (options->progress && f->elapsed_ns >= progress_ns) {
			progress_ns = f->elapsed_ns + options->progress_ns;
			options->progress(f);
		}
	}
	f->unfinished = load->in_flight;
	return 0;
}

/* Hangs up everywhere and waits until the kernel has let go. */
static void close_all(struct load *load)
{
	for (uint32_t i = 0; i < load->options->connections; i++) {
		struct connection *c = &load->connections[i];
		if (c->stream.ring && c->stream.fd >= 0 && !c->stream.closing)
			hang_up(c, c->busy);
	}
	while (load->open && ring_turn(&load->ring, TURN_NS) == 0)
		;
}

static void connections_init(struct load *load)
{
	list_init(&load->idle);
	list_init(&load->closed);
	for (uint32_t i = 0; i < load->options->connections; i++) {
		struct connection *c = &load->connections[i];
		c->load = load;
		c->out.max = REQUEST_BYTES_MAX;
		c->in.max = HEAD_BYTES_MAX;
		c->text.max = CHECK_BODY_BYTES_MAX;
		c->stream.fd = -1;
		timer_init(&c->deadline, on_deadline);
		list_push_back(&load->closed, &c->link);
	}
}

int load_run(const struct load_options *options, const struct scenario *scenario,
	     struct load_figures *figures)
{
	struct load load = {
		.options = options, .scenario = scenario, .figures = figures, .total = options->total};
	struct ring_options ring = {.entries = 1024, .buffers_max = options->connections * 2};
	uint64_t scheduled = options->closed ? UINT64_MAX : schedule_total(&options->schedule);
	if (!load.total || load.total > scheduled)
		load.total = scheduled;
	load.scratch.max = REQUEST_BYTES_MAX;
	load.connections = calloc(options->connections, sizeof(*load.connections));
	if (!load.connections)
		return -ENOMEM;
	int err = ring_init(&load.ring, &ring);
	if (err) {
		free(load.connections);
		return err;
	}
	connections_init(&load);
	err = run(&load);
	close_all(&load);
	ring_fini(&load.ring);
	for (uint32_t i = 0; i < options->connections; i++) {
		buf_fini(&load.connections[i].out);
		buf_fini(&load.connections[i].in);
		buf_fini(&load.connections[i].text);
	}
	buf_fini(&load.scratch);
	json_tokens_fini(&load.tokens);
	free(load.connections);
	return err;
}
