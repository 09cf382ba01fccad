// @ts-check
// Reports the reader's time zone in a cookie, from which the server computes midnight and times of day.
"use strict";

(() => {
  const COOKIE = "windsock_zone";

  function currentZone() {
    return document.documentElement.dataset.zone || Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  }

  /** Stores the zone, and refreshes the parts of the page that were rendered in another one. */
  function reportZone() {
    const zone = currentZone();
    document.cookie = `${COOKIE}=${encodeURIComponent(zone)}; Path=/; Max-Age=31536000; SameSite=Lax`;
    document.querySelectorAll("[data-rendered-zone]").forEach((part) => {
      if (part.getAttribute("data-rendered-zone") !== zone) part.dispatchEvent(new Event("windsock-zone"));
    });
  }

  document.addEventListener("DOMContentLoaded", reportZone);
  document.addEventListener("windsock:zone", reportZone);
})();
