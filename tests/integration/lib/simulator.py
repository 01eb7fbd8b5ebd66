"""`metergate simulate` as a process: meters that behave like an industrial site."""
import json
from pathlib import Path

from .frames import WALK
from .process import Child
from .wait import wait_until


class Simulator:
    """Starts a site file. `links`: {link id: URL for a configuration}; `meters`: dictionaries of meter, unit, profile, link."""

    def __init__(self, binary, site, folder, profiles=None, options=()):
        options = list(options) if "--log" in options else [*options, "--log", folder / "frames.log"]
        command = [binary, "simulate", "--site", site, *options] + (["--profiles", profiles] if profiles else [])
        self.child = Child(command, folder, "simulator", cwd=folder)
        try:
            self.ready = wait_until(self._ready, 20,
                                    lambda: f"the simulator is ready; it says: {self.child.stderr()[-2000:]}")
        except BaseException:
            self.child.stop()
            raise
        # A line {"link", "url", "meters"} for each link, then one that says ready.
        *links, self.ready = self.ready
        self.links = {link["link"]: link["url"] for link in links}
        WALK.log(Path(options[options.index("--log") + 1]), self.links)
        self.meters = [{**meter, "link": link["link"]} for link in links for meter in link["meters"]]

    def _ready(self):
        if not self.child.runs():
            raise AssertionError(f"the simulator ended with {self.child.process.returncode}: "
                                 f"{self.child.stderr()[-2000:]}")
        lines = [json.loads(line) for line in self.child.stdout().split("\n")[:-1]]
        return lines if lines and lines[-1].get("ready") else None

    def stop(self):
        return self.child.stop()
