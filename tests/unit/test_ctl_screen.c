/* SPDX-License-Identifier: Apache-2.0 */
/* GET /admin/status as text, and the event stream taken apart. */
#include "ctl/sse.h"
#include "ctl/frame.h"
#include "ctl/screen.h"
#include "unit.h"

static const char route_text[] =
	"{\"id\":\"users\",\"methods\":[\"POST\"],\"path\":\"/api/users\",\"state\":\"migrating\","
	"\"headline\":\"Migration in Progress: 30% Traffic Shifted\",\"detail\":\"12 of 101 seen\","
	"\"weight\":{\"wanted\":0.3,\"set\":0.3,\"seen\":0.2998,\"seen_requests\":5003,\"file\":0.0,"
	"\"drift\":true},"
	"\"consistency\":{\"ratio\":0.9901,\"samples\":101,\"matches\":100,\"mismatches\":1,"
	"\"not_comparable\":{\"body_over_cap\":2,\"stream\":0},\"ignored_pointers\":[\"/meta/at\"],"
	"\"limit_promote\":0.99,\"limit_rollback\":0.95,\"min_samples\":100,\"llr\":2.514862,"
	"\"llr_bound\":4.60517,\"wilson_lower\":0.958,\"synthetic\":7,"
	"\"build\":{\"samples\":1400,\"wilson_lower\":0.981,\"needs\":0.99},"
	"\"watch\":{\"cusum\":1.25,\"alarm\":8,\"on\":true},"
	"\"shapes\":{\"distinct\":3,\"top_share\":0.9},"
	"\"noise\":{\"samples\":50,\"differing\":4,\"proposed\":[\"/meta/seq\"]}},"
	"\"sides\":{\"legacy\":{\"requests\":10,\"errors\":0,\"error_rate\":0.0,\"p99_ms\":2.1},"
	"\"modern\":{\"requests\":9,\"errors\":1,\"error_rate\":0.1111,\"p99_ms\":null,\"down\":true}},"
	"\"verbs\":[\"pause\",\"rollback\"]}";

static json_t *parse(const char *text)
{
	json_t *json = json_loads(text, 0, NULL);
	CHECK(json != NULL);
	return json;
}

TEST(line_has_three_weights_and_the_denominator)
{
	json_t *route = parse(route_text);
	struct buf out = {0};
	screen_line(route, &out);
	CHECK_STR(buf_cstr(&out),
		  "users: Migration in Progress: 30% Traffic Shifted; wanted 30%, set 30%, seen "
		  "29.98%; consistency 99.01% (100 of 101); 12 of 101 seen");
	buf_fini(&out);
	json_decref(route);
}

TEST(block_tells_what_stands_beside_the_consistency)
{
	json_t *route = parse(route_text);
	struct style pipe = {0};
	struct buf out = {0};
	screen_route(route, &pipe, false, &out);
	CHECK(strstr(buf_cstr(&out), "ignoring /meta/at"));
	CHECK(strstr(buf_cstr(&out), "not comparable: 2 body_over_cap\n"));
	CHECK(strstr(buf_cstr(&out), "drift: the file says 0%"));
	CHECK(strstr(buf_cstr(&out),
		     "at least     95.8% (95% sure); likelihood 2.51 of 4.61; this build 98.1% in "
		     "1,400, the next step needs 99%\n"));
	CHECK(strstr(buf_cstr(&out),
		     "3 request shapes, the most frequent has 90%; 7 of the samples are synthetic\n"));
	CHECK(strstr(buf_cstr(&out), "watch        1.25, alarm at 8\n"));
	CHECK(strstr(buf_cstr(&out),
		     "legacy differs from itself in 4 of 50 answers; proposed to ignore: /meta/seq\n"));
	CHECK(strstr(buf_cstr(&out), "seen 29.98% of 5,003 requests"));
	CHECK(strstr(buf_cstr(&out), "p99 -, p50 -, errors 11.11% (1 of 9) DOWN"));
	CHECK(strstr(buf_cstr(&out), "possible     pause, rollback"));
	CHECK(!strchr(buf_cstr(&out), '\033'));
	buf_fini(&out);
	json_decref(route);
}

TEST(unknown_is_a_dash_and_never_a_crash)
{
	static const char *const texts[] = {
		"{}",
		"{\"routes\":[{}]}",
		"{\"routes\":[null, 3, []]}",
		"{\"routes\":{\"a\":1},\"headline\":7}",
		"[]",
		"{\"routes\":[{\"consistency\":3,\"weight\":[],\"sides\":\"x\"}]}"};
	struct style styles[] = {
		{0}, {.terminal = true, .colour = true, .unicode = true, .width = 40, .height = 9}};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (size_t s = 0; s < 2; s++) {
			json_t *json = parse(texts[i]);
			struct buf out = {0};
			screen_status(json, &styles[s], NULL, &out);
			screen_route(json, &styles[s], false, &out);
			screen_line(json, &out);
			CHECK(out.len > 0 && !out.failed);
			buf_fini(&out);
			json_decref(json);
		}
}

TEST(narrow_terminals_get_blocks_or_a_narrow_table)
{
	struct style terminal = {.terminal = true, .width = 80, .height = 40};
	json_t *status =
		json_pack("{s:s, s:[]}", "headline", "Migration in Progress: 30% Traffic Shifted", "routes");
	struct buf out = {0};
	json_array_append_new(json_object_get(status, "routes"), parse(route_text));
	screen_status(status, &terminal, NULL, &out);
	CHECK(strstr(buf_cstr(&out), "\n  weight       ######.............."));
	buf_reset(&out);
	for (int i = 0; i < 9; i++)
		json_array_append_new(json_object_get(status, "routes"), parse(route_text));
	screen_status(status, &terminal, NULL, &out);
	CHECK(strstr(buf_cstr(&out),
		     "\nusers  migrating     30%  30%  29.98%  99.01% (100 of 101)  12 of 101 seen\n"));
	CHECK(!strstr(buf_cstr(&out), "######"));
	buf_reset(&out);
	terminal.width = 300;
	screen_status(status, &terminal, NULL, &out);
	CHECK(strstr(buf_cstr(&out), "MODERN p99, errors"));
	CHECK(strstr(buf_cstr(&out), "######.............."));
	buf_fini(&out);
	json_decref(status);
}

TEST(a_service_that_is_deployed_has_its_line)
{
	struct style pipe = {0};
	struct buf out = {0};
	json_t *status =
		parse("{\"headline\":\"Not Started: 100% on Legacy\",\"routes\":[],\"migrations\":["
		      "{\"id\":\"users\",\"stage\":\"verify\",\"headline\":\"Deploying Modern: build\","
		      "\"over\":false,\"last_line\":\"cc -o x\\u001b[2J\"},"
		      "{\"id\":\"old\",\"stage\":\"complete\",\"over\":true},"
		      "{\"id\":\"on-its-way\",\"stage\":\"migrate\",\"over\":false}]}");
	screen_status(status, &pipe, NULL, &out);
	CHECK_STR(buf_cstr(&out), "Not Started: 100% on Legacy\n"
				  "  migration    users: Deploying Modern: build: cc -o x?[2J\n"
				  "no routes\n");
	json_decref(status);
	buf_fini(&out);
}

/* A sample more is no change; a weight, a state or another reason is. */
TEST(key_changes_with_what_matters)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{"{\"state\":\"holding\",\"headline\":\"Holding at 30%: 12 of 100 samples seen\"}",
		 "{\"state\":\"holding\",\"headline\":\"Holding at 30%: 99 of 100 samples seen\"}", true},
		{"{\"state\":\"holding\",\"headline\":\"Holding at 30%: 12 of 100 samples seen\"}",
		 "{\"state\":\"holding\",\"headline\":\"Holding at 30%: consistency 97%\"}", false},
		{"{\"state\":\"migrating\",\"weight\":{\"wanted\":0.3}}",
		 "{\"state\":\"migrating\",\"weight\":{\"wanted\":0.4}}", false},
		{"{\"state\":\"migrating\",\"weight\":{\"seen\":0.3}}",
		 "{\"state\":\"migrating\",\"weight\":{\"seen\":0.4}}", true},
		{"{\"state\":\"paused\"}", "{\"state\":\"idle\"}", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *a = parse(rows[i].a), *b = parse(rows[i].b);
		struct buf key_a = {0}, key_b = {0};
		screen_key(a, &key_a);
		screen_key(b, &key_b);
		CHECK_MSG((strcmp(buf_cstr(&key_a), buf_cstr(&key_b)) == 0) == rows[i].same, "row %zu", i);
		buf_fini(&key_a);
		buf_fini(&key_b);
		json_decref(a);
		json_decref(b);
	}
}

TEST(cut_keeps_colours_closed)
{
	struct buf out = {0};
	frame_cut(SLICE("\033[31mabcdef\nüüüü\033[0mx\nlast\n"), 3, 9, &out);
	CHECK_STR(buf_cstr(&out), "\033[31mabc\033[0m\nüüü\033[0m\nlas\n");
	buf_reset(&out);
	frame_cut(SLICE("a\nb\nc\nd\n"), 9, 3, &out);
	CHECK_STR(buf_cstr(&out), "a\nb\n(2 more lines)\n");
	buf_fini(&out);
}

static struct buf seen;
static int stop_after;

static bool on_event(void *user, const struct sse_event *event)
{
	struct sse *sse = user;
	buf_printf(&seen, "[%s %s %s]", sse->last_id, event->type, event->data);
	return --stop_after != 0;
}

/* The same bytes give the same events wherever the network cuts them. */
TEST(sse_in_pieces)
{
	static const char stream[] =
		": hello\n\nid: 17\nevent: weight\ndata: {\"a\":1}\n\ndata:x\r\ndata: y\r\n\r\n"
		"event: nothing\n\nretry: 5\nid: 18\ndata\n\ndata: cut";
	for (size_t step = 1; step <= sizeof(stream); step++) {
		struct sse sse;
		sse_init(&sse);
		buf_reset(&seen);
		stop_after = 100;
		for (size_t i = 0; i < sizeof(stream) - 1; i += step) {
			size_t rest = sizeof(stream) - 1 - i;
			CHECK(sse_feed(&sse, stream + i, rest < step ? rest : step, on_event, &sse));
		}
		CHECK_STR(buf_cstr(&seen), "[17 weight {\"a\":1}][17 message x\ny][18 message ]");
		sse_restart(&sse);
		CHECK_STR(sse.last_id, "18");
		buf_reset(&seen);
		CHECK(sse_feed(&sse, "data: new\n\n", 11, on_event, &sse));
		CHECK_STR(buf_cstr(&seen), "[18 message new]");
		sse_fini(&sse);
	}
	buf_fini(&seen);
}

TEST(sse_limits_and_stop)
{
	struct sse sse;
	sse_init(&sse);
	sse.line.max = 64;
	sse.data.max = 40;
	stop_after = 100;
	char big[200];
	memset(big, 'x', sizeof(big));
	CHECK(sse_feed(&sse, "data: ", 6, on_event, &sse));
	CHECK(sse_feed(&sse, big, sizeof(big), on_event, &sse));
	CHECK(sse_feed(&sse, "\n\ndata: ok\n\n", 12, on_event, &sse));
	CHECK_STR(buf_cstr(&seen), "[ message ok]"); /* the big one is gone, the next is whole */
	buf_reset(&seen);
	CHECK(sse_feed(&sse, big, sizeof(big), on_event, &sse)); /* nor is its remainder taken for an event */
	CHECK(sse_feed(&sse, "\ndata: tail\n\n", 13, on_event, &sse));
	CHECK_INT(seen.len, 0);
	for (int i = 0; i < 3; i++)
		CHECK(sse_feed(&sse, "data: 01234567890123456789\n", 27, on_event, &sse));
	CHECK(sse_feed(&sse, "\nid: 1234567890123456789012345678901234567890123456789012\n", 58, on_event,
		       &sse));
	CHECK_INT(seen.len, 0);
	stop_after = 1;
	CHECK(!sse_feed(&sse, "data: a\n\ndata: b\n\n", 18, on_event, &sse));
	CHECK(strstr(buf_cstr(&seen), "message a]") && !strstr(buf_cstr(&seen), "message b]"));
	sse_fini(&sse);
	buf_fini(&seen);
}

UNIT_MAIN
