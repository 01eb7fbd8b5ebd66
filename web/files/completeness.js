// What came of a gas day, and what did not: one row for each meter, with its holes.
import { call } from "./api.js";
import { List, lamp, make, say, show } from "./dom.js";
import * as format from "./format.js";
import { text, textOr } from "./texts.js";

const DAYS_BACK_MAX = 400;

function why(hole) {
  return hole.missing > 0
    ? text("page.completeness.hole", { count: format.number(hole.missing), why: textOr(`why.${hole.why}`, hole.why) })
    : text("page.completeness.index");
}

function meterRow() {
  const root = make("li", "ledger");
  const line = make("div", "state-line", root);
  const dot = make("span", "dot", line);
  const name = make("strong", "", line);
  const share = make("span", "share", line);
  const count = make("p", "where", root);
  const holes = new List(make("ul", "holes", root), (hole) => hole.from, () => {
    const hole_root = make("li", "");
    return { root: hole_root, update: (hole) => say(hole_root,
      `${format.time(hole.from)} – ${format.time(hole.to)}: ${why(hole)}`) };
  });
  const more = make("p", "hint", root);
  return {
    root,
    update(meter) {
      say(name, meter.meter);
      say(share, meter.expected === 0 ? "–" : `${meter.complete} %`);
      lamp(dot, meter.hole_count === 0 ? "good" : meter.missing > 0 ? "bad" : "warn");
      say(count, text("page.completeness.reads", {
        came: format.number(meter.good + meter.suspect), expected: format.number(meter.expected) }));
      holes.update(meter.holes);
      show(more, meter.hole_count > meter.holes.length);
      say(more, text("page.completeness.more", { count: meter.hole_count - meter.holes.length }));
    },
  };
}

export class Completeness {
  constructor(root) {
    this.find = (selector) => root.querySelector(selector);
    this.days_back = 1;
    this.sheet = null;
    this.fault = null;
    this.meters = new List(this.find(".ledger-list"), (meter) => meter.meter, meterRow);
    this.find(".earlier").addEventListener("click", () => this.turn(1));
    this.find(".later").addEventListener("click", () => this.turn(-1));
  }

  turn(days) {
    this.days_back = Math.min(DAYS_BACK_MAX, Math.max(0, this.days_back + days));
    return this.take();
  }

  async take() {
    const wanted = this.days_back;
    try {
      const sheet = await call("completeness", { days_back: wanted });
      if (wanted !== this.days_back) return; // another day was asked for meanwhile
      this.sheet = sheet;
      this.fault = null;
    } catch (fault) {
      if (fault.code === undefined) throw fault;
      if (wanted !== this.days_back) return;
      this.sheet = null;
      this.fault = fault;
    }
    this.draw();
  }

  draw() {
    const sheet = this.sheet;
    this.find(".later").disabled = this.days_back === 0;
    this.find(".earlier").disabled = this.days_back === DAYS_BACK_MAX;
    if (!sheet && !this.fault) return;
    say(this.find(".ledger-day"), sheet ? text("page.completeness.day", {
      from: format.dateTime(sheet.from), to: format.dateTime(sheet.to) }) : "");
    say(this.find(".ledger-state"), this.fault ? text("page.error.failed", { error: this.fault.message || this.fault.code })
      : sheet.meters.length === 0 ? text("page.completeness.none")
      : text("page.completeness.all", { complete: sheet.complete, missing: format.number(sheet.missing) }));
    this.meters.update(sheet?.meters ?? []);
    show(this.find(".ledger-gaps"), Boolean(sheet?.gap_count));
    say(this.find(".ledger-gaps"), text("page.completeness.gaps", { count: sheet?.gap_count ?? 0 }));
  }
}
