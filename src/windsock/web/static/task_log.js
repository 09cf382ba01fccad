// @ts-check
// The log of a task: opened in the page of its run, filtered by level, searched, wrapped, followed. Uses windsock.js.
"use strict";

(() => {
  const POLL_MILLISECONDS = 2000;
  const MAX_LINES = 5000;
  const LEVELS = ["debug", "info", "warning", "error", "critical"];

  /** @returns {HTMLElement | null} */
  const panel = () => document.querySelector(".task-log");
  /** @param {string} name @returns {HTMLInputElement | null} */
  const control = (name) => document.querySelector(`.task-log [name="${name}"]`);
  /** @returns {HTMLLIElement[]} */
  const lines = () => Array.from(document.querySelectorAll(".task-log li"));

  /** @param {ParentNode} root */
  function showTimes(root) {
    root.querySelectorAll(".task-log time, li time").forEach((time) => {
      const at = new Date(/** @type {string} */ (time.getAttribute("datetime")));
      if (!Number.isNaN(at.getTime())) time.textContent = at.toLocaleTimeString("en-GB", { hourCycle: "h23", ...clock() });
    });
  }

  /** Marks every occurrence in a line. @param {HTMLElement} event @param {string} words */
  function markMatches(event, words) {
    const text = event.textContent || "";
    const lower = text.toLowerCase();
    event.replaceChildren();
    let from = 0;
    for (let at = lower.indexOf(words); words && at >= 0; at = lower.indexOf(words, from)) {
      const mark = document.createElement("mark");
      mark.textContent = text.slice(at, at + words.length);
      event.append(text.slice(from, at), mark);
      from = at + words.length;
    }
    event.append(text.slice(from));
  }

  /** Hides the lines below the level and without the words. */
  function filter() {
    const level = LEVELS.indexOf(control("level")?.value || "");
    const words = (control("_search")?.value || "").trim().toLowerCase();
    let count = 0;
    for (const line of lines()) {
      const event = /** @type {HTMLElement | null} */ (line.querySelector(".event"));
      if (!event) continue;
      const isFound = !words || (event.textContent || "").toLowerCase().includes(words);
      line.hidden = !isFound || (level >= 0 && LEVELS.indexOf(line.classList[0]) < level);
      if (event.querySelector("mark") || (words && isFound)) markMatches(event, isFound ? words : "");
      count += line.hidden ? 0 : 1;
    }
    const matches = document.querySelector(".task-log .matches");
    if (matches) matches.textContent = words || level >= 0 ? `${count} of ${lines().length} lines` : "";
  }

  /** @param {HTMLElement} log @returns {HTMLElement | null} */
  const viewOf = (log) => log.querySelector(".log-lines");

  let opened = 0;

  /** Shows the end, or the line that the address names, and follows a try that is running. */
  function begin() {
    const log = panel();
    if (!log) return;
    opened += 1;
    showTimes(document);
    const view = viewOf(log);
    const named = /^#L\d+$/.test(location.hash) ? document.getElementById(location.hash.slice(1)) : null;
    if (named) named.scrollIntoView({ block: "center" });
    else if (view) view.scrollTop = view.scrollHeight;
    if (control("level")?.value) filter();
    if (log.dataset.lines) setTimeout(follow, POLL_MILLISECONDS, log, opened);
  }

  /** @param {HTMLElement} log @param {number} turn */
  async function follow(log, turn) {
    if (turn !== opened || !log.isConnected) return;
    let isFinished = false;
    if (!document.hidden && control("_follow")?.checked) {
      try {
        isFinished = await readMore(log);
      } catch {
        // The server is away for a moment: it is read again.
      }
    }
    if (isFinished) control("_follow")?.closest("label")?.remove();
    else setTimeout(follow, POLL_MILLISECONDS, log, turn);
  }

  /** @param {HTMLElement} log @returns {Promise<boolean>} Whether the try has ended. */
  async function readMore(log) {
    const response = await fetch(`${log.dataset.lines}&cursor=${log.dataset.cursor}`);
    if (!response.ok) throw new Error(`status ${response.status}`);
    const html = await response.text();
    const view = viewOf(log);
    const list = log.querySelector("ol");
    if (view && list && html.trim()) {
      const isAtEnd = view.scrollTop + view.clientHeight >= view.scrollHeight - 40;
      log.querySelector(".none:not(li)")?.remove();
      list.insertAdjacentHTML("beforeend", html);
      while (list.children.length > MAX_LINES) list.firstElementChild?.remove();
      showTimes(list);
      if (control("level")?.value || control("_search")?.value) filter();
      if (isAtEnd) view.scrollTop = view.scrollHeight;
    }
    log.dataset.cursor = response.headers.get("X-Log-Cursor") || log.dataset.cursor;
    return response.headers.get("X-Log-Finished") === "true";
  }

  /** @type {HTMLElement | null} The link that opened the panel. */
  let opener = null;

  document.addEventListener("click", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const number = target.closest(".task-log a.n");
    // Copied by forms.js; in the page of a run the link leads to the page of the log.
    if (number) number.setAttribute("data-copy", new URL(`${panel()?.dataset.page}${number.getAttribute("href")}`, location.href).href);
    const link = /** @type {HTMLAnchorElement | null} */ (target.closest("a.log-link"));
    const place = document.getElementById("log");
    if (link && place && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      if (!place.contains(link)) opener = link;
      place.setAttribute("aria-busy", "true");
      htmx.ajax("GET", link.href, { target: "#log", swap: "innerHTML" }).then(() => place.removeAttribute("aria-busy"));
    }
    if (target.closest(".close-log")) {
      place?.replaceChildren();
      opened += 1;
      opener?.focus();
    }
  }, true);
  document.addEventListener("htmx:afterSwap", (event) => {
    if (/** @type {CustomEvent} */ (event).detail.target.id !== "log") return;
    begin();
    const title = document.getElementById("log-title");
    title?.focus({ preventScroll: true });
    panel()?.scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("input", (event) => {
    const field = /** @type {HTMLInputElement} */ (event.target);
    if (!field.closest(".task-log")) return;
    if (field.name === "_wrap") panel()?.classList.toggle("no-wrap", !field.checked);
    else filter();
  });
  document.addEventListener("submit", (event) => {
    if (/** @type {HTMLElement} */ (event.target).matches(".log-tools")) event.preventDefault();
  });
  document.addEventListener("windsock:zone", () => showTimes(document));
  document.addEventListener("DOMContentLoaded", begin);
})();
