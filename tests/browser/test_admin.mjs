// SPDX-License-Identifier: Apache-2.0
//
// The page and who uses it: tokens and roles; the pipeline with its live log and its failing example; the kill switch;
// what the status may have beside routes.
import {writeFileSync} from "node:fs";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {check, equal, waitFor} from "./lib/case.mjs";
import {Browser, Gateway, Service, axe, freePort, json, overflow, picture, route} from "./lib/rig.mjs";

const HOSTILE = `<img src=x onerror="window.hacked=1">`;
const NEVER = {min_samples: 900000};

// The new service: answers as legacy does, or, told so, with another value. It says what it does while it is built.
const SERVICE = `import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps({"path": self.path, "total": 2 if os.environ.get("FAULT") and self.path != "/healthz" else 1}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
`;

async function spec(id, legacy, fault) {
  return {
    id,
    route: {method: "GET", path: `/${id}/*`, legacy_url: legacy.url},
    service: {
      source: {files: {"server.py": SERVICE, wait: ""}},
      language: "python",
      port: await freePort(),
      health: "/healthz",
      build: [
        "/bin/sh",
        "-c",
        `echo 'begun: ${HOSTILE}'; n=0; while [ -e wait ] && [ $n -lt 400 ]; do n=$((n+1)); echo compiling $n; sleep 0.05; done; echo built`,
      ],
      command: ["/usr/bin/python3", "server.py"],
      environment: fault ? {FAULT: "1"} : {},
    },
    deploy: {kind: "process"},
    traffic: {scenario: {requests: [{path: `/${id}/1`}]}, rate: 200, round_ms: 400, connections: 4},
    policy: {min_samples: 20, step: 0.5, interval_ms: 100},
  };
}

export async function setup() {
  const legacy = await new Service((request) => json(200, {path: request.url, total: 1})).start();
  const browser = await new Browser().start();
  const gateway = await new Gateway([
    route("a", legacy, legacy, {arbiter: NEVER}),
    route("b", legacy, legacy, {arbiter: NEVER, weight: 0.2}),
  ]).start();
  return {legacy, browser, gateway};
}

const live = (page) =>
  waitFor(
    "the page being live",
    () => page.evaluate(() => document.querySelector("#live").dataset.state === "live"),
    20,
  );
const hasText = (page, selector, text) =>
  waitFor(
    `"${text}" in ${selector}`,
    async () => (await page.locator(selector).allInnerTexts()).join("\n").includes(text),
    25,
  );
const fine = (page) => equal(page.problems, [], "what the browser complains of");

export const tests = {
  async tokens_and_roles({legacy, browser}) {
    const file = join(tmpdir(), `phx-tokens-${process.pid}`);
    writeFileSync(file, "look:viewer:only-looking-1234\ndeploy:operator:operating-5678\n", {mode: 0o600});
    const gateway = await new Gateway([route("a", legacy, legacy, {arbiter: NEVER, weight: 0.2})], {
      admin: {token_file: file},
    }).start();
    const page = await browser.page();
    const sent = [];
    page.on("request", (request) => sent.push(request));
    await page.goto(gateway.page);
    await page.locator("#token").waitFor();
    equal(await axe(browser, page), [], "axe with the token's form");
    const enter = async (token) => {
      await page.locator("#token").fill(token);
      await page.keyboard.press("Enter");
    };
    await enter("ümlaut");
    await hasText(page, "#token-note", "visible ASCII");
    await enter("wrong-token-9999");
    await hasText(page, "#token-note", "did not take this token");
    await enter("only-looking-1234");
    await live(page);
    // A viewer sees everything, and the verbs with the reason why they may not be used.
    await hasText(page, "#who", "viewer");
    const button = page.getByRole("button", {name: /^Roll back a: your token is a viewer's/});
    equal(await button.getAttribute("aria-disabled"), "true", "roll back");
    const before = sent.length;
    await button.focus();
    await page.keyboard.press("Enter");
    await hasText(page, "#notice", "this needs an operator's");
    await page.keyboard.press("r");
    equal(
      [await page.locator("dialog").count(), sent.slice(before).filter((request) => request.method() !== "GET").length],
      [0, 0],
      "dialogs and writes of a viewer",
    );
    await page.goto(`${gateway.page}#/routes/a`);
    await hasText(page, ".why-not", "Nothing can be changed: your token is a viewer's");
    equal(await axe(browser, page), [], "axe as a viewer");
    // The token is in the session's storage and in the header, and nowhere else.
    const kept = await page.evaluate(() => [
      sessionStorage.getItem("phoenix-token"),
      JSON.stringify(localStorage),
      document.cookie,
      location.href,
      document.documentElement.outerHTML,
    ]);
    equal(
      kept.map((text) => text.includes("only-looking-1234")),
      [true, false, false, false, false],
      "where the token is",
    );
    check(
      sent.every((request) => !request.url().includes("only-looking")),
      "no URL has it",
    );
    await page.evaluate(() => sessionStorage.clear());
    await page.reload();
    await page.locator("#token").waitFor();
    await enter("operating-5678");
    await live(page);
    await page.keyboard.press("r");
    await page.locator('dialog button[type="submit"]').click();
    await gateway.waitState("a", "rolled_back");
    equal(
      (await gateway.ask("GET", "/admin/audit?limit=5")).json.entries.some(
        (entry) => entry.who === "token deploy" && entry.path.endsWith("/rollback"),
      ),
      true,
      "the audit log names the token",
    );
    fine(page);
    await page.context().close();
  },

  async a_migration_with_its_live_log({legacy, browser, gateway}) {
    const page = await browser.page();
    await page.goto(`${gateway.page}#/migrations`);
    await live(page);
    await hasText(page, "#view", "phoenixctl migrate spec.json");
    await gateway.post("/admin/migrations", await spec("orders", legacy, true));
    await hasText(page, ".migration", "orders");
    await page.locator(".migration a").click();
    await hasText(page, ".log", "compiling 3");
    await hasText(page, ".stage-running", "verify");
    await hasText(page, ".view-headline", "Deploying Modern: verifying the code");
    await hasText(page, ".log", HOSTILE);
    equal(await axe(browser, page), [], "axe while it is built");
    await picture(page, "migration-building-light-1280", true);
    // The build ends when the file goes; then modern answers something else, and everything is put back.
    const whole = (await gateway.ask("GET", "/admin/migrations/orders")).json;
    const {execFileSync} = await import("node:child_process");
    execFileSync("find", [whole.directory, join(whole.directory, "..", "deploy"), "-name", "wait", "-delete"], {
      stdio: "ignore",
    });
    await hasText(page, ".view-headline", "Rollback triggered");
    await hasText(page, ".stepper .stage-failed", "failed");
    await hasText(page, "#view", "Failing examples");
    await hasText(page, ".example", "differs at /total");
    equal(
      [
        (await page.locator(".half-legacy .value").first().innerText()).trim(),
        (await page.locator(".half-modern .value").first().innerText()).trim(),
      ],
      ["1", "2"],
      "the smallest failing example",
    );
    await waitFor("all lines", async () => {
      const log = (await gateway.ask("GET", "/admin/migrations/orders?since=0")).json.log;
      const shown = await page.locator(".log .log-text").allInnerTexts();
      return JSON.stringify(shown) === JSON.stringify(log.map((line) => line.text)); // none lost, none twice
    });
    equal(
      await page.evaluate(() => [window.hacked, document.querySelectorAll("#view img").length]),
      [null, 0],
      "what ran",
    );
    equal(await overflow(page), {wide: 0, who: []}, "overflow");
    await picture(page, "migration-rolled-back-light-1280", true);
    await page.setViewportSize({width: 360, height: 780});
    equal(await overflow(page), {wide: 0, who: []}, "overflow at 360");
    await picture(page, "migration-rolled-back-light-360", true);
    await page.getByRole("button", {name: "Delete…"}).click();
    await page.locator('dialog button[type="submit"]').click();
    await hasText(page, "#view", "No migrations.");
    equal((await gateway.ask("GET", "/admin/migrations/orders")).status, 404, "the migration after deleting it");
    equal(page.loads, 1, "how often the page was loaded");
    fine(page);
    await page.context().close();
  },

  async kill_switch({browser, gateway}) {
    const page = await browser.page({theme: "dark"});
    await page.goto(gateway.page);
    await live(page);
    await gateway.post("/admin/routes/a/weight", {weight: 0.3});
    await waitFor(
      "two routes with users on modern",
      async () => (await page.locator('.row[data-id="a"] .number-set dd').innerText()) === "30%",
    );
    await page.keyboard.press("r");
    await page.getByRole("button", {name: "Everything (kill switch)…"}).click();
    await page.locator("dialog input[type=text]").fill("on fire");
    await page.getByRole("button", {name: "Everything to legacy"}).click();
    await hasText(page, "#killed", "on fire");
    await hasText(page, "#headline", "Kill Switch: 100% on Legacy");
    equal(await axe(browser, page), [], "axe with the kill switch on");
    await picture(page, "kill-switch-dark-1280");
    await page.getByRole("button", {name: "End it…"}).click();
    await page.getByRole("button", {name: "Weights in force"}).click();
    await waitFor("the end of it", () => page.locator("#killed").isHidden());
    fine(page);
    await page.context().close();
  },

  // What helpers of several gateways say, as the daemon would say it: drawn from the model's own door.
  async a_fleet_and_its_store({browser, gateway}) {
    const page = await browser.page();
    await page.goto(gateway.page);
    await live(page);
    await hasText(page, ".paths", "daemon path");
    await page.route("**/admin/datapath", (asked) =>
      asked.fulfill({
        json: {
          xdp: {
            mode: "auto",
            interfaces: [
              {name: "eth0", mode: "native", error: null},
              {name: "eth1", mode: "generic", error: "the driver cannot"},
            ],
          },
        },
      }),
    );
    await page.evaluate(() => {
      location.hash = "#/migrations";
    });
    await page.evaluate(() => {
      location.hash = "#/";
    });
    await hasText(page, ".paths", "NIC path: native XDP on eth0");
    await hasText(page, ".paths .chip-warn", "NIC path: generic XDP on eth1");
    await hasText(page, ".paths .chip-bad", "eth1: the driver cannot");
    await page.evaluate(async () => {
      const {model, takeStatus} = await import("/page/model.js");
      const status = structuredClone(model.status);
      const keep = [...model.routes.values()];
      setInterval(() => {
        takeStatus({
          ...structuredClone(status),
          routes: structuredClone(keep),
          store: {kind: "redis", ok: false, error: "connection refused <b>"},
          fleet: {
            role: "cut_off",
            member: "gw-1",
            leader: null,
            redis_up: false,
            redis_error: "timed out",
            members: [
              {id: "gw-1", self: true, alive: true, age_ms: 10},
              {id: "gw-2", alive: false, age_ms: 9000},
            ],
          },
        });
        document.dispatchEvent(new CustomEvent("phoenix-redraw"));
      }, 50);
    });
    await hasText(page, "#troubles", "Redis does not answer: connection refused <b>");
    await hasText(page, ".fleet", "2 gateways");
    await hasText(page, ".fleet", "this one is cut off: timed out.");
    await hasText(page, ".fleet .bad", "gw-2 not heard of for 9 s");
    equal(await axe(browser, page), [], "axe with trouble");
    await picture(page, "fleet-trouble-light-1280");
    await page.context().close();
  },
};
