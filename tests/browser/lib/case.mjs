// SPDX-License-Identifier: Apache-2.0
//
// case: how a module of browser tests says what its tests are, and how they are run.
//
// A module exports `tests`, an object of name -> async function(env), and may export setup() -> env; everything
// given to `own()` is stopped at the end, in reverse order. One JSON line a test goes to the descriptor
// PHX_TEST_RESULTS_FD, as the modules of tests/e2e do it.
import {writeSync} from "node:fs";
import {dirname, join} from "node:path";
import {fileURLToPath, pathToFileURL} from "node:url";

const TEST_TIMEOUT_MS = 120000; // for a machine that is busy with other tests
const owned = [];

export function own(thing) {
  owned.push(thing);
  return thing;
}

export function check(condition, message, ...details) {
  if (!condition) throw new Error([message, ...details.map((d) => `    ${JSON.stringify(d)}`)].join("\n"));
}

export function equal(got, want, what = "value") {
  if (JSON.stringify(got) !== JSON.stringify(want))
    throw new Error(`${what} is ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Polls until condition() is truthy and gives that back; never waits in the hope that something has happened.
export async function waitFor(what, condition, seconds = 15, everyMs = 30) {
  const end = Date.now() + seconds * 1000;
  let last;
  for (;;) {
    try {
      last = await condition();
    } catch (error) {
      last = null;
      if (Date.now() > end) throw error;
    }
    if (last) return last;
    if (Date.now() > end) throw new Error(`after ${seconds} s still waiting for ${what}`);
    await sleep(everyMs);
  }
}

async function withTimeout(name, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`longer than ${TEST_TIMEOUT_MS / 1000} s`)), TEST_TIMEOUT_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export async function run([verb, name, pattern]) {
  const descriptor = Number(process.env.PHX_TEST_RESULTS_FD || 1);
  const report = (line) => writeSync(descriptor, `${JSON.stringify(line)}\n`);
  const wanted = pattern ? new RegExp(pattern) : null;
  const short = name.replace(/^test_/, "");
  const folder = join(dirname(fileURLToPath(import.meta.url)), "..");
  const module = await import(pathToFileURL(join(folder, `${name}.mjs`)));
  const names = Object.keys(module.tests).filter(
    (test) => verb === "list" || !wanted || wanted.test(`browser/${short}/${test}`),
  );
  if (verb === "list") {
    names.forEach((test) => report({test}));
    return;
  }
  if (!names.length) return;
  let env = null,
    problem = "";
  try {
    env = await withTimeout("setup", module.setup ? module.setup() : {});
  } catch (error) {
    problem = `setup failed: ${error.message}`;
  }
  for (const test of names) {
    report({begin: test});
    const started = Date.now();
    let detail = problem;
    if (!problem) {
      try {
        await withTimeout(test, module.tests[test](env));
      } catch (error) {
        detail = error.stack || String(error);
        if (env && env.explain) detail += `\n${await env.explain(test).catch((e) => e.message)}`;
      }
    }
    report({test, result: detail ? "fail" : "ok", detail, seconds: (Date.now() - started) / 1000});
  }
  report({begin: "ends_cleanly"});
  const started = Date.now(),
    details = [];
  for (const thing of owned.reverse()) {
    try {
      await thing.stop();
    } catch (error) {
      details.push(error.message);
    }
  }
  if (!problem)
    report({
      test: "ends_cleanly",
      result: details.length ? "fail" : "ok",
      detail: details.join("\n"),
      seconds: (Date.now() - started) / 1000,
    });
}
