// One meter's card: its chief counter large, the first values below it, the rest folded away.
import { List, make, say, mark, show } from "./dom.js";
import * as format from "./format.js";
import { text } from "./texts.js";

const CHIEF = ["volume_base", "volume_measured", "energy_import", "water_volume", "heat_energy", "steam_mass"];
const FIRST_MAX = 6;

function fillNumber(element, name, channel) {
  const shown = format.value(name, channel);
  mark(element, "text", shown.plain);
  mark(element, "long", shown.words.length > 16); // so that it fits a narrow screen
  let words = element.querySelector(".words");
  let of = element.querySelector(".of");
  if (!words) {
    words = make("span", "words", element);
    of = make("span", "of", element);
  }
  say(words, shown.words);
  say(of, shown.unit ? format.between + shown.unit : "");
}

// What all channels of a meter share is told once, at its head: then `common` holds those words.
function commonQuality(channels) {
  const words = new Set(channels.map(([, channel]) => format.quality(channel)));
  return channels.length > 1 && words.size === 1 ? [...words][0] : "";
}

function fillTag(element, channel, common) {
  const words = common ? "" : format.quality(channel);
  say(element, words);
  show(element, words !== "");
  mark(element, "missing", channel.quality === "missing");
}

function valueRow([name]) {
  const root = make("div", "row");
  const label = make("dt", "", root);
  const number = make("dd", "number", root);
  const tag = make("dd", "tag", root);
  return {
    root,
    update([, channel, common]) {
      say(label, format.channelName(name));
      fillNumber(number, name, channel);
      fillTag(tag, channel, common);
    },
  };
}

export function meterCard(first) {
  const root = make("article", "meter");
  const head = make("div", "meter-head", root);
  const name = make("h3", "", head);
  const age = make("span", "age", head);
  const place = make("p", "place", root);
  const whole = make("p", "whole", root);
  const chief = make("div", "chief", root);
  const chief_label = make("p", "label", chief);
  const figure = make("div", "figure", chief);
  const chief_number = make("span", "number", figure);
  const chief_tag = make("span", "tag", figure);
  const rows = make("dl", "", root);
  const more = make("details", "", root);
  const more_label = make("summary", "", more);
  const more_rows = make("dl", "", more);
  const key = ([channel]) => channel;
  const shown = new List(rows, key, valueRow);
  const folded = new List(more_rows, key, valueRow);
  root.dataset.meter = first.meter;
  return {
    root,
    update(meter) {
      const channels = Object.entries(meter.channels ?? {});
      const main = CHIEF.find((one) => meter.channels?.[one]) ?? null;
      const common = commonQuality(channels);
      const others = channels.filter(([one]) => one !== main)
        .map(([one, channel]) => [one, channel, common]);
      show(whole, common !== "");
      say(whole, common);
      mark(whole, "missing", channels[0]?.[1].quality === "missing");
      const silent = !meter.answered && meter.at !== null;
      mark(root, "silent", silent);
      say(name, meter.name || meter.meter);
      say(age, meter.at === null ? text("page.meter.unread")
        : silent ? text("page.meter.silent") : format.age(meter.now - Date.parse(meter.at)));
      say(place, `${meter.meter} · ${meter.link} · ${text("page.meter.unit", { unit: meter.unit })} · ${meter.profile}`);
      show(chief, main !== null);
      if (main) {
        say(chief_label, format.channelName(main));
        fillNumber(chief_number, main, meter.channels[main]);
        fillTag(chief_tag, meter.channels[main], common);
      }
      const fits = others.length <= FIRST_MAX + 1;
      shown.update(fits ? others : others.slice(0, FIRST_MAX));
      folded.update(fits ? [] : others.slice(FIRST_MAX));
      show(more, !fits);
      say(more_label, text("page.meter.more", { count: others.length - FIRST_MAX }));
    },
  };
}
