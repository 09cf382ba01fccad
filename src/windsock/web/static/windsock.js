// @ts-check
// Keyboard shortcuts, keyboard access to rows, and times in the time zone of the reader.
"use strict";

/** @param {string} name @param {string} [role] @param {string} [tag] */
function part(name, role, tag = "div") {
  const element = document.createElement(tag);
  element.className = name;
  if (role) element.setAttribute("role", role);
  return element;
}

/** @param {number} seconds */
function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 10) return `${Math.round(seconds * 10) / 10} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 10 && whole % 60) return `${minutes} min ${whole % 60} s`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** @returns {HTMLElement[]} */
const rows = () => Array.from(document.querySelectorAll("tr.row"));
/** @param {Element} row @returns {HTMLElement | null} */
const rowLink = (row) => row.querySelector("a.open");

/** @param {number} step */
function move(step) {
  const all = rows();
  const at = all.findIndex((row) => row.classList.contains("here"));
  const next = all[Math.min(all.length - 1, Math.max(0, at + step))];
  if (!next) return;
  all.forEach((row) => row.classList.toggle("here", row === next));
  rowLink(next)?.focus();
}

// A row with many controls is one tab stop, its link; the arrow keys reach the other controls.
/** @param {Element} row @returns {HTMLElement[]} */
const rowControls = (row) => Array.from(row.querySelectorAll("a, button, input:not([type=hidden])"));

function reduceTabStops() {
  document.querySelectorAll("table[data-row-keys] tr.row").forEach((row) => {
    const link = rowLink(row);
    if (link) rowControls(row).forEach((control) => control.setAttribute("tabindex", control === link ? "0" : "-1"));
  });
}

/** @param {HTMLElement} target @param {number} step */
function moveInRow(target, step) {
  const row = target.closest("table[data-row-keys] tr.row");
  if (!row) return false;
  const controls = rowControls(row);
  controls[controls.indexOf(/** @type {HTMLElement} */ (target.closest("a, button, input"))) + step]?.focus();
  return true;
}

/** @param {string} id */
function openDialog(id) {
  const dialog = document.getElementById(id);
  if (dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
}

/** @param {string} selector */
const click = (selector) => /** @type {HTMLElement | null} */ (document.querySelector(selector))?.click();

document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    if (moveInRow(target, event.key === "ArrowLeft" ? -1 : 1)) event.preventDefault();
    return;
  }
  if (target.closest("textarea, select, input:not([type=checkbox])")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  const search = /** @type {HTMLInputElement | null} */ (document.querySelector("input[type=search]"));
  if (event.key === "/" && search) {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "u") changeZone();
  else if (event.key === "x") click("tr.here input[type=checkbox]");
  else if (event.key === "w") click("tr.here .star button, .head .star button");
  else if (event.key === "?") openDialog("keys");
});
document.addEventListener("focusin", (event) => {
  const row = /** @type {HTMLElement} */ (event.target).closest("tr.row");
  if (row) rows().forEach((other) => other.classList.toggle("here", other === row));
});
document.addEventListener("click", (event) => {
  const opener = /** @type {HTMLElement} */ (event.target).closest("[data-opens]");
  if (opener) openDialog(opener.getAttribute("data-opens") || "");
});

// Times are in local time or in UTC; the browser stores the choice.
const page = document.documentElement;
try {
  page.dataset.zone = localStorage.getItem("zone") === "UTC" ? "UTC" : "";
} catch {
  page.dataset.zone = ""; // no storage in this browser
}
const clock = () => (page.dataset.zone ? { timeZone: "UTC" } : {});

function labelZone() {
  const zone = document.getElementById("zone");
  if (!zone) return;
  zone.hidden = false;
  zone.textContent = page.dataset.zone ? "UTC" : "Local time";
  zone.title = page.dataset.zone ? "Times are in UTC. Press for local time" : `Times are in ${Intl.DateTimeFormat().resolvedOptions().timeZone}. Press for UTC`;
}

function changeZone() {
  page.dataset.zone = page.dataset.zone ? "" : "UTC";
  try {
    localStorage.setItem("zone", page.dataset.zone);
  } catch {
    // Lasts until the page is left.
  }
  labelZone();
  formatTimes(document);
  document.dispatchEvent(new Event("windsock:zone"));
}

/** @param {ParentNode} root */
function formatTimes(root) {
  root.querySelectorAll("time[datetime]").forEach((time) => {
    const at = new Date(/** @type {string} */ (time.getAttribute("datetime")));
    if (!Number.isNaN(at.getTime())) {
      if (time.hasAttribute("data-clock")) time.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...clock() });
      time.setAttribute("title", page.dataset.zone ? `${at.toLocaleString([], clock())} UTC` : `${at.toLocaleString()}\n${at.toISOString()}`);
    }
  });
}

document.addEventListener("DOMContentLoaded", () => {
  labelZone();
  document.getElementById("zone")?.addEventListener("click", changeZone);
  formatTimes(document);
  reduceTabStops();
  // On a phone the navigation scrolls. scrollIntoView would also move the point from which Tab starts.
  const current = /** @type {HTMLElement | null} */ (document.querySelector(".places [aria-current]"));
  if (current?.parentElement) current.parentElement.scrollLeft = current.offsetLeft - current.parentElement.offsetLeft - 80;
});
document.addEventListener("htmx:afterSwap", () => {
  formatTimes(document);
  reduceTabStops();
});
// A list that replaces itself keeps its selected row and checkboxes.
/** @type {string | null} */
let here = null;
let hadFocus = false;
/** @type {Set<string>} */
let checked = new Set();
const boxes = () => /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("tr.row input[type=checkbox]"));
document.addEventListener("htmx:beforeSwap", () => {
  checked = new Set(Array.from(boxes()).filter((box) => box.checked).map((box) => box.value));
  const link = document.querySelector("tr.here a.open");
  here = link ? link.getAttribute("href") : null;
  hadFocus = link !== null && link === document.activeElement;
});
document.addEventListener("htmx:afterSettle", () => {
  boxes().forEach((box) => { if (checked.has(box.value)) box.checked = true; });
  if (!here || document.querySelector("tr.here")) return; // a key was faster
  const row = rows().find((candidate) => rowLink(candidate)?.getAttribute("href") === here);
  if (!row) return;
  row.classList.add("here");
  if (hadFocus) rowLink(row)?.focus({ preventScroll: true });
});
// A hidden tab requests nothing.
document.addEventListener("htmx:beforeRequest", (event) => {
  const detail = /** @type {CustomEvent} */ (event).detail;
  if (detail.elt.id === "list" && document.hidden) event.preventDefault();
});
// Empty filters stay out of the address.
document.addEventListener("htmx:configRequest", (event) => {
  const detail = /** @type {CustomEvent} */ (event).detail;
  if (!(detail.elt instanceof HTMLFormElement) || !detail.elt.classList.contains("filters")) return;
  if (detail.verb !== "get") return;
  for (const name of Array.from(detail.formData.keys())) {
    if (detail.formData.getAll(name).every((/** @type {string} */ value) => value === "")) detail.formData.delete(name);
  }
});
