// SPDX-License-Identifier: Apache-2.0
//
// One dialog at a time (the browser's own: it keeps the focus inside, Escape closes it, and the focus goes
// back to where it was). What was refused is said in the dialog, which then stays open.
import {byId, h, setText} from "./dom.js";

let current = null;

export const isOpen = () => Boolean(current);

export function close() {
  if (current) current.close();
}

// {title, body: nodes, confirm: label, danger, run: async () => …, first: the node to focus, also: more buttons}
// `run` may throw: its message is shown. Without `confirm` there is only "Close".
export function open({title, body, confirm, danger, run, first, also}) {
  close();
  const back = document.activeElement;
  const outcome = h("p", {class: "outcome bad", role: "alert"});
  const cancel = h("button", {type: "button", text: confirm ? "Cancel" : "Close", onclick: () => dialog.close()});
  const act = confirm
    ? h("button", {type: "submit", class: danger ? "primary danger" : "primary", text: confirm})
    : null;
  const form = h(
    "form",
    {method: "dialog"},
    h("h2", {id: "dialog-title", text: title}),
    h("div", {class: "dialog-body"}, body),
    outcome,
    h("div", {class: "dialog-buttons"}, act, cancel, also),
  );
  const dialog = h("dialog", {"aria-labelledby": "dialog-title"}, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!act || act.disabled) return;
    act.disabled = true;
    setText(outcome, "");
    try {
      await run();
      dialog.close();
    } catch (error) {
      setText(outcome, error.message);
    }
    act.disabled = false;
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (current === dialog) current = null;
    if (back && back.isConnected) back.focus();
  });
  byId("dialogs").append(dialog);
  current = dialog;
  dialog.showModal();
  (first || act || cancel).focus();
  return {
    dialog,
    confirmable(can) {
      if (act) act.disabled = !can;
    },
    relabel(text) {
      if (act) setText(act, text);
    },
  };
}

const KEYS = [
  ["r", "roll back: the route in view or in focus, or choose"],
  ["/", "find a route"],
  ["g", "back to all routes"],
  ["m", "migrations"],
  ["?", "this help"],
  ["Esc", "close, change nothing"],
];

const WORDS = [
  ["legacy, modern", "the service that has always answered, and the new one that is to replace it"],
  [
    "wanted · set · seen",
    "the share of requests for modern: what was decided, what the data path says when asked, what was counted",
  ],
  ["consistency", "how many answers of both services were equal, of those that could be compared in this step"],
  ["step", "the share grows by steps; each begins to count at zero"],
  ["mirroring", "modern gets a copy of the requests, nobody waits for its answers, they are only compared"],
  ["rollback", "all requests go to legacy from the next one on; it stays so until a retry"],
];

export function help(shortcuts) {
  const box = h("input", {type: "checkbox", id: "shortcuts-on"});
  box.checked = shortcuts.on;
  box.addEventListener("change", () => shortcuts.set(box.checked));
  open({
    title: "What is shown here",
    body: [
      h("p", {
        text:
          "Phoenix stands in front of two services and moves requests from the old one to the new one, a few per cent at a time, " +
          "only while both give the same answers, and back at once when they do not.",
      }),
      h(
        "dl",
        {class: "words"},
        WORDS.map(([word, means]) => [h("dt", {text: word}), h("dd", {text: means})]),
      ),
      h("h3", {text: "Keys"}),
      h(
        "dl",
        {class: "words keys"},
        KEYS.map(([key, means]) => [h("dt", {}, h("kbd", {text: key})), h("dd", {text: means})]),
      ),
      h("p", {}, h("label", {class: "check"}, box, " single keys act (Escape always does)")),
      h("p", {class: "small"}, "Charts: Chart.js. ", h("a", {href: "/page/chart.js.licence", text: "Its licence"})),
    ],
  });
}
