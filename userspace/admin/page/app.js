// SPDX-License-Identifier: Apache-2.0
//
// The page of the gateway: GET /admin/status drawn as cards, kept fresh by the event stream.
//
// Whatever arrives is put into the document as text, never as markup: differences carry what clients and
// services sent. Cards are built once and updated in place, so that an open panel, a half-typed reason and
// the keyboard's focus survive an update. The stream is read with fetch() instead of EventSource because
// only fetch() can send the token; it reconnects by itself with the id of the last event.
"use strict";

const CARDS_MAX = 100;      // more routes than this are found with the filter
const EVENTS_MAX = 100;
const RUNGS_MAX = 20;       // a ladder of finer steps than this says nothing
const SILENCE_MS = 15000;   // three heartbeats missed: the stream is dead
const RETRY_MS = 1000;
const TOKEN_KEY = "phoenix-token";

const page = {
  status: null,
  receivedAt: 0,            // of performance.now()
  connected: false,
  lastId: "",
  cards: new Map(),         // route id -> card
  seenEvents: new Set(),
};

const byId = (id) => document.getElementById(id);

// ---- small helpers -----------------------------------------------------------------------------------

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

function add(parent, tag, className, text) {
  return parent.appendChild(make(tag, className, text));
}

// Touches the document only when something changed: screen readers announce every change.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setItems(list, texts, className) {
  const key = texts.join("\n");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...texts.map((text) => make("li", className, text)));
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

// A ratio below 1 never reads 100%, one above 0 never 0%; unknown is a dash.
function percent(ratio) {
  if (!isNumber(ratio)) return "–";
  let points = Math.round(ratio * 10000);
  if (points === 0 && ratio > 1e-12) return "<0.01%";
  if (points === 10000 && ratio < 1 - 1e-12) points = 9999;
  return `${points / 100}%`;
}

function count(number) {
  return isNumber(number) ? Math.round(number).toLocaleString("en-US") : "–";
}

function latency(ms) {
  if (!isNumber(ms)) return "–";
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : 2)} ms`;
}

function span(ms) {
  if (!isNumber(ms)) return "–";
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${(ms / 1000).toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor(s % 3600 / 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor(s % 86400 / 3600)}h`;
}

function clock(at) {
  const time = new Date(at);
  return Number.isNaN(time.getTime()) ? String(at) : time.toLocaleTimeString([], {hour12: false});
}

const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

// ---- talking to the daemon ---------------------------------------------------------------------------

function headers(more) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  return token ? {...more, Authorization: `Bearer ${token}`} : {...more};
}

// The JSON of a 2xx; otherwise throws an Error whose message is the problem's own sentence.
async function call(method, path, body) {
  const options = {method, headers: headers({Accept: "application/json"}), cache: "no-store"};
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  const json = await answer.json().catch(() => null);
  if (answer.ok) return json;
  const problem = json || {};
  let text = problem.detail || problem.title || `the daemon answered ${answer.status}`;
  if (Array.isArray(problem.possible) && !text.includes("possible now")) text += `; possible now: ${problem.possible.join(", ")}`;
  if (Array.isArray(problem.errors)) text += `\n${problem.errors.join("\n")}`;
  const error = new Error(text);
  error.status = answer.status;
  throw error;
}

// ---- a route's card ----------------------------------------------------------------------------------

const VERBS = {
  start: {label: "Start", hint: "Begin the migration"},
  pause: {label: "Pause", hint: "Stop changing the weight; traffic goes on as it is"},
  resume: {label: "Resume", hint: "Go on after the pause"},
  promote: {label: "Promote", hint: "Take the next step now, without waiting for evidence"},
  retry: {label: "Retry", hint: "Begin again after the rollback"},
  rollback: {label: "Roll back", hint: "Send everything to legacy", danger: true},
};

function buildFigure(parent, name, hint) {
  const box = add(parent, "div", `figure figure-${name}`);
  box.title = hint;
  add(box, "dt", "", name);
  return add(box, "dd", "", "–");
}

function buildWeight(card, parent) {
  const section = add(parent, "section", "panel");
  add(section, "h4", "", "Share on modern");
  const bar = add(section, "div", "bar");
  bar.setAttribute("role", "img");
  card.bar = bar;
  card.barSet = add(bar, "div", "bar-set");
  card.barSeen = add(bar, "div", "bar-seen");
  card.barWanted = add(bar, "div", "bar-wanted");
  card.ladder = add(section, "ol", "ladder");
  card.ladder.setAttribute("aria-label", "Steps");
  const figures = add(section, "dl", "figures three");
  card.wanted = buildFigure(figures, "wanted", "what the policy asks for");
  card.set = buildFigure(figures, "set", "what the data path says when asked");
  card.seen = buildFigure(figures, "seen", "what was counted");
  card.weightNote = add(section, "p", "muted small");
  card.drift = add(section, "p", "warn small");
}

function buildConsistency(card, parent) {
  const section = add(parent, "section", "panel");
  add(section, "h4", "", "Consistency of this step");
  card.ratio = add(section, "p", "big");
  card.samples = add(section, "p", "small");
  card.certainty = add(section, "p", "small");
  card.kinds = add(section, "p", "muted small");
  card.limits = add(section, "p", "muted small");
  card.notComparable = add(section, "ul", "chips");
  const ignores = add(section, "div", "ignores");
  card.ignoresTitle = add(ignores, "span", "muted small");
  card.ignores = add(ignores, "ul", "chips");
  card.noise = add(section, "p", "warn small");
}

function buildSides(card, parent) {
  const section = add(parent, "section", "panel");
  add(section, "h4", "", "Legacy against modern");
  const table = add(section, "table", "sides");
  const head = add(add(table, "thead"), "tr");
  for (const title of ["", "Legacy", "Modern"]) add(head, "th", "", title).scope = "col";
  const body = add(table, "tbody");
  card.sides = {};
  for (const [key, title] of [["p99_ms", "p99"], ["p50_ms", "p50"], ["error_rate", "errors"],
                              ["requests", "requests"]]) {
    const row = add(body, "tr");
    add(row, "th", "", title).scope = "row";
    card.sides[key] = {legacy: add(row, "td", "", "–"), modern: add(row, "td", "", "–")};
  }
  card.sidesNote = add(section, "p", "bad small");
}

function buildForm(card, parent) {
  card.form = add(parent, "form", "reason");
  card.form.hidden = true;
  const label = add(card.form, "label");
  card.formText = add(label, "span");
  card.reason = add(label, "input");
  card.reason.type = "text";
  card.reason.maxLength = 200;
  card.reason.placeholder = "Why? (for the audit log; may stay empty)";
  card.reason.autocomplete = "off";
  card.confirm = add(card.form, "button", "primary");
  card.confirm.type = "submit";
  const cancel = add(card.form, "button", "", "Cancel");
  cancel.type = "button";
  card.outcome = add(parent, "p", "outcome small");
  card.outcome.setAttribute("role", "status");
  const close = () => {
    card.form.hidden = true;
    const button = card.actions.querySelector(`[data-verb="${card.verb}"]`);
    if (button) button.focus();
  };
  cancel.addEventListener("click", close);
  card.form.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  card.form.addEventListener("submit", (event) => {
    event.preventDefault();
    sendVerb(card).then(close);
  });
}

function buildPanel(card, parent, title, path, draw) {
  const details = add(parent, "details", "more");
  const summary = add(details, "summary", "", title);
  const body = add(details, "div", "more-body");
  const panel = {details, summary, body, path, draw, key: ""};
  details.addEventListener("toggle", () => { if (details.open) refreshPanel(card, panel); });
  return panel;
}

function buildCard(id) {
  const card = {id, node: make("article", "card")};
  const head = add(card.node, "header", "card-head");
  const name = add(head, "div", "card-name");
  add(name, "h3", "", id);
  card.match = add(name, "p", "match");
  card.badges = add(head, "ul", "chips badges");
  const top = add(card.node, "div", "card-top");
  const state = add(top, "div", "card-state");
  card.headline = add(state, "p", "state-headline");
  card.detail = add(state, "p", "detail");
  card.actions = add(top, "div", "actions");
  buildForm(card, card.node);
  const grid = add(card.node, "div", "grid");
  buildWeight(card, grid);
  buildConsistency(card, grid);
  buildSides(card, grid);
  const path = `/admin/routes/${encodeURIComponent(id)}`;
  card.panels = [
    buildPanel(card, card.node, "Differences", `${path}/diffs`, drawDiffs),
    buildPanel(card, card.node, "Decisions", `${path}/decisions?limit=50`, drawDecisions),
  ];
  return card;
}

function openForm(card, verb) {
  const known = VERBS[verb] || {label: verb, hint: ""};
  card.verb = verb;
  setText(card.formText, `${known.label} ${card.id}: ${known.hint || verb}.`);
  setText(card.confirm, known.label);
  card.confirm.classList.toggle("danger", Boolean(known.danger));
  card.reason.value = "";
  card.form.hidden = false;
  card.outcome.textContent = "";
  card.reason.focus();
}

async function sendVerb(card) {
  const reason = card.reason.value.trim();
  const label = (VERBS[card.verb] || {label: card.verb}).label;
  card.confirm.disabled = true;
  card.outcome.classList.remove("bad");
  card.outcome.textContent = "…";
  try {
    const path = `/admin/routes/${encodeURIComponent(card.id)}/${encodeURIComponent(card.verb)}`;
    const route = await call("POST", path, reason ? {reason} : {});
    if (route && route.state) updateCard(card, route);
    card.outcome.textContent = `${label}: done.`;
  } catch (error) {
    card.outcome.classList.add("bad");
    card.outcome.textContent = `${label}: ${error.message}`;
  }
  card.confirm.disabled = false;
}

// ---- updating a card ---------------------------------------------------------------------------------

function updateActions(card, route) {
  const possible = Array.isArray(route.verbs) ? route.verbs : [];
  // Roll back stays in reach in every state; the daemon decides.
  const verbs = [...possible.filter((verb) => verb !== "rollback"), "rollback"];
  const key = verbs.join(" ");
  if (card.actions.dataset.key === key) return;
  const focused = card.actions.contains(document.activeElement) ? document.activeElement.dataset.verb : null;
  card.actions.dataset.key = key;
  card.actions.replaceChildren(...verbs.map((verb) => {
    const known = VERBS[verb] || {label: verb, hint: ""};
    const button = make("button", known.danger ? "danger-outline" : "", known.label);
    button.type = "button";
    button.title = known.hint;
    button.dataset.verb = verb;
    button.setAttribute("aria-label", `${known.label} ${card.id}`);
    button.addEventListener("click", () => openForm(card, verb));
    return button;
  }));
  if (focused) (card.actions.querySelector(`[data-verb="${focused}"]`) || card.actions.lastChild).focus();
}

function updateLadder(card, weight, next) {
  if (next && isNumber(next.weight) && isNumber(weight.wanted) && next.weight > weight.wanted)
    card.step = Math.max(card.step || 0, next.weight - weight.wanted);
  const step = card.step || 0.1;
  const rungs = Math.ceil(1 / step - 1e-9);
  card.ladder.hidden = rungs > RUNGS_MAX;
  const key = `${rungs} ${weight.set} ${next ? next.weight : ""}`;
  if (card.ladder.hidden || card.ladder.dataset.key === key) return;
  card.ladder.dataset.key = key;
  card.ladder.replaceChildren();
  for (let i = 1; i <= rungs; i++) {
    const at = Math.min(1, i * step);
    const done = weight.set >= at - 1e-9;
    const isNext = !done && next && Math.abs(next.weight - at) < step / 2;
    const rung = add(card.ladder, "li", done ? "done" : isNext ? "next" : "");
    add(rung, "span", "rung-text", `${Math.round(at * 100)}`);
    rung.title = `${percent(at)}${done ? ", reached" : isNext ? ", next" : ""}`;
  }
}

function updateWeight(card, route) {
  const weight = route.weight || {};
  const place = (node, property, ratio) => {
    node.hidden = !isNumber(ratio);
    if (isNumber(ratio)) node.style.setProperty(property, `${Math.max(0, Math.min(1, ratio)) * 100}%`);
  };
  place(card.barSet, "width", weight.set);
  place(card.barSeen, "left", weight.seen);
  place(card.barWanted, "left", weight.wanted);
  card.bar.setAttribute("aria-label",
    `wanted ${percent(weight.wanted)}, set ${percent(weight.set)}, seen ${percent(weight.seen)}`);
  updateLadder(card, weight, route.next_step);
  setText(card.wanted, percent(weight.wanted));
  setText(card.set, percent(weight.set));
  setText(card.seen, percent(weight.seen));
  card.set.classList.toggle("warn", weight.set !== weight.wanted);
  let note = isNumber(weight.seen_requests) ? `seen in ${plural(weight.seen_requests, "request")}` : "";
  if (weight.changed_by)
    note += `${note ? "; " : ""}set by ${weight.changed_by}${weight.changed_at ? ` at ${clock(weight.changed_at)}` : ""}`
      + (weight.reason ? `: ${weight.reason}` : "");
  setText(card.weightNote, note);
  card.drift.hidden = !weight.drift || weight.changed_by === "arbiter";
  setText(card.drift, `The file says ${percent(weight.file)}; the weight set at run time counts.`);
}

function updateConsistency(card, route) {
  const c = route.consistency || {};
  const samples = c.samples || 0;
  const tone = !samples || !isNumber(c.ratio) ? "" : c.ratio < c.limit_rollback ? "bad"
    : c.ratio <= c.limit_promote ? "warn" : samples > c.min_samples ? "good" : "";
  card.ratio.className = `big ${tone}`;
  setText(card.ratio, samples ? percent(c.ratio) : "no samples yet");
  setText(card.samples, samples ? `${count(c.matches)} of ${count(samples)} equal, ${count(c.mismatches)} different`
    : "0 of 0 compared");
  setText(card.limits, isNumber(c.limit_promote)
    ? `promotes above ${percent(c.limit_promote)} with more than ${plural(c.min_samples, "sample")}, `
      + `rolls back below ${percent(c.limit_rollback)}` : "");
  const build = c.build || {}, shapes = c.shapes || {}, watch = c.watch || {}, noise = c.noise || {};
  setText(card.certainty, isNumber(c.wilson_lower) && isNumber(c.llr)
    ? `at least ${percent(c.wilson_lower)} (95% sure); likelihood ${c.llr.toFixed(2)} of ${c.llr_bound.toFixed(2)}`
      + (isNumber(build.wilson_lower) ? `; this build at least ${percent(build.wilson_lower)} in ${count(build.samples)}` : "")
      + (isNumber(build.needs) ? `, the next step needs ${percent(build.needs)}` : "") : "");
  setText(card.kinds, samples ? plural(shapes.distinct, "request shape") + `, the most frequent has ${percent(shapes.top_share)}`
    + (c.synthetic ? `; ${count(c.synthetic)} of the samples are synthetic` : "")
    + (watch.on ? `; watch ${watch.cusum.toFixed(2)}, alarm at ${watch.alarm}` : "") : "");
  setText(card.noise, noise.differing ? `legacy differs from itself in ${count(noise.differing)} of ${count(noise.samples)} answers`
    + ((noise.proposed || []).length ? `; proposed to ignore: ${noise.proposed.join(", ")}` : "") : "");
  setItems(card.notComparable, Object.entries(c.not_comparable || {}).filter(([, n]) => n > 0)
    .map(([why, n]) => `not comparable: ${count(n)} ${why.replaceAll("_", " ")}`), "chip warn-chip");
  const ignored = c.ignored_pointers || [];
  setText(card.ignoresTitle, ignored.length ? "ignored:" : "nothing is ignored");
  setItems(card.ignores, ignored, "chip struck");
}

function updateSides(card, route) {
  const sides = route.sides || {};
  const down = [];
  for (const side of ["legacy", "modern"]) {
    const figures = sides[side] || {};
    setText(card.sides.p99_ms[side], latency(figures.p99_ms));
    setText(card.sides.p50_ms[side], latency(figures.p50_ms));
    setText(card.sides.error_rate[side], figures.errors ? `${percent(figures.error_rate)} (${count(figures.errors)})`
      : percent(figures.error_rate));
    card.sides.error_rate[side].classList.toggle("bad", figures.errors > 0);
    setText(card.sides.requests[side], count(figures.requests));
    if (figures.down) down.push(`${side} (${route[`${side}_url`]}) is down`);
  }
  setText(card.sidesNote, down.join("; "));
}

function updateCard(card, route) {
  card.node.dataset.state = route.state;
  setText(card.match, `${(route.methods || []).join(", ")} ${route.host || ""}${route.path || ""}`);
  const badges = [...(route.badges || [])];
  if (route.source === "api") badges.push("set through the API");
  if (route.synthetic && route.synthetic.requests > 0) badges.push(`${count(route.synthetic.requests)} synthetic`);
  if (route.arbiter && route.arbiter.enabled === false) badges.push("arbiter off");
  setItems(card.badges, badges, "chip");
  setText(card.headline, route.headline || route.state || "?");
  let detail = route.detail || "";
  if (route.paused && route.paused.reason && !detail.includes(route.paused.reason))
    detail += `${detail ? "; " : ""}${route.paused.reason} (since ${clock(route.paused.since)})`;
  setText(card.detail, detail);
  updateActions(card, route);
  updateWeight(card, route);
  updateConsistency(card, route);
  updateSides(card, route);
  const mismatches = (route.consistency || {}).mismatches || 0;
  setText(card.panels[0].summary, mismatches ? `Differences (${count(mismatches)} in this step)` : "Differences");
  const key = `${mismatches} ${(route.step || {}).number} ${route.state} ${(route.weight || {}).epoch}`
    + ` ${((route.consistency || {}).ignored_pointers || []).join(" ")}`;
  for (const panel of card.panels)
    if (panel.details.open && panel.key !== key) {
      panel.key = key;
      refreshPanel(card, panel);
    }
}

// ---- what is behind a card: differences and decisions --------------------------------------------------

async function refreshPanel(card, panel) {
  try {
    const json = await call("GET", panel.path);
    const text = JSON.stringify(json);
    if (panel.text === text) return;
    panel.text = text;
    panel.draw(panel.body, json);
  } catch (error) {
    panel.text = "";
    panel.body.replaceChildren(make("p", "bad small", error.message));
  }
}

function drawHalf(parent, title, status, value, body) {
  const half = add(parent, "div", "half");
  add(half, "h5", "", status ? `${title} · ${status}` : title);
  add(half, "pre", "value", value === undefined || value === null || value === "" ? "(absent)" : String(value));
  if (body) {
    add(half, "p", "muted small", "body, redacted");
    add(half, "pre", "", String(body));
  }
}

function drawExample(parent, example) {
  const box = add(parent, "div", "example");
  add(box, "p", "small", [clock(example.at), example.method, example.target].filter(Boolean).join(" "));
  add(box, "p", "muted small", `request ${example.request_id || "?"}, served by ${example.side || "?"}`
    + (example.pointer ? `, at ${example.pointer}` : ""));
  const halves = add(box, "div", "halves");
  drawHalf(halves, "Legacy", example.legacy_status, example.legacy, example.legacy_body);
  drawHalf(halves, "Modern", example.modern_status, example.modern, example.modern_body);
  if (example.request || example.request_headers) {
    const details = add(box, "details");
    add(details, "summary", "small", "Request, redacted");
    for (const [name, value] of Object.entries(example.request_headers || {}))
      add(details, "pre", "field", `${name}: ${value}`);
    if (example.request) add(details, "pre", "", String(example.request));
  }
}

// Where legacy disagrees with itself: what differs there says nothing about modern.
function drawNoise(body, noise) {
  const places = (noise && noise.places) || [];
  if (!places.length) return;
  add(body, "p", "small", `Legacy against itself: ${count(noise.differing)} of ${count(noise.samples)} answers differ.`);
  const list = add(body, "ul", "chips");
  for (const place of places)
    add(list, "li", place.ignored ? "chip struck" : place.proposed ? "chip warn-chip" : "chip",
      `${count(place.count)}× ${place.kind} ${place.pointer}${place.ignored ? "" : place.proposed ? ": proposed to ignore" : ""}`);
}

function drawDiffs(body, json) {
  const open = new Set([...body.querySelectorAll("details.group[open]")].map((node) => node.dataset.key));
  const groups = (json && json.groups) || [];
  body.replaceChildren();
  drawNoise(body, json && json.noise);
  if (!groups.length) {
    add(body, "p", "muted small", `No differences in ${plural((json && json.samples) || 0, "sample")}.`);
    return;
  }
  for (const group of groups) {
    const details = add(body, "details", group.ignored ? "group ignored" : "group");
    details.dataset.key = group.key;
    details.open = open.has(group.key);
    const summary = add(details, "summary");
    add(summary, "span", "group-count", `${count(group.count)}×`);
    add(summary, "span", "group-kind", group.kind);
    add(summary, "code", group.ignored ? "struck" : "", group.pointer || "(whole answer)");
    if (group.ignored) add(summary, "span", "muted small", "ignored");
    add(summary, "span", "muted small last", `last ${clock(group.last_at)}`);
    for (const example of group.examples || []) drawExample(details, example);
    if (!(group.examples || []).length) add(details, "p", "muted small", "No sample is kept.");
  }
}

function drawDecisions(body, json) {
  const decisions = ((json && json.decisions) || []).slice().reverse();
  body.replaceChildren();
  if (!decisions.length) {
    add(body, "p", "muted small", "No decision yet.");
    return;
  }
  const list = add(body, "ol", "decisions");
  for (const d of decisions) {
    const item = add(list, "li", `decision-${d.action}`);
    add(item, "time", "muted", clock(d.at));
    add(item, "strong", "", d.action);
    add(item, "span", "", `${percent(d.weight_old)} → ${percent(d.weight_new)}`);
    add(item, "span", "muted", [d.by, d.reason].filter(Boolean).join(": ")
      + (isNumber(d.wilson_lower) && d.n ? ` · at least ${percent(d.wilson_lower)}, likelihood ${d.llr.toFixed(2)}` : ""));
  }
}

// ---- the whole page ----------------------------------------------------------------------------------

function wanted(route, filter) {
  return !filter || [route.id, route.path, route.state, route.headline]
    .some((text) => String(text || "").toLowerCase().includes(filter));
}

function drawRoutes(routes) {
  const filter = byId("filter").value.trim().toLowerCase();
  const all = routes.filter((route) => wanted(route, filter));
  const shown = all.slice(0, CARDS_MAX);
  const list = byId("routes");
  byId("filter-box").hidden = routes.length < 6;
  byId("shown").hidden = shown.length === routes.length && routes.length > 0;
  setText(byId("shown"), routes.length ? `${count(shown.length)} of ${count(routes.length)} routes are shown`
    : "There are no routes: add some to the configuration or with phoenixctl route add.");
  const ids = new Set(shown.map((route) => route.id));
  for (const [id, card] of page.cards)
    if (!ids.has(id)) {
      card.node.remove();
      page.cards.delete(id);
    }
  shown.forEach((route, i) => {
    let card = page.cards.get(route.id);
    if (!card) {
      card = buildCard(route.id);
      page.cards.set(route.id, card);
    }
    if (list.children[i] !== card.node) list.insertBefore(card.node, list.children[i] || null);
    updateCard(card, route);
  });
}

// The state that colours the whole page: that of the route whose headline is the overall one.
function overallState(status) {
  const same = (status.routes || []).find((route) => route.headline === status.headline);
  return same ? same.state : "idle";
}

function drawStatus(status) {
  page.status = status;
  page.receivedAt = performance.now();
  setText(byId("headline"), status.headline || "?");
  document.body.dataset.state = overallState(status);
  document.title = `${status.headline || "?"} · Phoenix`;
  const totals = status.totals || {};
  setText(byId("daemon"), `phoenixd ${status.version || "?"} · ${status.instance || ""}`);
  setText(byId("totals"), [
    plural((status.routes || []).length, "route"),
    `${count(totals.requests)} requests`,
    isNumber(totals.rps) ? `${totals.rps.toFixed(1)} a second` : null,
    totals.errors ? plural(totals.errors, "error") : null,
    isNumber(status.uptime_ms) ? `up ${span(status.uptime_ms)}` : null,
    (status.listen || []).length ? `listening on ${status.listen.join(", ")}` : null,
  ].filter(Boolean).join(" · "));
  const troubles = [];
  if (status.config && status.config.last_reload_successful === false)
    troubles.push(`The last reload failed, the old configuration runs on: ${status.config.last_reload_error || "see the log"}`);
  if (status.store && status.store.ok === false)
    troubles.push(`The ${status.store.kind} store does not work: ${status.store.error || "see the log"}`);
  setItems(byId("troubles"), troubles);
  drawRoutes(status.routes || []);
  drawLive();
}

function drawEvent(event) {
  if (!event || page.seenEvents.has(event.id)) return;
  page.seenEvents.add(event.id);
  const list = byId("events");
  const item = make("li", `level-${event.level}`);
  const time = add(item, "time", "muted", clock(event.at));
  time.dateTime = event.at || "";
  add(item, "span", "event-type", event.type);
  add(item, "span", "event-route", event.route || "");
  add(item, "span", "event-text", event.message);
  list.prepend(item);
  while (list.children.length > EVENTS_MAX) list.lastChild.remove();
}

function drawLive() {
  const age = page.status ? performance.now() - page.receivedAt : 0;
  const live = byId("live");
  live.dataset.state = page.connected ? (age > 5000 ? "stale" : "live") : "lost";
  setText(byId("live-text"), !page.status ? "connecting"
    : `${page.connected ? "live" : "disconnected"} · data ${age < 1500 ? "1 s" : span(Math.round(age / 1000) * 1000)} old`);
  const banner = byId("banner");
  const lost = !page.connected && page.status && !byId("token-form").dataset.open;
  banner.hidden = !lost;
  if (lost) setText(banner, "Disconnected: what you see is old. Trying again every second.");
  document.body.classList.toggle("stale", Boolean(lost));
}

// ---- the stream --------------------------------------------------------------------------------------

function onBlock(block) {
  const event = {type: "message", data: []};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon === 0 || line === "") continue;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") event.data.push(value);
    else if (name === "event") event.type = value;
    else if (name === "id") page.lastId = value;
  }
  if (!event.data.length) return;
  const json = JSON.parse(event.data.join("\n"));
  if (event.type === "status") drawStatus(json);
  else drawEvent(json);
}

async function readStream() {
  const abort = new AbortController();
  let timer = setTimeout(() => abort.abort(), SILENCE_MS);
  try {
    const more = {Accept: "text/event-stream"};
    if (page.lastId) more["Last-Event-ID"] = page.lastId;
    const answer = await fetch("/admin/events", {headers: headers(more), signal: abort.signal, cache: "no-store"});
    if (!answer.ok || !answer.body) throw Object.assign(new Error("no stream"), {status: answer.status});
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENCE_MS);
      page.connected = true;
      text += value.replaceAll("\r", "");
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        onBlock(text.slice(0, end));
        text = text.slice(end + 2);
      }
    }
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
}

function askToken(refused) {
  const form = byId("token-form");
  form.hidden = false;
  form.dataset.open = "yes";
  document.body.classList.add("locked");
  setText(byId("token-note"), refused ? "The daemon did not accept this token." : "");
  byId("token").focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(TOKEN_KEY, byId("token").value.trim());
      byId("token").value = "";
      form.hidden = true;
      delete form.dataset.open;
      document.body.classList.remove("locked");
      resolve();
    }, {once: true});
  });
}

async function run() {
  let instance = "";
  for (;;) {
    try {
      const status = await call("GET", "/admin/status");
      const born = `${status.instance} ${status.started_at}`;
      if (instance && born !== instance) { // another life of the daemon: its event ids begin anew
        page.lastId = "";
        page.seenEvents.clear();
      }
      instance = born;
      drawStatus(status);
      const past = await call("GET", `/admin/events?limit=${EVENTS_MAX}`);
      for (const event of (past && past.events) || []) {
        drawEvent(event);
        page.lastId = String(event.id);
      }
      await readStream();
    } catch (error) {
      if (error.status === 401 || error.status === 403) {
        const refused = sessionStorage.getItem(TOKEN_KEY) !== null;
        sessionStorage.removeItem(TOKEN_KEY);
        page.connected = false;
        setText(byId("headline"), "A token is needed");
        await askToken(refused);
        continue;
      }
    }
    page.connected = false;
    drawLive();
    if (!page.status) setText(byId("live-text"), "the daemon does not answer; trying again");
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

byId("filter").addEventListener("input", () => { if (page.status) drawRoutes(page.status.routes || []); });
setInterval(drawLive, 1000);
run();
