// Small helpers: elements are made once and then only told what changed, so nothing jumps and
// nothing that is selected or focused is lost.

export function make(tag, class_name, parent) {
  const element = document.createElement(tag);
  if (class_name) element.className = class_name;
  parent?.append(element);
  return element;
}

export function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

export function mark(element, class_name, on) {
  if (element.classList.contains(class_name) !== on) element.classList.toggle(class_name, on);
}

export function show(element, on) {
  if (element.hidden === on) element.hidden = !on;
}

export function lamp(element, kind) {
  for (const one of ["good", "warn", "bad"]) mark(element, one, one === kind);
}

// Keeps one child of `parent` for each item, in order: `create(item)` returns an object with a
// `root` and an `update(item)`.
export class List {
  constructor(parent, key, create) {
    this.parent = parent;
    this.key = key;
    this.create = create;
    this.rows = new Map();
  }

  update(items) {
    const kept = new Set();
    let place = this.parent.firstElementChild;
    for (const item of items) {
      const key = this.key(item);
      if (kept.has(key)) continue;
      kept.add(key);
      let row = this.rows.get(key);
      if (!row) {
        row = this.create(item);
        this.rows.set(key, row);
      }
      if (row.root === place) {
        place = place.nextElementSibling;
      } else {
        this.parent.insertBefore(row.root, place);
      }
      row.update(item);
    }
    for (const [key, row] of this.rows) {
      if (!kept.has(key)) {
        row.root.remove();
        this.rows.delete(key);
      }
    }
  }
}
