// SPDX-License-Identifier: Apache-2.0
//
// The page at work: a migration under real traffic that it follows without being loaded again, a stream that is cut,
// verbs and their refusals, ignoring, hostile texts, the keyboard alone, ten thousand routes, roles.
import {check, equal, waitFor} from "./lib/case.mjs";
import {Browser, Clients, Gateway, Link, Service, axe, json, overflow, picture, route} from "./lib/rig.mjs";

const HOSTILE = `<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>`;
const NEVER = {min_samples: 900000};

export async function setup() {
  let asked = 0; // a number that is another one with every answer
  const legacy = await new Service((request) => ({
    ...json(200, {path: request.url, name: "Ada", clock: request.url.startsWith("/sixth/") ? ++asked : 1}),
    headers: {"content-type": "application/json", "x-side": "legacy"},
  })).start();
  const modern = await new Service((request) => {
    const value = {path: request.url, name: "Ada", clock: 1};
    if (request.url.startsWith("/differs/")) value.clock = 2;
    if (request.url.startsWith("/hostile/")) Object.assign(value, {name: HOSTILE, [HOSTILE]: 1});
    return {...json(200, value), headers: {"content-type": "application/json", "x-side": "modern"}};
  }).start();
  const gateway = await new Gateway([
    route("moves", legacy, modern, {arbiter: {min_samples: 12, min_step_ms: 250}}),
    route("verbs", legacy, modern, {arbiter: NEVER}),
    route("keys", legacy, modern, {arbiter: NEVER}),
    route("differs", legacy, modern, {arbiter: {...NEVER, rollback_min_samples: 900000}}),
    route("hostile", legacy, modern, {arbiter: {...NEVER, rollback_min_samples: 900000}}),
    route("sixth", legacy, modern, {mirror: {control: 1}, arbiter: {...NEVER, rollback_min_samples: 900000}}), // from six on there is something to find
  ]).start();
  const browser = await new Browser().start();
  return {legacy, modern, gateway, browser};
}

async function visit(browser, address, options) {
  const page = await browser.page(options);
  await page.goto(address);
  await live(page);
  return page;
}

const live = (page) =>
  waitFor(
    "the page being live",
    () => page.evaluate(() => document.querySelector("#live").dataset.state === "live"),
    20,
  );
const textOf = (page, selector) => page.locator(selector).first().innerText();
const hasText = (page, selector, text) =>
  waitFor(`"${text}" in ${selector}`, async () =>
    (await page.locator(selector).allInnerTexts()).join("\n").includes(text),
  );
const fine = (page) => equal(page.problems, [], "what the browser complains of");

export const tests = {
  async follows_a_migration_without_reload({gateway, browser}) {
    const page = await visit(browser, `${gateway.page}#/routes/moves`);
    await page.evaluate(() => {
      window.seen = [];
      const look = () => {
        const words = document.querySelector(".view-headline").textContent,
          set = document.querySelector(".number-set dd").textContent;
        if (window.seen.length === 0 || window.seen[window.seen.length - 1][0] !== words)
          window.seen.push([words, set]);
      };
      look();
      new MutationObserver(look).observe(document.querySelector("#view"), {
        subtree: true,
        childList: true,
        characterData: true,
      });
    });
    const clients = new Clients(gateway, ["/moves/#"], 100);
    await waitFor(
      "the end of the migration on the page",
      async () => (await textOf(page, ".view-headline")) === "Migration Complete",
      40,
    );
    clients.stop();
    const seen = await page.evaluate(() => window.seen);
    // (It looks about once a second: a fast machine takes several steps in that time.)
    check(seen.length >= 4, "the page showed steps on the way", seen);
    equal(seen[0][0], "Mirroring: 0% Traffic Shifted", "first");
    const shares = seen
      .filter(([words]) => words.startsWith("Migration in Progress"))
      .map(([words]) => Number(/(\d+)%/.exec(words)[1]));
    check(
      shares.length >= 2 && shares.every((share, i) => i === 0 || share > shares[i - 1]),
      "the share grows",
      shares,
    );
    equal(await page.locator(".number dd").allInnerTexts(), ["100%", "100%", "100%"], "wanted, set, seen");
    await waitFor(
      "all steps with their evidence",
      async () => (await page.locator(".rung.done .rung-evidence").count()) === 10,
    );
    await waitFor(
      "the ledger",
      async () =>
        (await page.locator(".decision-promote").count()) === 10 &&
        (await page.locator(".decision-complete").count()) === 1,
    );
    await waitFor("a chart of the share", async () =>
      /highest 100%/.test(await page.locator(".chart-weight canvas").getAttribute("aria-label")),
    );
    equal(page.loads, 1, "how often the page was loaded");
    equal(clients.failed, 0, "failed requests");
    fine(page);
    await page.context().close();
  },

  async cut_stream_is_taken_up_where_it_broke({gateway, browser}) {
    const link = await new Link(gateway.adminPort).start();
    const page = await visit(browser, link.page);
    const asked = [];
    page.on("request", (request) => {
      if (request.url().includes("/admin/events?since")) asked.push(request.headers()["last-event-id"]);
    });
    await gateway.post("/admin/routes/sixth/weight", {weight: 0.01, reason: "before the cut"});
    await hasText(page, ".events", "before the cut");
    link.cut();
    await waitFor("the page saying so", () =>
      page.evaluate(
        () => !document.querySelector("#lost").hidden && document.querySelector("#live").dataset.state === "lost",
      ),
    );
    check(
      /^Disconnected\. What you see is \d+ s old/.test(await textOf(page, "#lost")),
      "the banner",
      await textOf(page, "#lost"),
    );
    equal(await axe(browser, page), [], "axe while disconnected");
    await picture(page, "disconnected-light-1280");
    for (const weight of [0.02, 0.03, 0.04])
      await gateway.post("/admin/routes/sixth/weight", {weight, reason: `while cut ${weight}`});
    link.mend();
    await live(page);
    await hasText(page, ".events", "while cut 0.04");
    check(asked.length && /^\d+$/.test(asked[asked.length - 1]), "Last-Event-ID was sent", asked);
    const events = (await page.locator(".events .event-text").allInnerTexts()).filter((text) => /cut/.test(text));
    equal(
      events.map((text) => text.split(": ").pop()),
      ["while cut 0.04", "while cut 0.03", "while cut 0.02", "before the cut"],
      "each event once, in order",
    );
    await waitFor(
      "the weight",
      async () => (await page.locator('.row[data-id="sixth"] .number-set dd').innerText()) === "4%",
    );
    // Another life of the daemon, after a crash: its weights (kept in memory only, here) and its events, not the old ones.
    await gateway.kill();
    await gateway.begin();
    await hasText(page, ".events", "started: 6 routes");
    await live(page);
    await waitFor(
      "the weight of the new daemon",
      async () => (await page.locator('.row[data-id="sixth"] .number-set dd').innerText()) === "0%",
    );
    equal(
      (await page.locator(".events .event-text").allInnerTexts()).filter((text) => /cut/.test(text)),
      [],
      "events of the old daemon",
    );
    equal(page.loads, 1, "how often the page was loaded");
    fine(page);
    await page.context().close();
  },

  async verbs_say_what_they_do_and_what_is_possible({gateway, browser}) {
    const page = await visit(browser, `${gateway.page}#/routes/verbs`);
    const act = async (name, reason) => {
      await page.getByRole("button", {name: `${name} verbs`, exact: true}).click();
      if (reason) await page.locator("dialog input[type=text]").fill(reason);
      const told = await textOf(page, "dialog .dialog-body");
      await page.locator('dialog button[type="submit"]').click();
      return told;
    };
    const headline = (words) => hasText(page, ".view-headline", words);
    check((await act("Promote")).includes("from 0% to 10%"), "promote says what it does");
    await headline("Migration in Progress: 10% Traffic Shifted");
    check((await act("Pause", "lunch")).includes("stays at 10%"), "pause says what it does");
    await headline("Paused at 10% by 127.0.0.1");
    await hasText(page, ".view-head", "lunch");
    await act("Resume");
    await headline("Migration in Progress: 10%");
    await page.getByRole("button", {name: "Set weight… verbs"}).click();
    await page.locator("dialog input[type=number]").fill("35");
    await page.locator('dialog button[type="submit"]').click();
    await headline("Migration in Progress: 35% Traffic Shifted");
    // Somebody else was faster: the daemon's own words, and what is possible now.
    await page.getByRole("button", {name: "Pause verbs"}).click();
    await gateway.post("/admin/routes/verbs/rollback", {reason: "somebody else"});
    await page.locator('dialog button[type="submit"]').click();
    await waitFor("the refusal", async () =>
      /possible now: .*rollback.*retry|possible now: .*retry.*rollback|possible now: rollback, retry/s.test(
        await textOf(page, "dialog .outcome"),
      ),
    );
    await page.keyboard.press("Escape");
    await headline("Rollback triggered");
    await hasText(page, ".view-detail", "somebody else");
    await hasText(page, ".panel-ladder", "rolled back here");
    await act("Retry");
    await headline("Mirroring: 0% Traffic Shifted");
    const audit = (await gateway.ask("GET", "/admin/audit?limit=20")).json.entries;
    check(
      audit.some(
        (entry) => entry.path === "/admin/routes/verbs/pause" && entry.reason === "lunch" && entry.status === 200,
      ),
      "the audit log has who and why",
      audit,
    );
    equal(page.loads, 1, "how often the page was loaded");
    fine(page);
    await page.context().close();
  },

  async rollback_by_keyboard_alone({gateway, browser}) {
    await gateway.post("/admin/routes/keys/weight", {weight: 0.4});
    const page = await visit(browser, gateway.page);
    await hasText(page, '.row[data-id="keys"]', "40%");
    // One key, and what will happen; Escape changes nothing.
    await page.keyboard.press("r");
    await hasText(page, "dialog", "40% → 0%");
    equal(await axe(browser, page), [], "axe with the dialog");
    await page.keyboard.press("Escape");
    equal((await gateway.route("keys")).weight.wanted, 0.4, "after Escape");
    // With the focus in a row it is that route's, from anywhere in it.
    await page.locator('.row[data-id="keys"] a').focus();
    await page.keyboard.press("r");
    await hasText(page, "dialog h2", "Roll back keys?");
    await page.keyboard.press("Enter");
    await gateway.waitState("keys", "rolled_back");
    await hasText(page, '.row[data-id="keys"]', "Rollback triggered");
    equal(await page.evaluate(() => document.activeElement.textContent), "keys", "where the focus went back to");
    await waitFor("it being told to a screen reader", async () =>
      /keys.*roll/i.test(await page.locator("#announcer").innerText()),
    );
    // A letter that is typed is a letter.
    await page.keyboard.press("/");
    await page.keyboard.type("rr");
    equal(await page.locator("#filter").inputValue(), "rr", "what was typed");
    equal(await page.locator("dialog").count(), 0, "dialogs after typing");
    await page.locator("#filter").fill("");
    // Everything can be reached: the first stops are the skip link, the sections, the tools.
    await page.keyboard.press("Escape");
    await page.locator("body").click({position: {x: 2, y: 400}});
    const stops = [];
    for (let i = 0; i < 40 && !stops.includes("Roll back keys"); i++) {
      await page.keyboard.press("Tab");
      stops.push(
        await page.evaluate(
          () => document.activeElement.getAttribute("aria-label") || document.activeElement.textContent.trim(),
        ),
      );
    }
    check(stops.includes("Roll back keys"), "tab stops", stops);
    // Switched off (WCAG 2.1.4), the keys do nothing.
    await page.keyboard.press("?");
    await page.locator("#shortcuts-on").uncheck();
    await page.keyboard.press("Escape");
    await page.keyboard.press("r");
    equal(await page.locator("dialog").count(), 0, "dialogs with the keys off");
    fine(page);
    await page.context().close();
  },

  async ignoring_is_tried_first({gateway, browser}) {
    const clients = new Clients(gateway, ["/differs/#"], 60);
    await waitFor(
      "differences",
      async () => (await gateway.ask("GET", "/admin/routes/differs/diffs")).json.mismatches > 5,
    );
    clients.stop();
    const page = await visit(browser, `${gateway.page}#/routes/differs`);
    await page.locator("details.group summary").first().click();
    equal((await page.locator(".half-legacy pre.value").first().innerText()).trim(), "1", "legacy's value");
    equal(
      (await page.locator(".half-modern pre.value mark").first().innerText()).trim(),
      "2",
      "modern's value, marked",
    );
    const before = (await gateway.ask("GET", "/admin/routes/differs/diffs")).json.mismatches;
    await page.getByRole("button", {name: "Ignore this place…"}).click();
    await hasText(page, "dialog .dry", `${before} mismatches would not have counted (1 place); 0 would still differ.`);
    await hasText(page, "dialog .dry", "/clock is ignored from now on");
    equal((await gateway.route("differs")).consistency.ignored_pointers, [], "nothing was changed yet");
    await picture(page, "ignore-light-1280");
    await page.locator("dialog input[type=text]").fill("a clock");
    await page.getByRole("button", {name: "Apply"}).click();
    await hasText(page, ".ignored", "/clock");
    equal((await gateway.route("differs")).consistency.ignored_pointers, ["/clock"], "what is ignored");
    equal(
      await page.evaluate(() => getComputedStyle(document.querySelector(".ignored code")).textDecorationLine),
      "line-through",
      "struck through",
    );
    await page.getByRole("button", {name: "Count /clock again"}).click();
    await hasText(page, "dialog .dry", "/clock counts again");
    await page.getByRole("button", {name: "Apply"}).click();
    await waitFor(
      "it counting again",
      async () => (await gateway.route("differs")).consistency.ignored_pointers.length === 0,
    );
    fine(page);
    await page.context().close();
  },

  async noise_is_struck_through_and_proposed({gateway, browser}) {
    const clients = new Clients(gateway, ["/sixth/#"], 60);
    await waitFor(
      "noise",
      async () =>
        ((await gateway.ask("GET", "/admin/routes/sixth/diffs")).json.noise || {proposed: []}).proposed.length > 0,
    );
    clients.stop();
    const page = await visit(browser, `${gateway.page}#/routes/sixth`);
    await hasText(page, ".noise", "where legacy disagrees with itself");
    await hasText(page, ".noise-places", "proposed to ignore");
    equal(
      await page.evaluate(() => getComputedStyle(document.querySelector(".noise-places code")).textDecorationLine),
      "line-through",
      "struck through",
    );
    equal(await axe(browser, page), [], "axe with noise and differences");
    await page.locator(".noise-places button").first().click();
    await hasText(page, "dialog .dry", "/clock is ignored from now on");
    await page.keyboard.press("Escape");
    fine(page);
    await page.context().close();
  },

  async texts_are_never_markup({gateway, browser}) {
    const clients = new Clients(gateway, ["/hostile/#"], 60);
    await waitFor(
      "differences",
      async () => (await gateway.ask("GET", "/admin/routes/hostile/diffs")).json.mismatches > 3,
    );
    clients.stop();
    await gateway.post("/admin/routes/hostile/weight", {weight: 0.1, reason: HOSTILE});
    await gateway.post("/admin/routes/hostile/pause", {reason: HOSTILE});
    const page = await visit(browser, gateway.page);
    await hasText(page, ".events", HOSTILE);
    await page.goto(`${gateway.page}#/routes/hostile`);
    await hasText(page, ".view-head", HOSTILE);
    await page.locator("details.group").first().waitFor();
    for (const summary of await page.locator("details.group > summary").all()) await summary.click();
    await hasText(page, ".half-modern", "window.hacked=1");
    await hasText(page, ".group code", "<img");
    // An address from elsewhere, too.
    await page.goto(`${gateway.page}#/routes/${encodeURIComponent(HOSTILE)}`);
    await hasText(page, ".note-bad", "There is no route <img");
    await page.goto(`${gateway.page}#/routes/%ZZ`);
    await hasText(page, ".note-bad", "There is no route %ZZ");
    equal(
      await page.evaluate(() => [window.hacked, document.querySelectorAll("#view img, #view script").length]),
      [null, 0],
      "what ran",
    );
    // Even a slip of the page's own would be refused: no string becomes markup, no foreign script is loaded.
    const refused = await page.evaluate(() => {
      const tries = [
        () => {
          document.body.innerHTML = "<b>x</b>";
        },
        () => {
          document.createElement("script").src = "https://example.com/x.js";
        },
        () => {
          document.createElement("iframe").srcdoc = "x";
        },
      ];
      return tries.map((attempt) => {
        try {
          attempt();
          return "done";
        } catch (error) {
          return error.name;
        }
      });
    });
    equal(refused, ["TypeError", "TypeError", "TypeError"], "refused by the policy");
    await page.context().close();
  },

  async ten_thousand_routes({legacy, modern, browser}) {
    const routes = Array.from({length: 10000}, (_, i) =>
      route(`r${String(i).padStart(5, "0")}`, legacy, modern, {arbiter: NEVER}),
    );
    const gateway = await new Gateway(routes).start();
    await gateway.post("/admin/routes/r07777/rollback", {reason: "this one"});
    const page = await visit(browser, gateway.page);
    equal(await page.locator(".row").count(), 50, "rows at once");
    equal(await page.locator(".row").first().getAttribute("data-id"), "r07777", "what needs somebody comes first");
    await hasText(page, ".pager", "1–50 of 10,000");
    check(
      (await page.evaluate(() => document.querySelectorAll("*").length)) < 6000,
      "nodes in the document",
      await page.evaluate(() => document.querySelectorAll("*").length),
    );
    await page.getByRole("button", {name: "Next"}).click();
    await hasText(page, ".pager", "51–100 of 10,000");
    await page.locator("#filter").fill("r0123");
    await hasText(page, ".pager", "1–10 of 10 (10,000 in all)");
    await page.locator("#filter").fill("");
    await page.locator('.facet[data-state="rolled_back"]').click();
    equal(await page.locator(".row").count(), 1, "rolled back ones");
    await page.locator('.facet[data-state="rolled_back"]').click();
    await page.locator("#sort").selectOption("id");
    equal(await page.locator(".row").first().getAttribute("data-id"), "r00000", "sorted by name");
    equal(await overflow(page), {wide: 0, who: []}, "overflow");
    // A change comes through the stream, and with it only the routes that changed.
    await gateway.post("/admin/routes/r00003/weight", {weight: 0.25});
    await waitFor(
      "the change on the page",
      async () => (await page.locator('.row[data-id="r00003"] .number-set dd').innerText()) === "25%",
      20,
    );
    const status = await page.evaluate(async () => (await import("/page/model.js")).model.status);
    equal(status.partial, true, "the status tells changes only");
    await picture(page, "many-light-1280");
    fine(page);
    await page.context().close();
  },

  async themes_and_help({gateway, browser}) {
    const page = await visit(browser, `${gateway.page}#/routes/moves`, {theme: "dark"});
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await ground();
    await page.locator("#theme").click();
    check((await ground()) !== dark, "light was chosen against the system", dark);
    await page.reload();
    await live(page);
    check((await ground()) !== dark, "the choice survives");
    await page.locator("#help").click();
    await hasText(page, "dialog", "wanted · set · seen");
    equal(await axe(browser, page), [], "axe with the help");
    await page.keyboard.press("Escape");
    const landmarks = await page.evaluate(() =>
      ["header", "main", "footer", "nav"].map((name) => document.querySelectorAll(name).length > 0),
    );
    equal(landmarks, [true, true, true, true], "landmarks");
    equal(await page.evaluate(() => document.activeElement.id), "help", "the focus is back");
    const licence = await page.request.get(`${gateway.page}page/chart.js.licence`);
    check((await licence.text()).includes("Permission is hereby granted"), "the chart library's licence");
    fine(page);
    await page.context().close();
  },
};
