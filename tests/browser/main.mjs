// SPDX-License-Identifier: Apache-2.0
//
// node main.mjs list|run MODULE [REGEX]: the tests of one module; tests/run starts this.
import {run} from "./lib/case.mjs";

await run(process.argv.slice(2));
process.exit(0);
