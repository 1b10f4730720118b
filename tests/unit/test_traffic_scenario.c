/* SPDX-License-Identifier: Apache-2.0 */
/* Scenarios of phoenix-traffic: what is refused, and which bytes a request becomes. */
#include "unit.h"

#include "traffic/scenario.h"

#include <errno.h>
#include <unistd.h>

static struct config_url target = {.host = (char *)"127.0.0.1", .port = 8080, .base_path = (char *)""};

/* Reads a scenario from memory, with what is said about it out of the way. */
static int read_text(struct scenario *s, const char *text, const struct config_url *url, bool synthetic)
{
	char path[] = "/tmp/phoenix-scenario-XXXXXX";
	int fd = mkstemp(path), saved = dup(STDERR_FILENO), err = -EIO;
	if (fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) &&
	    freopen("/dev/null", "w", stderr)) {
		err = scenario_read(s, path, &(struct scenario_options){url, synthetic, NULL, 0});
		fflush(stderr);
		dup2(saved, STDERR_FILENO);
	}
	s->file = "gone";
	unlink(path);
	close(fd);
	close(saved);
	return err;
}

TEST(refused)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{}",
		"{\"requests\": []}",
		"{\"requests\": [{}]}",
		"{\"requests\": [{\"path\": \"x\"}]}",
		"{\"requests\": [{\"path\": \"/a b\"}]}",
		"{\"requests\": [{\"path\": \"/\", \"wieght\": 1}]}",
		"{\"requests\": [{\"path\": \"/\", \"weight\": 0}]}",
		"{\"requests\": [{\"path\": \"/\", \"weight\": \"1\"}]}",
		"{\"requests\": [{\"path\": \"/\", \"expect\": 199}]}",
		"{\"requests\": [{\"path\": \"/\", \"expect\": [200, 600]}]}",
		"{\"requests\": [{\"path\": \"/\", \"method\": \"G ET\"}]}",
		"{\"requests\": [{\"path\": \"/\", \"headers\": {\"a\": \"b\\r\\nc: d\"}}]}",
		"{\"requests\": [{\"path\": \"/\", \"headers\": {\"Content-Length\": \"3\"}}]}",
		"{\"requests\": [{\"path\": \"/${nobody}\"}]}",
		"{\"requests\": [{\"path\": \"/${seq:number}\"}]}",
		"{\"requests\": [{\"path\": \"/\", \"body\": {\"a\": \"x${seq:number}\"}}]}",
		"{\"requests\": [{\"path\": \"/\"}], \"variables\": {\"a\": []}}",
		"{\"requests\": [{\"path\": \"/\"}], \"variables\": {\"a\": [true]}}",
		"{\"requests\": [{\"path\": \"/\"}], \"variables\": {\"a\": [\"x y\"]}}",
		"{\"requests\": [{\"path\": \"/\"}], \"variables\": {\"a\": {\"from\": 2, \"to\": 1}}}",
		"{\"requests\": [{\"path\": \"/\"}], \"variables\": {\"a\": {\"from\": 1}}}",
		"{\"requests\": [{\"path\": \"/\"}], \"thresholds\": {\"p99\": 1}}",
		"{\"requests\": [{\"path\": \"/\"}], \"thresholds\": [1]}",
		"{\"requests\": [{\"path\": \"/\"}], \"thresholds\": [\"p99\"]}",
		"{\"requests\": [{\"path\": \"/\", \"method\": \"CONNECT\"}]}",
		"{\"requests\": [{\"path\": \"/\", \"expect\": \"6xx\"}]}",
		"{\"requests\": [{\"path\": \"/\", \"expect\": {\"statuss\": 200}}]}",
		"{\"requests\": [{\"path\": \"/\", \"expect\": {\"json\": {\"a\": 1}}}]}",
		"{\"requests\": [{\"path\": \"/\", \"expect\": {\"json\": {\"/a\": []}}}]}",
		"{\"requests\": [{\"path\": \"/\", \"expect\": {\"headers\": {\"a\": 1}}}]}",
		"{\"requests\": [{\"path\": \"/\", \"headers\": {\"X-Phoenix-Synthetic\": \"0\"}}]}",
		"{\"requests\": [{\"path\": \"/\"}], \"variables\": {\"a\": [{\"x\": 1}, {\"y\": 1}]}}",
		"{\"requests\": [{\"path\": \"/\"}], \"variables\": {\"a\": [{}]}}",
		"{\"requests\": [{\"path\": \"/\"}], \"variables\": {\"a.b\": [1]}}",
		"{\"requests\": [{\"path\": \"/${a}\"}], \"variables\": {\"a\": [{\"x\": 1}]}}",
		"{\"requests\": [{\"path\": \"/${a.y}\"}], \"variables\": {\"a\": [{\"x\": 1}]}}",
		"{\"requests\": [{\"path\": \"/${a.x}\"}], \"variables\": {\"a\": [1]}}",
		"{\"requests\": [{\"path\": \"/\"}], \"load\": {\"rate\": 0}}",
		"{\"requests\": [{\"path\": \"/\"}], \"load\": {\"rate\": 1e7}}",
		"{\"requests\": [{\"path\": \"/\"}], \"load\": {\"mode\": \"fast\"}}",
		"{\"requests\": [{\"path\": \"/\"}], \"load\": {\"mode\": \"closed\", \"rate\": 1}}",
		"{\"requests\": [{\"path\": \"/\"}], \"load\": {\"stages\": []}}",
		"{\"requests\": [{\"path\": \"/\"}], \"load\": {\"stages\": [{\"rate\": 1}]}}",
		"{\"requests\": [{\"path\": \"/\"}], \"load\": {\"rate\": 1, \"duration\": \"forever\"}}",
		"{\"requests\": [{\"path\": \"/\"}], \"load\": {\"connections\": 0}}",
		"{\"requests\": [{\"path\": \"/\"}], \"extra\": 1}",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct scenario s;
		CHECK_MSG(read_text(&s, texts[i], &target, false) == -EINVAL, "%s", texts[i]);
		scenario_fini(&s);
	}
}

TEST(bytes)
{
	struct scenario s;
	struct buf body = {0}, out = {0};
	struct config_url base = {.host = (char *)"::1", .port = 81, .base_path = (char *)"/base"};
	CHECK_INT(read_text(&s,
			    "{\"variables\": {\"a\": [7.5]}, \"requests\": [{\"method\": \"POST\", \"path\": "
			    "\"/x/${a}\", \"headers\": {\"K\": \"${seq}\"}, \"expect\": [201, 404],"
			    "\"body\": {\"n\": \"${a:number}\", \"s\": \"<${a}>\"}}]}",
			    &base, true),
		  0);
	const struct scenario_request *r = scenario_compose(&s, 1, 41, &body, &out);
	CHECK_STR(buf_cstr(&out), "POST /base/x/7.5 HTTP/1.1\r\nK: 42\r\nHost: [::1]:81\r\n"
				  "User-Agent: phoenix-traffic/" PHOENIX_VERSION "\r\n"
				  "X-Phoenix-Synthetic: 1\r\nContent-Type: application/json\r\n"
				  "Content-Length: 21\r\n\r\n{\"n\":7.5,\"s\":\"<7.5>\"}");
	CHECK(r->checks.status[201] && r->checks.status[404] && !r->checks.status[200]);
	CHECK_STR(r->name, "POST /x/${a}");
	CHECK(!r->is_head);
	scenario_fini(&s);
	buf_fini(&body);
	buf_fini(&out);
}

TEST(without_body)
{
	struct scenario s;
	struct buf body = {0}, out = {0};
	CHECK_INT(read_text(&s, "{\"requests\": [{\"method\": \"HEAD\", \"path\": \"/\"}]}", &target, false),
		  0);
	const struct scenario_request *r = scenario_compose(&s, 1, 0, &body, &out);
	CHECK_STR(buf_cstr(&out), "HEAD / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
				  "User-Agent: phoenix-traffic/" PHOENIX_VERSION "\r\n\r\n");
	CHECK(r->is_head && r->checks.status[200] && r->checks.status[399] && !r->checks.status[400]);
	scenario_fini(&s);
	buf_fini(&body);
	buf_fini(&out);
}

/* Rows keep together what belongs together; $${ is plain text; what the command line says wins. */
TEST(rows)
{
	struct scenario s = {0};
	struct buf body = {0}, out = {0};
	static const char *const fields[] = {"k: of the line", "Host: other"};
	char path[] = "/tmp/phoenix-scenario-XXXXXX";
	const char *text = "{\"variables\": {\"o\": [{\"u\": \"a\", \"i\": 1}, {\"u\": \"b\", \"i\": 2}]},"
			   "\"load\": {\"stages\": [{\"from\": 1, \"to\": 3, \"duration\": \"2s\"}], "
			   "\"connections\": 7},"
			   "\"requests\": [{\"path\": \"/${o.u}/${o.i}\", \"headers\": {\"K\": \"x\"}, "
			   "\"body\": \"$${o.u} ${o.i}\"}]}";
	int fd = mkstemp(path);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	CHECK_INT(scenario_read(&s, path, &(struct scenario_options){&target, false, fields, 2}), 0);
	bool seen[2] = {false};
	for (uint64_t k = 0; k < 64; k++) {
		scenario_compose(&s, 3, k, &body, &out);
		bool first = strncmp(buf_cstr(&out), "POST /a/1 ", 10) == 0 ||
			     strncmp(buf_cstr(&out), "GET /a/1 ", 9) == 0;
		seen[first] = true;
		CHECK(first || strncmp(buf_cstr(&out), "GET /b/2 ", 9) == 0);
		CHECK_STR(strstr(buf_cstr(&out), "\r\n\r\n") + 4, first ? "${o.u} 1" : "${o.u} 2");
	}
	CHECK(seen[0] && seen[1]);
	CHECK(strstr(buf_cstr(&out), "\r\nk: of the line\r\nHost: other\r\n") &&
	      !strstr(buf_cstr(&out), "K: x"));
	CHECK_INT(schedule_total(&s.load.schedule), 4);
	CHECK_INT(s.load.connections, 7);
	scenario_fini(&s);
	buf_fini(&body);
	buf_fini(&out);
	unlink(path);
	close(fd);
}

/* Weights are shares, a range is used whole, and the same seed draws the same. */
TEST(draws)
{
	struct scenario s;
	struct buf body = {0}, out = {0}, again = {0};
	unsigned counts[2] = {0}, values[5] = {0};
	bool same = true, other = false;
	CHECK_INT(read_text(&s,
			    "{\"variables\": {\"n\": {\"from\": -2, \"to\": 2}}, \"requests\": [{\"path\": "
			    "\"/${n}\", "
			    "\"weight\": 3}, {\"path\": \"/${n}/${uuid}\", \"weight\": 1}]}",
			    &target, false),
		  0);
	for (unsigned k = 0; k < 4000; k++) {
		const struct scenario_request *r = scenario_compose(&s, 9, k, &body, &out);
		counts[r - s.requests]++;
		int value = atoi(buf_cstr(&out) + strlen("GET /"));
		CHECK(value >= -2 && value <= 2);
		values[value + 2]++;
		scenario_compose(&s, 9, k, &body, &again);
		same = same && slice_equal(buf_slice(&out), buf_slice(&again));
		scenario_compose(&s, 10, k, &body, &again);
		other = other || !slice_equal(buf_slice(&out), buf_slice(&again));
	}
	CHECK(same && other);
	CHECK_MSG(counts[0] > 2850 && counts[0] < 3150, "%u of 4000 at weight 3 of 4", counts[0]);
	for (unsigned i = 0; i < 5; i++)
		CHECK_MSG(values[i] > 650 && values[i] < 950, "value %d: %u of 4000", (int)i - 2, values[i]);
	scenario_fini(&s);
	buf_fini(&body);
	buf_fini(&out);
	buf_fini(&again);
}

UNIT_MAIN
