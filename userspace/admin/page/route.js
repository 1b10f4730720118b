// SPDX-License-Identifier: Apache-2.0
//
// One route: how it stands, what comes next, how it came here, and what differs.
import {charts} from "./charts.js";
import {get, routePath} from "./daemon.js";
import {decisions} from "./decisions.js";
import {differences} from "./differences.js";
import {h, redraw, setHidden, setText} from "./dom.js";
import {badges, consistencyFigure, nextFigure, shareFigure, sidesFigure} from "./figures.js";
import {model, takeRoute} from "./model.js";
import {eventList} from "./overview.js";
import {clock, count, detailOf, isNumber, matchOf, moment, percent, plural, stateOf} from "./text.js";
import {verbButtons} from "./verbs.js";

const panel = (name, title, ...content) =>
  h(
    "section",
    {class: `panel panel-${name}`, "aria-labelledby": `${name}-title`},
    h("h2", {id: `${name}-title`, text: title}),
    content,
  );

// How sure the consistency is, and what was left out of it.
function certainty() {
  const node = h("ul", {class: "certainty"});
  return {
    node,
    update(route) {
      const c = route.consistency || {},
        build = c.build || {},
        shapes = c.shapes || {},
        watch = c.watch || {};
      const lines = [];
      if (c.samples && isNumber(c.wilson_lower)) lines.push(`at least ${percent(c.wilson_lower)}, 95% sure`);
      if (c.samples && isNumber(c.llr))
        lines.push(`log likelihood ${c.llr.toFixed(2)}, sure at ${c.llr_bound.toFixed(2)}`);
      if (build.samples && isNumber(build.wilson_lower))
        lines.push(
          `this build: at least ${percent(build.wilson_lower)} over ${plural(build.samples, "sample")}${isNumber(build.needs) ? `; the next step needs ${percent(build.needs)}` : ""}`,
        );
      if (c.samples && shapes.distinct)
        lines.push(
          `${plural(shapes.distinct, "kind")} of requests, the most frequent has ${percent(shapes.top_share)}`,
        );
      if (c.synthetic) lines.push(`${count(c.synthetic)} of the samples are synthetic`);
      if (watch.on) lines.push(`watched since completion: ${watch.cusum.toFixed(2)}, alarm at ${watch.alarm}`);
      for (const [why, n] of Object.entries(c.not_comparable || {}))
        if (n > 0) lines.push(`not comparable: ${count(n)} ${why.replaceAll("_", " ")}`);
      redraw(node, lines.join("\n"), () =>
        lines.map((text) => h("li", {class: text.startsWith("not comparable") ? "warn" : "", text})),
      );
    },
  };
}

function rollbackNote() {
  const node = h("p", {class: "note note-bad", hidden: true});
  return {
    node,
    update(route) {
      const r = route.state === "rolled_back" ? route.rollback : null;
      setHidden(node, !r);
      if (r)
        setText(
          node,
          `Rolled back from ${percent(r.from)} at ${moment(r.at)}; ${r.verified ? "verified: legacy answers everything, counted" : "being verified by counting"}.`,
        );
    },
  };
}

function facts() {
  const node = h("dl", {class: "facts"});
  return {
    node,
    update(route) {
      const weight = route.weight || {},
        step = route.step || {};
      const rows = [
        ["legacy", route.legacy_url],
        ["modern", route.modern_url],
        ["policy", route.arbiter ? `${route.arbiter.enabled ? route.arbiter.policy : "arbiter off"}` : null],
        ["this step", step.since ? `number ${count(step.number)}, since ${moment(step.since)}` : null],
        [
          "last set",
          weight.changed_by
            ? `by ${weight.changed_by} at ${moment(weight.changed_at)}${weight.reason ? `: ${weight.reason}` : ""}`
            : null,
        ],
        ["seen in", isNumber(weight.seen_requests) ? plural(weight.seen_requests, "request") : null],
        ["failed over", route.failovers ? plural(route.failovers, "request") : null],
      ].filter(([, value]) => value);
      redraw(node, JSON.stringify(rows), () =>
        rows.map(([name, value]) => [h("dt", {text: name}), h("dd", {text: value})]),
      );
    },
  };
}

export function routeView(id) {
  const share = shareFigure(),
    consistency = consistencyFigure(),
    sides = sidesFigure(true),
    next = nextFigure();
  const sure = certainty(),
    undone = rollbackNote(),
    about = facts(),
    notes = badges(),
    verbs = verbButtons(false);
  const graph = charts(id),
    ledger = decisions(id),
    diffs = differences(id);
  const events = eventList((event) => event.route === id, 30);
  const headline = h("p", {class: "view-headline"}),
    detail = h("p", {class: "view-detail"}),
    means = h("p", {class: "muted"}),
    match = h("p", {class: "match"});
  const deploy = h("p", {class: "note", hidden: true});
  const gone = h("p", {class: "note note-bad", hidden: true});
  const head = h(
    "section",
    {class: "view-head", "aria-labelledby": "view-title"},
    h("h1", {id: "view-title", tabindex: "-1", text: id}),
    match,
    headline,
    detail,
    means,
    undone.node,
    deploy,
    notes.node,
  );
  const content = h(
    "div",
    {class: "view-content"},
    h(
      "div",
      {class: "now"},
      panel("share", "Share on modern", share.node, next.node),
      panel("consistency", "Consistency of this step", consistency.node, sure.node),
      panel("sides", "Both services", sides.node, about.node),
    ),
    panel("ladder", "Steps", ledger.ladder),
    panel("charts", "Over time", graph.node),
    panel("differences", "Differences", diffs.node),
    panel("decisions", "Decisions", ledger.node),
    panel("events", "Events", events.node),
  );
  let config = null,
    configFor = "",
    asking = false;

  // The status does not have the configuration: the ladder's step is in it.
  async function learnConfig(route) {
    if (asking || configFor === route.etag) return;
    asking = true;
    try {
      const whole = await get(routePath(id));
      config = whole.config;
      configFor = route.etag;
      if (model.routes.has(id) && model.routes.get(id).etag === whole.etag) takeRoute(whole);
    } catch {
      /* asked again with the next status */
    }
    asking = false;
  }

  return {
    title: () => `${id}: ${(model.routes.get(id) || {}).headline || "?"}`,
    node: h(
      "div",
      {class: "view route-view"},
      h("nav", {class: "back", "aria-label": "Where you are"}, h("a", {href: "#/", text: "All routes"})),
      gone,
      head,
      h("div", {class: "verb-bar"}, verbs.node),
      content,
    ),
    route: () => model.routes.get(id) || null,
    routeInFocus: () => model.routes.get(id) || null,
    update() {
      const now = model.routes.get(id);
      setHidden(gone, now || !model.status);
      if (!now) {
        setText(gone, `There is no route ${id} (any more).`);
        return;
      }
      learnConfig(now);
      const route = {...now, config};
      head.dataset.state = route.state;
      setText(match, matchOf(route));
      setText(headline, route.headline);
      setText(detail, detailOf(route));
      setHidden(detail, !detailOf(route));
      setText(means, stateOf(route.state).means);
      if (route.paused)
        setText(
          means,
          `Paused by ${route.paused.by} at ${clock(route.paused.since)}${route.paused.reason ? `: ${route.paused.reason}` : ""}. ${stateOf("paused").means}`,
        );
      const rollout = model.migrations.find((m) => m.route === id);
      setHidden(deploy, !rollout);
      if (rollout)
        redraw(deploy, `${rollout.id} ${rollout.stage}`, () => [
          "Its service is deployed by the pipeline: ",
          h("a", {
            href: `#/migrations/${encodeURIComponent(rollout.id)}`,
            text: `migration ${rollout.id}, ${rollout.stage.replaceAll("_", " ")}`,
          }),
        ]);
      for (const figure of [
        share,
        consistency,
        sides,
        next,
        sure,
        undone,
        about,
        notes,
        verbs,
        diffs,
        ledger,
        graph,
        events,
      ])
        figure.update(route);
    },
    tick() {
      if (model.routes.has(id)) next.update(model.routes.get(id));
    },
    retheme: () => graph.redrawNow(),
    leave: () => graph.stop(),
  };
}
