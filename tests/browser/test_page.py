"""The page in a real browser: claim, login, live values, faults; narrow and wide, both languages, light and dark."""
import re

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from lib.fake_gateway import CLAIM_CODE, PASSWORD, Raw, stamp
from lib.wait import wait_until

pytestmark = pytest.mark.timing

DEADLINE_S = 30
NARROW, WIDE = 360, 1280
SHAPES = [(NARROW, "en", False), (WIDE, "en", False), (NARROW, "zh", False), (WIDE, "zh", False), (WIDE, "en", True),
          (NARROW, "zh", True)]
CHINESE = re.compile("[\u4e00-\u9fff]")

# Relative luminance and contrast after WCAG 2.1, of every text that can be seen, over its nearest opaque ground.
CONTRAST = """
const lum = (c) => { const f = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]); };
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const bad = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const element = node.parentElement;
  if (!node.data.trim() || !element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
  if (element.matches('.skip, script, style')) continue;
  let ground = element, opacity = 1;
  for (let up = element; up; up = up.parentElement) opacity *= Number(getComputedStyle(up).opacity);
  while (ground && (parse(getComputedStyle(ground).backgroundColor)[3] ?? 1) < 1) ground = ground.parentElement;
  const back = parse(ground ? getComputedStyle(ground).backgroundColor : 'rgb(255,255,255)');
  const front = parse(getComputedStyle(element).color);
  const [a, b] = [lum(front), lum(back)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const style = getComputedStyle(element);
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
  if (opacity === 1 && ratio < (large ? 3 : 4.5)) bad.push(`${node.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
}
return bad;
"""

# Whatever reaches beyond the window's width.
OVERFLOW = """
const width = document.documentElement.clientWidth;
return [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && !e.matches('.skip')
    && (e.getBoundingClientRect().right > width + 1 || e.getBoundingClientRect().left < -1))
  .map((e) => `${e.tagName}.${e.className} ${Math.round(e.getBoundingClientRect().right)}`)
  .concat(document.documentElement.scrollWidth > width + 1 ? ['the page scrolls sideways'] : []);
"""


class Page:
    """What a person sees and does."""

    def __init__(self, browser, site, width, language="en", dark=False):
        self.browser, self.driver, self.site = browser, browser.driver, site
        self.url = f"https://localhost:{site.page.port}/"
        browser.shape(width, dark=dark)
        self.driver.get(self.url)
        self.driver.delete_all_cookies()
        self.driver.get(self.url)
        self.wait(lambda: self.text("#language"), "the language switch shows")
        browser.console_errors()  # what the visit without the page's cookies may have said
        if self.driver.execute_script("return document.documentElement.lang.slice(0, 2)") != language:
            self.find("#language").click()
            self.wait(lambda: self.driver.execute_script("return document.documentElement.lang.slice(0, 2)") ==
                      language, "the language changes")

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.driver.execute_script(
            "const e = document.querySelector(arguments[0]); return e && e.checkVisibility() ? e.innerText : ''", selector)

    def wait(self, condition, what):
        return wait_until(condition, DEADLINE_S, lambda: f"{what}; the page says:\n{self.text('body')[:3000]}")

    def wait_text(self, selector, part):
        return self.wait(lambda: part in self.text(selector), f"{selector} says {part!r}")

    def fill(self, **fields):
        for name, value in fields.items():
            field = self.find(f"form [name={name}]")
            field.clear()
            field.send_keys(value)

    def submit(self):
        self.find("form button[type=submit]").click()

    def log_in(self, name="anna"):
        self.wait(lambda: self.all("form [name=password]"), "the login shows")
        self.fill(name=name, password=PASSWORD)
        self.submit()
        self.wait(lambda: self.all(".meter") or self.text(".meters .empty"), "the overview shows")
        self.wait(lambda: self.text(".summary-text"), "the summary shows")

    def check_layout(self):
        assert self.driver.execute_script(OVERFLOW) == []
        assert self.driver.execute_script(CONTRAST) == []


@pytest.mark.parametrize("width,language,dark", SHAPES)
def test_claim(browser, make_site, width, language, dark):
    site = make_site(claimed=False)
    page = Page(browser, site, width, language, dark)
    page.wait(lambda: page.all("#code"), "the claim shows")
    page.check_layout()
    browser.keep_picture(f"claim-{width}-{language}{'-dark' if dark else ''}")
    assert bool(CHINESE.search(page.text("main"))) == (language == "zh")
    # What can be seen to be wrong is told before it is sent, at its field.
    page.fill(code="WRONG", name="Anna", password=PASSWORD)
    page.submit()
    page.wait(lambda: page.text(".fault"), "the fault shows")
    assert page.driver.switch_to.active_element.get_attribute("name") == "name"
    page.fill(name="anna", password="short")
    page.submit()
    assert page.driver.switch_to.active_element.get_attribute("name") == "password"
    assert not any(command == "claim" for command, _ in site.requests)
    page.fill(password=PASSWORD)
    page.submit()
    page.wait(lambda: any(command == "claim" for command, _ in site.requests), "the claim is sent")
    page.wait(lambda: page.text(".fault") and page.find("form button[type=submit]").is_enabled(), "it is refused")
    page.check_layout()
    page.fill(code=CLAIM_CODE)
    page.submit()
    page.wait(lambda: page.all(".meter"), "the overview shows")
    assert "anna" in page.driver.execute_script("return document.querySelector('#who').textContent")
    assert browser.console_errors(but=["api/claim", "api/live - Failed to load resource: the server responded with a "
                                       "status of 401"]) == []


def test_claim_code_in_the_address(browser, make_site):
    site = make_site(claimed=False)
    page = Page(browser, site, WIDE)
    page.driver.get("about:blank")
    page.driver.get(f"{page.url}#claim={CLAIM_CODE}")
    page.wait(lambda: page.all("#code"), "the claim shows")
    assert page.find("#code").get_attribute("value") == CLAIM_CODE
    assert "claim" not in page.driver.current_url
    assert page.driver.switch_to.active_element.get_attribute("name") == "name"


@pytest.mark.parametrize("width,language,dark", SHAPES)
def test_overview(browser, make_site, width, language, dark):
    site = make_site()
    page = Page(browser, site, width, language, dark)
    page.wait(lambda: page.all("#password"), "the login shows")
    page.check_layout()
    browser.keep_picture(f"login-{width}-{language}{'-dark' if dark else ''}")
    page.log_in()
    page.wait(lambda: page.all(".alert"), "the alert shows")
    page.check_layout()
    browser.keep_picture(f"overview-{width}-{language}{'-dark' if dark else ''}")
    assert "North Works" in page.text(".brand")
    assert page.text(".chief .number") == "1\u202f234\u202f581.2204\u00a0m³"
    assert "230.41\u00a0V" in page.text("[data-meter=power]")
    assert "9\u202f007\u202f199\u202f254\u202f740.993001" in page.text("[data-meter=power]")
    assert "\u22123.5\u00a0°C" in page.text("[data-meter=boiler-2]")
    words = {"en": ("suspect · values not compared", "missing · the meter has no such register (exception 2)", "does not answer", "4 of 5 meters answer", "One thing is wrong",
                    "No meter on link tunnel answers", "connection refused", "13\u202f209 wait to be sent"),
             "zh": ("存疑 · 数值尚未与表头显示核对", "缺失 · 仪表无此寄存器（异常 2）", "无应答", "5 台仪表中 4 台有应答", "有 1 项异常", "链路 tunnel 上的仪表均无应答",
                    "connection refused", "13\u202f209 待发送")}[language]
    everything = page.text("main")
    for part in words:
        assert part in everything, part
    assert "page." not in everything  # every text was found
    assert browser.console_errors() == []


def test_values_change_without_a_jump(browser, make_site):
    site = make_site()
    page = Page(browser, site, WIDE)
    page.log_in()
    page.wait(lambda: page.all(".alert"), "the alert shows")
    places = "return [...document.querySelectorAll('.meter, .panel, .row')].map((e) => {" \
             "const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height].map(Math.round).join() })"
    page.driver.execute_script("window.first = document.querySelector('[data-meter=boiler-1]');"
                               "document.querySelector('[data-meter=power] summary').focus()")
    before = page.driver.execute_script(places)
    site.meters[0]["channels"]["volume_base"]["value"] = Raw("1234582.9")
    site.meters[0]["channels"]["pressure"]["value"] = Raw("299.1")
    site.meters[0]["at"] = stamp()
    page.wait_text("[data-meter=boiler-1] .chief", "1\u202f234\u202f582.9")
    page.wait_text("[data-meter=boiler-1]", "299.1")
    assert page.driver.execute_script(places) == before
    assert page.driver.execute_script("return window.first === document.querySelector('[data-meter=boiler-1]')")
    assert page.driver.execute_script("return document.activeElement.tagName") == "SUMMARY"
    # A meter goes, another comes.
    gone = site.meters.pop(1)
    site.meters.append({**gone, "meter": "boiler-9", "name": "Boiler <b>9</b>"})
    page.wait(lambda: page.all("[data-meter=boiler-9]"), "the new meter shows")
    assert not page.all("[data-meter=boiler-2]")
    assert "Boiler <b>9</b>" in page.text("[data-meter=boiler-9]")  # a name is never markup


def test_alerts_open_and_close(browser, make_site):
    site = make_site()
    page = Page(browser, site, WIDE)
    page.log_in()
    page.wait_text(".alerts", "No meter on link tunnel")
    site.open_alerts.clear()
    site.clock_known = False
    page.wait_text(".alerts", "The clock is not known")
    assert "tunnel" not in page.text(".alerts")
    site.clock_known = True
    site.office["state"], site.office["error"] = "no-subscriber", None
    page.wait_text(".alerts", "nobody subscribes there")
    site.office["state"] = "online"
    page.wait_text(".summary", "Not every meter answers")  # the kiln: a silent meter is not in order
    for meter in site.meters:
        meter["answered"] = True
    page.wait_text(".summary", "Everything is in order")
    assert page.text(".alerts") == ""
    browser.keep_picture("overview-good")
    site.office = None
    page.wait_text(".side", "No head office is configured")
    assert browser.console_errors() == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_empty_site_says_what_to_do(browser, make_site, language):
    site = make_site(full=False)
    page = Page(browser, site, NARROW, language)
    page.log_in()
    page.wait_text(".meters .empty", "metergate check")
    page.wait_text(".meters .empty", "/etc/metergate/site.yaml")
    page.check_layout()
    browser.keep_picture(f"empty-{language}")


@pytest.mark.parametrize("width,language", [(NARROW, "zh"), (WIDE, "en")])
def test_the_gateway_goes_and_comes_back(browser, make_site, width, language):
    site = make_site()
    page = Page(browser, site, width, language)
    page.log_in()
    page.wait(lambda: page.all(".alert"), "the alert shows")
    site.close()
    page.wait_text("#notice", {"en": "The gateway does not run", "zh": "网关没有运行"}[language])
    assert "metergate run" in page.text("#notice")
    assert page.text(".chief .number")  # the last values stay, and it says from when
    assert {"en": "Values are from", "zh": "数值停留在"}[language] in page.text("#notice")
    browser.keep_picture(f"away-{width}-{language}")
    assert page.driver.execute_script(OVERFLOW) == []
    # Loaded anew without a gateway: it still speaks.
    page.driver.refresh()
    page.wait_text("#notice", {"en": "The gateway does not run", "zh": "网关没有运行"}[language])
    site.listen()
    page.wait(lambda: page.all(".meter"), "the overview comes back")
    page.wait(lambda: not page.text("#notice"), "the notice goes")
    assert browser.console_errors(but=["status of 503"]) == []


def test_login_says_what_is_wrong(browser, make_site):
    site = make_site()
    page = Page(browser, site, NARROW)
    page.wait(lambda: page.all("#password"), "the login shows")
    page.fill(name="anna", password="wrong horse")
    page.submit()
    page.wait_text(".fault", "Name or password is wrong")
    page.fill(name="slow", password="x")
    page.submit()
    page.wait_text(".fault", "Too many tries")
    page.fill(name="anna", password=PASSWORD)
    page.find("[name=show]").click()
    assert page.find("#password").get_attribute("type") == "text"
    page.find("#password").send_keys(Keys.ENTER)
    page.wait(lambda: page.all(".meter"), "the overview shows")
    # The token is nowhere where a script could read it.
    assert page.driver.execute_script("return document.cookie + JSON.stringify(localStorage)").find("000000") == -1
    cookie = page.driver.get_cookie("__Host-metergate")
    assert cookie["httpOnly"] and cookie["secure"] and cookie["sameSite"] == "Strict" and cookie["path"] == "/"
    site.sessions.clear()
    page.wait_text(".fault", "Your session has ended")
    page.log_in("bert")
    page.find("#logout").click()
    page.wait(lambda: page.all("#password"), "the login shows")
    assert site.sessions == {}


def test_by_keyboard_alone(browser, make_site):
    site = make_site()
    page = Page(browser, site, WIDE)
    page.wait(lambda: page.all("#password"), "the login shows")

    def press(*keys):
        page.driver.switch_to.active_element.send_keys(*keys)

    assert page.driver.switch_to.active_element.get_attribute("name") == "name"  # ready to type
    press("anna", Keys.TAB)
    press(PASSWORD, Keys.TAB)
    assert page.driver.switch_to.active_element.get_attribute("name") == "show"
    press(Keys.TAB)
    press(Keys.ENTER)
    page.wait(lambda: page.all(".meter"), "the overview shows")
    page.wait(lambda: page.all(".alert"), "the alert shows")
    reached = []
    for _ in range(8):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        active = page.driver.switch_to.active_element
        reached.append(active.get_attribute("id") or active.tag_name)
        if active.tag_name == "summary":
            outline = page.driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid"
            active.send_keys(Keys.ENTER)
            page.wait(lambda: page.text("[data-meter=power] details dl"), "the other values unfold")
            break
    assert "summary" in reached
    # Every field and button has a name for a screen reader.
    unnamed = page.driver.execute_script(
        "return [...document.querySelectorAll('button, input')].filter((e) => e.checkVisibility() && !("
        "e.innerText || e.labels?.length || e.getAttribute('aria-label'))).map((e) => e.outerHTML)")
    assert unnamed == []


def test_an_unattended_page_asks_in_the_background(browser, make_site):
    site = make_site()
    page = Page(browser, site, WIDE)
    page.log_in()
    assert not any(request.get("background") for _, request in site.requests)
    # The clock of the page goes on by two minutes without anybody touching it.
    page.driver.execute_script("const now = Date.now; Date.now = () => now() + 120000")
    page.wait(lambda: site.requests[-1][1].get("background"), "it asks in the background")
    page.find("#language").click()
    page.wait(lambda: not site.requests[-1][1].get("background"), "a person is there again")
    page.find("#language").click()


def test_leader_saves_a_backup(browser, make_site):
    site = make_site()
    page = Page(browser, site, WIDE)
    page.log_in("anna")
    page.wait(lambda: page.text(".backup button"), "the button shows")
    page.check_layout()
    page.driver.execute_script("""
        window.saved = null;
        URL.createObjectURL = (blob) => { blob.arrayBuffer().then((bytes) => { window.saved = [...new Uint8Array(bytes)]; });
                                          return '#saved'; };""")
    page.find(".backup button").click()
    page.wait_text(".backup-state", "site-042-1.backup")
    page.wait(lambda: page.driver.execute_script("return window.saved !== null"), "the file is whole")
    assert bytes(page.driver.execute_script("return window.saved")) == site.backup
    assert browser.console_errors() == []


def test_a_viewer_has_no_backup(browser, make_site):
    page = Page(browser, make_site(), WIDE)
    page.log_in("bert")
    assert page.text(".backup button") == "" and page.text(".facts")


@pytest.mark.parametrize("width,language,dark", SHAPES)
def test_completeness_of_a_gas_day(browser, make_site, width, language, dark):
    site = make_site()
    day = stamp()[:10]
    site.ledgers = [
        {"meter": "boiler-1", "open": False, "expected": 1440, "good": 1430, "suspect": 0, "missing": 10, "complete": 99.3,
         "holes": [{"from": f"{day}T02:00:00.000Z", "to": f"{day}T03:00:00.000Z", "missing": 10, "why": "timeout",
                    "index": "good"}], "hole_count": 3},
        {"meter": "boiler-2", "open": False, "expected": 1440, "good": 1440, "suspect": 0, "missing": 0, "complete": 100,
         "holes": [], "hole_count": 0}]
    page = Page(browser, site, width, language, dark)
    page.log_in("bert")
    chinese = language == "zh"
    page.wait_text(".ledger-state", "采到 99.65 %" if chinese else "99.65 % of all reads came, 10 are missing")
    assert page.text(".ledger:nth-child(1) strong") == "boiler-1" and page.text(".ledger:nth-child(1) .share") == "99.3 %"
    assert ("缺 10 次" if chinese else "10 reads missing") in page.text(".ledger:nth-child(1) .holes")
    assert page.text(".ledger:nth-child(1) .hint") == ("另有 2 处" if chinese else "and 2 more")
    assert page.text(".ledger:nth-child(2) .holes") == "" and page.text(".ledger-gaps")
    page.check_layout()
    page.driver.execute_script("arguments[0].click()", page.find(".later"))
    page.wait_text(".ledger-state", "没有" if chinese else "nothing of this gas day")
    assert page.all(".ledger") == [] and page.text(".ledger-gaps") == ""
    assert [one["arguments"]["days_back"] for name, one in site.requests if name == "completeness"] == [1, 0]
    assert browser.console_errors() == []
