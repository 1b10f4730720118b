/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page: the static files of the web page, embedded in the program (GET /, /app.js, /style.css).
 *
 * The assembler puts the files in (.incbin), relative to the directory that the build runs in: the top of
 * the tree. Their ETag is a hash of the content, so a browser asks again and mostly hears 304.
 */
#include "admin/api.h"
#include "base/siphash.h"

#include <inttypes.h>
#include <stdio.h>

#define EMBED(symbol, path)                                                                                  \
	__asm__(".pushsection .rodata\n"                                                                     \
		".balign 16\n"                                                                               \
		".hidden page_" #symbol "\n"                                                                 \
		".globl page_" #symbol "\n"                                                                  \
		"page_" #symbol ":\n"                                                                        \
		".incbin \"" path "\"\n"                                                                     \
		".hidden page_" #symbol "_end\n"                                                             \
		".globl page_" #symbol "_end\n"                                                              \
		"page_" #symbol "_end:\n"                                                                    \
		".byte 0\n"                                                                                  \
		".popsection\n");                                                                            \
	extern const char page_##symbol[], page_##symbol##_end[]

EMBED(index, "userspace/admin/page/index.html");
EMBED(script, "userspace/admin/page/app.js");
EMBED(style, "userspace/admin/page/style.css");

static const struct {
	const char *path, *type;
	const char *begin, *end;
} files[] = {
	{"/", "text/html; charset=utf-8", page_index, page_index_end},
	{"/index.html", "text/html; charset=utf-8", page_index, page_index_end},
	{"/app.js", "text/javascript; charset=utf-8", page_script, page_script_end},
	{"/style.css", "text/css; charset=utf-8", page_style, page_style_end},
};

void handle_page(struct request *request, struct response *response)
{
	static const uint8_t key[SIPHASH_KEY_SIZE] = "phoenix-page";
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (!slice_equal(request->path, slice_str(files[i].path)))
			continue;
		size_t bytes = (size_t)(files[i].end - files[i].begin);
		snprintf(response->etag, sizeof(response->etag), "\"%016" PRIx64 "\"",
			 siphash24(key, files[i].begin, bytes));
		response->page = true;
		response->cacheable = true;
		response->type = files[i].type;
		response->status = 200;
		if (slice_equal(request->if_none_match, slice_str(response->etag))) {
			response->status = 304;
			return;
		}
		response->body_static = files[i].begin;
		response->body_bytes = bytes;
		return;
	}
	respond_problem(response, 404, NULL, NULL);
}
