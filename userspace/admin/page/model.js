// SPDX-License-Identifier: Apache-2.0
//
// What the page knows: the last status, its routes by id, the events, and how old that is. Views read it;
// only the stream (app.js) writes it. With many routes the daemon tells only those that changed.
import {isNumber} from "./text.js";

const EVENTS_MAX = 300;
const PROGRESS_MS = 15000; // the rate of samples is taken over so long

export const model = {
  status: null,
  routes: new Map(), // id -> route, as GET /admin/status has it
  migrations: [],
  events: [], // the newest last
  you: null, // {name, role}: who the token belongs to; null: nobody asked
  receivedAt: 0, // of performance.now()
  connected: false,
  lastEventId: "",
  cursor: 0,
  missedEvents: 0, // the daemon did not have them any more
};

const seen = new Set();
const progress = new Map(); // id -> {step, points: [{at, samples}], perMs}

function follow(route, now) {
  const step = (route.step || {}).number;
  const samples = (route.consistency || {}).samples;
  if (!route.next_step || !isNumber(samples)) {
    progress.delete(route.id);
    return;
  }
  let known = progress.get(route.id);
  if (!known || known.step !== step || samples < known.points[known.points.length - 1].samples) {
    known = {step, points: [], perMs: known ? known.perMs : 0}; // until there are two points: as in the step before
    progress.set(route.id, known);
  }
  known.points.push({at: now, samples});
  while (known.points.length > 2 && known.points[0].at < now - PROGRESS_MS) known.points.shift();
  const first = known.points[0];
  if (now > first.at) known.perMs = (samples - first.samples) / (now - first.at);
}

export function takeStatus(status) {
  const now = performance.now();
  const old = model.status;
  if (old && born(old) !== born(status)) {
    // another life of the daemon
    model.routes.clear();
    progress.clear();
  }
  if (!status.partial) {
    const ids = new Set(status.routes.map((route) => route.id));
    for (const id of model.routes.keys())
      if (!ids.has(id)) {
        model.routes.delete(id);
        progress.delete(id);
      }
  }
  for (const route of status.routes) {
    route.receivedAt = now;
    model.routes.set(route.id, route);
    follow(route, now);
  }
  delete status.routes;
  model.status = status;
  model.migrations = status.migrations || [];
  if (status.you) model.you = status.you;
  model.cursor = status.cursor || 0;
  model.receivedAt = now;
}

export const born = (status) => `${status.instance} ${status.started_at}`;

// A route that was asked for by itself (the answer to a verb).
export function takeRoute(route) {
  route.receivedAt = performance.now();
  model.routes.set(route.id, route);
}

// False when it was known already: after a reconnect nothing is shown twice.
export function takeEvent(event) {
  if (!event || !isNumber(event.id) || seen.has(event.id)) return false;
  const last = model.events[model.events.length - 1];
  if (last && event.id > last.id + 1 && model.lastEventId) model.missedEvents += event.id - last.id - 1;
  seen.add(event.id);
  model.events.push(event);
  if (model.events.length > EVENTS_MAX) seen.delete(model.events.shift().id);
  model.lastEventId = String(event.id);
  return true;
}

export function forgetEvents() {
  model.events.length = 0;
  model.lastEventId = "";
  model.missedEvents = 0;
  seen.clear();
}

export const ageMs = () => performance.now() - model.receivedAt;

// How the next step comes nearer: {weight, done, needed, etaMs} or null when there is none.
// etaMs is null when it cannot be told: no samples come, or they are not good enough.
export function nextStepOf(route) {
  const next = route.next_step;
  if (!next) return null;
  const c = route.consistency || {};
  const done = c.samples || 0;
  let needed = (c.min_samples || 0) + 1;
  if ((route.arbiter || {}).policy === "bounded" && isNumber(c.llr_bound)) {
    const matches = Math.ceil((c.llr_bound - (c.llr || 0)) / Math.log(0.99 / 0.95));
    needed = Math.max(needed, done + Math.max(0, matches));
  }
  const since = performance.now() - (route.receivedAt || 0);
  const timer = isNumber(next.in_ms) ? Math.max(0, next.in_ms - since) : 0;
  const known = progress.get(route.id);
  let etaMs = null;
  if (known && known.perMs > 0 && route.state !== "holding") {
    const good = !isNumber(c.ratio) || c.ratio > c.limit_promote;
    if (good) etaMs = done >= needed ? timer : Math.max(timer, (needed - done) / known.perMs - since);
  } else if (timer > 0 && done >= needed) {
    etaMs = timer;
  }
  return {weight: next.weight, waitsFor: next.waits_for || "", done, needed, etaMs};
}

// The routes that send users to modern now: what a rollback would change.
export const onModern = () =>
  [...model.routes.values()].filter(
    (route) => ((route.weight || {}).set || 0) > 0 || ((route.weight || {}).wanted || 0) > 0,
  );
