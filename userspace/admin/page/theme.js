// SPDX-License-Identifier: Apache-2.0
//
// The theme, set before anything is painted: the one that was chosen on this machine, or the system's.
// A plain script in the head, because modules run too late for that.
"use strict";

const phoenixTheme = {
  key: "phoenix-theme",
  words: ["auto", "light", "dark"],
  get() {
    try {
      const word = localStorage.getItem(this.key);
      return this.words.includes(word) ? word : "auto";
    } catch {
      // storage is switched off
      return document.documentElement.dataset.theme || "auto";
    }
  },
  set(word) {
    document.documentElement.dataset.theme = word;
    try {
      localStorage.setItem(this.key, word);
    } catch {
      /* it holds until the page is left */
    }
  },
};
document.documentElement.dataset.theme = phoenixTheme.get();
