// SPDX-License-Identifier: Apache-2.0
//
// Figures as people read them. What is unknown is a dash, never 0.

export const DASH = "–";

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// A ratio below 1 never reads 100%, one above 0 never 0%.
export function percent(ratio) {
  if (!isNumber(ratio)) return DASH;
  let points = Math.round(ratio * 10000);
  if (points === 0 && ratio > 1e-12) return "<0.01%";
  if (points === 10000 && ratio < 1 - 1e-12) points = 9999;
  return `${points / 100}%`;
}

export function count(number) {
  return isNumber(number) ? Math.round(number).toLocaleString("en-US") : DASH;
}

export const plural = (n, word, words = `${word}s`) => `${count(n)} ${n === 1 ? word : words}`;

export function latency(ms) {
  if (!isNumber(ms)) return DASH;
  if (ms === 0) return "0 ms";
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : 2)} ms`;
}

export function rate(perSecond) {
  if (!isNumber(perSecond)) return DASH;
  return `${perSecond >= 100 || Number.isInteger(perSecond) ? count(perSecond) : perSecond.toFixed(1)}/s`;
}

export function span(ms) {
  if (!isNumber(ms)) return DASH;
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function clock(at) {
  const time = new Date(at);
  return at && !Number.isNaN(time.getTime()) ? time.toLocaleTimeString("en-GB") : DASH;
}

// With the day when that is not today.
export function moment(at) {
  const time = new Date(at);
  if (!at || Number.isNaN(time.getTime())) return DASH;
  const today = new Date().toDateString() === time.toDateString();
  return today ? clock(at) : `${time.toLocaleDateString("en-CA")} ${clock(at)}`;
}

export const matchOf = (route) => `${(route.methods || []).join(", ") || "*"} ${route.host || ""}${route.path || ""}`;

// X(word, how people call it, what it means, rank): the higher the rank, the more it needs somebody.
export const STATES = {
  rolled_back: {
    label: "rolled back",
    rank: 8,
    means: "Legacy answers every request again, and it stays so until somebody retries.",
  },
  holding: {
    label: "holding",
    rank: 7,
    means: "The share stays where it is until the reason is gone; clients notice nothing.",
  },
  deploying: {
    label: "deploying",
    rank: 6,
    means: "The new service is being built and started; legacy answers every request.",
  },
  paused: {label: "paused", rank: 5, means: "Somebody stopped it: the share stays where it is until it is resumed."},
  migrating: {
    label: "migrating",
    rank: 4,
    means: "Modern answers a share of the requests. It grows step by step while both give the same answers.",
  },
  mirroring: {
    label: "mirroring",
    rank: 3,
    means: "Legacy answers every request. Copies go to modern, and the two answers are compared.",
  },
  idle: {label: "not started", rank: 2, means: "Nothing moves yet: legacy answers every request."},
  complete: {label: "complete", rank: 1, means: "Modern answers every request, and it is still watched."},
};

export const stateOf = (word) => STATES[word] || {label: word || "unknown", rank: 9, means: ""};

// The sentence behind a state may be in the headline already.
export function detailOf(route) {
  const detail = route.detail || "";
  return detail && (route.headline || "").includes(detail) ? "" : detail;
}
