// @ts-check
// Forms: toasts, confirmation dialogs, copy buttons, double submission, and drafts that survive the end of a session.
"use strict";

(() => {
  const TOAST_SECONDS = 8;
  const DRAFT = "draft";

  /** @param {string} text */
  function showToast(text) {
    const toast = document.createElement("p");
    toast.className = "toast";
    toast.textContent = text;
    addDismissal(toast);
    document.getElementById("toasts")?.append(toast);
  }

  /** Adds a close button, and removes the toast after a while unless somebody points at it. @param {Element} toast */
  function addDismissal(toast) {
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "✕";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => toast.remove());
    toast.append(close);
    const timer = window.setInterval(() => {
      if (toast.matches(":hover, :focus-within")) return;
      window.clearInterval(timer);
      toast.remove();
    }, TOAST_SECONDS * 1000);
  }

  // The server sends the event windsock:notice in HX-Trigger, with errors too.
  document.addEventListener("windsock:notice", (event) => showToast(/** @type {CustomEvent} */ (event).detail.value));
  document.addEventListener("htmx:sendError", () => showToast("Windsock cannot be reached. Try again in a moment."));

  // Confirmation: the server sends the form that asks; see confirmed_button in forms.html.
  const confirmDialog = /** @type {HTMLDialogElement | null} */ (document.getElementById("confirm"));
  document.addEventListener("htmx:afterSwap", (event) => {
    if (/** @type {CustomEvent} */ (event).detail.target !== confirmDialog || !confirmDialog || confirmDialog.open) return;
    confirmDialog.showModal();
    /** @type {HTMLElement | null} */ (confirmDialog.querySelector("[data-closes-dialog]"))?.focus();
  });
  document.addEventListener("click", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const dialog = target.closest("dialog");
    if (dialog && (target.closest("[data-closes-dialog]") || target === dialog)) {
      event.preventDefault(); // a click outside hits the dialog itself
      dialog.close();
    }
    const copy = target.closest("[data-copy]");
    if (copy) copyText(copy);
  });

  /** @param {Element} button */
  async function copyText(button) {
    const value = button.getAttribute("data-copy") || "";
    const source = document.getElementById(value);
    const text = source ? source.textContent || "" : value;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without HTTPS the clipboard can only be reached this way.
      const area = document.createElement("textarea");
      area.value = text;
      button.after(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const label = button.textContent;
    button.textContent = "Copied";
    window.setTimeout(() => { button.textContent = label; }, 2000);
  }

  // A form that is being sent is not sent again by a double click. Back shows it ready to be sent.
  /** @type {Set<HTMLFormElement>} */
  const sending = new Set();
  document.addEventListener("submit", (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    if (form.method !== "post") return;
    saveDraft(form);
    if (event.defaultPrevented) return;
    if (sending.has(form)) event.preventDefault();
    sending.add(form);
  });
  window.addEventListener("pageshow", () => sending.clear());

  // A draft is written when a form is sent. The sign-in page marks it, since then the form did not arrive; any other
  // page deletes a draft that is not marked.
  /** @param {HTMLFormElement} form @returns {(HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement)[]} */
  const draftFields = (form) => /** @type {any[]} */ (Array.from(form.elements)).filter(
    (field) => field.name && field.matches("textarea, select, input:not([type=hidden], [type=password], [type=file])") && field.autocomplete !== "off",
  );

  /** @param {HTMLFormElement} form */
  function saveDraft(form) {
    const fields = draftFields(form);
    if (!fields.length || form.getAttribute("action") === "/sign-in") return;
    const values = fields.map((field) => [field.name, field.value, /** @type {any} */ (field).checked ?? null]);
    storeDraft({ page: window.location.pathname, action: form.getAttribute("action"), values, isMarked: false });
  }

  /** @param {object | null} draft */
  function storeDraft(draft) {
    try {
      if (draft) sessionStorage.setItem(DRAFT, JSON.stringify(draft));
      else sessionStorage.removeItem(DRAFT);
    } catch {
      // No storage in this browser, or the draft is too large.
    }
  }

  function restoreDraft() {
    let draft = null;
    try {
      draft = JSON.parse(sessionStorage.getItem(DRAFT) || "null");
    } catch {
      return;
    }
    if (!draft) return;
    const note = document.getElementById("draft-note");
    if (window.location.pathname.startsWith("/sign-in")) {
      storeDraft({ ...draft, isMarked: true });
      if (note) note.hidden = false;
      return;
    }
    if (!draft.isMarked) storeDraft(null);
    if (!draft.isMarked || draft.page !== window.location.pathname) return;
    storeDraft(null);
    const form = Array.from(document.forms).find((candidate) => candidate.getAttribute("action") === draft.action);
    if (!form) return;
    draftFields(form).forEach((field, place) => {
      const [name, value, isChecked] = draft.values[place] || [];
      if (name !== field.name) return;
      if (field.matches("[type=checkbox], [type=radio]")) /** @type {any} */ (field).checked = isChecked;
      else field.value = value;
    });
    form.closest("details")?.setAttribute("open", "");
    form.scrollIntoView({ block: "center" });
    showToast("You are signed in again. Your input is back in the form; it was not sent.");
  }

  document.addEventListener("htmx:afterRequest", (event) => {
    if (/** @type {CustomEvent} */ (event).detail.successful) storeDraft(null);
  });
  document.addEventListener("DOMContentLoaded", () => {
    restoreDraft();
    document.querySelectorAll(".toast").forEach((toast) => { if (!toast.querySelector("button")) addDismissal(toast); });
    /** @type {HTMLElement | null} */ (document.querySelector("[aria-invalid=true]"))?.focus();
  });
})();
