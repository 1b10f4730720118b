// SPDX-License-Identifier: Apache-2.0
//
// The verbs: their buttons, and the dialog that says what each will do before it is done.
import {announce, h, redraw, setText} from "./dom.js";
import {ask, migrationPath, routePath} from "./daemon.js";
import {open} from "./dialogs.js";
import {model, onModern, takeRoute} from "./model.js";
import {isNumber, percent, plural, rate} from "./text.js";

const VERBS = {
  start: {
    label: "Start",
    done: "started",
    says: (r) =>
      `${r.id} begins to mirror: copies of its requests go to modern and the answers are compared. No user is moved yet.`,
  },
  pause: {
    label: "Pause",
    done: "paused",
    says: (r) =>
      `The share of ${r.id} stays at ${percent(r.weight.wanted)} until somebody resumes it. Traffic goes on as it is.`,
  },
  resume: {
    label: "Resume",
    done: "resumed",
    says: (r) => `${r.id} goes on from ${percent(r.weight.wanted)}; this step begins to count anew.`,
  },
  promote: {
    label: "Promote",
    done: "promoted",
    says: (r) =>
      `${r.id} takes the next step now${r.next_step ? `, from ${percent(r.weight.wanted)} to ${percent(r.next_step.weight)}` : ""}, whatever the samples say.`,
  },
  retry: {
    label: "Retry",
    done: "begun again",
    says: (r) => `${r.id} begins again at 0%: it mirrors, compares, and moves when the evidence is there.`,
  },
  rollback: {label: "Roll back", done: "rolled back", danger: true},
};
const ORDER = ["retry", "resume", "start", "pause", "promote"];
const ROLES = ["viewer", "operator", "admin"];

export const labelOf = (verb) => (VERBS[verb] || {label: verb}).label;

// Why the one who looks may not do this; "" when they may.
export function whyNot(needs = "operator") {
  const role = model.you && model.you.role;
  if (!role || ROLES.indexOf(role) >= ROLES.indexOf(needs)) return "";
  return `your token is a ${role}'s; this needs ${needs === "operator" ? "an operator's" : "an admin's"}`;
}

// Tells how it went in the line under the header, and to a screen reader.
export function tell(text, bad) {
  const line = document.getElementById("notice");
  line.hidden = false;
  line.classList.toggle("bad", Boolean(bad));
  setText(document.getElementById("notice-text"), text);
  announce(text);
}

export function reasonField() {
  const input = h("input", {type: "text", maxlength: "200", autocomplete: "off"});
  return {
    node: h("label", {class: "field"}, "Why? It goes into the audit log and may stay empty.", input),
    get: () => input.value.trim(),
  };
}

async function send(verb, route, reason) {
  const {json} = await ask("POST", routePath(route.id, `/${verb}`), reason ? {reason} : {});
  if (json && json.state) takeRoute(json);
  return json;
}

const redrawAll = () => document.dispatchEvent(new CustomEvent("phoenix-redraw"));

export function confirmVerb(verb, route) {
  if (verb === "rollback") {
    confirmRollback([route]);
    return;
  }
  const known = VERBS[verb];
  const reason = reasonField();
  open({
    title: `${known.label} ${route.id}?`,
    body: [h("p", {text: known.says(route)}), reason.node],
    confirm: known.label,
    run: async () => {
      const now = await send(verb, route, reason.get());
      tell(`${route.id}: ${known.done}. ${now && now.headline ? now.headline : ""}`);
      redrawAll();
    },
  });
}

function fate(route) {
  const weight = route.weight || {};
  const modern = ((route.sides || {}).modern || {}).rps;
  const from = isNumber(weight.set) ? weight.set : weight.wanted;
  if (!(from > 0)) return `${route.id}: no user is on modern now; it stays at 0% until a retry.`;
  return `${route.id}: ${percent(from)} → 0%${isNumber(modern) && modern > 0 ? `, ${rate(modern)} move to legacy` : ""}.`;
}

// One route, or a choice of several. Everything that was chosen is tried, whatever happens to the others.
export function confirmRollback(routes) {
  const boxes = new Map();
  const reason = reasonField();
  const chosen = () => routes.filter((route) => !boxes.size || boxes.get(route.id).checked);
  const label = () =>
    chosen().length === 1 ? `Roll back ${chosen()[0].id}` : `Roll back ${plural(chosen().length, "route")}`;
  const choice =
    routes.length > 1
      ? h(
          "fieldset",
          {class: "choice"},
          h("legend", {text: "Which?"}),
          routes.map((route) => {
            const box = h("input", {type: "checkbox"});
            box.checked = route.state !== "complete";
            box.addEventListener("change", () => {
              control.relabel(label());
              control.confirmable(chosen().length > 0);
            });
            boxes.set(route.id, box);
            return h("label", {class: "check"}, box, ` ${fate(route)}`);
          }),
        )
      : h("p", {class: "fate", text: fate(routes[0])});
  const control = open({
    title: routes.length > 1 ? "Roll back to legacy?" : `Roll back ${routes[0].id}?`,
    body: [
      choice,
      h("p", {text: "Legacy answers every request from the next one on. It stays so until somebody retries."}),
      reason.node,
    ],
    confirm: label(),
    danger: true,
    also:
      routes.length > 1
        ? h("button", {
            type: "button",
            class: "danger-outline",
            text: "Everything (kill switch)…",
            onclick: () => confirmKill(true),
          })
        : null,
    run: async () => {
      const failed = [];
      for (const route of chosen()) {
        try {
          await send("rollback", route, reason.get());
          if (boxes.size) boxes.get(route.id).checked = false;
        } catch (error) {
          failed.push(`${route.id}: ${error.message}`);
        }
      }
      redrawAll();
      if (failed.length) throw new Error(`${failed.join("\n")}\nAlso: phoenixctl rollback ROUTE`);
      tell(
        routes.length > 1
          ? "Rolled back: legacy answers every request of the chosen routes."
          : `${routes[0].id}: rolled back. Legacy answers every request.`,
      );
    },
  });
  control.confirmable(chosen().length > 0);
}

// The key, and the button of the header: of the route in view, or of all that have users on modern.
export function rollBack(route) {
  const why = whyNot();
  if (why) {
    tell(`Roll back: ${why}`, true);
    return;
  }
  if (route) {
    confirmRollback([route]);
    return;
  }
  const routes = onModern();
  if (routes.length)
    confirmRollback(routes.sort((a, b) => (a.state === "complete") - (b.state === "complete")).slice(0, 200));
  else tell("Nothing to roll back: no route has users on modern.");
}

// The kill switch of the whole gateway: it passes every weight over, and ending it puts them in force again.
export function confirmKill(on) {
  const fleet = (model.status || {}).fleet || {};
  const why = whyNot();
  if (why) {
    tell(`Kill switch: ${why}`, true);
    return;
  }
  const reason = reasonField();
  const moving = onModern();
  open({
    title: on ? "Send everything to legacy?" : "Put the weights in force again?",
    body: [
      h("p", {
        text: on
          ? "The kill switch: every request of every route goes to legacy from the next one on, whatever the weights say, and nothing is mirrored. It also works while this daemon hangs: phoenixctl kill-switch on."
          : `The kill switch ends: every route has its own weight again; ${plural(moving.length, "route")} of ${plural(model.routes.size, "route")} ${moving.length === 1 ? "has" : "have"} users on modern then.`,
      }),
      (fleet.members || []).length > 1
        ? h("p", {text: "It is of this gateway only: do it on each of the others too."})
        : null,
      reason.node,
    ],
    confirm: on ? "Everything to legacy" : "Weights in force",
    danger: true,
    run: async () => {
      const {json} = await ask("POST", "/admin/kill-switch", reason.get() ? {on, reason: reason.get()} : {on});
      tell(
        json && json.on
          ? "Kill switch on: every request goes to legacy."
          : "Kill switch off: the weights are in force again.",
      );
    },
  });
}

export function confirmWeight(route) {
  const reason = reasonField();
  const value = h("input", {type: "number", min: "0", max: "100", step: "0.01", required: true, inputmode: "decimal"});
  value.value = String(Math.round((route.weight || {}).wanted * 10000) / 100);
  open({
    title: `Set the weight of ${route.id}`,
    body: [
      h("p", {
        text: "It takes effect on the next request, and the arbiter goes on from there; 0 and 100 mean none and all.",
      }),
      h("label", {class: "field"}, "Share of requests that modern answers, in per cent", value),
      reason.node,
    ],
    confirm: "Set",
    first: value,
    run: async () => {
      const weight = Math.round(Number(value.value) * 100) / 10000;
      const body = reason.get() ? {weight, reason: reason.get()} : {weight};
      const {json} = await ask("POST", routePath(route.id, "/weight"), body);
      tell(
        `${route.id}: wanted ${percent(json.wanted)}, set ${percent(json.set)}.${json.warning ? ` ${json.warning}` : ""}`,
      );
      redrawAll();
    },
  });
}

export function confirmDelete(migration, gone) {
  open({
    title: `Delete the migration ${migration.id}?`,
    body: [
      h("p", {
        text: migration.over
          ? "Its record and its log are forgotten. The route that it made goes too; legacy is never touched."
          : "It is stopped, undone and forgotten: the new service ends, the former one is put back; legacy is never touched.",
      }),
    ],
    confirm: "Delete",
    danger: true,
    run: async () => {
      await ask("DELETE", migrationPath(migration.id));
      tell(`${migration.id}: deleted.`);
      gone();
    },
  });
}

// The buttons of a route: what is possible now, and roll back always. `few`: only the likeliest one beside it.
export function verbButtons(few) {
  const node = h("div", {class: "verbs", role: "group"});
  return {
    node,
    update(route) {
      node.setAttribute("aria-label", `Actions on ${route.id}`);
      const possible = ORDER.filter((verb) => (route.verbs || []).includes(verb));
      const others = few ? possible.slice(0, 1) : possible;
      const why = whyNot();
      const focused = node.contains(document.activeElement) ? document.activeElement.dataset.verb : null;
      const make = (verb, text, act, props = {}) =>
        h("button", {
          type: "button",
          "data-verb": verb,
          "aria-label": `${text} ${route.id}${why ? `: ${why}` : ""}`,
          "aria-disabled": why ? "true" : null,
          title: why || null,
          text,
          ...props,
          onclick: () => {
            if (why) tell(`${text}: ${why}`, true);
            else act(model.routes.get(route.id) || route);
          },
        });
      const changed = redraw(node, `${others.join()} ${why}`, () => [
        others.map((verb) => make(verb, labelOf(verb), (now) => confirmVerb(verb, now))),
        few ? null : make("weight", "Set weight…", confirmWeight),
        make("rollback", "Roll back", (now) => confirmRollback([now]), {class: "danger-outline"}),
        why && !few ? h("p", {class: "why-not", text: `Nothing can be changed: ${why}.`}) : null,
      ]);
      if (changed && focused)
        (node.querySelector(`[data-verb="${focused}"]`) || node.querySelector('[data-verb="rollback"]')).focus();
    },
  };
}
