// SPDX-License-Identifier: Apache-2.0
//
// Time charts of one route from GET /admin/routes/{id}/series, drawn by Chart.js (its script is loaded before the
// modules). The whole series is asked for once, then only its newest points. Colours are the style sheet's.
// A canvas says nothing to a screen reader: each chart has a sentence, and all have a table behind them.
import {get, routePath} from "./daemon.js";
import {h, redraw, setAttribute, setText} from "./dom.js";
import {clock, isNumber, latency, percent, rate} from "./text.js";

const POINTS_MAX = 1000;
const NEW_POINTS = 10;
const TABLE_ROWS = 20;

// A colour of the style sheet as Chart.js wants it: light-dark() is resolved by the browser.
function colour(name) {
  const probe = document.getElementById("probe");
  probe.style.setProperty("color", `var(--${name})`);
  return getComputedStyle(probe).color;
}

// X(key, title, the lines (field, label, colour, stepped), how a value reads, the axis)
const CHARTS = [
  {
    key: "weight",
    title: "Share on modern",
    read: percent,
    lines: [["weight", "set", "modern", true]],
    axis: {min: 0, max: 1},
  },
  {
    key: "consistency",
    title: "Consistency of the step",
    read: percent,
    lines: [["consistency", "equal answers", "busy", false]],
    axis: {max: 1, grace: 0},
    limits: true,
  },
  {
    key: "latency",
    title: "Latency, p99",
    read: latency,
    lines: [
      ["legacy_p99_ms", "legacy", "legacy", false],
      ["modern_p99_ms", "modern", "modern", false],
    ],
    axis: {min: 0},
  },
  {
    key: "traffic",
    title: "Requests a second",
    read: rate,
    lines: [
      ["legacy_rps", "legacy", "legacy", false],
      ["modern_rps", "modern", "modern", false],
    ],
    axis: {min: 0},
  },
];

function limitLines(route) {
  const c = route.consistency || {};
  return [
    ["promote above", c.limit_promote, "good"],
    ["roll back below", c.limit_rollback, "bad"],
  ].filter(([, value]) => isNumber(value));
}

function datasets(spec, points, route) {
  const lines = spec.lines.map(([field, label, tone, stepped]) => ({
    label,
    stepped: stepped ? "before" : false,
    borderColor: colour(tone),
    backgroundColor: colour(tone),
    data: points.map((point) => ({x: point.x, y: isNumber(point[field]) ? point[field] : null})),
  }));
  if (spec.limits && points.length)
    for (const [label, value, tone] of limitLines(route))
      lines.push({
        label,
        borderColor: colour(tone),
        backgroundColor: colour(tone),
        borderDash: [5, 4],
        borderWidth: 1,
        data: [points[0].x, points[points.length - 1].x].map((x) => ({x, y: value})),
      });
  return lines;
}

function alone(data, i) {
  const there = (k) => data[k] && data[k].y !== null;
  return there(i) && !there(i - 1) && !there(i + 1);
}

function options(spec) {
  const grid = colour("line"),
    ink = colour("muted");
  const floor = spec.limits ? {suggestedMin: 0.9} : {};
  return {
    animation: false,
    parsing: false,
    normalized: true,
    responsive: true,
    maintainAspectRatio: false,
    spanGaps: false,
    interaction: {mode: "index", intersect: false},
    // A point between two gaps is no line: it would not be seen.
    elements: {
      point: {radius: (c) => (alone(c.dataset.data, c.dataIndex) ? 2 : 0), hitRadius: 8},
      line: {borderWidth: 2, tension: 0},
    },
    scales: {
      x: {
        type: "linear",
        grid: {color: grid},
        ticks: {color: ink, maxTicksLimit: 5, maxRotation: 0, callback: (value) => clock(value)},
      },
      y: {
        ...spec.axis,
        ...floor,
        grid: {color: grid},
        ticks: {color: ink, maxTicksLimit: 5, callback: (value) => spec.read(value)},
      },
    },
    plugins: {
      legend: {
        display: spec.lines.length > 1 || Boolean(spec.limits),
        position: "bottom",
        labels: {color: ink, boxWidth: 14, boxHeight: 2},
      },
      tooltip: {
        callbacks: {
          title: (items) => clock(items[0].parsed.x),
          label: (item) => `${item.dataset.label}: ${spec.read(item.parsed.y)}`,
        },
      },
    },
  };
}

// What a chart shows, as a sentence.
function sentence(spec, points) {
  if (!points.length) return `${spec.title}: no points yet`;
  return `${spec.title}, ${clock(points[0].x)} to ${clock(points[points.length - 1].x)}: ${spec.lines
    .map(([field, label]) => {
      const values = points.map((point) => point[field]).filter(isNumber);
      if (!values.length) return `${label} unknown`;
      return `${label} now ${spec.read(values[values.length - 1])}, lowest ${spec.read(Math.min(...values))}, highest ${spec.read(Math.max(...values))}`;
    })
    .join("; ")}`;
}

function table(points) {
  const columns = [
    ["weight", "share", percent],
    ["consistency", "consistency", percent],
    ["legacy_p99_ms", "legacy p99", latency],
    ["modern_p99_ms", "modern p99", latency],
    ["legacy_rps", "legacy", rate],
    ["modern_rps", "modern", rate],
  ];
  return h(
    "table",
    {class: "series"},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", {scope: "col", text: "time"}),
        columns.map(([, title]) => h("th", {scope: "col", text: title})),
      ),
    ),
    h(
      "tbody",
      {},
      points
        .slice(-TABLE_ROWS)
        .reverse()
        .map((point) =>
          h(
            "tr",
            {},
            h("th", {scope: "row", text: clock(point.x)}),
            columns.map(([field, , read]) => h("td", {text: read(point[field])})),
          ),
        ),
    ),
  );
}

export function charts(id) {
  let points = [],
    answeredAt = 0,
    asked = false,
    stopped = false,
    drawnTheme = "",
    route = null;
  const drawn = CHARTS.map((spec) => {
    const canvas = h("canvas", {role: "img", "aria-label": sentence(spec, [])});
    return {
      spec,
      canvas,
      box: h(
        "figure",
        {class: `chart chart-${spec.key}`},
        h("figcaption", {text: spec.title}),
        h("div", {class: "canvas"}, canvas),
      ),
      chart: null,
    };
  });
  const note = h("p", {class: "muted", text: "No points yet: they come with the first requests, one a second."});
  const rows = h("div", {class: "table-scroll", tabindex: "0", role: "region", "aria-label": "The newest points"});
  const details = h("details", {class: "more"}, h("summary", {text: "The newest points as a table"}), rows);
  details.addEventListener("toggle", () => draw());
  const node = h(
    "div",
    {class: "charts"},
    note,
    h(
      "div",
      {class: "chart-grid"},
      drawn.map(({box}) => box),
    ),
    details,
  );

  // What nobody sees is drawn once, and again when it comes into view.
  let inView = true;
  const watch = new IntersectionObserver((entries) => {
    inView = entries[entries.length - 1].isIntersecting;
    if (inView && points.length) draw();
  });
  watch.observe(node);

  function draw() {
    const theme = `${document.documentElement.dataset.theme} ${matchMedia("(prefers-color-scheme: dark)").matches}`;
    note.hidden = points.length > 0;
    for (const item of drawn) {
      if (item.chart && theme !== drawnTheme) {
        item.chart.destroy();
        item.chart = null;
      }
      setAttribute(item.canvas, "aria-label", sentence(item.spec, points));
      if (item.chart && !inView) continue;
      const data = datasets(item.spec, points, route);
      if (!item.chart)
        item.chart = new Chart(item.canvas, {type: "line", data: {datasets: data}, options: options(item.spec)});
      else {
        item.chart.data.datasets = data;
        item.chart.update("none");
      }
    }
    drawnTheme = theme;
    if (details.open) redraw(rows, String((points[points.length - 1] || {}).x), () => table(points));
  }

  function take(fresh) {
    const last = points.length ? points[points.length - 1].x : 0;
    for (const point of fresh) {
      point.x = Date.parse(point.t);
      if (point.x > last) points.push(point);
    }
    if (points.length > POINTS_MAX) points = []; // the daemon thins out what is old: it is asked for everything again
  }

  return {
    node,
    // Asks for what is new. After a gap (the tab slept, the stream was cut) the whole series again.
    async update(now) {
      route = now;
      if (asked || stopped) return;
      asked = true;
      try {
        const whole = !points.length || performance.now() - answeredAt > NEW_POINTS * 800;
        const json = await get(routePath(id, whole ? "/series" : `/series?limit=${NEW_POINTS}`));
        answeredAt = performance.now();
        if (whole) points = [];
        take(json.points || []);
        if (!stopped && points.length) draw();
      } catch (error) {
        note.hidden = false;
        setText(note, error.message);
      }
      asked = false;
    },
    redrawNow: () => {
      if (points.length) draw();
    },
    stop() {
      stopped = true;
      watch.disconnect();
      for (const item of drawn) if (item.chart) item.chart.destroy();
    },
  };
}
