"""Waiting for a condition instead of for a time."""
import time


def wait_until(condition, deadline_s, what, interval_s=0.03):
    """Returns the condition's first true result; fails with `what` (text, or a function that makes it) at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= end:
            raise AssertionError(f"not within {deadline_s} s: {what() if callable(what) else what}")
        time.sleep(interval_s)
