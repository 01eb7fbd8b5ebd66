"""How long the machine itself kept a ready thread waiting: what a test of punctuality must not lay at the gateway's door."""
import threading
import time

STEP_S = 0.01


class Stalls:
    """A thread that wants to wake every 10 ms and notes how much later it did."""

    def __init__(self):
        self._late = []  # (when, s)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stalls", daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._end.is_set():
            began = time.time()
            self._end.wait(STEP_S)
            self._late.append((time.time(), time.time() - began - STEP_S))

    def between(self, begin, end):
        """Seconds lost in [begin, end]."""
        return sum(late for at, late in self._late if begin <= at <= end and late > STEP_S)

    def stop(self):
        self._end.set()
        self._thread.join(5)
