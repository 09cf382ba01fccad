// Starts Swagger UI, and adds what it lacks: levels of headings, names of fields and regions, keyboard access.
"use strict";

const reference = document.getElementById("reference");
const rules = [
  // selector, attribute, value (or a function of the element)
  ["h3.opblock-tag", "aria-level", "2"],
  [".opblock-body h4", "aria-level", "3"],
  [".opblock-body h5", "aria-level", "4"],
  [".models > h4", "aria-level", "2"],
  [".information-container", "role", "region"],
  [".information-container", "aria-label", "About this API"],
  [".scheme-container", "role", "region"],
  [".scheme-container", "aria-label", "Authorization"],
  [".filter-container", "role", "search"],
  [".operation-filter-input", "aria-label", "Filter by tag"],
  ["pre.microlight, pre.example", "tabindex", "0"],
  [".responses-table", "aria-label", (table) => `Responses of ${table.id}`],
  ["tr[data-param-name] :is(select, input, textarea)", "aria-label", (field) => field.closest("tr").dataset.paramName],
  [".body-param select, .responses-wrapper select, .content-type", "aria-label", "Media type"],
];

function repair() {
  for (const [selector, attribute, value] of rules) {
    for (const element of reference.querySelectorAll(selector)) {
      const text = typeof value === "function" ? value(element) : value;
      if (element.getAttribute(attribute) !== text) element.setAttribute(attribute, text);
    }
  }
}

new MutationObserver(repair).observe(reference, { childList: true, subtree: true });
SwaggerUIBundle({
  url: new URL("../openapi.json", document.currentScript.src).href,
  dom_id: "#reference",
  deepLinking: false, // it would put a link into each button
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: false,
  validatorUrl: null,
});
