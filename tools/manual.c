/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manual: writes a manual page, from the tables that the programs themselves work with. Run by the Makefile:
 * `manual phoenixctl.1` prints that page, `manual` the names of all.
 */
#include "manual/pages.h"
#include "manual/roff.h"

#include <stdio.h>

int main(int argc, char **argv)
{
	struct buf out = {0};

	if (argc == 1) {
#define X(function, name, section, what) printf("%s.%d\n", name, section);
		MANUAL_PAGES(X)
#undef X
		return 0;
	}
#define X(function, name, section, what)                                                                     \
	{                                                                                                    \
		char file[64];                                                                               \
		snprintf(file, sizeof(file), "%s.%d", name, section);                                        \
		if (argc == 2 && strcmp(argv[1], file) == 0) {                                               \
			roff_begin(&out, name, section, what);                                               \
			function(&out);                                                                      \
		}                                                                                            \
	}
	MANUAL_PAGES(X)
#undef X
	int status = out.len && !out.failed && fwrite(out.data, 1, out.len, stdout) == out.len &&
				     fflush(stdout) == 0
			     ? 0
			     : 1;
	if (out.len == 0)
		fprintf(stderr, "manual: there is no such page; without an argument it lists them\n");
	buf_fini(&out);
	return status;
}
