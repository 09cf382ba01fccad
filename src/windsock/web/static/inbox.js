// @ts-check
// The inbox: keys that act on the row of the focus, and the number of open incidents in the title. Uses windsock.js.
"use strict";

(() => {
  /** @type {Record<string, string>} */
  const VERBS = { a: "acknowledge", s: "snooze", e: "resolve" };

  /** Of the row on which a key acted last: when that leaves the list, the row that takes its place is the next one. */
  let position = -1;

  /** The next open incident behind the row of the focus, or the first one. */
  function moveToNextOpen() {
    const all = rows();
    const at = all.findIndex((row) => row.classList.contains("here"));
    const next = [...all.slice(at + 1), ...all.slice(0, at + 1)].find((row) => row.classList.contains("open"));
    if (!next) return;
    select(next);
  }

  /** @param {Element} selected */
  function select(selected) {
    rows().forEach((row) => row.classList.toggle("here", row === selected));
    rowLink(selected)?.focus();
  }

  document.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (target.closest("textarea, select, input:not([type=checkbox])")) return;
    if (event.key === "n") moveToNextOpen();
    else if (event.key in VERBS) {
      position = rows().findIndex((row) => row.classList.contains("here"));
      click(`tr.here button[data-verb="${VERBS[event.key]}"]`);
    }
  });

  document.addEventListener("htmx:afterSettle", () => {
    const next = rows()[Math.min(position, rows().length - 1)];
    if (next && !document.querySelector("tr.here")) select(next);
    position = -1;
    const count = Number(document.querySelector("#list")?.getAttribute("data-open") || 0);
    document.title = `${count ? `(${count}) ` : ""}${document.title.replace(/^\(\d+\) /, "")}`;
  });
})();
