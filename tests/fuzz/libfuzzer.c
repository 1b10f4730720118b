/* SPDX-License-Identifier: Apache-2.0 */
/* libfuzzer: libFuzzer's entry to the one target that is linked with it. */
#include "fuzz.h"

struct fuzz_target *fuzz_first;
unsigned long fuzz_checks;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_first->run(data, size);
	return 0;
}
