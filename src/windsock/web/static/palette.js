// @ts-check
// The palette (Ctrl+K): finds pipelines, runs, pages and actions of the space.
"use strict";

(() => {
  const DELAY_MILLISECONDS = 120;
  const dialog = /** @type {HTMLDialogElement | null} */ (document.getElementById("palette"));
  const input = /** @type {HTMLInputElement | null} */ (document.getElementById("palette-query"));
  const results = document.getElementById("palette-results");
  const status = document.getElementById("palette-status");
  if (!dialog || !input || !results || !status) return;
  let timer = 0;
  /** @type {AbortController | null} */
  let pending = null;

  const options = () => /** @type {HTMLElement[]} */ (Array.from(results.querySelectorAll("[role=option]")));
  const selected = () => options().find((option) => option.getAttribute("aria-selected") === "true");

  /** @param {HTMLElement | undefined} option */
  function select(option) {
    selected()?.setAttribute("aria-selected", "false");
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) input?.setAttribute("aria-activedescendant", option.id);
    else input?.removeAttribute("aria-activedescendant");
  }

  /** @param {string} className @param {string} text */
  function span(className, text) {
    const element = document.createElement("span");
    element.className = className;
    element.textContent = text;
    return element;
  }

  /** @param {{label: string, items: {label: string, detail?: string, url: string}[]}[]} groups */
  function show(groups) {
    let number = 0;
    const elements = groups.map((group) => {
      const box = document.createElement("div");
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", group.label);
      const heading = document.createElement("div");
      heading.textContent = group.label;
      heading.setAttribute("role", "presentation");
      box.append(heading);
      for (const item of group.items) {
        const option = document.createElement("div");
        option.id = `palette-option-${number++}`;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        option.dataset.url = item.url;
        option.append(span("", item.label), span("under", item.detail || ""));
        box.append(option);
      }
      return box;
    });
    results?.replaceChildren(...elements);
    select(options()[0]);
    if (status) status.textContent = number ? "" : "Nothing found.";
  }

  async function search() {
    pending?.abort();
    pending = new AbortController();
    try {
      const url = `${dialog?.dataset.url}?q=${encodeURIComponent(input?.value || "")}`;
      const response = await fetch(url, { signal: pending.signal, headers: { Accept: "application/json" } });
      if (response.redirected || response.status === 401) window.location.reload(); // the session has ended
      else if (response.ok) show(await response.json());
      else throw new Error(String(response.status));
    } catch (error) {
      if (status && !(error instanceof DOMException)) status.textContent = "The search failed. Try again in a moment.";
    }
  }

  function open() {
    if (dialog?.open || document.querySelector("dialog[open]")) return;
    dialog?.showModal();
    input?.select();
    search();
  }

  document.getElementById("find")?.addEventListener("click", open);
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
    event.preventDefault();
    open();
  });
  input.addEventListener("input", () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(search, DELAY_MILLISECONDS);
  });
  input.addEventListener("keydown", (event) => {
    const all = options();
    const at = all.indexOf(/** @type {HTMLElement} */ (selected()));
    if (event.key === "ArrowDown") select(all[(at + 1) % all.length]);
    else if (event.key === "ArrowUp") select(all[(at - 1 + all.length) % all.length]);
    else if (event.key === "Enter") go(all[at], event.ctrlKey || event.metaKey);
    else return;
    event.preventDefault();
  });
  results.addEventListener("click", (event) => {
    const option = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("[role=option]"));
    go(option || undefined, event.ctrlKey || event.metaKey);
  });

  /** @param {HTMLElement | undefined} option @param {boolean} inNewTab */
  function go(option, inNewTab) {
    const url = option?.dataset.url;
    if (!url) return;
    if (inNewTab) window.open(url, "_blank", "noopener");
    else {
      dialog?.close();
      window.location.assign(url);
    }
  }
})();
