// The overview: what is wrong, meters, links, head office, the gateway itself. Values come each
// second, the rest every few seconds.
import { Completeness } from "./completeness.js";
import { call } from "./api.js";
import { saveBackup } from "./backup.js";
import { List, make, say, show, lamp } from "./dom.js";
import * as format from "./format.js";
import { meterCard } from "./meter.js";
import { text, textOr, current } from "./texts.js";

const LIVE_MS = 1000;
const STATUS_MS = 5000;
const AWAY_MS = 2000;

function alertRow() {
  const root = make("li", "alert");
  const badge = make("span", "badge", root);
  const words = make("span", "words", root);
  const since = make("time", "", root);
  return {
    root,
    update(alert) {
      root.className = `alert ${alert.severity}`;
      say(badge, text(`page.severity.${alert.severity}`));
      say(words, alert.words);
      show(since, Boolean(alert.since));
      if (alert.since) {
        since.dateTime = alert.since;
        say(since, text("page.alerts.since", { time: format.time(alert.since) }));
      }
    },
  };
}

function linkRow(first) {
  const root = make("li", "link");
  const head = make("div", "link-head", root);
  const dot = make("span", "dot", head);
  const name = make("h3", "", head);
  const state = make("span", "state", head);
  const where = make("p", "where", root);
  const counts = make("p", "counts", root);
  const parts = ["polls", "late", "timeouts", "errors"].map(() => make("span", "", counts));
  const trouble = make("p", "trouble", root);
  root.dataset.link = first.link;
  return {
    root,
    update(link) {
      const errors = (link.crc_errors ?? 0) + (link.frame_errors ?? 0) + (link.exceptions ?? 0);
      lamp(dot, link.open ? "good" : "bad");
      say(name, link.link);
      say(state, text(link.open ? "page.link.open" : "page.link.closed"));
      say(where, link.url ?? "");
      const figures = [["polls", link.polls], ["late", link.late], ["timeouts", link.timeouts], ["errors", errors]];
      figures.forEach(([key, count], i) => {
        say(parts[i], `${text(`page.link.${key}`)}${format.between}${format.number(count ?? 0)}`);
      });
      const full = link.open && link.overloaded;
      show(trouble, full || (!link.open && Boolean(link.error)));
      say(trouble, full
        ? text("page.link.overload", { percent: Math.round(link.load_permille / 10), count: link.stretched })
        : link.error ?? "");
    },
  };
}

function laneRow([name]) {
  const root = make("div", "lane");
  const label = make("span", "name", root);
  const waiting = make("span", "waiting", root);
  const oldest = make("span", "oldest", root);
  return {
    root,
    update([, lane]) {
      say(label, text(`page.lane.${name}`));
      say(waiting, lane.waiting > 0
        ? `${format.number(lane.waiting)} ${text("page.office.waiting")}`
        : text("page.office.empty"));
      show(oldest, Boolean(lane.oldest) && lane.waiting > 0);
      say(oldest, lane.oldest ? text("page.office.oldest", { time: format.time(lane.oldest) }) : "");
    },
  };
}

function factRow([name]) {
  const root = make("div", "row");
  const label = make("dt", "", root);
  const fact = make("dd", "", root);
  return {
    root,
    update([, words]) {
      say(label, text(`page.gateway.${name}`));
      say(fact, words);
    },
  };
}

// Faults of the gateway itself, told like alerts.
function ownFaults(status) {
  const faults = [];
  const add = (id, severity, slots = {}) =>
    faults.push({ id, severity, words: text(`page.fault.${id}`, slots), since: null });
  if (status.store?.error) add("store", "critical", { error: status.store.error });
  if (status.clock && !status.clock.known) add("clock", "major");
  if (status.config?.error) add("config", "major", { error: status.config.error });
  if (status.office && status.office.state !== "online") {
    const why = status.office.error ?? textOr(`page.office.${status.office.state}`, status.office.state);
    add("office", "minor", { error: why });
  }
  return faults;
}

export class Overview {
  constructor(view, hooks) {
    const find = (selector) => view.querySelector(selector);
    this.hooks = hooks; // ended(), away(fault or null), named(status), role
    this.root = view;
    this.find = find;
    this.meters = new List(find(".meter-list"), (meter) => meter.meter, meterCard);
    this.links = new List(find(".link-list"), (link) => link.link, linkRow);
    this.alerts = new List(find(".alert-list"), (alert) => alert.id, alertRow);
    this.facts = new List(find(".facts"), ([name]) => name, factRow);
    this.makeOffice(find(".office"));
    this.completeness = new Completeness(find(".completeness"));
    show(find(".backup"), hooks.role === "leader");
    find(".backup button").addEventListener("click", () => this.backUp());
    this.live = null;
    this.status = null;
    this.open = [];
    this.stopped = false;
    this.good_at = null;
  }

  makeOffice(parent) {
    this.no_office = make("p", "empty", parent);
    this.office = make("div", "", parent);
    const line = make("div", "state-line", this.office);
    this.office_dot = make("span", "dot", line);
    this.office_state = make("strong", "", line);
    this.office_url = make("p", "where", this.office);
    this.office_error = make("p", "trouble", this.office);
    this.lanes = new List(make("div", "lanes", this.office), ([name]) => name, laneRow);
  }

  async backUp() {
    const button = this.find(".backup button");
    const state = this.find(".backup-state");
    button.disabled = true;
    say(state, text("page.backup.making"));
    try {
      const file = await saveBackup((have, all) => say(state, `${format.bytes(have)} / ${format.bytes(all)}`));
      say(state, text("page.backup.done", { file }));
    } catch (fault) {
      say(state, textOr(`page.error.${fault.code}`, text("page.error.failed", { error: fault.message })));
    }
    button.disabled = false;
  }

  start() {
    this.run(() => this.takeLive(), LIVE_MS);
    this.run(() => this.takeStatus(), STATUS_MS);
    this.completeness.take();
  }

  stop() {
    this.stopped = true;
  }

  // Calls `step` again and again, each time after the last has ended.
  async run(step, pause_ms) {
    while (!this.stopped) {
      let pause = pause_ms;
      if (!document.hidden) {
        try {
          await step();
          if (this.stopped) return;
          this.good_at = Date.now();
          this.hooks.away(null);
        } catch (fault) {
          if (this.stopped) return;
          if (fault.code === undefined) throw fault; // our own bug: the console shall show it
          if (fault.code === "session") {
            this.hooks.ended();
            return;
          }
          this.hooks.away(fault, this.good_at);
          pause = Math.max(pause, AWAY_MS);
        }
      }
      await new Promise((wake) => setTimeout(wake, pause));
    }
  }

  async takeLive() {
    this.live = await call("live");
    this.drawLive();
  }

  async takeStatus() {
    const [status, alerts] = await Promise.all([call("status"), call("alerts")]);
    this.status = status;
    this.open = alerts.open;
    this.hooks.named(status);
    this.drawStatus();
  }

  draw() {
    if (this.live) this.drawLive();
    if (this.status) this.drawStatus();
    this.completeness.draw();
  }

  drawLive() {
    const now = Date.parse(this.live.at);
    this.meters.update(this.live.meters.map((meter) => ({ ...meter, now })));
    this.links.update(this.live.links);
    show(this.find(".side .empty"), this.live.links.length === 0);
    const empty = this.find(".meters .empty");
    show(empty, this.live.meters.length === 0);
    say(empty, text("page.meters.none", { file: this.status?.config?.file ?? "" }));
    this.drawSummary();
  }

  drawStatus() {
    const faults = ownFaults(this.status);
    const rank = { critical: 0, major: 1, minor: 2 };
    const open = this.open.map((alert) => ({
      id: alert.id,
      severity: alert.severity,
      since: alert.since,
      words: alert.text?.[current()] ?? alert.kind,
    }));
    this.wrong = [...faults, ...open].sort((a, b) => rank[a.severity] - rank[b.severity]);
    this.alerts.update(this.wrong);
    show(this.find(".alerts"), this.wrong.length > 0);
    this.drawOffice(this.status.office);
    this.drawFacts(this.status);
    this.drawSummary();
  }

  drawOffice(office) {
    show(this.no_office, !office);
    say(this.no_office, text("page.office.none"));
    show(this.office, Boolean(office));
    if (!office) return;
    lamp(this.office_dot, office.state === "online" ? "good" : office.state === "refused" ? "bad" : "warn");
    say(this.office_state, textOr(`page.office.${office.state}`, office.state));
    say(this.office_url, office.url ?? "");
    show(this.office_error, Boolean(office.error));
    say(this.office_error, office.error ?? "");
    this.lanes.update(Object.entries(office.lanes ?? {}));
  }

  drawFacts(status) {
    const store = status.store ?? {};
    const started = Date.parse(status.clock?.now) - status.uptime_s * 1000;
    this.facts.update([
      ["id", status.gateway],
      ["clock", status.clock?.known ? format.time(status.clock.now) : "–"],
      ["uptime", Number.isFinite(started) ? format.time(started) : "–"],
      ["store", format.bytes((store.bytes ?? 0) + (store.wal_bytes ?? 0))],
      ["disk", store.disk_free_bytes == null ? "–" : format.bytes(store.disk_free_bytes)],
      ["config", status.config?.revision ?? "–"],
      ["software", status.software ?? "–"],
    ]);
  }

  drawSummary() {
    const title = this.find(".summary-title");
    const sub = this.find(".summary-text");
    if (!this.status || !this.live) {
      say(title, text("page.loading"));
      return;
    }
    const meters = this.live.meters;
    const answering = meters.filter((meter) => meter.answered).length;
    const count = this.wrong.length;
    const worst = this.wrong[0]?.severity;
    // A silent meter is not in order, also before its third miss makes an alert of it.
    const quiet = answering === meters.length ? "good" : "warn";
    lamp(this.find(".lamp"), count === 0 ? quiet : worst === "minor" ? "warn" : "bad");
    say(title, count > 1 ? text("page.summary.many", { count })
      : text(count === 1 ? "page.summary.one" : quiet === "good" ? "page.summary.good" : "page.summary.silent"));
    say(sub, meters.length === 0 ? text("page.summary.nometers")
      : text("page.summary.meters", { answering, count: meters.length }));
  }
}
