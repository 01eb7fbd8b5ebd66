// The page: which view is shown, who is logged in, which language is spoken.
import { call } from "./api.js";
import { time } from "./format.js";
import * as door from "./door.js";
import { Overview } from "./overview.js";
import { chosen, current, fill, load, text } from "./texts.js";

const RETRY_MS = 2000;
const element = (id) => document.getElementById(id);
let overview = null;
let session = null;
let notice = null; // what the notice says, to say it again in another language
let known = null;  // the last status, for the bar

function drawBar() {
  element("brand-name").textContent = known?.name || "metergate";
  element("brand-id").textContent = known?.name ? known.gateway : "";
  document.title = known?.name ? `${known.name} · metergate` : text("page.title");
  element("who").hidden = !session;
  element("logout").hidden = !session;
  if (session) element("who").textContent = `${session.name} · ${text(`page.role.${session.role}`)}`;
  element("language").textContent = text("page.language");
  element("language").setAttribute("aria-label", text("page.language.label"));
  element("language").lang = current() === "zh" ? "en" : "zh-CN";
}

function drawNotice() {
  element("notice").hidden = notice === null;
  document.body.classList.toggle("stale", notice !== null && notice.since !== null);
  if (notice === null) return;
  element("notice-title").textContent = text(`page.${notice.kind}.title`);
  const since = notice.since ? ` ${text("page.stale", { time: time(notice.since) })}` : "";
  element("notice-text").textContent = text(`page.${notice.kind}.text`) + since;
}

function say(kind, since = null) {
  if (notice?.kind === kind && notice?.since === since) return;
  notice = kind === null ? null : { kind, since };
  drawNotice();
}

function enter(view_id) {
  overview?.stop();
  overview = null;
  const view = element(view_id).content.cloneNode(true).firstElementChild;
  fill(view);
  element("main").replaceChildren(view);
  return view;
}

function showOverview(now) {
  session = now;
  say(null);
  const view = enter("overview-view");
  overview = new Overview(view, {
    role: now.role,
    ended() {
      session = null;
      known = null;
      showLogin("page.login.ended");
    },
    away(fault, since = null) {
      if (fault === null) say(null);
      else say(fault.code === "lost" ? "lost" : "away", since);
    },
    named(status) {
      known = status;
      drawBar();
    },
  });
  drawBar();
  overview.drawSummary();
  overview.start();
  element("main").focus();
}

function showLogin(why) {
  const view = enter("login-view");
  door.wire(view, "login", "page.login.denied", showOverview);
  if (why) view.querySelector(".fault").textContent = text(why);
  drawBar();
  view.querySelector("input").focus();
}

function showClaim() {
  const view = enter("claim-view");
  const form = view.querySelector("form");
  door.wire(view, "claim", "page.claim.denied", showOverview);
  const code = /^#claim=([0-9A-Za-z-]{1,64})$/.exec(location.hash);
  if (code) {
    form.elements.code.value = code[1];
    history.replaceState(null, "", location.pathname); // a code does not stay in the history
  }
  drawBar();
  form.elements[code ? "name" : "code"].focus();
}

// Finds out where we are: logged in, to be claimed, or to log in.
async function begin() {
  for (;;) {
    try {
      const now = await call("session");
      if (now.name !== null) return showOverview(now);
      const state = await call("claim-state");
      say(null);
      return state.claimed ? showLogin() : showClaim();
    } catch (fault) {
      if (fault.code === undefined) throw fault;
      say(fault.code === "lost" ? "lost" : "away");
      await new Promise((wake) => setTimeout(wake, RETRY_MS));
    }
  }
}

async function speak(language) {
  await load(language);
  fill(document);
  for (const view of element("main").children) fill(view);
  drawBar();
  drawNotice();
  overview?.draw();
}

element("language").addEventListener("click", () => speak(current() === "zh" ? "en" : "zh"));
element("logout").addEventListener("click", async () => {
  try {
    await call("logout");
  } catch {
    // Also without an answer this browser shows nothing any more.
  }
  session = null;
  known = null;
  showLogin();
});

await speak(chosen());
await begin();
