/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration in JSON: refused with errors that say where, or taken and then the same when read back. */
#include "fuzz_config.h"

FUZZ_TARGET(config_json)
{
	fuzz_config_text("fuzz.json", data, size);
}
