// Buttons with `data-key` are pressed by that key, and `e` goes to the field to edit, as long as
// nobody is typing in a field, and unless they were switched off on the page.
const WRITING = "input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]";

const OFF = "understudy-keys-off";

function showSwitch() {
  const control = document.querySelector("[data-keys]");
  if (!control) return;
  control.closest("[hidden]")?.removeAttribute("hidden");
  control.checked = !localStorage.getItem(OFF);
}

document.addEventListener("DOMContentLoaded", showSwitch);
document.addEventListener("htmx:afterSettle", showSwitch);
document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-keys]")) return;
  if (event.target.checked) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, "1");
});

document.addEventListener("keydown", (event) => {
  if (localStorage.getItem(OFF) || !document.querySelector("[data-keys]")) return;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const field = event.target.closest?.(WRITING);
  if (field) {
    if (event.key === "Escape") field.blur();
    return;
  }
  const edited = event.key === "e" ? document.querySelector("[data-edit]") : null;
  const button = /^[a-z]$/.test(event.key) ? document.querySelector(`[data-key="${event.key}"]`) : null;
  if (!edited && !button) return;
  event.preventDefault();
  if (edited) edited.focus();
  else button.click();
});
