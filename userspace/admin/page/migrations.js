// SPDX-License-Identifier: Apache-2.0
//
// The pipeline: all migrations, and one of them with its stages, its log as it is written, and, after a
// rollback, the smallest failing examples. The status says when there are new lines; they are asked for by
// their number, so that none is lost and none comes twice, whatever happened to the stream.
import {ask, get, migrationPath} from "./daemon.js";
import {h, redraw, setHidden, setText} from "./dom.js";
import {model} from "./model.js";
import {clock, count, moment, span} from "./text.js";
import {confirmDelete, confirmVerb, tell, whyNot} from "./verbs.js";

const LINES_MAX = 2000;
const STAGES = [
  ["verify", "files, build, trial, replay of the contract"],
  ["deploy", "put in place"],
  ["healthy", "answers its health check"],
  ["mirror", "compared, no users yet"],
  ["migrate", "users move step by step"],
  ["complete", "all users on modern"],
];

const linkTo = (id) => `#/migrations/${encodeURIComponent(id)}`;

// Of the stages in brief: done, running, failed, waiting.
function standing(m) {
  const order = STAGES.map(([word]) => word);
  const at = m.stage === "deployed" ? 3 : order.indexOf(m.failed_in || m.stage);
  return order.map((word, i) =>
    i < at || m.stage === "complete"
      ? "done"
      : i > at || m.stage === "deployed"
        ? "waiting"
        : m.failed_in
          ? "failed"
          : "running",
  );
}

export function migrationsView() {
  const list = h("ul", {class: "rows migrations"});
  const empty = h(
    "p",
    {class: "muted"},
    "No migrations. ",
    h("code", {text: "phoenixctl migrate spec.json"}),
    " takes the code of a new service through all of this: verify, deploy, mirror, migrate.",
  );
  return {
    title: () => "Migrations",
    node: h("div", {class: "view"}, h("h1", {tabindex: "-1", text: "Migrations"}), empty, list),
    update() {
      const all = model.migrations.slice().sort((a, b) => a.over - b.over || (a.created_at < b.created_at ? 1 : -1));
      setHidden(empty, all.length > 0);
      const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      redraw(list, JSON.stringify(all.map((m) => [m.id, m.headline, m.detail, m.stage, m.attempt])), () =>
        all.map((m) =>
          h(
            "li",
            {class: "row migration", "data-state": m.state},
            h(
              "div",
              {class: "cell"},
              h("h2", {}, h("a", {href: linkTo(m.id), text: m.id})),
              h("p", {
                class: "muted",
                text: `attempt ${count(m.attempt)}, begun ${moment(m.created_at)} by ${m.by || "?"}`,
              }),
            ),
            h(
              "div",
              {class: "cell"},
              h("p", {class: "row-headline", text: m.headline}),
              h("p", {class: "row-detail", text: m.detail || ""}),
            ),
            h(
              "ol",
              {class: "dots", "aria-label": "Stages"},
              standing(m).map((status, i) =>
                h(
                  "li",
                  {class: `dot-${status}`, title: `${STAGES[i][0]}: ${status}`},
                  h("span", {class: "hidden-title", text: `${STAGES[i][0]}: ${status}`}),
                ),
              ),
            ),
          ),
        ),
      );
      if (focused && !list.contains(document.activeElement))
        [...list.querySelectorAll("a")].filter((a) => a.getAttribute("href") === focused).forEach((a) => a.focus());
    },
  };
}

function stepper() {
  const node = h("ol", {class: "stepper", "aria-label": "Stages"});
  return {
    node,
    update(whole) {
      const stages = whole.stages || [];
      redraw(node, JSON.stringify(stages), () =>
        stages.map((s) =>
          h(
            "li",
            {class: `stage stage-${s.status}`, "aria-current": s.status === "running" ? "step" : null},
            h("strong", {text: s.stage}),
            h("span", {class: "stage-means", text: (STAGES.find(([word]) => word === s.stage) || ["", ""])[1]}),
            h("span", {
              class: "stage-status",
              text: [
                s.status,
                s.took_ms ? `after ${s.took_ms < 1000 ? `${s.took_ms} ms` : span(s.took_ms)}` : null,
                s.status === "running" && s.deadline_ms ? `at most ${span(s.deadline_ms)}` : null,
              ]
                .filter(Boolean)
                .join(", "),
            }),
          ),
        ),
      );
    },
  };
}

// Follows its own end as long as nobody scrolls up in it.
function liveLog() {
  const pre = h("div", {class: "log", role: "log", "aria-live": "off", "aria-label": "Log", tabindex: "0"});
  let last = 0,
    follows = true;
  pre.addEventListener("scroll", () => {
    follows = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 30;
  });
  return {
    node: pre,
    last: () => last,
    clear() {
      pre.replaceChildren();
      last = 0;
    },
    add(lines) {
      for (const line of lines) {
        if (line.number <= last) continue;
        if (last && line.number > last + 1)
          pre.append(h("p", {class: "log-gap", text: `${count(line.number - last - 1)} lines are only in log.txt`}));
        last = line.number;
        pre.append(
          h(
            "p",
            {},
            h("time", {text: clock(line.at)}),
            h("span", {class: "log-stage", text: line.stage}),
            h("span", {class: "log-text", text: line.text}),
          ),
        );
      }
      while (pre.children.length > LINES_MAX) pre.firstElementChild.remove();
      if (lines.length && follows) pre.scrollTop = pre.scrollHeight;
    },
  };
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

function failing(cases) {
  return cases.map((entry, i) => {
    const c = entry.case || {},
      why = c.why || {},
      request = c.request || {};
    return h(
      "div",
      {class: "example"},
      h(
        "p",
        {class: "example-what"},
        i === 0 ? h("strong", {text: "The smallest: "}) : null,
        h("code", {text: `${request.method || "GET"} ${request.path || ""}`}),
        h("span", {class: "muted", text: ` differs at ${why.pointer || "(whole answer)"} (${why.kind || "?"})`}),
      ),
      h(
        "div",
        {class: "halves"},
        h(
          "div",
          {class: "half half-legacy"},
          h("p", {class: "half-title", text: "legacy"}),
          h("pre", {
            class: "value",
            text: why.legacy === null || why.legacy === undefined ? "(absent)" : pretty(why.legacy),
          }),
        ),
        h(
          "div",
          {class: "half half-modern"},
          h("p", {class: "half-title", text: "modern"}),
          h("pre", {
            class: "value",
            text: why.modern === null || why.modern === undefined ? "(absent)" : pretty(why.modern),
          }),
        ),
      ),
      request.body !== undefined ? h("pre", {class: "body", text: pretty(request.body)}) : null,
      h("p", {class: "muted small"}, "As a case for the next spec's verify: ", h("code", {text: entry.file || "?"})),
    );
  });
}

export function migrationView(id) {
  const title = h("h1", {tabindex: "-1", text: id}),
    headline = h("p", {class: "view-headline"}),
    detail = h("p", {class: "view-detail"});
  const meta = h("p", {class: "muted"}),
    actions = h("div", {class: "verbs", role: "group", "aria-label": `Actions on ${id}`});
  const stages = stepper(),
    log = liveLog(),
    cases = h("div"),
    casesPanel = h(
      "section",
      {class: "panel", "aria-labelledby": "cases-title", hidden: true},
      h("h2", {id: "cases-title", text: "Failing examples"}),
      cases,
    );
  const where = h("p", {class: "muted small"}),
    gone = h("p", {class: "note note-bad", hidden: true});
  const head = h("section", {class: "view-head"}, title, headline, detail, meta);
  let whole = null,
    asking = false,
    attempt = 0,
    again = false;

  async function learn() {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    try {
      whole = await get(migrationPath(id, `?since=${log.last()}`));
      if (
        attempt &&
        whole.attempt !== attempt &&
        (whole.log || []).length &&
        whole.log[whole.log.length - 1].number < log.last()
      )
        log.clear();
      attempt = whole.attempt;
      log.add(whole.log || []);
      setHidden(gone, true);
      draw();
    } catch (error) {
      setHidden(gone, false);
      setText(gone, error.message);
    }
    asking = false;
    if (again) {
      again = false;
      learn();
    }
  }

  async function retryRollout() {
    try {
      await ask("POST", migrationPath(id, "/retry"), {});
      tell(`${id}: begins again with verify.`);
    } catch (error) {
      tell(`${id}: ${error.message}`, true);
    }
  }

  function draw() {
    const brief = model.migrations.find((m) => m.id === id) || whole;
    head.dataset.state = whole.state;
    setText(headline, whole.headline);
    setText(detail, whole.detail || "");
    setText(
      meta,
      `attempt ${whole.attempt}, ${whole.kind ? `deployed as ${whole.kind}, ` : ""}begun ${moment(whole.created_at)} by ${whole.by || "?"}${
        whole.gateway ? `, on gateway ${whole.gateway}` : ""
      }${
        whole.ended_at ? `, over since ${moment(whole.ended_at)}` : ""
      }`,
    );
    setText(where, `The whole log: ${whole.directory}/log.txt`);
    stages.update(whole);
    const list = Array.isArray(whole.cases) ? whole.cases : [];
    setHidden(casesPanel, !list.length);
    redraw(cases, JSON.stringify(list), () => failing(list));
    const route = model.routes.get(whole.route);
    const canRetry = whole.state === "rolled_back" && whole.over,
      byRoute = route && (route.verbs || []).includes("retry");
    const act = (label, run, danger, why = whyNot()) =>
      h("button", {
        type: "button",
        class: danger ? "danger-outline" : "",
        text: label,
        "aria-disabled": why ? "true" : null,
        title: why || null,
        onclick: () => (why ? tell(`${label}: ${why}`, true) : run()),
      });
    const focused = actions.contains(document.activeElement) ? document.activeElement.textContent : null;
    redraw(
      actions,
      JSON.stringify([Boolean(route), canRetry, byRoute, whole.over, brief.retry, whyNot(), whyNot("admin")]),
      () => [
        route ? h("a", {class: "button", href: `#/routes/${encodeURIComponent(route.id)}`, text: "Its route"}) : null,
        canRetry && byRoute ? act("Retry", () => confirmVerb("retry", model.routes.get(whole.route))) : null,
        canRetry && !byRoute && brief.retry ? act("Retry", retryRollout) : null,
        canRetry && !byRoute && !brief.retry
          ? h("p", {class: "muted", text: "To try again, send the spec again: phoenixctl migrate spec.json"})
          : null,
        act(
          whole.over ? "Delete…" : "Stop and delete…",
          () =>
            confirmDelete(whole, () => {
              location.hash = "#/migrations";
            }),
          true,
          whyNot("admin"),
        ),
      ],
    );
    if (focused && !actions.contains(document.activeElement)) (actions.querySelector("button, a") || title).focus();
  }

  return {
    title: () => `${id}: ${(whole || {}).headline || "migration"}`,
    node: h(
      "div",
      {class: "view"},
      h("nav", {class: "back", "aria-label": "Where you are"}, h("a", {href: "#/migrations", text: "All migrations"})),
      gone,
      head,
      h("div", {class: "verb-bar"}, actions),
      h(
        "section",
        {class: "panel", "aria-labelledby": "stages-title"},
        h("h2", {id: "stages-title", text: "Stages"}),
        stages.node,
      ),
      casesPanel,
      h(
        "section",
        {class: "panel", "aria-labelledby": "log-title"},
        h("h2", {id: "log-title", text: "Log"}),
        log.node,
        where,
      ),
    ),
    route: () => (whole && model.routes.get(whole.route)) || null,
    routeInFocus: () => (whole && model.routes.get(whole.route)) || null,
    update() {
      const brief = model.migrations.find((m) => m.id === id);
      const moved =
        !whole ||
        !brief ||
        brief.stage !== whole.stage ||
        brief.attempt !== whole.attempt ||
        brief.headline !== whole.headline ||
        brief.log_number !== log.last();
      if (moved) learn();
      else draw();
    },
  };
}
