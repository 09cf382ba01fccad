// @ts-check
// Applies the theme before the first paint, so this file is loaded without `defer`. The browser stores the choice.
"use strict";

(() => {
  const root = document.documentElement;
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  root.classList.add("js");

  function storedTheme() {
    try {
      const theme = localStorage.getItem("theme");
      return theme === "light" || theme === "dark" ? theme : "system";
    } catch {
      return "system"; // no storage in this browser
    }
  }

  /** @param {string} theme */
  function applyTheme(theme) {
    root.dataset.theme = theme;
    // The style sheet of Swagger UI looks for this class.
    root.classList.toggle("dark-mode", theme === "dark" || (theme === "system" && prefersDark.matches));
    document.querySelectorAll("[data-theme-choice]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.getAttribute("data-theme-choice") === theme));
    });
  }

  applyTheme(storedTheme());
  prefersDark.addEventListener("change", () => applyTheme(storedTheme()));
  window.addEventListener("storage", () => applyTheme(storedTheme()));
  document.addEventListener("DOMContentLoaded", () => applyTheme(storedTheme()));
  document.addEventListener("click", (event) => {
    const button = /** @type {HTMLElement} */ (event.target).closest("[data-theme-choice]");
    const theme = button?.getAttribute("data-theme-choice");
    if (!theme) return;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // Lasts until the page is left.
    }
    applyTheme(theme);
  });
})();
