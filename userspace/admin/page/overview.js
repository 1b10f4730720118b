// SPDX-License-Identifier: Apache-2.0
//
// All routes: those that need somebody first, fifty at a time, so that ten thousand are no more work than
// fifty. Rows are built once and moved, never rebuilt.
import {get} from "./daemon.js";
import {arrange, byId, h, redraw, setHidden, setText} from "./dom.js";
import {badges, consistencyFigure, nextFigure, shareFigure, sidesFigure} from "./figures.js";
import {model} from "./model.js";
import {STATES, count, detailOf, isNumber, matchOf, moment, plural, span, stateOf} from "./text.js";
import {verbButtons} from "./verbs.js";

const ROUTES_AT_ONCE = 50;
const EVENTS_SHOWN = 20;
const PATH_ASK_MS = 60000;

const errorsOf = (route) =>
  Math.max(((route.sides || {}).legacy || {}).error_rate || 0, ((route.sides || {}).modern || {}).error_rate || 0);
const rpsOf = (route) => (((route.sides || {}).legacy || {}).rps || 0) + (((route.sides || {}).modern || {}).rps || 0);
const ratioOf = (route) => (isNumber((route.consistency || {}).ratio) ? route.consistency.ratio : 2);
const isDown = (route) => Boolean(((route.sides || {}).legacy || {}).down || ((route.sides || {}).modern || {}).down);

// The higher, the more it needs somebody.
const attention = (route) => (isDown(route) ? 8.5 : 0) + stateOf(route.state).rank;

const byName = (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
const SORTS = {
  attention: {label: "what needs attention", order: (a, b) => attention(b) - attention(a) || byName(a, b)},
  id: {label: "name", order: byName},
  weight: {
    label: "share on modern",
    order: (a, b) => ((b.weight || {}).set || 0) - ((a.weight || {}).set || 0) || byName(a, b),
  },
  consistency: {label: "consistency", order: (a, b) => ratioOf(a) - ratioOf(b) || byName(a, b)},
  errors: {label: "errors", order: (a, b) => errorsOf(b) - errorsOf(a) || byName(a, b)},
  traffic: {label: "traffic", order: (a, b) => rpsOf(b) - rpsOf(a) || byName(a, b)},
};

// What was chosen survives leaving the view and coming back.
const chosen = {filter: "", state: "", sort: "attention", page: 0};

const cell = (name, title, figure) =>
  h(
    "div",
    {class: `cell cell-${name}`},
    h("p", {class: "cell-title", "aria-hidden": "true", text: title}),
    figure.node,
  );

function buildRow(route) {
  const figures = [shareFigure(), consistencyFigure(), sidesFigure(), nextFigure()];
  const notes = badges(),
    verbs = verbButtons(true);
  const headline = h("p", {class: "row-headline"}),
    detail = h("p", {class: "row-detail"});
  const match = h("p", {class: "match"});
  const node = h(
    "li",
    {class: "row", "data-id": route.id},
    h(
      "div",
      {class: "cell cell-name"},
      h("h3", {}, h("a", {href: `#/routes/${encodeURIComponent(route.id)}`, text: route.id})),
      match,
      headline,
      detail,
      notes.node,
    ),
    cell("share", "Share on modern", figures[0]),
    cell("consistency", "Consistency", figures[1]),
    cell("sides", "Both services", figures[2]),
    cell("next", "Next step", figures[3]),
    h("div", {class: "cell cell-verbs"}, verbs.node),
  );
  return {
    node,
    update(now) {
      node.dataset.state = now.state;
      setText(match, matchOf(now));
      setText(headline, now.headline || now.state);
      const more = now.next_step && now.state !== "holding" ? "" : detailOf(now);
      setText(detail, more);
      setHidden(detail, !more);
      for (const figure of [...figures, notes, verbs]) figure.update(now);
    },
  };
}

function eventItem(event) {
  const link = event.route
    ? h("a", {class: "event-route", href: `#/routes/${encodeURIComponent(event.route)}`, text: event.route})
    : null;
  return h(
    "li",
    {class: `level-${event.level}`},
    h("time", {datetime: event.at, text: moment(event.at)}),
    h("span", {class: "event-type", text: event.type}),
    link,
    h("span", {class: "event-text", text: event.message}),
  );
}

// The newest first; `wanted` picks.
export function eventList(wanted = () => true, shown = EVENTS_SHOWN) {
  const node = h("ol", {class: "events", reversed: true});
  return {
    node,
    update() {
      const events = model.events.filter(wanted).slice(-shown).reverse();
      const missed = model.missedEvents
        ? [
            h("li", {
              class: "level-warn",
              text: `${plural(model.missedEvents, "event")} came while this page was cut off and are not kept any more: see the log.`,
            }),
          ]
        : [];
      redraw(node, `${model.missedEvents} ${events.map((event) => event.id).join()}`, () => [
        ...missed,
        ...events.map(eventItem),
      ]);
    },
  };
}

// Several gateways that share their state: who leads, and who is not heard of.
function fleetBox() {
  const node = h("section", {class: "fleet", "aria-label": "Gateways", hidden: true});
  const stands = (fleet) =>
    ({
      leads: "this one leads",
      follows: fleet.leader
        ? `this one follows ${fleet.leader}`
        : "nobody leads yet: nothing is promoted until somebody does",
      cut_off: `this one is cut off${fleet.redis_error ? `: ${fleet.redis_error}` : ""}. Its weights stay, nothing is promoted; it still rolls back on its own evidence and by hand`,
    })[fleet.role] ||
    fleet.about ||
    "";
  return {
    node,
    update() {
      const fleet = (model.status || {}).fleet || {role: "alone"},
        members = Array.isArray(fleet.members) ? fleet.members : [];
      setHidden(node, fleet.role === "alone" || (!members.length && fleet.role !== "cut_off"));
      if (node.hidden) return;
      const notesOf = (member) =>
        [
          member.leads ? "leads" : null,
          member.self ? "this one" : null,
          member.alive === false ? `not heard of for ${span(member.age_ms)}` : null,
        ]
          .filter(Boolean)
          .join(", ");
      redraw(
        node,
        JSON.stringify([stands(fleet), members.map((member) => [member.id, member.leads, member.self, member.alive])]),
        () => [
          h("h2", {text: members.length ? plural(members.length, "gateway") : "Gateways"}),
          h("p", {class: fleet.role === "cut_off" || !fleet.leader ? "warn" : "muted", text: stands(fleet)}),
          h(
            "ul",
            {class: "members"},
            members.map((member) =>
              h(
                "li",
                {class: member.alive === false ? "bad" : ""},
                h("strong", {text: member.id}),
                ` ${notesOf(member)}`,
              ),
            ),
          ),
        ],
      );
    },
  };
}

// Where the requests go through: the network card's programs, with their mode, or the daemon alone. Asked for seldom.
function pathBadges() {
  const node = h("ul", {class: "chips paths", "aria-label": "Data path", hidden: true});
  let askedAt = 0;
  function badgesOf(xdp) {
    const interfaces = xdp.interfaces || [];
    if (xdp.mode === "off" || !interfaces.length) return [["daemon path", "chip"]];
    const list = [];
    for (const mode of new Set(interfaces.map((i) => i.mode))) {
      const names = interfaces.filter((i) => i.mode === mode).map((i) => i.name);
      list.push([`NIC path: ${mode} XDP on ${names.join(", ")}`, mode === "native" ? "chip" : "chip chip-warn"]);
    }
    for (const i of interfaces) if (i.error) list.push([`${i.name}: ${i.error}`, "chip chip-bad"]);
    return list;
  }
  return {
    node,
    async update() {
      if (askedAt && performance.now() - askedAt < PATH_ASK_MS) return;
      askedAt = performance.now();
      try {
        const list = badgesOf((await get("/admin/datapath")).xdp || {});
        redraw(node, JSON.stringify(list), () => list.map(([text, look]) => h("li", {class: look, text})));
        setHidden(node, false);
      } catch {
        askedAt = 0; // with the next status
      }
    },
  };
}

// Rollouts that have no route yet, or are on their way: a line each.
function rolloutList() {
  const node = h("ul", {class: "rollouts", "aria-label": "Migrations under way"});
  return {
    node,
    update() {
      const going = model.migrations.filter((m) => !m.over && m.state === "deploying");
      setHidden(node, !going.length);
      redraw(node, JSON.stringify(going.map((m) => [m.id, m.headline, m.last_line])), () =>
        going.map((m) =>
          h(
            "li",
            {class: "rollout", "data-state": m.state},
            h("a", {href: `#/migrations/${encodeURIComponent(m.id)}`, text: m.id}),
            h("strong", {text: m.headline}),
            h("span", {class: "last-line", text: m.last_line || ""}),
          ),
        ),
      );
    },
  };
}

function toolbar(redo) {
  const search = h("input", {type: "search", id: "filter", autocomplete: "off", placeholder: "id, path, headline"});
  search.value = chosen.filter;
  search.addEventListener("input", () => redo({filter: search.value.trim().toLowerCase(), page: 0}));
  const sort = h(
    "select",
    {id: "sort"},
    Object.entries(SORTS).map(([key, {label}]) => h("option", {value: key, text: label})),
  );
  sort.value = chosen.sort;
  sort.addEventListener("change", () => redo({sort: sort.value, page: 0}));
  const states = h("div", {class: "facets", role: "group", "aria-label": "Only routes that are"});
  const node = h(
    "div",
    {class: "toolbar"},
    states,
    h(
      "div",
      {class: "toolbar-fields"},
      h("label", {class: "field-inline"}, "Find ", search),
      h("label", {class: "field-inline"}, "Sort by ", sort),
    ),
  );
  return {
    node,
    update(routes) {
      setHidden(search.parentElement, routes.length < 6 && !chosen.filter);
      setHidden(sort.parentElement, routes.length < 6);
      const counts = {};
      for (const route of routes) counts[route.state] = (counts[route.state] || 0) + 1;
      const words = Object.keys(STATES).filter((word) => counts[word] || word === chosen.state);
      const focused = states.contains(document.activeElement) ? document.activeElement.dataset.facet : null;
      redraw(states, JSON.stringify([words, words.map((w) => counts[w]), chosen.state]), () =>
        words.map((word) =>
          h(
            "button",
            {
              type: "button",
              class: "facet",
              "data-state": word,
              "data-facet": word,
              "aria-pressed": chosen.state === word ? "true" : "false",
              onclick: () => redo({state: chosen.state === word ? "" : word, page: 0}),
            },
            h("b", {text: count(counts[word] || 0)}),
            ` ${stateOf(word).label}`,
          ),
        ),
      );
      if (focused && !states.contains(document.activeElement))
        (states.querySelector(`[data-facet="${focused}"]`) || search).focus();
    },
  };
}

function pager(redo) {
  const back = h("button", {type: "button", text: "Previous", onclick: () => redo({page: chosen.page - 1})});
  const on = h("button", {type: "button", text: "Next", onclick: () => redo({page: chosen.page + 1})});
  const where = h("p", {role: "status"});
  const node = h("nav", {class: "pager", "aria-label": "Pages of routes"}, back, where, on);
  return {
    node,
    update(total, matching) {
      const pages = Math.max(1, Math.ceil(matching / ROUTES_AT_ONCE));
      chosen.page = Math.max(0, Math.min(chosen.page, pages - 1));
      setHidden(node, total <= ROUTES_AT_ONCE && matching === total);
      setHidden(back, pages < 2);
      setHidden(on, pages < 2);
      back.disabled = chosen.page === 0;
      on.disabled = chosen.page >= pages - 1;
      const first = chosen.page * ROUTES_AT_ONCE;
      setText(
        where,
        matching
          ? `${count(first + 1)}–${count(Math.min(matching, first + ROUTES_AT_ONCE))} of ${count(matching)}${
              matching === total ? "" : ` (${count(total)} in all)`
            }`
          : `none of ${plural(total, "route")}`,
      );
    },
  };
}

export function overview() {
  const rows = new Map();
  const list = h("ul", {class: "rows", id: "routes"});
  const empty = h("p", {
    class: "muted",
    hidden: true,
    text: "There are no routes yet: add some to the configuration, with phoenixctl route add, or with phoenixctl migrate.",
  });
  const redo = (change) => {
    Object.assign(chosen, change);
    view.update();
  };
  const bar = toolbar(redo),
    pages = pager(redo),
    paths = pathBadges(),
    fleet = fleetBox(),
    rollouts = rolloutList(),
    events = eventList();
  const headline = h("h1", {id: "headline", tabindex: "-1"}),
    speaks = h("p", {class: "speaks"}),
    totals = h("p", {class: "totals"});
  const view = {
    title: () => (model.status || {}).headline || "Phoenix",
    node: h(
      "div",
      {class: "overview"},
      h("section", {class: "overall", "aria-labelledby": "headline"}, headline, speaks, totals, paths.node),
      fleet.node,
      rollouts.node,
      h(
        "section",
        {"aria-label": "Routes"},
        h("h2", {class: "hidden-title", text: "Routes"}),
        bar.node,
        empty,
        list,
        pages.node,
      ),
      h(
        "section",
        {"aria-labelledby": "events-title"},
        h("h2", {id: "events-title", text: "What happened"}),
        events.node,
      ),
    ),
    update() {
      const status = model.status || {},
        all = [...model.routes.values()];
      setText(headline, status.headline || "…");
      const speaker = all.find((route) => route.headline === status.headline);
      headline.dataset.state = speaker ? speaker.state : (status.kill_switch || {}).on ? "rolled_back" : "idle";
      setHidden(speaks, !speaker || all.length < 2);
      if (speaker) {
        const more = detailOf(speaker) || stateOf(speaker.state).means;
        redraw(speaks, `${speaker.id} ${more}`, () => [
          h("a", {href: `#/routes/${encodeURIComponent(speaker.id)}`, text: speaker.id}),
          ` ${more}`,
        ]);
      }
      const t = status.totals || {};
      setText(
        totals,
        [
          plural(all.length, "route"),
          isNumber(t.rps) ? `${t.rps.toFixed(1)} requests a second` : null,
          t.errors ? `${plural(t.errors, "error")} since the start` : null,
          (status.listen || []).length ? `on ${status.listen.join(", ")}` : null,
        ]
          .filter(Boolean)
          .join(" · "),
      );
      const matching = all.filter(
        (route) =>
          (!chosen.state || route.state === chosen.state) &&
          (!chosen.filter ||
            [route.id, route.path, route.host, route.headline, ...(route.methods || [])].some((text) =>
              String(text || "")
                .toLowerCase()
                .includes(chosen.filter),
            )),
      );
      matching.sort((SORTS[chosen.sort] || SORTS.attention).order);
      bar.update(all);
      pages.update(all.length, matching.length);
      setHidden(empty, all.length > 0 || !model.status);
      const shown = matching.slice(chosen.page * ROUTES_AT_ONCE, (chosen.page + 1) * ROUTES_AT_ONCE);
      const ids = new Set(shown.map((route) => route.id));
      for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
      arrange(
        list,
        shown.map((route) => {
          if (!rows.has(route.id)) rows.set(route.id, buildRow(route));
          const row = rows.get(route.id);
          row.update(route);
          return row.node;
        }),
      );
      for (const part of [paths, fleet, rollouts, events]) part.update();
    },
    tick() {
      for (const [id, row] of rows) if (model.routes.has(id)) row.update(model.routes.get(id));
    },
    find: () => byId("filter").focus(),
    routeInFocus: () => {
      const row = document.activeElement && document.activeElement.closest(".row");
      return row ? model.routes.get(row.dataset.id) : null;
    },
  };
  return view;
}
