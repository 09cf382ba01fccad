// @ts-check
// The page of a run: times of its title and facts in the viewer's zone. Uses windsock.js.
"use strict";

(() => {
  /** @param {Date} at @param {boolean} withSeconds As the server writes it, in the viewer's zone. */
  function dateTime(at, withSeconds) {
    const options = /** @type {const} */ ({
      year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
    });
    const parts = Object.fromEntries(new Intl.DateTimeFormat("en-GB", { ...options, ...clock() }).formatToParts(at).map(({ type, value }) => [type, value]));
    const year = parts.year === String(new Date().getFullYear()) ? "" : ` ${parts.year}`;
    return `${parts.day} ${parts.month.slice(0, 3)}${year} ${parts.hour}:${parts.minute}${withSeconds ? `:${parts.second}` : ""}${"timeZone" in clock() ? " UTC" : ""}`;
  }

  function update() {
    document.querySelectorAll("time[data-format]").forEach((time) => {
      const at = new Date(/** @type {string} */ (time.getAttribute("datetime")));
      if (!Number.isNaN(at.getTime())) time.textContent = dateTime(at, time.getAttribute("data-format") === "seconds");
    });
    const title = document.querySelector("#now h1");
    if (title) document.title = `${title.textContent} · Windsock`;
  }

  document.addEventListener("DOMContentLoaded", update);
  document.addEventListener("htmx:afterSwap", update);
  document.addEventListener("htmx:afterSettle", () => {
    /** @type {HTMLElement | null} */ (document.querySelector("[data-focus]"))?.focus();
    document.querySelector("[data-focus]")?.removeAttribute("data-focus");
  });
  document.addEventListener("windsock:zone", update);
})();
