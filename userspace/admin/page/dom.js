// SPDX-License-Identifier: Apache-2.0
//
// The few things that touch the document. Text is only ever put in as text: what clients and services sent
// is among it, and there is no way here to turn a string into markup.

// h("p", {class: "small", "aria-label": "…", onclick: f}, child, "text"): null, false and undefined are left out.
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

// Touches the document only when something changed: assistive technology hears of every change.
export function setText(node, text) {
  const value = text === null || text === undefined ? "" : String(text);
  if (node.textContent !== value) node.textContent = value;
}

export function setHidden(node, hidden) {
  if (node.hidden !== Boolean(hidden)) node.hidden = Boolean(hidden);
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, String(value));
  }
}

// Calls `draw` (which returns the children) only when `key` is another one than last time.
export function redraw(node, key, draw) {
  if (node.drawnFor === key) return false;
  node.drawnFor = key;
  node.replaceChildren(...[draw()].flat(Infinity).filter(Boolean));
  return true;
}

export function setItems(list, texts, className) {
  redraw(list, texts.join("\n"), () => texts.map((text) => h("li", {class: className, text})));
}

// Puts `nodes` into `parent` in this order, moving only those that are not where they belong.
export function arrange(parent, nodes) {
  nodes.forEach((node, i) => {
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] || null);
  });
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
}

let announced = "";
let waiting = null;

// Says it to a screen reader, politely and seldom: what comes within two seconds is said as one sentence.
export function announce(text) {
  announced = announced ? `${announced}. ${text}` : text;
  if (waiting) return;
  waiting = setTimeout(() => {
    byId("announcer").textContent = announced;
    announced = "";
    waiting = null;
  }, 2000);
}
