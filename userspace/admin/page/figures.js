// SPDX-License-Identifier: Apache-2.0
//
// The figures of a route, each a {node, update(route)}: built once and updated in place, so that the
// keyboard's focus and a selection survive. The overview and the view of one route show the same ones.
import {h, redraw, setAttribute, setHidden, setText} from "./dom.js";
import {nextStepOf} from "./model.js";
import {count, isNumber, latency, percent, plural, rate, span} from "./text.js";

const clamp = (ratio) => Math.max(0, Math.min(1, ratio));

function place(node, property, ratio) {
  setHidden(node, !isNumber(ratio));
  if (isNumber(ratio)) node.style.setProperty(property, `${clamp(ratio) * 100}%`);
}

// Who answers: the bar is what is set; wanted and seen are marks on it, and all three are told as numbers.
export function shareFigure() {
  const modern = h("div", {class: "share-modern"});
  const wanted = h("div", {class: "mark mark-wanted"}),
    seen = h("div", {class: "mark mark-seen"});
  const ends = {modern: h("span", {class: "end-modern"}), legacy: h("span", {class: "end-legacy"})};
  const numbers = {};
  const figure = (name, means) =>
    h("div", {class: `number number-${name}`, title: means}, h("dt", {text: name}), (numbers[name] = h("dd")));
  const node = h(
    "div",
    {class: "share"},
    h("p", {class: "ends"}, ends.legacy, ends.modern),
    h("div", {class: "track", "aria-hidden": "true"}, modern, wanted, seen),
    h(
      "dl",
      {class: "numbers"},
      figure("wanted", "what the policy asks for"),
      figure("set", "read back from the data path"),
      figure("seen", "counted in the requests of this step"),
    ),
  );
  return {
    node,
    update(route) {
      const weight = route.weight || {};
      place(modern, "width", weight.set);
      place(wanted, "left", weight.wanted);
      place(seen, "left", weight.seen);
      setText(ends.modern, `Modern ${percent(weight.set)}`);
      setText(ends.legacy, `Legacy ${percent(isNumber(weight.set) ? 1 - weight.set : null)}`);
      for (const name of ["wanted", "set", "seen"]) setText(numbers[name], percent(weight[name]));
      numbers.set.classList.toggle("warn", weight.set !== weight.wanted);
    },
  };
}

// "99.3% (150 of 151)" and where that lies between the two thresholds.
export function consistencyFigure() {
  const ratio = h("span", {class: "ratio"}),
    of = h("span", {class: "of"});
  const bad = h("i", {class: "zone zone-bad"}),
    middle = h("i", {class: "zone zone-warn"}),
    good = h("i", {class: "zone zone-good"});
  const mark = h("i", {class: "needle"});
  const scale = h("div", {class: "scale", "aria-hidden": "true"}, bad, middle, good, mark);
  const limits = h("p", {class: "limits"}),
    ignored = h("p", {class: "ignored-note"});
  return {
    node: h("div", {class: "consistency"}, h("p", {}, ratio, " ", of), scale, limits, ignored),
    update(route) {
      const c = route.consistency || {},
        samples = c.samples || 0;
      const known = samples > 0 && isNumber(c.ratio);
      setAttribute(
        ratio,
        "class",
        `ratio ${!known ? "" : c.ratio < c.limit_rollback ? "bad" : c.ratio <= c.limit_promote ? "warn" : "good"}`,
      );
      setText(ratio, known ? percent(c.ratio) : "–");
      setText(of, known ? `${count(c.matches)} of ${count(samples)} equal` : "no answers compared yet");
      const judged = isNumber(c.limit_rollback) && (known || !["idle", "deploying"].includes(route.state));
      setHidden(scale, !judged);
      setHidden(limits, !judged);
      if (isNumber(c.limit_rollback) && isNumber(c.limit_promote)) {
        const low = Math.max(0, 1 - 2 * (1 - Math.min(c.limit_rollback, c.limit_promote)));
        const at = (value) => (low < 1 ? clamp((value - low) / (1 - low)) : 1);
        bad.style.setProperty("width", `${at(c.limit_rollback) * 100}%`);
        middle.style.setProperty("width", `${Math.max(0, at(c.limit_promote) - at(c.limit_rollback)) * 100}%`);
        place(mark, "left", known ? at(c.ratio) : null);
        setText(limits, `back below ${percent(c.limit_rollback)} · on above ${percent(c.limit_promote)}`);
      }
      const places = (c.ignored_pointers || []).length;
      setText(ignored, places ? `${plural(places, "place")} ignored` : "");
      setHidden(ignored, !places);
    },
  };
}

// Error rate and p99 of both sides; with `more` also the median and the request rate.
export function sidesFigure(more) {
  const rows = [
    ["errors", (s) => (isNumber(s.error_rate) ? percent(s.error_rate) : "–")],
    ["p99", (s) => latency(s.p99_ms)],
  ];
  if (more)
    rows.push(
      ["median", (s) => latency(s.p50_ms)],
      ["requests", (s) => rate(s.rps)],
      ["in all", (s) => count(s.requests)],
    );
  const cells = {legacy: {}, modern: {}};
  const body = rows.map(([name]) =>
    h(
      "tr",
      {},
      h("th", {scope: "row", text: name}),
      ["legacy", "modern"].map((side) => (cells[side][name] = h("td"))),
    ),
  );
  const heads = {};
  const node = h(
    "table",
    {class: "sides"},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("td"),
        ["legacy", "modern"].map((side) => (heads[side] = h("th", {scope: "col", class: `side-${side}`, text: side}))),
      ),
    ),
    h("tbody", {}, body),
  );
  return {
    node,
    update(route) {
      for (const side of ["legacy", "modern"]) {
        const figures = (route.sides || {})[side] || {};
        setText(heads[side], figures.down ? `${side} down` : side);
        heads[side].classList.toggle("down", Boolean(figures.down));
        for (const [name, read] of rows) setText(cells[side][name], read(figures));
        cells[side].errors.classList.toggle("bad", (figures.errors || 0) > 0);
      }
    },
  };
}

// What comes next, what it waits for, how far that is, and when it will be so.
export function nextFigure() {
  const what = h("p", {class: "next-what"}),
    waits = h("p", {class: "next-waits"});
  const bar = h("progress", {class: "next-bar", max: "1", value: "0"}),
    when = h("p", {class: "next-when"});
  const node = h("div", {class: "next"}, what, bar, waits, when);
  return {
    node,
    update(route) {
      const next = nextStepOf(route);
      setHidden(bar, !next);
      if (!next) {
        setText(
          what,
          {
            deploying: "Waits for the new service",
            complete: "Done",
            rolled_back: "Waits for a retry",
            paused: "Waits for resume",
            idle: "Waits for start",
          }[route.state] || "–",
        );
        setText(waits, "");
        setText(when, "");
        return;
      }
      setText(what, `Next: ${percent(next.weight)}`);
      setAttribute(bar, "max", next.needed);
      setAttribute(bar, "value", Math.min(next.done, next.needed));
      setAttribute(bar, "aria-label", `samples for the step to ${percent(next.weight)}`);
      setText(waits, next.waitsFor);
      setText(when, next.etaMs === null ? "" : next.etaMs < 1000 ? "now" : `in about ${span(next.etaMs)}`);
    },
  };
}

export function badgesOf(route) {
  const badges = [...(route.badges || [])];
  if (route.source === "api") badges.push("set through the API");
  if (((route.synthetic || {}).requests || 0) > 0) badges.push(`${count(route.synthetic.requests)} synthetic`);
  if ((route.weight || {}).drift && route.weight.changed_by !== "arbiter")
    badges.push(`the file says ${percent(route.weight.file)}`);
  return [...new Set(badges)];
}

export function badges() {
  const node = h("ul", {class: "chips", "aria-label": "Notes"});
  return {
    node,
    update(route) {
      const texts = badgesOf(route);
      setHidden(node, !texts.length);
      redraw(node, texts.join("\n"), () =>
        texts.map((text) => h("li", {class: text.endsWith(" down") ? "chip chip-bad" : "chip", text})),
      );
    },
  };
}
