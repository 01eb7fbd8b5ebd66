"""What `make run` starts, as a fixture: it runs from the start of the session, because its summaries need a minute."""
import signal
import sys
from pathlib import Path

import pytest

from .gateway import program
from .process import Child

DEMO = Path(__file__).resolve().parents[2] / "sites" / "demo.py"


@pytest.fixture(scope="session")
def demo_site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    demo = Child([sys.executable, DEMO, "--metergate", program()], folder, "demo")
    yield demo
    if demo.runs():
        demo.stop(signal.SIGINT, deadline_s=40)
