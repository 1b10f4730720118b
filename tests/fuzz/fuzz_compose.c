/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A docker-compose.yml in which the service "users" is put or taken away: refused, or every other byte is
 * where it was, and the lines that were there can be put back.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "pipeline/deploy.h"

#include <errno.h>

static const char block[] =
	"  users:\n    image: \"phoenix-users:2\"\n    labels:\n      phoenix.migration: \"users\"\n";

/* What of `text` is not the beginning or the end of `out`: that much was exchanged. */
static size_t exchanged(struct slice text, struct slice out, size_t *in_out)
{
	size_t head = 0, tail = 0;
	while (head < text.len && head < out.len && text.ptr[head] == out.ptr[head])
		head++;
	while (tail < text.len - head && tail < out.len - head &&
	       text.ptr[text.len - 1 - tail] == out.ptr[out.len - 1 - tail])
		tail++;
	*in_out = out.len - head - tail;
	return text.len - head - tail;
}

static int splice(struct slice text, const char *put, struct buf *out, char **former)
{
	struct buf why = {0};
	char *copy = fuzz_copy(text.ptr, text.len);
	*former = NULL;
	int err = compose_splice(slice_of(copy, text.len), "users", put, out, former, &why);
	FUZZ_CHECK(err == 0 || (err == -EINVAL && why.len > 0));
	FUZZ_CHECK(!err || !*former);
	free(copy);
	buf_fini(&why);
	return err;
}

FUZZ_TARGET(compose)
{
	struct slice text = slice_of((const char *)data, size);
	struct buf put = {0}, taken = {0}, again = {0}, back = {0};
	char *former = NULL, *mine = NULL, *other = NULL, *last = NULL;
	size_t added;
	/* Taken away: only lines go, and a last line end may come. */
	if (splice(text, NULL, &taken, &other) == 0) {
		exchanged(text, buf_slice(&taken), &added);
		FUZZ_CHECK(added <= 1);
		FUZZ_CHECK(splice(buf_slice(&taken), NULL, &again, &last) == 0 && !last);
		FUZZ_CHECK(slice_equal(buf_slice(&taken), buf_slice(&again)));
	}
	buf_reset(&again);
	if (splice(text, block, &put, &former) == 0) {
		FUZZ_CHECK(memmem(put.data, put.len, "phoenix-users:2", 15) != NULL);
		/* Nothing is lost but the lines that are kept. */
		size_t lost = exchanged(text, buf_slice(&put), &added);
		FUZZ_CHECK(former || lost == 0);
		/* Once more changes nothing, and gives our own lines. */
		FUZZ_CHECK(splice(buf_slice(&put), block, &again, &mine) == 0 && mine);
		FUZZ_CHECK(slice_equal(buf_slice(&put), buf_slice(&again)));
		/* Put back, it is the text that was there. */
		if (former && splice(buf_slice(&put), former, &back, &last) == 0 && size &&
		    data[size - 1] == '\n')
			FUZZ_CHECK(slice_equal(buf_slice(&back), text));
	}
	free(former);
	free(mine);
	free(other);
	free(last);
	buf_fini(&put);
	buf_fini(&taken);
	buf_fini(&again);
	buf_fini(&back);
}
