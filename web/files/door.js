// The two ways in: the claim of a new gateway, and the login.
import { call } from "./api.js";
import { text } from "./texts.js";

const NAME = /^[a-z0-9][a-z0-9._-]{0,31}$/;

function words(fault, denied) {
  switch (fault.code) {
    case "denied": return text(denied);
    case "throttled": return text("page.error.throttled");
    case "busy": return text("page.error.busy");
    case "lost": return text("page.lost.title");
    case "away": return text("page.away.title");
    default: return text("page.error.failed", { error: fault.message });
  }
}

function point(form, name, key) {
  const field = form.elements[name];
  field.setAttribute("aria-invalid", "true");
  form.querySelector(".fault").textContent = text(key);
  field.focus();
  return false;
}

function check(form, is_claim) {
  for (const field of form.elements) field.removeAttribute("aria-invalid");
  form.querySelector(".fault").textContent = "";
  if (is_claim) {
    if (form.elements.code.value.trim() === "") return point(form, "code", "page.claim.where");
    if (!NAME.test(form.elements.name.value)) return point(form, "name", "page.error.name");
    const length = [...form.elements.password.value].length;
    if (length < 12 || length > 128) return point(form, "password", "page.error.password");
  }
  return true;
}

// Wires a form; `done(session)` is called once the door is open.
export function wire(view, command, denied, done) {
  const form = view.querySelector("form");
  const button = form.querySelector("button[type=submit]");
  form.elements.show.addEventListener("change", () => {
    form.elements.password.type = form.elements.show.checked ? "text" : "password";
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled || !check(form, command === "claim")) return;
    const args = { name: form.elements.name.value, password: form.elements.password.value };
    if (command === "claim") args.code = form.elements.code.value;
    button.disabled = true;
    try {
      done(await call(command, args));
    } catch (fault) {
      form.querySelector(".fault").textContent = words(fault, denied);
      button.disabled = false;
      if (fault.code === "denied") {
        const again = form.elements[command === "claim" ? "code" : "password"];
        again.setAttribute("aria-invalid", "true");
        again.select();
      }
    }
  });
}
