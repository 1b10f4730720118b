/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page: the static files of the web page, embedded in the program (GET /, /page/NAME).
 *
 * The assembler puts the files in (.incbin), relative to the directory that the build runs in: the top of
 * the tree. The chart library is Debian's, and its licence, which asks for that, is served beside it. Their
 * ETag is a hash of the content, so a browser asks again and mostly hears 304.
 */
#include "admin/api.h"
#include "base/siphash.h"

#include <inttypes.h>
#include <stdio.h>

#define HTML   "text/html; charset=utf-8"
#define SCRIPT "text/javascript; charset=utf-8"
#define STYLE  "text/css; charset=utf-8"
#define TEXT   "text/plain; charset=utf-8"
#define IMAGE  "image/svg+xml"
#define OURS   "userspace/admin/page/"

/* X(symbol, path, content type, file) */
#define PAGE_FILES(X)                                                                                        \
	X(index, "/", HTML, OURS "index.html")                                                               \
	X(style, "/page/style.css", STYLE, OURS "style.css")                                                 \
	X(views, "/page/views.css", STYLE, OURS "views.css")                                                 \
	X(icon, "/page/icon.svg", IMAGE, OURS "icon.svg")                                                    \
	X(theme, "/page/theme.js", SCRIPT, OURS "theme.js")                                                  \
	X(app, "/page/app.js", SCRIPT, OURS "app.js")                                                        \
	X(dom, "/page/dom.js", SCRIPT, OURS "dom.js")                                                        \
	X(text, "/page/text.js", SCRIPT, OURS "text.js")                                                     \
	X(daemon, "/page/daemon.js", SCRIPT, OURS "daemon.js")                                               \
	X(model, "/page/model.js", SCRIPT, OURS "model.js")                                                  \
	X(figures, "/page/figures.js", SCRIPT, OURS "figures.js")                                            \
	X(overview, "/page/overview.js", SCRIPT, OURS "overview.js")                                         \
	X(route, "/page/route.js", SCRIPT, OURS "route.js")                                                  \
	X(charts, "/page/charts.js", SCRIPT, OURS "charts.js")                                               \
	X(decisions, "/page/decisions.js", SCRIPT, OURS "decisions.js")                                      \
	X(differences, "/page/differences.js", SCRIPT, OURS "differences.js")                                \
	X(migrations, "/page/migrations.js", SCRIPT, OURS "migrations.js")                                   \
	X(dialogs, "/page/dialogs.js", SCRIPT, OURS "dialogs.js")                                            \
	X(verbs, "/page/verbs.js", SCRIPT, OURS "verbs.js")                                                  \
	X(chart, "/page/chart.js", SCRIPT, CHART_JS)                                                         \
	X(licence, "/page/chart.js.licence", TEXT, CHART_JS_LICENCE)

#define EMBED(symbol, path, type, file)                                                                      \
	__asm__(".pushsection .rodata\n"                                                                     \
		".balign 16\n"                                                                               \
		".hidden page_" #symbol "\n"                                                                 \
		".globl page_" #symbol "\n"                                                                  \
		"page_" #symbol ":\n"                                                                        \
		".incbin \"" file "\"\n"                                                                     \
		".hidden page_" #symbol "_end\n"                                                             \
		".globl page_" #symbol "_end\n"                                                              \
		"page_" #symbol "_end:\n"                                                                    \
		".byte 0\n"                                                                                  \
		".popsection\n");                                                                            \
	extern const char page_##symbol[], page_##symbol##_end[];
PAGE_FILES(EMBED)

static const struct {
	const char *path, *type;
	const char *begin, *end;
} files[] = {
#define X(symbol, path, type, file) {path, type, page_##symbol, page_##symbol##_end},
	PAGE_FILES(X)
#undef X
};

void handle_page(struct request *request, struct response *response)
{
	static const uint8_t key[SIPHASH_KEY_SIZE] = "phoenix-page";
	struct slice path = slice_equal(request->path, SLICE("/index.html")) ? SLICE("/") : request->path;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (!slice_equal(path, slice_str(files[i].path)))
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
	respond_problem(response, 404, "the page has no such file", NULL);
}
