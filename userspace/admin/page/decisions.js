// SPDX-License-Identifier: Apache-2.0
//
// What the arbiter and people decided: the ladder of steps with the evidence of each, and the ledger as a
// timeline. Both are drawn from GET /admin/routes/{id}/decisions.
import {get, routePath} from "./daemon.js";
import {h, redraw, setHidden, setText} from "./dom.js";
import {clock, count, isNumber, moment, percent, plural} from "./text.js";

const LIMIT = 100;
const RUNGS_MAX = 26;

const ACTIONS = {
  promote: "promoted",
  complete: "completed",
  rollback: "rolled back",
  hold: "held",
  pause: "paused",
  resume: "resumed",
  start: "started",
  retry: "begun again",
  manual: "weight set",
};

const moved = (d) => d.weight_old !== d.weight_new;

function fact(name, value) {
  return value === null || value === undefined || value === "" ? null : [h("dt", {text: name}), h("dd", {text: value})];
}

function evidence(d) {
  const lost = Object.entries(d.not_comparable || {}).filter(([, n]) => n > 0);
  const top = (d.top_pointers || []).filter((p) => p.count > 0);
  return h(
    "dl",
    {class: "evidence"},
    fact(
      "answers compared",
      `${count(d.n)}, of these ${count((d.n || 0) - (d.mismatches || 0))} equal, ${count(d.mismatches)} different`,
    ),
    d.synthetic ? fact("of these synthetic", count(d.synthetic)) : null,
    lost.length
      ? fact("not comparable", lost.map(([why, n]) => `${count(n)} ${why.replaceAll("_", " ")}`).join(", "))
      : null,
    fact(
      "thresholds",
      `on above ${percent(d.promote_above)} with more than ${plural(d.min_samples, "sample")}, back below ${percent(d.rollback_below)}`,
    ),
    d.n && isNumber(d.wilson_lower) ? fact("at least (95% sure)", percent(d.wilson_lower)) : null,
    d.n && isNumber(d.llr) ? fact("log likelihood, 99% against 95%", d.llr.toFixed(2)) : null,
    d.shapes ? fact("kinds of requests", count(d.shapes)) : null,
    top.length
      ? fact(
          "most frequent differences",
          h(
            "ul",
            {},
            top.map((p) =>
              h("li", {}, h("code", {text: p.pointer || "(whole answer)"}), ` ${p.kind}, ${count(p.count)}×`),
            ),
          ),
        )
      : null,
    fact("decided on", d.on),
    fact("policy · step · epoch", `${d.policy || "–"} · ${count(d.step)} · ${count(d.epoch)}`),
  );
}

function item(d) {
  return h(
    "li",
    {class: `decision decision-${d.action}`},
    h("time", {datetime: d.at, text: moment(d.at)}),
    h(
      "div",
      {},
      h(
        "p",
        {},
        h("strong", {text: ACTIONS[d.action] || d.action}),
        moved(d) ? h("span", {class: "move", text: ` ${percent(d.weight_old)} → ${percent(d.weight_new)}`}) : null,
        h("span", {class: "muted", text: ` by ${d.by || "?"}`}),
      ),
      h("p", {class: "reason", text: d.reason || ""}),
      h("details", {class: "inner"}, h("summary", {text: "Evidence"}), evidence(d)),
    ),
  );
}

const same = (a, b) => Math.abs(a - b) < 1e-9;

// The rungs of the ladder, from 0 to 1: [{weight, state, decision}]; the present weight and the one that was rolled
// back from are among them, also when somebody set them by hand.
export function rungsOf(route, decisions) {
  const step = ((route.config || {}).arbiter || {}).step;
  const weight = (route.weight || {}).wanted || 0;
  if (!isNumber(step) || step <= 0) return [];
  // Of this attempt only: what came before the last beginning is another story.
  let from = 0;
  decisions.forEach((d, i) => {
    if (d.action === "retry" || d.action === "start") from = i;
  });
  const left = [];
  let fell = null;
  for (const d of decisions.slice(from)) {
    if (d.action === "rollback") fell = d;
    else if (d.action === "promote" || d.action === "complete") left.unshift(d);
  }
  if (route.state !== "rolled_back") fell = null;
  const weights = [0];
  for (let i = 1; i * step < 1 - 1e-9; i++) weights.push(Math.round(i * step * 10000) / 10000);
  weights.push(1);
  for (const other of [weight, fell ? fell.weight_old : 0])
    if (!weights.some((w) => same(w, other))) weights.push(other);
  weights.sort((a, b) => a - b);
  const next = route.next_step ? route.next_step.weight : null;
  return weights.map((w) => {
    const failed = fell && same(fell.weight_old, w);
    const state = failed
      ? "failed"
      : same(w, weight)
        ? "here"
        : w < weight
          ? "done"
          : isNumber(next) && same(next, w)
            ? "next"
            : "";
    return {weight: w, state, decision: failed ? fell : left.find((d) => same(d.weight_old, w)) || null};
  });
}

export function ladder() {
  const node = h("ol", {class: "ladder", "aria-label": "Steps"});
  const words = {failed: "rolled back here", here: "now", done: "passed", next: "next", "": ""};
  return {
    node,
    update(route, decisions) {
      const rungs = rungsOf(route, decisions);
      setHidden(node.parentElement, !rungs.length || rungs.length > RUNGS_MAX);
      redraw(node, JSON.stringify(rungs.map((r) => [r.weight, r.state, (r.decision || {}).at])), () =>
        rungs.map((r) =>
          h(
            "li",
            {class: `rung ${r.state}`, "aria-current": r.state === "here" ? "step" : null},
            h("strong", {text: percent(r.weight)}),
            h("span", {class: "rung-state", text: words[r.state]}),
            r.decision && r.decision.n
              ? h("span", {
                  class: "rung-evidence",
                  text: `${count(r.decision.n - r.decision.mismatches)} of ${count(r.decision.n)}`,
                })
              : null,
            r.decision ? h("time", {class: "rung-time", datetime: r.decision.at, text: clock(r.decision.at)}) : null,
          ),
        ),
      );
    },
  };
}

export function decisions(id) {
  let list = [],
    key = "",
    asked = false,
    withHolds = false;
  const items = h("ol", {class: "timeline", reversed: true});
  const empty = h("p", {class: "muted"}),
    hidden = h("p", {class: "muted small"});
  const box = h("input", {type: "checkbox"});
  box.addEventListener("change", () => {
    withHolds = box.checked;
    draw();
  });
  const steps = ladder();
  const node = h(
    "div",
    {},
    h("label", {class: "check small"}, box, " also the looks that changed nothing"),
    empty,
    items,
    hidden,
  );

  function draw() {
    const shown = list
      .filter((d) => withHolds || d.action !== "hold")
      .slice()
      .reverse();
    const open = new Set([...items.querySelectorAll("details[open]")].map((d) => d.closest("li").dataset.key));
    redraw(items, `${withHolds} ${shown.map((d) => `${d.at}${d.action}`).join()}`, () =>
      shown.map((d) => {
        const li = item(d);
        li.dataset.key = `${d.at}${d.action}`;
        if (open.has(li.dataset.key)) li.querySelector("details").open = true;
        return li;
      }),
    );
    setText(empty, shown.length ? "" : "Nothing was decided yet.");
    const holds = list.length - list.filter((d) => d.action !== "hold").length;
    setText(
      hidden,
      !withHolds && holds
        ? `${plural(holds, "look")} that changed nothing ${holds === 1 ? "is" : "are"} not shown.`
        : "",
    );
    setHidden(empty, shown.length > 0);
  }

  return {
    node,
    ladder: steps.node,
    // Asks again when the route moved, or its evidence turned.
    async update(route, force) {
      const now = `${(route.weight || {}).epoch} ${(route.step || {}).number} ${route.state} ${(route.consistency || {}).mismatches} ${route.headline}`;
      steps.update(route, list);
      if (asked || (now === key && !force)) return;
      asked = true;
      try {
        list = (await get(routePath(id, `/decisions?limit=${LIMIT}`))).decisions || [];
        key = now;
        draw();
        steps.update(route, list);
      } catch (error) {
        setText(empty, error.message);
        setHidden(empty, false);
      }
      asked = false;
    },
  };
}
