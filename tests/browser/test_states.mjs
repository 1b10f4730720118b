// SPDX-License-Identifier: Apache-2.0
//
// Every state of the contract's table, made by a real daemon, in both themes and three widths: the exact words, no
// violation that axe-core finds, nothing wider than the window. The pictures are in build/browser/.
import {check, equal, waitFor} from "./lib/case.mjs";
import {Browser, Clients, Gateway, Service, axe, freePort, json, overflow, picture, route} from "./lib/rig.mjs";

const NEVER = {min_samples: 900000};
const HEADLINES = {
  idle: /^Not Started: 100% on Legacy$/,
  deploying: /^Deploying Modern: verifying the code$/,
  mirroring: /^Mirroring: 0% Traffic Shifted$/,
  migrating: /^Migration in Progress: 30% Traffic Shifted$/,
  holding: /^Holding at 50%: consistency \d+(\.\d+)?% is not > 99% \(\d+ of \d+\)$/,
  paused: /^Paused at 20% by uid \d+$/,
  rolled_back: /^Rollback triggered$/,
  complete: /^Migration Complete$/,
};
const THEMES = ["light", "dark"];
const WIDTHS = [360, 800, 1440];

const answer = (request) => ({path: request.url, name: "Ada", balance: 1200.5});

// What modern gets wrong is by the path and its number: counted, so that every run has the same states.
function modernHandler() {
  let held = 0;
  return (request) => {
    const value = answer(request);
    if (request.url.startsWith("/rolled_back/")) value.balance = "1200.50";
    if (request.url.startsWith("/holding/") && ++held % 25 === 24) value.name = "ada";
    return json(200, value);
  };
}

// A route whose new service is being built, for as long as the test lasts.
const deploying = async (legacy) => ({
  id: "deploying",
  route: {method: "GET", path: "/deploying/*", legacy_url: legacy.url},
  service: {
    source: {files: {"server.py": "import time\ntime.sleep(600)\n"}},
    language: "python",
    port: await freePort(),
    build: [
      "/bin/sh",
      "-c",
      'i=0; while [ $i -lt 12 ]; do i=$((i+1)); echo "[$i/12] compiling module $i"; done; exec sleep 600',
    ],
    command: ["/usr/bin/python3", "server.py"],
  },
  deploy: {kind: "process"},
});

export async function setup() {
  const legacy = await new Service((request) => json(200, answer(request))).start();
  const modern = await new Service(modernHandler()).start();
  const make = (id, arbiter, more) =>
    route(id, legacy, modern, {arbiter, compare: {ignore: ["/meta/generated_at"]}, ...more});
  const gateway = await new Gateway([
    make("idle", NEVER, {mirror: {sample: 0}}),
    make("deploying", NEVER, {mirror: {sample: 0}}),
    make("mirroring", NEVER),
    make("migrating", NEVER),
    make("holding", {min_samples: 30, rollback_min_samples: 100}, {weight: 0.5}),
    make("paused", NEVER),
    make("rolled_back", {min_samples: 900}),
    make("complete", {min_samples: 20, step: 0.5}),
  ]).start();
  new Clients(
    gateway,
    Object.keys(HEADLINES).map((id) => `/${id}/#`),
    80,
  );
  await gateway.post("/admin/migrations", await deploying(legacy));
  for (const [id, weight] of [
    ["migrating", 0.3],
    ["paused", 0.2],
  ])
    await gateway.post(`/admin/routes/${id}/weight`, {weight, reason: "for the picture"});
  await gateway.post("/admin/routes/paused/pause", {reason: "lunch"});
  const browser = await new Browser().start();
  await Promise.all(Object.keys(HEADLINES).map((state) => gateway.waitState(state, state, 30)));
  // One page for all: it is turned, not loaded again.
  const page = await browser.page({width: WIDTHS[0], theme: THEMES[0]});
  await page.goto(gateway.page);
  await waitFor("the page being live", () =>
    page.evaluate(() => document.querySelector("#live").dataset.state === "live"),
  );
  return {gateway, browser, page};
}

const LOOKS = THEMES.flatMap((theme) => WIDTHS.map((width) => ({theme, width})));

// Both themes, all widths: nothing is wider than the window, axe-core finds nothing, and a picture is taken.
async function lookAt({browser, page}, name) {
  for (const {theme, width} of LOOKS) {
    await page.setViewportSize({width, height: width < 500 ? 780 : 900});
    await page.emulateMedia({colorScheme: theme, reducedMotion: "reduce"});
    await waitFor("the charts being as wide as there is room", () =>
      page.evaluate(() =>
        [...document.querySelectorAll("canvas")].every(
          (canvas) => Math.abs(canvas.getBoundingClientRect().width - canvas.parentElement.clientWidth) < 2,
        ),
      ),
    );
    equal(await overflow(page), {wide: 0, who: []}, `overflow at ${width}`);
    if (width === (theme === "dark" ? 360 : 1440)) equal(await axe(browser, page), [], `axe, ${theme}, ${width}`);
    await picture(page, `${name}-${theme}-${width}`, true);
  }
  equal([page.problems, page.loads], [[], 1], "what the browser complains of, and how often the page was loaded");
}

const go = (page, hash) =>
  page.evaluate((to) => {
    location.hash = to;
  }, hash);

export const tests = {
  async words_of_the_contract({page}) {
    for (const [state, words] of Object.entries(HEADLINES)) {
      const row = page.locator(`.row[data-id="${state}"]`);
      equal(await row.getAttribute("data-state"), state, `the state of ${state}`);
      const text = await row.locator(".row-headline").textContent();
      check(words.test(text), `headline of ${state}`, text);
    }
    equal(await page.title(), "Rollback triggered · Phoenix", "the title");
    const order = await page.locator(".row").evaluateAll((rows) => rows.map((row) => row.dataset.id));
    equal(order.slice(0, 2), ["rolled_back", "holding"], "what needs somebody comes first");
  },

  overview: (env) => lookAt(env, "overview"),
};

for (const state of Object.keys(HEADLINES))
  tests[`route/${state}`] = async (env) => {
    const {page} = env;
    await go(page, `#/routes/${state}`);
    await waitFor("the route", () =>
      page.evaluate(
        (id) =>
          document.querySelector("#view-title") &&
          document.querySelector("#view-title").textContent === id &&
          document.querySelectorAll(".rung").length > 2 &&
          /\d/.test(document.querySelector(".chart-weight canvas").getAttribute("aria-label") || ""),
        state,
      ),
    );
    const text = await page.locator(".view-headline").textContent();
    check(HEADLINES[state].test(text), `headline of ${state}`, text);
    await lookAt(env, `route-${state}`);
  };
