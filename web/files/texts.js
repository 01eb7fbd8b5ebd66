// The page's words, from the program's catalogue, in the chosen language.
let language = "en";
let texts = {};

export function chosen() {
  const kept = localStorage.getItem("language");
  if (kept === "en" || kept === "zh") return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export function current() {
  return language;
}

export async function load(wanted) {
  const answer = await fetch(`/texts.${wanted}.json`);
  if (!answer.ok) throw new Error(`texts: ${answer.status}`);
  texts = await answer.json();
  language = wanted;
  localStorage.setItem("language", wanted);
  document.documentElement.lang = wanted === "zh" ? "zh-CN" : "en";
}

// A text with its slots filled. A key that is not there shows itself, so that it is reported.
export function text(key, slots = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => slots[name] ?? whole);
}

// As text, but with another word where the catalogue has none.
export function textOr(key, other) {
  return texts[key] ?? other;
}

// Fills every element that names its text.
export function fill(root) {
  for (const element of root.querySelectorAll("[data-text]")) {
    element.textContent = text(element.dataset.text);
  }
}
