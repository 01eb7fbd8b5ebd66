"""The program under test: one gateway process, and its command line."""
import json
import os
import signal
import subprocess
from decimal import Decimal
from pathlib import Path

from . import control
from .process import Child, sanitizer_faults
from .wait import wait_until

ROOT = Path(__file__).resolve().parents[3]
PROFILES = ROOT / "drivers" / "profiles"
COMMAND_LIMIT_S = 180


def program():
    """The binary under test: $METERGATE, else the release build."""
    return Path(os.environ.get("METERGATE", ROOT / "build" / "metergate")).resolve()


class Result:
    """What one command said."""

    def __init__(self, done):
        self.status, self.stdout, self.stderr = done.returncode, done.stdout, done.stderr
        faults = sanitizer_faults(self.stderr)
        assert not faults, f"{done.args}:\n{self.stderr[-4000:]}"
        assert self.status >= 0, f"{done.args} died of signal {-self.status}:\n{self.stderr[-2000:]}"

    def json_lines(self):
        return [json.loads(line, parse_float=Decimal) for line in self.stdout.splitlines() if line]


def run(*arguments, binary=None, stdin=None, enter=()):
    """Runs one command to its end."""
    done = subprocess.run([*enter, str(binary or program()), *map(str, arguments)], capture_output=True, text=True,
                          input=stdin, errors="replace", timeout=COMMAND_LIMIT_S, check=False)
    return Result(done)


class Gateway:
    """`metergate run` on a configuration file and a state directory of its own."""

    def __init__(self, folder, site, binary=None, web=False):
        self.folder = folder
        self.binary = binary or program()
        self.config = folder / "site.yaml"
        self.state = folder / "state"
        self.web = web
        self.child = None
        self.starts = 0
        self.environment = None  # another one than the test's
        self.enter = []  # what starts the program in a namespace of its own, where
        self.inside = None  # the state directory has this name
        if site is not None:
            self.write(site)

    def write(self, site):
        """Puts a configuration (a Site, or text) in the file, at once."""
        text = site if isinstance(site, str) else site.text()
        temporary = self.config.with_suffix(".new")
        temporary.write_text(text)
        os.replace(temporary, self.config)

    def start(self, wait=True):
        self.starts += 1
        command = [*self.enter, self.binary, "run", "--config", self.config, "--state", self.inside or self.state,
                   "--profiles", PROFILES]
        self.child = Child(command + ([] if self.web else ["--no-web"]), self.folder, "gateway",
                           env=self.environment)
        if wait:
            self.wait_ready()
        return self

    def ready(self):
        if not self.child.runs():
            raise AssertionError(f"the gateway ended with {self.child.process.returncode}:\n"
                                 f"{self.child.stderr()[-4000:]}")
        try:
            return self.call("status")
        except (OSError, ValueError):
            return None

    def wait_ready(self, deadline_s=20):
        wait_until(self.ready, deadline_s, lambda: f"the gateway answers; it says:\n{self.child.stderr()[-3000:]}")

    def call(self, command, arguments=None):
        return control.call(self.state, command, arguments)

    def status(self):
        return self.call("status")

    def queue(self):
        """{lane: {"last", "acknowledged", ...}} of the outbox."""
        return self.status()["office"]["lanes"]

    def wait_status(self, condition, deadline_s, what):
        """The first status for which `condition` holds."""
        def holds():
            status = self.status()
            return status if condition(status) else None
        return wait_until(holds, deadline_s, lambda: f"{what}; status is {json.dumps(self.status())[:6000]}")

    def reload(self):
        self.child.send(signal.SIGHUP)

    def stop(self):
        """Ends it cleanly and judges how it ended."""
        if self.child is None:
            return
        child, self.child = self.child, None
        already = child.process.poll()
        status = child.stop(signal.SIGTERM)
        self.check_output(child)
        assert already is None, f"the gateway had ended by itself with {already}:\n{child.stderr()[-4000:]}"
        assert status == 0, f"the gateway ended with {status} after SIGTERM:\n{child.stderr()[-4000:]}"

    def kill(self):
        """As a power cut of the process: SIGKILL."""
        if self.child is None:
            return
        child, self.child = self.child, None
        if not child.runs():
            raise AssertionError(f"the gateway had ended by itself with {child.process.returncode}:\n"
                                 f"{child.stderr()[-4000:]}")
        child.stop(signal.SIGKILL)
        self.check_output(child)

    def check_output(self, child=None):
        text = (child or self.child).stderr()
        assert not sanitizer_faults(text), text[-6000:]

    def stderr(self):
        return (self.folder / "gateway.err").read_text(errors="replace")

    # --- commands ---

    def command(self, *arguments):
        return run(*arguments, binary=self.binary, enter=self.enter)

    def export(self, what, *options):
        """`export WHAT --json`: its objects."""
        result = self.command("export", what, "--state", self.inside or self.state, "--json", *options)
        assert result.status == 0, result.stderr
        return result.json_lines()

    def verify(self):
        return self.command("verify", "--state", self.inside or self.state)
