// SPDX-License-Identifier: Apache-2.0
//
// The page: which view is shown (the address's #…), the stream that keeps it fresh, the keys. Everything shown
// comes from GET /admin/status and the event stream; the page is never loaded again. A stream that was cut is
// taken up after the last event that was seen.
import {ageMs, born, forgetEvents, model, takeEvent, takeRoute, takeStatus} from "./model.js";
import {get, readStream, routePath, tokens} from "./daemon.js";
import {close as closeDialog, help, isOpen} from "./dialogs.js";
import {announce, byId, setAttribute, setHidden, setText} from "./dom.js";
import {migrationView, migrationsView} from "./migrations.js";
import {overview} from "./overview.js";
import {routeView} from "./route.js";
import {moment, span, stateOf} from "./text.js";
import {confirmKill, rollBack, whyNot} from "./verbs.js";

const EVENTS_AT_FIRST = 100;
const RETRY_MS = 1000;
const STALE_MS = 5000;
const SHORTCUTS_KEY = "phoenix-shortcuts";

// ---- views ---------------------------------------------------------------------------------------------

let view = null;

function viewOf(hash) {
  const parts = hash
    .replace(/^#\/?/, "")
    .split("/")
    .map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    });
  if (parts[0] === "routes" && parts[1]) return routeView(parts[1]);
  if (parts[0] === "migrations") return parts[1] ? migrationView(parts[1]) : migrationsView();
  return overview();
}

function show() {
  closeDialog();
  byId("notice").hidden = true;
  if (view && view.leave) view.leave();
  view = viewOf(location.hash);
  byId("view").replaceChildren(view.node);
  for (const link of byId("sections").querySelectorAll("a"))
    setAttribute(
      link,
      "aria-current",
      link.getAttribute("href") === (location.hash.startsWith("#/migrations") ? "#/migrations" : "#/") ? "page" : null,
    );
  draw();
}

function draw() {
  if (!view) return;
  if (!document.hidden) view.update(); // a tab in the background keeps its title, and draws when it is looked at
  document.title = `${view.title()} · Phoenix`;
  drawFrame();
}

function drawFrame() {
  const status = model.status || {};
  setText(byId("daemon"), status.version ? `${status.instance || ""} · phoenixd ${status.version}` : "");
  const migrations = model.migrations.filter((m) => !m.over).length;
  setText(byId("migrations-link"), migrations ? `Migrations (${migrations})` : "Migrations");
  const why = whyNot();
  setAttribute(byId("roll-back"), "aria-disabled", why ? "true" : null);
  setText(byId("who"), model.you && model.you.name ? `${model.you.name} (${model.you.role})` : "");
  const kill = status.kill_switch || {};
  setHidden(byId("killed"), !kill.on);
  if (kill.on)
    setText(
      byId("killed-text"),
      `Kill switch: every request goes to legacy and nothing is mirrored, since ${moment(kill.since)}${kill.by ? `, by ${kill.by}` : ""}${kill.reason ? `: ${kill.reason}` : ""}. The weights below are not in force.`,
    );
  const troubles = [];
  if (status.config && status.config.last_reload_successful === false)
    troubles.push(
      `The last reload failed and the old configuration runs on: ${status.config.last_reload_error || "see the log"}`,
    );
  const store = status.store;
  if (store && store.ok === false)
    troubles.push(
      `${store.kind === "redis" ? "Redis" : `The ${store.kind} store`} does not answer: ${store.error || "see the log"}. The weights stay as they are, nothing is promoted; a rollback works here and now.`,
    );
  const text = troubles.join("\n");
  setText(byId("troubles"), text);
  setHidden(byId("troubles"), !text);
  drawLive();
}

// ---- how old it is -------------------------------------------------------------------------------------

let asking = false; // for a token
let saidLost = false;

function drawLive() {
  const live = byId("live");
  const age = ageMs();
  const late = age > Math.max(STALE_MS, model.routes.size > 500 ? 15000 : 0);
  live.dataset.state = !model.status ? "connecting" : !model.connected ? "lost" : late ? "stale" : "live";
  setText(byId("live-word"), !model.status ? "connecting" : model.connected ? "live" : "disconnected");
  setText(byId("live-age"), model.status ? `data ${age < 1500 ? "1 s" : span(age)} old` : "");
  const lost = !model.connected && !asking && (model.status || failures > 1);
  setHidden(byId("lost"), !lost);
  if (lost)
    setText(
      byId("lost"),
      model.status
        ? `Disconnected. What you see is ${span(age)} old; trying again every second.`
        : "The daemon does not answer; trying again every second.",
    );
  document.body.classList.toggle("stale", Boolean(lost && model.status));
  if (lost && !saidLost) announce("Disconnected: what is shown is old");
  if (!lost && saidLost) announce("Connected again");
  saidLost = Boolean(lost);
}

// ---- the stream ----------------------------------------------------------------------------------------

let failures = 0;
const spoken = new Map(); // route -> the state that was last told

function speak(event) {
  const state = (event.data || {}).state;
  if (event.level === "alert") announce(`${event.route || ""} ${event.message}`);
  else if (state && event.route && spoken.get(event.route) !== state)
    announce(`${event.route}: ${stateOf(state).label}`);
  if (state && event.route) spoken.set(event.route, state);
}

// With many routes the status comes seldom: the routes that events name are asked for at once.
const ROUTES_MANY = 500,
  ROUTES_ASKED_MAX = 10;
const named = new Set();

async function askNamed() {
  const ids = [...named].slice(0, ROUTES_ASKED_MAX);
  named.clear();
  for (const id of ids) await get(routePath(id)).then(takeRoute, () => {});
  draw();
}

function onBlock(type, json) {
  if (type === "status") {
    takeStatus(json);
    draw();
  } else if (takeEvent(json)) {
    speak(json);
    if (model.routes.size > ROUTES_MANY && model.routes.has(json.route)) {
      if (!named.size) setTimeout(askNamed, 200);
      named.add(json.route);
    }
    if (view && !document.hidden) view.update();
  }
}

async function connect(instance) {
  const status = await get("/admin/status");
  if (instance && born(status) !== instance) {
    // another life of the daemon: ids of events begin anew
    forgetEvents();
    model.cursor = 0;
  }
  const now = born(status);
  takeStatus(status);
  if (!model.lastEventId)
    for (const event of (await get(`/admin/events?limit=${EVENTS_AT_FIRST}`)).events || []) takeEvent(event);
  draw();
  // `since` is for a daemon that has no events yet: nothing may slip through between the two questions.
  await readStream(
    `/admin/events?since=${model.lastEventId || 0}&cursor=${model.cursor}`,
    model.lastEventId,
    () => {
      model.connected = true;
      failures = 0;
      drawLive();
    },
    onBlock,
  );
  return now;
}

function askToken(error) {
  const form = byId("token-form"),
    note = byId("token-note");
  const refused = Boolean(tokens.get());
  tokens.set(null);
  asking = true;
  form.hidden = false;
  byId("view").hidden = true;
  setText(
    note,
    error.status === 429
      ? `Too many wrong tokens. Try again in ${span((error.retryAfter || 60) * 1000)}.`
      : refused
        ? `The daemon did not take this token: ${error.message}`
        : "",
  );
  byId("token").focus();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      const text = byId("token").value.trim();
      if (!/^[\x21-\x7e]+$/.test(text)) {
        setText(note, "A token has only visible ASCII characters.");
        return;
      }
      byId("token").value = "";
      tokens.set(text);
      asking = false;
      form.hidden = true;
      byId("view").hidden = false;
      resolve();
    };
  });
}

async function run() {
  let instance = "";
  for (;;) {
    try {
      instance = await connect(instance);
    } catch (error) {
      if (model.status) instance = born(model.status);
      model.connected = false;
      if (error.status === 401 || error.status === 403 || error.status === 429) {
        await askToken(error);
        continue;
      }
      failures++;
    }
    if (model.status) instance = born(model.status);
    model.connected = false;
    drawLive();
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

// ---- keys, theme ---------------------------------------------------------------------------------------

const shortcuts = {
  on: true,
  set(on) {
    this.on = on;
    try {
      localStorage.setItem(SHORTCUTS_KEY, on ? "on" : "off");
    } catch {
      /* until the page is left */
    }
  },
};
try {
  shortcuts.on = localStorage.getItem(SHORTCUTS_KEY) !== "off";
} catch {
  /* no storage: on */
}

const KEYS = {
  r: () => rollBack(view.routeInFocus && view.routeInFocus()),
  "/": () => {
    if (view.find) view.find();
  },
  g: () => {
    location.hash = "#/";
  },
  m: () => {
    location.hash = "#/migrations";
  },
  "?": () => help(shortcuts),
};

document.addEventListener("keydown", (event) => {
  const at = event.target;
  const typing =
    (at instanceof HTMLInputElement && at.type !== "checkbox") ||
    at instanceof HTMLSelectElement ||
    at instanceof HTMLTextAreaElement;
  if (typing || isOpen() || asking || !shortcuts.on || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : ""];
  if (!act) return;
  event.preventDefault();
  act();
});

function drawTheme() {
  const word = phoenixTheme.get();
  setText(byId("theme-word"), {auto: "System theme", light: "Light", dark: "Dark"}[word]);
  if (view && view.retheme) view.retheme();
}

byId("theme").addEventListener("click", () => {
  phoenixTheme.set(phoenixTheme.words[(phoenixTheme.words.indexOf(phoenixTheme.get()) + 1) % 3]);
  drawTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawTheme);
byId("roll-back").addEventListener("click", () => rollBack(view.route && view.route()));
byId("kill-end").addEventListener("click", () => confirmKill(false));
byId("help").addEventListener("click", () => help(shortcuts));
byId("notice-close").addEventListener("click", () => {
  byId("notice").hidden = true;
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  (byId("view").querySelector("h1") || byId("view")).focus();
});
document.addEventListener("phoenix-redraw", draw);
document.addEventListener("visibilitychange", draw);
window.addEventListener("hashchange", () => {
  show();
  scrollTo(0, 0);
  const title = byId("view").querySelector("h1");
  if (title) title.focus({preventScroll: true});
});
setInterval(() => {
  drawLive();
  if (view && view.tick && model.connected) view.tick();
}, 1000);
drawTheme();
show();
run();
