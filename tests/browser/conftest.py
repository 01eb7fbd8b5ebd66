"""Fixtures of the browser tests: a page's process over a control socket written here, and a Chromium without a screen."""
import os
import sys
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "integration"))
sys.dont_write_bytecode = True

from lib.fake_gateway import FakeGateway, fill_site  # noqa: E402
from lib.page_server import PageServer  # noqa: E402


class Browser:
    """One window; `check` fails on any message of the console that is an error."""

    def __init__(self, folder):
        options = Options()
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--ignore-certificate-errors",
                         "--disable-gpu", "--no-first-run", "--disable-extensions", "--disable-background-networking",
                         f"--user-data-dir={folder / 'chromium'}", "--lang=en"):
            options.add_argument(argument)
        options.add_experimental_option("prefs", {"intl.accept_languages": "en"})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.binary_location = "/usr/bin/chromium"
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.driver.set_page_load_timeout(60)
        self.driver.set_script_timeout(60)

    def shape(self, width, height=900, dark=False):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def console_errors(self, but=()):
        """Errors since the last call; `but`: texts of answers that the test asked for."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE" and not any(text in entry["message"] for text in but)]

    def keep_picture(self, name):
        """A picture of the whole page, where METERGATE_PICTURES names a folder for it."""
        folder = os.environ.get("METERGATE_PICTURES")
        if not folder:
            return
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        width = self.driver.execute_script("return window.innerWidth")
        dark = self.driver.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
        self.shape(width, max(int(height), 500), dark)
        (Path(folder) / f"{name}.png").write_bytes(self.driver.get_screenshot_as_png())
        self.shape(width, dark=dark)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    one = Browser(tmp_path_factory.mktemp("browser"))
    yield one
    one.driver.quit()


@pytest.fixture
def make_site(tmp_path):
    """Makes a site: make_site(claimed=True) gives the control socket, with its page as `.page`."""
    made = []

    def make(claimed=True, full=True):
        state = tmp_path / f"state{len(made)}"
        state.mkdir()
        fake = FakeGateway(state, claimed)
        if full:
            fill_site(fake)
        fake.page = PageServer(state, tmp_path)
        made.append(fake)
        return fake

    yield make
    for fake in made:
        fake.page.stop()
        fake.close()
