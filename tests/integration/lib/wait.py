"""Waiting for a condition instead of for a time."""
import time

BUSY = 3  # how many times longer than a machine with nothing else to do another one may take


def wait_until(condition, deadline_s, what, interval_s=0.03):
    """Returns the condition's first true result; fails with `what` (text, or a function that makes it) at the deadline.

    A deadline only ends a test that hangs, and is generous: where punctuality itself is the bar, a test compares times."""
    end = time.monotonic() + BUSY * deadline_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= end:
            raise AssertionError(f"not within {BUSY * deadline_s} s: {what() if callable(what) else what}")
        time.sleep(interval_s)
