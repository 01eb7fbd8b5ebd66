#!/usr/bin/python3
"""Takes the README's pictures of the page from the demo site, as it really runs: screenshots.py --metergate FILE."""
import argparse
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from selenium.webdriver.common.by import By

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/integration"))
sys.path.insert(0, str(ROOT / "tests/browser"))
sys.dont_write_bytecode = True

from conftest import Browser  # noqa: E402
from lib.wait import wait_until  # noqa: E402

PICTURES = ROOT / "web/pictures"
START_S = 60
ALERT_S = 180  # boiler-2 of the demo site falls silent after a minute


class Demo:
    """The demo site as `make run` starts it; its output is read as it comes."""

    def __init__(self, binary):
        self.process = subprocess.Popen([sys.executable, ROOT / "tests/sites/demo.py", "--metergate", binary],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []
        threading.Thread(target=lambda: self.lines.extend(iter(self.process.stdout.readline, "")), daemon=True).start()

    def find(self, pattern, deadline_s):
        def found():
            assert self.process.poll() is None, "".join(self.lines)
            match = re.search(pattern, "".join(self.lines))
            return match and match[1]
        return wait_until(found, deadline_s, lambda: f"{pattern} in:\n{''.join(self.lines)}")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


def claim(driver, code):
    driver.find_element(By.NAME, "code").send_keys(code)
    form = driver.find_element(By.NAME, "code").find_element(By.XPATH, "./ancestor::form")
    form.find_element(By.NAME, "name").send_keys("leader")
    form.find_element(By.NAME, "password").send_keys("a password for pictures")
    form.find_element(By.CSS_SELECTOR, "button[type=submit]").click()


def take_pictures(demo, browser):
    driver = browser.driver
    browser.shape(1280, 900)
    driver.get(demo.find(r"(https://localhost:\d+)", START_S))
    code = demo.find(r"claim code:\s+(\S+)", START_S)
    wait_until(lambda: driver.find_elements(By.NAME, "code"), START_S, "the claim form is shown")
    browser.shape(360, 740)
    driver.save_screenshot(str(PICTURES / "claim.png"))
    browser.shape(1280, 900)
    claim(driver, code)
    demo.find(r"(ALERT   boiler-2: no-answer open)", ALERT_S)
    wait_until(lambda: "What is wrong now" in driver.find_element(By.TAG_NAME, "main").text, START_S,
               "the page shows the alert")
    driver.save_screenshot(str(PICTURES / "overview.png"))
    browser.shape(360, 740)
    driver.find_element(By.ID, "language").click()
    wait_until(lambda: "1号锅炉房" in driver.find_element(By.TAG_NAME, "main").text, START_S,
               "the page speaks Chinese")
    driver.save_screenshot(str(PICTURES / "phone.png"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metergate", type=Path, required=True)
    arguments = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    demo = Demo(arguments.metergate.resolve())
    with tempfile.TemporaryDirectory() as scratch:
        browser = Browser(Path(scratch))
        try:
            take_pictures(demo, browser)
        finally:
            browser.driver.quit()
            demo.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
