// SPDX-License-Identifier: Apache-2.0
//
// Talking to the daemon: JSON requests and the event stream. The stream is read with fetch() instead of
// EventSource because only fetch() can send a token in a header; a token never stands in a URL. It lives in
// this tab's session storage and is forgotten with the tab.

const TOKEN_KEY = "phoenix-token";
const SILENCE_MS = 15000; // three heartbeats missed: the stream is dead
const BLOCK_CHARS_MAX = 64 << 20;

let token = null; // when there is no session storage

export const tokens = {
  get() {
    try {
      return sessionStorage.getItem(TOKEN_KEY) || token;
    } catch {
      return token;
    }
  },
  set(text) {
    token = text;
    try {
      if (text) sessionStorage.setItem(TOKEN_KEY, text);
      else sessionStorage.removeItem(TOKEN_KEY);
    } catch {
      /* kept in memory */
    }
  },
};

function headers(more) {
  const known = tokens.get();
  return known ? {...more, Authorization: `Bearer ${known}`} : more;
}

// An answer that is no 2xx, as an Error whose message is the daemon's own sentence.
function refusal(answer, problem) {
  let text = problem.detail || problem.title || `the daemon answered ${answer.status}`;
  if (Array.isArray(problem.possible) && !text.includes("possible now"))
    text += `; possible now: ${problem.possible.join(", ") || "nothing"}`;
  const error = new Error(text);
  error.status = answer.status;
  error.problem = problem;
  error.retryAfter = Number(answer.headers.get("retry-after")) || 0;
  return error;
}

// {json, etag} of a 2xx; throws otherwise. `more`: further header fields.
export async function ask(method, path, body, more = {}) {
  const options = {method, headers: headers({Accept: "application/json", ...more}), cache: "no-store"};
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    throw Object.assign(new Error("the daemon does not answer; nothing is known about what it did"), {
      status: 0,
      problem: {},
      cause: error,
    });
  }
  const json = await answer.json().catch(() => null);
  if (!answer.ok) throw refusal(answer, json || {});
  return {json, etag: answer.headers.get("etag") || ""};
}

export const get = async (path) => (await ask("GET", path)).json;

export const routePath = (id, rest = "") => `/admin/routes/${encodeURIComponent(id)}${rest}`;
export const migrationPath = (id, rest = "") => `/admin/migrations/${encodeURIComponent(id)}${rest}`;

// One block of an event stream (WHATWG HTML 9.2.6); comments have no data.
function parseBlock(block) {
  const event = {type: "message", id: null, data: []};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon === 0 || line === "") continue;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") event.data.push(value);
    else if (name === "event") event.type = value;
    else if (name === "id") event.id = value;
  }
  return event.data.length ? event : null;
}

// Reads the stream until it ends, breaks or falls silent. onBlock(type, json) for each event.
export async function readStream(path, lastId, onOpen, onBlock) {
  const abort = new AbortController();
  let timer = setTimeout(() => abort.abort(), SILENCE_MS);
  try {
    const more = {Accept: "text/event-stream"};
    if (lastId) more["Last-Event-ID"] = lastId;
    const answer = await fetch(path, {headers: headers(more), signal: abort.signal, cache: "no-store"});
    if (!answer.ok || !answer.body) throw refusal(answer, await answer.json().catch(() => ({})));
    onOpen();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "",
      looked = 0;
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENCE_MS);
      text += value.includes("\r") ? value.replaceAll("\r", "") : value;
      for (let end = text.indexOf("\n\n", looked); end >= 0; end = text.indexOf("\n\n")) {
        const event = parseBlock(text.slice(0, end));
        text = text.slice(end + 2);
        if (event) onBlock(event.type, JSON.parse(event.data.join("\n")));
      }
      looked = Math.max(0, text.length - 1);
      if (text.length > BLOCK_CHARS_MAX) throw new Error("an event that does not end");
    }
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
}
