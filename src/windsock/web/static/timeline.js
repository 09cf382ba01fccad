// @ts-check
// The timeline is taken by the hand: dragged sideways it shows what was before or after; Ctrl and the wheel look closer.
"use strict";

(() => {
  const CLICK = 5; // pixels that a hand moves while it clicks
  const STEPS = [1, 6, 24, 72, 168];

  /** @type {{x: number, width: number, table: HTMLElement, moved: boolean} | null} */
  let held = null;

  const lanes = () => /** @type {HTMLElement | null} */ (document.querySelector("table.lanes"));

  /** @param {Record<string, string>} changes */
  function look(changes) {
    const address = new URL(window.location.href);
    address.searchParams.delete("page");
    for (const [name, value] of Object.entries(changes)) address.searchParams.set(name, value);
    window.location.assign(address);
  }

  /** @param {HTMLElement} table @param {number} pixels */
  function shift(table, pixels) {
    table.querySelectorAll(".lane svg, .scale").forEach((one) => {
      /** @type {HTMLElement} */ (one).style.transform = pixels ? `translateX(${pixels}px)` : "";
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
    look({ until: `${until.toISOString().slice(0, 19)}Z` });
  });
  // What was dragged was not clicked.
  document.addEventListener("click", (event) => {
    if (lanes()?.classList.contains("held")) event.preventDefault();
  }, true);
  function letGo() {
    held = null;
    const table = lanes();
    if (!table) return;
    table.classList.remove("held");
    shift(table, 0);
  }
  document.addEventListener("pointercancel", letGo);
  window.addEventListener("pageshow", letGo); // also back to a page that the browser has kept as it was left
  document.addEventListener("dragstart", (event) => {
    if (/** @type {HTMLElement} */ (event.target).closest("table.lanes .lane")) event.preventDefault();
  });
  document.addEventListener("wheel", (event) => {
    const lane = /** @type {HTMLElement} */ (event.target).closest("table.lanes .lane, table.lanes .ticks");
    const table = lanes();
    if (!lane || !table || !event.ctrlKey) return;
    event.preventDefault();
    const hours = Number(table.dataset.hours);
    const next = event.deltaY < 0 ? STEPS.filter((one) => one < hours).pop() : STEPS.find((one) => one > hours);
    if (!next || table.classList.contains("held")) return;
    table.classList.add("held"); // one step for one turn of the wheel, until the new one is there
    const box = lane.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    const begin = Date.parse(table.dataset.begin || "");
    const end = Date.parse(table.dataset.end || "");
    const under = begin + share * (end - begin);
    const until = new Date(under + (1 - share) * next * 3_600_000);
    look({ hours: String(next), until: `${until.toISOString().slice(0, 19)}Z` });
  }, { passive: false });
})();
