// SPDX-License-Identifier: Apache-2.0
//
// rig: what a test of the page is made of: two services, phoenixd between them, clients that ask, a link that can
// be cut, and Debian's chromium. All on loopback, on free ports; everything is ended by its own pid.
import {spawn} from "node:child_process";
import {existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import http from "node:http";
import net from "node:net";
import {tmpdir} from "node:os";
import {dirname, join, resolve} from "node:path";
import {fileURLToPath} from "node:url";
import {own, waitFor} from "./case.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
export const ROOT = resolve(HERE, "../../..");
export const BUILD = resolve(process.env.PHX_TEST_BUILD || join(ROOT, "build"));
export const PICTURES = join(BUILD, "browser");
const CHROMIUM = process.env.PHX_TEST_CHROMIUM || "/usr/bin/chromium";

export const json = (status, value) => ({
  status,
  body: JSON.stringify(value),
  headers: {"content-type": "application/json"},
});

// handler(request, body, number) -> {status, headers, body}; the default says where it was asked.
export class Service {
  constructor(handler = (request) => json(200, {path: request.url})) {
    this.handler = handler;
    this.count = 0;
  }

  start() {
    this.server = http.createServer((request, response) => {
      const pieces = [];
      request.on("data", (piece) => pieces.push(piece));
      request.on("end", async () => {
        const answer = await this.handler(request, Buffer.concat(pieces).toString(), ++this.count);
        response.writeHead(answer.status, {...answer.headers, "content-length": Buffer.byteLength(answer.body)});
        response.end(answer.body);
      });
      request.on("error", () => {});
    });
    this.server.keepAliveTimeout = 60000;
    return new Promise((done) =>
      this.server.listen(0, "127.0.0.1", () => {
        this.url = `http://127.0.0.1:${this.server.address().port}`;
        done(own(this));
      }),
    );
  }

  stop() {
    this.server.closeAllConnections();
    return new Promise((done) => this.server.close(done));
  }
}

export function freePort() {
  return new Promise((done, fail) => {
    const server = net
      .createServer()
      .once("error", fail)
      .listen(0, "127.0.0.1", () => {
        const {port} = server.address();
        server.close(() => done(port));
      });
  });
}

// A route of the configuration: everything sampled, legacy never asked twice by surprise, no shadow late because the
// machine is busy.
export function route(id, legacy, modern, {mirror, compare, arbiter, ...more} = {}) {
  return {
    id,
    method: "GET",
    path: `/${id}/*`,
    legacy_url: legacy.url,
    modern_url: modern.url,
    mirror: {sample: 1, control: 0, timeout_ms: 20000, ...mirror},
    compare,
    arbiter: {interval_ms: 100, ...arbiter},
    ...more,
  };
}

export class Gateway {
  constructor(routes, {admin = {}, ...more} = {}) {
    this.routes = routes;
    this.more = more;
    this.admin = admin;
  }

  async start() {
    this.folder = mkdtempSync(join(tmpdir(), "phx-page-"));
    this.port = await freePort();
    this.adminPort = await freePort();
    this.config = join(this.folder, "phoenix.json");
    this.socket = join(this.folder, "admin.sock");
    writeFileSync(
      this.config,
      JSON.stringify({
        listen: [`127.0.0.1:${this.port}`],
        admin: {listen: `127.0.0.1:${this.adminPort}`, socket: this.socket, ...this.admin},
        state: {store: "memory"},
        xdp: {mode: "off"},
        workers: 1,
        pipeline: {directory: join(this.folder, "pipeline")},
        routes: this.routes,
        ...this.more,
      }),
    );
    own(this);
    await this.begin();
    return this;
  }

  async begin() {
    const program = join(BUILD, "phoenixd");
    if (!existsSync(program)) throw new Error(`${program} is not built: run make`);
    this.log = "";
    this.child = spawn(program, ["--config", this.config], {stdio: ["ignore", "pipe", "pipe"], cwd: this.folder});
    for (const stream of [this.child.stdout, this.child.stderr])
      stream.on("data", (text) => {
        this.log += text;
      });
    this.over = new Promise((done) => this.child.once("exit", done));
    await waitFor(
      "phoenixd",
      async () => {
        if (this.child.exitCode !== null)
          throw new Error(`phoenixd ended with ${this.child.exitCode}:\n${this.log.slice(-2000)}`);
        return (await this.ask("GET", "/readyz")).status === 200;
      },
      20,
    );
  }

  get page() {
    return `http://127.0.0.1:${this.adminPort}/`;
  }

  // Over the Unix socket, where no token is asked for.
  ask(method, path, body, fields = {}) {
    return new Promise((done, fail) => {
      const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
      const request = http
        .request(
          {
            socketPath: this.socket,
            method,
            path,
            headers: {
              ...(text === undefined
                ? {}
                : {"content-type": "application/json", "content-length": Buffer.byteLength(text)}),
              ...fields,
            },
          },
          (answer) => {
            let got = "";
            answer.on("data", (piece) => {
              got += piece;
            });
            answer.on("end", () => {
              let value = null;
              try {
                value = JSON.parse(got);
              } catch {
                /* no JSON */
              }
              done({status: answer.statusCode, headers: answer.headers, text: got, json: value});
            });
          },
        )
        .on("error", fail);
      request.end(text);
    });
  }

  async post(path, body = {}) {
    const answer = await this.ask("POST", path, body);
    if (answer.status >= 300) throw new Error(`POST ${path}: ${answer.status} ${answer.text}`);
    return answer.json;
  }

  async route(id) {
    return (await this.ask("GET", `/admin/routes/${id}`)).json;
  }

  waitState(id, state, seconds = 20) {
    let last;
    return waitFor(
      `${id} being ${state}`,
      async () => {
        last = await this.route(id);
        return last.state === state && last;
      },
      seconds,
    ).catch((error) => {
      throw new Error(`${error.message}; it is ${last && `${last.state}: ${last.headline}: ${last.detail}`}`);
    });
  }

  async kill() {
    this.child.kill("SIGKILL");
    await this.over;
  }

  async stop() {
    this.child.kill("SIGTERM");
    const killer = setTimeout(() => this.child.kill("SIGKILL"), 10000);
    const status = await this.over;
    clearTimeout(killer);
    rmSync(this.folder, {recursive: true, force: true});
    if (status !== 0) throw new Error(`phoenixd ended with ${status}:\n${this.log.slice(-2000)}`);
  }
}

// Clients: GET of each path in turn, so many a second, until stop(); what fails is counted.
export class Clients {
  constructor(gateway, paths, perSecond) {
    Object.assign(this, {gateway, paths, sent: 0, failed: 0, modern: 0});
    this.agent = new http.Agent({keepAlive: true, maxSockets: 8});
    this.timer = setInterval(() => this.send(), 1000 / perSecond);
    own(this);
  }

  send() {
    const path = this.paths[this.sent++ % this.paths.length];
    http
      .get(
        {host: "127.0.0.1", port: this.gateway.port, path: path.replace("#", this.sent), agent: this.agent},
        (answer) => {
          if (answer.statusCode >= 500) this.failed++;
          if (answer.headers["x-side"] === "modern") this.modern++;
          answer.resume();
        },
      )
      .on("error", () => {
        if (!this.over) this.failed++;
      });
  }

  stop() {
    this.over = true;
    clearInterval(this.timer);
    this.agent.destroy();
  }
}

// A link to a port that can be cut (its connections end, new ones are refused) and mended.
export class Link {
  constructor(port) {
    this.to = port;
    this.sockets = new Set();
    this.open = true;
    this.accepted = 0;
  }

  start() {
    this.server = net.createServer((client) => {
      if (!this.open) {
        client.destroy();
        return;
      }
      this.accepted++;
      const server = net.connect(this.to, "127.0.0.1");
      for (const [a, b] of [
        [client, server],
        [server, client],
      ]) {
        this.sockets.add(a);
        a.on("error", () => {}).on("close", () => {
          this.sockets.delete(a);
          b.destroy();
        });
        a.pipe(b);
      }
    });
    return new Promise((done) =>
      this.server.listen(0, "127.0.0.1", () => {
        this.port = this.server.address().port;
        this.page = `http://127.0.0.1:${this.port}/`;
        done(own(this));
      }),
    );
  }

  cut() {
    this.open = false;
    for (const socket of this.sockets) socket.destroy();
  }

  mend() {
    this.open = true;
  }

  stop() {
    this.cut();
    return new Promise((done) => this.server.close(done));
  }
}

export class Browser {
  async start() {
    let playwright;
    try {
      playwright = await import("playwright-core");
    } catch {
      throw new Error(
        "playwright-core is not installed: `tools/setup.sh test` does that, and needs the npm registry once (tests/browser/package-lock.json)",
      );
    }
    if (!existsSync(CHROMIUM)) throw new Error(`${CHROMIUM} is not there: \`tools/setup.sh test\` installs it`);
    mkdirSync(PICTURES, {recursive: true});
    this.browser = await playwright.chromium.launch({
      executablePath: CHROMIUM,
      args: ["--no-sandbox", "--disable-gpu", "--font-render-hinting=none"],
    });
    this.axe = readFileSync(join(HERE, "../node_modules/axe-core/axe.min.js"), "utf8");
    return own(this);
  }

  // A page whose every error, CSP violation and failed assertion of the console ends up in page.problems.
  async page({width = 1280, height = 900, theme = "light", ...more} = {}) {
    const context = await this.browser.newContext({
      viewport: {width, height},
      colorScheme: theme,
      reducedMotion: "reduce",
      ...more,
    });
    const page = await context.newPage();
    page.problems = [];
    page.on("pageerror", (error) => page.problems.push(`error: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error" && !/Failed to load resource|net::ERR/.test(message.text()))
        page.problems.push(message.text());
    });
    page.loads = 0;
    page.on("load", () => {
      page.loads++;
    });
    return page;
  }

  async stop() {
    await this.browser.close();
  }
}

// The violations of WCAG 2.2 A and AA and of best practice that axe-core finds, as lines.
// The script is put in by the debugger's way: the page's own policy lets no foreign one in.
export async function axe(browser, page) {
  if (!(await page.evaluate("typeof axe === 'object'"))) await page.evaluate(`${browser.axe}; 0`);
  const found = await page.evaluate(
    async () =>
      (
        await axe.run(document, {
          runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
          resultTypes: ["violations"],
        })
      ).violations,
  );
  return found.flatMap((v) =>
    v.nodes
      .slice(0, 3)
      .map(
        (n) =>
          `${v.id} (${v.nodes.length}): ${n.target.join(" ")}: ${(n.any[0] || n.all[0] || n.none[0] || {}).message || v.help}`,
      ),
  );
}

// How far the page is wider than its window, and what makes it so.
export function overflow(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const wide = document.documentElement.scrollWidth - width;
    const who =
      wide > 0
        ? [...document.querySelectorAll("body *")]
            .filter((n) => n.getBoundingClientRect().right > width + 1)
            .slice(0, 5)
            .map((n) => `${n.tagName}.${n.className}`)
        : [];
    return {wide: Math.max(0, wide), who};
  });
}

// Taken by the debugger's own way, with the fast compression, at half the time.
export async function picture(page, name, whole = false) {
  page.debug ??= await page.context().newCDPSession(page);
  const {cssContentSize, cssVisualViewport} = await page.debug.send("Page.getLayoutMetrics");
  const clip = whole
    ? {x: 0, y: 0, width: cssContentSize.width, height: cssContentSize.height, scale: 1}
    : {
        x: cssVisualViewport.pageX,
        y: cssVisualViewport.pageY,
        width: cssVisualViewport.clientWidth,
        height: cssVisualViewport.clientHeight,
        scale: 1,
      };
  const {data} = await page.debug.send("Page.captureScreenshot", {
    format: "png",
    clip,
    captureBeyondViewport: whole,
    optimizeForSpeed: true,
  });
  writeFileSync(join(PICTURES, `${name}.png`), Buffer.from(data, "base64"));
}
