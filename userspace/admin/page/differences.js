// SPDX-License-Identifier: Apache-2.0
//
// What differs between the two services, grouped by place; samples side by side, redacted by the daemon; what
// is ignored, struck through; and ignoring, which is tried first (dry run) and only then done.
import {ask, get, routePath} from "./daemon.js";
import {open} from "./dialogs.js";
import {h, redraw, setHidden, setText} from "./dom.js";
import {clock, count, isNumber, moment, plural} from "./text.js";
import {reasonField, tell, whyNot} from "./verbs.js";

const WAIT_MS = 1500; // not asked for more often

// Only a place within a document can be ignored: not the status, not a header, not the whole.
const ignorable = (pointer) => typeof pointer === "string" && pointer.startsWith("/");

// Where two texts differ: what both begin and end with is told apart.
function marked(text, other) {
  const a = [...text],
    b = [...other];
  let start = 0,
    end = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const middle = a.slice(start, a.length - end).join("");
  return [
    a.slice(0, start).join(""),
    middle ? h("mark", {text: middle}) : null,
    end ? a.slice(a.length - end).join("") : "",
  ];
}

const textOf = (value) => (value === undefined || value === null || value === "" ? null : String(value));

function half(side, status, value, other, body, otherBody) {
  const mine = textOf(value);
  return h(
    "div",
    {class: `half half-${side}`},
    h("p", {class: "half-title", text: isNumber(status) ? `${side} · ${status}` : side}),
    h(
      "pre",
      {class: "value"},
      mine === null ? h("span", {class: "absent", text: "(absent)"}) : marked(mine, textOf(other) || ""),
    ),
    body ? h("pre", {class: "body"}, marked(String(body), String(otherBody || ""))) : null,
  );
}

function example(sample) {
  const fields = Object.entries(sample.request_headers || {});
  return h(
    "div",
    {class: "example"},
    h(
      "p",
      {class: "example-what"},
      h("code", {text: [sample.method, sample.target].filter(Boolean).join(" ")}),
      h("span", {
        class: "muted",
        text: ` ${clock(sample.at)}, served by ${sample.side || "?"}${sample.synthetic ? ", synthetic" : ""}, request ${sample.request_id || "?"}${
          sample.pointer ? `, at ${sample.pointer}` : ""
        }`,
      }),
    ),
    h(
      "div",
      {class: "halves"},
      half("legacy", sample.legacy_status, sample.legacy, sample.modern, sample.legacy_body, sample.modern_body),
      half("modern", sample.modern_status, sample.modern, sample.legacy, sample.modern_body, sample.legacy_body),
    ),
    sample.request || fields.length
      ? h(
          "details",
          {class: "inner"},
          h("summary", {text: "The request, redacted"}),
          h("pre", {
            class: "body",
            text: [...fields.map(([name, value]) => `${name}: ${value}`), "", sample.request || ""].join("\n").trim(),
          }),
        )
      : null,
  );
}

export function differences(id) {
  let json = null,
    key = "",
    asked = 0,
    route = null;
  const opened = new Map(); // group key -> which sample is shown
  const groups = h("div", {class: "groups"}),
    noise = h("div", {class: "noise"}),
    ignored = h("div", {class: "ignored"});
  const summary = h("p", {class: "muted"});
  const node = h("div", {}, summary, ignored, groups, noise);

  // Tries the list, shows what it would change, and only then sets it; the ETag of the trial keeps out what came between.
  async function confirmIgnore(list, title, what) {
    const reason = reasonField();
    const body = h(
      "div",
      {},
      h("p", {text: what}),
      h("p", {class: "dry", role: "status", text: "Trying it on the kept samples…"}),
    );
    let etag = "";
    const control = open({
      title,
      body: [body, reason.node],
      confirm: "Apply",
      run: async () => {
        const why = reason.get();
        await ask(
          "PUT",
          routePath(id, "/ignore"),
          why ? {ignore: list, reason: why} : {ignore: list},
          etag ? {"If-Match": etag} : {},
        );
        tell(
          `${id}: ${list.length ? `${plural(list.length, "place")} ignored` : "nothing is ignored any more"}; this step counts from zero again.`,
        );
        key = "";
        asked = 0;
        document.dispatchEvent(new CustomEvent("phoenix-redraw"));
      },
    });
    control.confirmable(false);
    try {
      const answer = await ask("PUT", routePath(id, "/ignore?dry_run=true"), {ignore: list});
      etag = answer.etag;
      const change = answer.json.would_change;
      const before = answer.json.previous || [],
        after = answer.json.ignore || [];
      const dry = body.querySelector(".dry");
      redraw(dry, "done", () => [
        h("strong", {
          text: change
            ? `${plural(change.mismatches_silenced, "mismatch", "mismatches")} would not have counted (${plural(change.groups_silenced, "place")}); ${count(
                change.still_mismatching,
              )} would still differ.`
            : "There is nothing to try it on yet.",
        }),
        h(
          "ul",
          {class: "change-list"},
          after.map((p) =>
            h(
              "li",
              {},
              h("code", {class: "struck", text: p}),
              before.includes(p) ? " stays ignored" : " is ignored from now on",
            ),
          ),
          before.filter((p) => !after.includes(p)).map((p) => h("li", {}, h("code", {text: p}), " counts again")),
        ),
        h("span", {text: "Applying it starts this step's count at zero again."}),
      ]);
      control.confirmable(true);
    } catch (error) {
      setText(body.querySelector(".dry"), error.message);
    }
  }

  const listNow = () => ((route || {}).consistency || {}).ignored_pointers || [];

  function ignoreButton(pointers, label) {
    const why = whyNot();
    return h("button", {
      type: "button",
      class: "small-button",
      text: label,
      "aria-disabled": why ? "true" : null,
      title: why || null,
      onclick: () => {
        if (why) tell(`Ignore: ${why}`, true);
        else
          confirmIgnore(
            [...new Set([...listNow(), ...pointers])],
            pointers.length === 1 ? `Ignore ${pointers[0]}?` : `Ignore ${plural(pointers.length, "place")}?`,
            "What differs there does not count as a difference any more. It stays visible, struck through.",
          );
      },
    });
  }

  function group(g) {
    const samples = g.examples || [];
    const at = Math.min(opened.get(g.key) || 0, Math.max(0, samples.length - 1));
    const body = h("div", {class: "group-body"});
    const show = (i) => {
      opened.set(g.key, i);
      redraw(body, `${i} ${(samples[i] || {}).request_id} ${samples.length}`, () => [
        h(
          "div",
          {class: "group-tools"},
          samples.length > 1 ? h("span", {class: "muted", text: `sample ${i + 1} of ${samples.length}`}) : null,
          samples.length > 1
            ? h("button", {
                type: "button",
                class: "small-button",
                text: "Another sample",
                onclick: () => show((i + 1) % samples.length),
              })
            : null,
          g.ignored
            ? null
            : ignorable(g.pointer)
              ? ignoreButton([g.pointer], "Ignore this place…")
              : h("span", {class: "muted", text: "A status, a header or a whole answer cannot be ignored."}),
        ),
        samples.length ? example(samples[i]) : h("p", {class: "muted", text: "No sample is kept."}),
      ]);
    };
    const details = h(
      "details",
      {class: g.ignored ? "group ignored" : "group"},
      h(
        "summary",
        {},
        h("span", {class: "group-count", text: `${count(g.count)}×`}),
        h("code", {class: g.ignored ? "struck" : "", text: g.pointer || "(whole answer)"}),
        h("span", {class: "muted", text: g.ignored ? `${g.kind}, ignored` : g.kind}),
        h("span", {class: "group-last muted", text: `last ${moment(g.last_at)}`}),
      ),
      body,
    );
    details.dataset.key = g.key;
    details.open = opened.has(g.key);
    if (details.open) show(at);
    details.addEventListener("toggle", () => {
      if (details.open) show(Math.min(opened.get(g.key) || 0, Math.max(0, samples.length - 1)));
      else opened.delete(g.key);
    });
    return details;
  }

  function drawIgnored() {
    const list = listNow();
    const why = whyNot();
    setHidden(ignored, !list.length);
    redraw(ignored, `${list.join("\n")} ${why}`, () => [
      h("h3", {text: "Ignored: these do not count"}),
      h(
        "ul",
        {class: "chips"},
        list.map((pointer) =>
          h(
            "li",
            {class: "chip"},
            h("code", {class: "struck", text: pointer}),
            h("button", {
              type: "button",
              class: "chip-button",
              "aria-label": `Count ${pointer} again`,
              "aria-disabled": why ? "true" : null,
              text: "×",
              onclick: () =>
                why
                  ? tell(`Ignore: ${why}`, true)
                  : confirmIgnore(
                      list.filter((p) => p !== pointer),
                      `Count ${pointer} again?`,
                      "What differs there counts as a difference from now on.",
                    ),
            }),
          ),
        ),
      ),
    ]);
  }

  function drawNoise() {
    const n = json.noise || {},
      places = n.places || [];
    setHidden(noise, !places.length);
    redraw(noise, JSON.stringify([n.differing, places, whyNot()]), () => [
      h("h3", {text: "Noise: where legacy disagrees with itself"}),
      h("p", {
        class: "muted",
        text: `Legacy was asked twice ${plural(n.samples, "time")}; ${count(n.differing)} of the answers differed from each other. What differs there says nothing about modern.`,
      }),
      h(
        "ul",
        {class: "noise-places"},
        places.map((p) =>
          h(
            "li",
            {},
            h("span", {class: "group-count", text: `${count(p.count)}×`}),
            h("code", {class: "struck", text: p.pointer || "(whole answer)"}),
            h("span", {
              class: "muted",
              text: ` ${p.kind}${p.ignored ? ", ignored" : p.proposed ? ", proposed to ignore" : ""}`,
            }),
            !p.ignored && ignorable(p.pointer) ? ignoreButton([p.pointer], "Ignore…") : null,
          ),
        ),
      ),
      (n.proposed || []).length > 1 ? ignoreButton(n.proposed, `Ignore all ${n.proposed.length} proposed…`) : null,
    ]);
  }

  function draw() {
    const list = json.groups || [];
    const focused = groups.contains(document.activeElement)
      ? document.activeElement.closest(".group").dataset.key
      : null;
    setText(
      summary,
      list.length
        ? `${count(json.mismatches)} of ${count(json.samples)} answers of this build differed.`
        : `No differences in ${plural(json.samples || 0, "compared answer")} of this build.`,
    );
    redraw(
      groups,
      JSON.stringify([list.map((g) => [g.key, g.count, g.ignored, (g.examples || []).length]), whyNot()]),
      () => list.map(group),
    );
    if (focused && !groups.contains(document.activeElement)) {
      const again = [...groups.children].find((node) => node.dataset.key === focused);
      if (again) again.querySelector("summary").focus();
    }
    drawNoise();
  }

  return {
    node,
    async update(now) {
      route = now;
      drawIgnored();
      const c = now.consistency || {};
      const fresh = `${c.mismatches} ${(c.build || {}).mismatches} ${(now.step || {}).number} ${listNow().join()} ${JSON.stringify((c.noise || {}).proposed)} ${(c.noise || {}).differing}`;
      if ((fresh === key && json) || performance.now() - asked < WAIT_MS) return;
      asked = performance.now();
      try {
        json = await get(routePath(id, "/diffs"));
        key = fresh;
        draw();
      } catch (error) {
        setText(summary, error.message);
      }
    },
  };
}
