// Keys become clicks, the heading is where one begins, and seconds count only while the page is seen.
// Without this file everything works by its buttons and links.
(() => {
  "use strict";

  const toggle = document.getElementById("keys");
  const said = document.querySelector("[role=status]");
  let visibleMs = 0;
  let since = document.visibilityState === "visible" ? performance.now() : null;
  let isSent = false;

  function measure() {
    return visibleMs + (since === null ? 0 : performance.now() - since);
  }

  document.addEventListener("visibilitychange", () => {
    visibleMs = measure();
    since = document.visibilityState === "visible" ? performance.now() : null;
  });

  // One page is one verdict: a second press before the next page is there would be given unread.
  document.addEventListener("submit", (event) => {
    if (isSent) {
      event.preventDefault();
      return;
    }
    isSent = true;
    const seconds = event.target.elements.namedItem("seconds");
    if (seconds) seconds.value = Math.min(300, measure() / 1000).toFixed(1);
    if (event.target.dataset.busy) {
      document.documentElement.classList.add("is-sent");
      said.textContent = event.target.dataset.busy;
    }
  });

  window.addEventListener("pageshow", () => {
    isSent = false;
    document.documentElement.classList.remove("is-sent");
  });

  function isTyped(element) {
    return element.closest("input:not([type=checkbox]), select, textarea, [contenteditable]") !== null;
  }

  function findTarget(event) {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const target = document.querySelector(`[data-key="${CSS.escape(key)}"]:not([disabled])`);
    // In a text, Escape alone leaves it; on a link or a button, Enter is its own.
    if (!target || (isTyped(event.target) && key !== "Escape")) return null;
    return key === "Enter" && event.target.closest("a, button, summary") ? null : target;
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.repeat || event.isComposing || event.altKey) return;
    if (event.ctrlKey || event.metaKey) {
      const save = document.getElementById("save");
      if (event.key === "Enter" && save) save.click();
      return;
    }
    if (!toggle.checked || isSent) return;
    const target = findTarget(event);
    if (target) {
      event.preventDefault();
      target.click();
    }
  });

  // A cookie, since what a page stores is lost with its port, and the next morning has another one.
  toggle.closest("[hidden]").hidden = false;
  toggle.addEventListener("change", () => {
    document.documentElement.classList.toggle("no-keys", !toggle.checked);
    document.cookie = `overnight-keys=${toggle.checked ? "on" : "off"}; path=/; max-age=31536000; SameSite=Strict`;
  });
  document.documentElement.classList.toggle("no-keys", !toggle.checked);

  const field = document.querySelector("[aria-invalid=true]") || document.querySelector("[autofocus]");
  (field || document.getElementById("refusal") || document.getElementById("heading")).focus();
  if (field && field.id === "reason" && field.value) field.select();

  // What stands in a live region from the start is not read out; what comes later is.
  setTimeout(() => {
    for (const alert of document.querySelectorAll("[role=alert]")) {
      if (alert !== document.activeElement) alert.replaceWith(alert.cloneNode(true));
    }
  }, 150);
  const words = said.textContent;
  said.textContent = "";
  setTimeout(() => {
    said.textContent = words;
  }, 150);
})();
