// @ts-check
// The timeline: ticks in the viewer's time zone; dragging moves the window, Ctrl and the wheel zoom. Uses windsock.js.
"use strict";

(() => {
  const CLICK = 5; // pixels that a hand moves while it clicks
  const ZOOMS = [1, 6, 24, 72, 168]; // hours
  const MINUTE = 60_000;
  const STEPS = [5, 10, 15, 30, 60, 120, 180, 360, 720, 1440].map((minutes) => minutes * MINUTE);
  const MAX_TICKS = 8;
  const SVG = "http://www.w3.org/2000/svg";

  const zoneName = () => clock().timeZone || Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

  /** A time in the viewer's zone. @param {number} at */
  function zoned(at) {
    const format = new Intl.DateTimeFormat("en-GB", {
      weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...clock(),
    });
    /** @type {Record<string, string>} */
    const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]));
    return { ...parts, minutes: Number(parts.hour) * 60 + Number(parts.minute), clock: `${parts.hour}:${parts.minute}`, date: `${parts.day} ${parts.month}`, weekday: parts.weekday };
  }

  /** Round times of the zone: offsets of zones are whole quarters of an hour, and may change within the window. @param {number} begin @param {number} end */
  function ticks(begin, end) {
    const step = STEPS.find((length) => (end - begin) / length <= MAX_TICKS) || STEPS[STEPS.length - 1];
    const grain = (step % (15 * MINUTE) ? 5 : 15) * MINUTE;
    const found = [];
    let day = "";
    for (let at = Math.ceil(begin / grain) * grain; at < end; at += grain) {
      const time = zoned(at);
      if (time.minutes % (step / MINUTE)) continue;
      found.push({ share: (at - begin) / (end - begin), clock: step < 1440 * MINUTE ? time.clock : "", weekday: time.weekday, date: time.date === day ? "" : time.date });
      day = time.date;
    }
    return found;
  }

  /** @param {string} name @param {Record<string, string | number>} attributes @param {string} [text] */
  function svg(name, attributes, text = "") {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
    element.textContent = text;
    return element;
  }

  /** As axis_svg in lanes.py. */
  function drawTicks() {
    const table = lanes();
    const name = document.getElementById("zone-name");
    if (name) name.textContent = zoneName();
    const lines = document.getElementById("gridlines");
    const labels = document.getElementById("ticks");
    if (!table || !lines || !labels) return;
    lines.replaceChildren();
    labels.replaceChildren();
    for (const tick of ticks(Date.parse(table.dataset.begin || ""), Date.parse(table.dataset.end || ""))) {
      const x = `${(tick.share * 100).toFixed(2)}%`;
      lines.append(svg("line", { ...(tick.date && { class: "day" }), x1: x, x2: x, y2: "100%" }));
      const place = tick.share > 0.94 ? { x, class: "last", dx: -3, "text-anchor": "end" } : { x, dx: 3, "text-anchor": "start" };
      if (tick.date) {
        const date = svg("text", { y: 12, ...place });
        date.append(svg("tspan", { class: "weekday" }, `${tick.weekday} `), svg("tspan", { class: "date" }, tick.date));
        labels.append(date);
      }
      if (tick.clock) labels.append(svg("text", { y: 27, ...place }, tick.clock));
    }
  }

  document.addEventListener("DOMContentLoaded", drawTicks);
  document.addEventListener("htmx:afterSwap", drawTicks);
  document.addEventListener("windsock:zone", drawTicks);
  // Texts on hover have times in UTC: those in the viewer's zone are made when one is looked at.
  document.addEventListener("pointerover", (event) => {
    const bar = /** @type {Element} */ (event.target);
    const title = (bar.closest(".lane a") || bar.closest(".lane rect"))?.querySelector("title");
    if (!title || title.dataset.zone === zoneName()) return;
    title.dataset.utc ||= title.textContent || "";
    title.dataset.zone = zoneName();
    title.textContent = title.dataset.utc.replace(/(\d{4}-\d\d-\d\d) (\d\d:\d\d) UTC/g, (utc, date, time) => {
      if (zoneName() === "UTC") return utc;
      const at = zoned(Date.parse(`${date}T${time}Z`));
      return `${at.date} ${at.clock} ${zoneName()}`;
    });
  });
  /** @type {{x: number, width: number, table: HTMLElement, moved: boolean} | null} */
  let held = null;

  const lanes = () => /** @type {HTMLElement | null} */ (document.querySelector("table.lanes"));

  /** @param {Record<string, string>} changes */
  function navigate(changes) {
    const address = new URL(window.location.href);
    address.searchParams.delete("page");
    for (const [name, value] of Object.entries(changes)) address.searchParams.set(name, value);
    window.location.assign(address);
  }

  /** @param {HTMLElement} table @param {number} pixels */
  function shift(table, pixels) {
    table.querySelectorAll(".lane svg, .axis").forEach((drawing) => {
      /** @type {HTMLElement} */ (/** @type {unknown} */ (drawing)).style.transform = pixels ? `translateX(${pixels}px)` : "";
    });
  }

  document.addEventListener("pointerdown", (event) => {
    const lane = /** @type {HTMLElement} */ (event.target).closest("table.lanes .lane, table.lanes .ticks");
    const table = lanes();
    if (!lane || !table || event.button !== 0 || event.pointerType === "touch") return;
    held = { x: event.clientX, width: lane.getBoundingClientRect().width, table, moved: false };
  });
  document.addEventListener("pointermove", (event) => {
    if (!held) return;
    const pixels = event.clientX - held.x;
    if (!held.moved && Math.abs(pixels) < CLICK) return;
    held.moved = true;
    held.table.classList.add("held");
    shift(held.table, pixels);
  });
  document.addEventListener("pointerup", (event) => {
    if (!held) return;
    const { x, width, table, moved } = held;
    held = null;
    if (!moved) return;
    const begin = Date.parse(table.dataset.begin || "");
    const end = Date.parse(table.dataset.end || "");
    const until = new Date(end - ((event.clientX - x) / width) * (end - begin));
    navigate({ until: `${until.toISOString().slice(0, 19)}Z` });
  });
  // What was dragged was not clicked.
  document.addEventListener("click", (event) => {
    if (lanes()?.classList.contains("held")) event.preventDefault();
  }, true);
  function endDrag() {
    held = null;
    const table = lanes();
    if (!table) return;
    table.classList.remove("held");
    shift(table, 0);
  }
  document.addEventListener("pointercancel", endDrag);
  window.addEventListener("pageshow", endDrag); // also Back to a page from the browser's cache
  document.addEventListener("dragstart", (event) => {
    if (/** @type {HTMLElement} */ (event.target).closest("table.lanes .lane")) event.preventDefault();
  });
  document.addEventListener("wheel", (event) => {
    const lane = /** @type {HTMLElement} */ (event.target).closest("table.lanes .lane, table.lanes .ticks");
    const table = lanes();
    if (!lane || !table || !event.ctrlKey) return;
    event.preventDefault();
    const hours = Number(table.dataset.hours);
    const next = event.deltaY < 0 ? ZOOMS.filter((width) => width < hours).pop() : ZOOMS.find((width) => width > hours);
    if (!next || table.classList.contains("held")) return;
    table.classList.add("held"); // one step for one turn of the wheel, until the new one is there
    const box = lane.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    const begin = Date.parse(table.dataset.begin || "");
    const end = Date.parse(table.dataset.end || "");
    const under = begin + share * (end - begin);
    const until = new Date(under + (1 - share) * next * 3_600_000);
    navigate({ hours: String(next), until: `${until.toISOString().slice(0, 19)}Z` });
  }, { passive: false });
})();
