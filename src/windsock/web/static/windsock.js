// @ts-check
// What a page does beside links and forms: keys, and times on hover as the reader's own clock has them.
"use strict";

/** @param {string} name @param {string} [role] @param {string} [tag] */
function part(name, role, tag = "div") {
  const made = document.createElement(tag);
  made.className = name;
  if (role) made.setAttribute("role", role);
  return made;
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

/** @param {number} step */
function move(step) {
  const all = rows();
  const at = all.findIndex((row) => row.classList.contains("here"));
  const next = all[Math.min(all.length - 1, Math.max(0, at + step))];
  if (!next) return;
  all.forEach((row) => row.classList.toggle("here", row === next));
  const link = /** @type {HTMLElement | null} */ (next.querySelector("a.open"));
  if (link) link.focus();
}

document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, select, dialog")) {
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
  else if (event.key === "w") {
    const star = /** @type {HTMLElement | null} */ (document.querySelector("tr.here .star button, .head .star button"));
    if (star) star.click();
  } else if (event.key === "?") {
    const keys = /** @type {HTMLDialogElement | null} */ (document.getElementById("keys"));
    if (keys) keys.showModal();
  }
});

// Times are told on the reader's own clock, or in UTC; the browser keeps which.
const page = document.documentElement;
try {
  page.dataset.zone = localStorage.getItem("zone") === "UTC" ? "UTC" : "";
} catch {
  page.dataset.zone = ""; // a browser that keeps nothing
}
const clock = () => (page.dataset.zone ? { timeZone: "UTC" } : {});

function nameZone() {
  const zone = document.getElementById("zone");
  if (!zone) return;
  zone.hidden = false;
  zone.textContent = page.dataset.zone ? "UTC" : "Local time";
  zone.title = page.dataset.zone ? "Times are in UTC. Press for your own clock" : `Times are those of ${Intl.DateTimeFormat().resolvedOptions().timeZone}. Press for UTC`;
}

function changeZone() {
  page.dataset.zone = page.dataset.zone ? "" : "UTC";
  try {
    localStorage.setItem("zone", page.dataset.zone);
  } catch {
    // Until the page is left, then.
  }
  nameZone();
  tell(document);
  document.dispatchEvent(new Event("windsock:zone"));
}

/** @param {ParentNode} root */
function tell(root) {
  root.querySelectorAll("time[datetime]").forEach((time) => {
    const at = new Date(/** @type {string} */ (time.getAttribute("datetime")));
    if (!Number.isNaN(at.getTime())) {
      if (time.hasAttribute("data-clock")) time.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...clock() });
      time.setAttribute("title", page.dataset.zone ? `${at.toLocaleString([], clock())} UTC` : `${at.toLocaleString()}\n${at.toISOString()}`);
    }
  });
}

document.addEventListener("DOMContentLoaded", () => {
  nameZone();
  document.getElementById("zone")?.addEventListener("click", changeZone);
  tell(document);
});
document.addEventListener("htmx:afterSwap", () => tell(document));
// A part that replaces itself must not take the place in the list away.
/** @type {string | null} */
let here = null;
let hadFocus = false;
/** @type {Set<string>} */
let ticked = new Set();
const boxes = () => /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("tr.row input[type=checkbox]"));
document.addEventListener("htmx:beforeSwap", () => {
  ticked = new Set(Array.from(boxes()).filter((box) => box.checked).map((box) => box.value));
  const link = document.querySelector("tr.here a.open");
  here = link ? link.getAttribute("href") : null;
  hadFocus = link !== null && link === document.activeElement;
});
document.addEventListener("htmx:afterSettle", () => {
  boxes().forEach((box) => { if (ticked.has(box.value)) box.checked = true; });
  if (!here) return;
  const link = rows().find((row) => row.querySelector("a.open")?.getAttribute("href") === here);
  if (!link) return;
  link.classList.add("here");
  if (hadFocus) /** @type {HTMLElement | null} */ (link.querySelector("a.open"))?.focus({ preventScroll: true });
});
// Nobody looks: nothing is asked.
document.addEventListener("htmx:beforeRequest", (event) => {
  const detail = /** @type {CustomEvent} */ (event).detail;
  if (detail.elt.id === "list" && document.hidden) event.preventDefault();
});
// Filters that say nothing stay out of the address.
document.addEventListener("htmx:configRequest", (event) => {
  const detail = /** @type {CustomEvent} */ (event).detail;
  if (!(detail.elt instanceof HTMLFormElement) || !detail.elt.classList.contains("filters")) return;
  for (const name of Array.from(detail.formData.keys())) {
    if (detail.formData.getAll(name).every((/** @type {string} */ value) => value === "")) detail.formData.delete(name);
  }
});
