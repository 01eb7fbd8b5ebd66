// Numbers, units and times as people read them.
import { text, textOr, current } from "./texts.js";

const GROUP = "\u202f"; // narrow no-break space (GB 3101: groups of three)
const SPACE = "\u00a0";
const MINUS = "\u2212";
const UNITS = { "m3": "m³", "m3/h": "m³/h", "degC": "°C", "deg": "°", "1": "" };

// A canonical decimal, given as text, with its digits grouped.
export function number(decimal) {
  const [whole, fraction] = String(decimal).split(".");
  const digits = whole.replace("-", "").replace(/\B(?=(\d{3})+$)/g, GROUP);
  return (whole.startsWith("-") ? MINUS : "") + digits + (fraction ? `.${fraction}` : "");
}

export function unit(name) {
  return UNITS[name] ?? name ?? "";
}

export const between = SPACE;

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (count >= 1000 && at + 1 < units.length) {
    count /= 1000;
    at++;
  }
  return `${count.toFixed(at === 0 ? 0 : 1)}${SPACE}${units[at]}`;
}

const locales = { en: "en-GB", zh: "zh-CN" };

export function time(instant) {
  const date = new Date(instant);
  const today = new Date().toDateString() === date.toDateString();
  const form = today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(locales[current()], form).format(date);
}

export function dateTime(instant) {
  return new Intl.DateTimeFormat(locales[current()], { dateStyle: "medium", timeStyle: "short" }).format(new Date(instant));
}

export function age(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 2) return text("page.age.now");
  if (seconds < 120) return text("page.age.s", { count: seconds });
  if (seconds < 7200) return text("page.age.min", { count: Math.floor(seconds / 60) });
  if (seconds < 172800) return text("page.age.h", { count: Math.floor(seconds / 3600) });
  return text("page.age.d", { count: Math.floor(seconds / 86400) });
}

// What a channel holds, as text and unit; value null: a dash.
export function value(name, channel) {
  const it = channel.value;
  if (it === null || it === undefined) return { words: "–", unit: "", plain: false };
  if (Array.isArray(it)) {
    return { words: it.length ? it.join(", ") : text("page.meter.clear"), unit: "", plain: true };
  }
  if (name === "meter_clock") {
    return { words: time(Number(it) * 1000), unit: "", plain: true };
  }
  if (/^-?\d+(\.\d+)?$/.test(String(it)) && channel.unit !== undefined) {
    return { words: number(it), unit: unit(channel.unit), plain: false };
  }
  return { words: String(it), unit: "", plain: true };
}

export function channelName(name) {
  return textOr(`page.channel.${name}`, name.replaceAll("_", " "));
}

export function quality(channel) {
  if (channel.quality === "good") return "";
  const word = text(`quality.${channel.quality}`);
  return channel.why ? `${word} · ${textOr(`why.${channel.why}`, channel.why)}` : word;
}
