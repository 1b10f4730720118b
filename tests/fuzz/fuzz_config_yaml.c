/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration in YAML: refused with errors that say where, or taken and then, as JSON, the same. */
#include "fuzz_config.h"

FUZZ_TARGET(config_yaml)
{
	fuzz_config_text("fuzz.yaml", data, size);
}
