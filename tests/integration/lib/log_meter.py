"""A gas corrector with a log of hours and of gas days, worked out here: its index is known at every instant.

The map is tests/sites/profiles/hourly-log.yaml, written here a second time.
"""
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from . import registers as r

PROFILE = Path(__file__).resolve().parents[2] / "sites" / "profiles" / "hourly-log.yaml"
SHANGHAI = timezone(timedelta(hours=8))
HOUR_S = 3600
DAY_S = 86400
HOUR_ZERO = 490000 // 7 * 7  # the index is 0 there, in 2025
HOURS_FIRST, HOURS_SIZE, HOURS_RECORDS = 1000, 10, 200
DAYS_FIRST, DAYS_SIZE, DAYS_RECORDS = 4000, 5, 40


def rate(hour):
    """Counts of 0.0001 m3 a second, another one each hour."""
    return 50 + 37 * (hour % 7)


class LogMeter:
    """Sits behind a unit of lib/meter.py. `shift_s`: its wall clock less ours."""

    def __init__(self, unit, shift_s=0, serial=417):
        self.shift_s = shift_s
        self.serial = serial
        self.log_late_s = 0     # its log is of so much later than its times say
        self.hours_kept = HOURS_RECORDS
        self.log_requests = 0
        unit.before_read = self._fill

    def now(self):
        return time.time() + self.shift_s

    @staticmethod
    def index(at):
        """Counts of 0.0001 m3 at an instant (Unix seconds)."""
        hour = int(at) // HOUR_S
        weeks, rest = divmod(hour - HOUR_ZERO, 7)
        whole = weeks * sum(map(rate, range(7))) + sum(rate(hour - i) for i in range(1, rest + 1))
        return whole * HOUR_S + int((at - hour * HOUR_S) * rate(hour))

    def _fill(self, unit, function, first, count):
        now = self.now()
        if first < 100:
            index = self.index(now)
            unit.put_all(3, {0: r.bcd(index, 12), 3: r.u32(index // 100), 5: r.f32(12.5), 7: r.f32(301.0),
                             9: r.u32(self.serial)})
        elif function == 3:
            self.log_requests += 1
            for place in range((first - HOURS_FIRST) // HOURS_SIZE, (first + count - 1 - HOURS_FIRST) // HOURS_SIZE + 1):
                unit.put(3, HOURS_FIRST + place * HOURS_SIZE, self._hour(now, place))
        else:
            self.log_requests += 1
            for place in range((first - DAYS_FIRST) // DAYS_SIZE, (first + count - 1 - DAYS_FIRST) // DAYS_SIZE + 1):
                unit.put(4, DAYS_FIRST + place * DAYS_SIZE, self._day(now, place))

    def _hour(self, now, place):
        """The newest first; what is not kept is zeros."""
        if place >= self.hours_kept:
            return [0] * HOURS_SIZE
        end = (int(now) // HOUR_S - place) * HOUR_S
        stamp = int(datetime.fromtimestamp(end, SHANGHAI).strftime("%y%m%d%H%M%S"))
        index = self.index(end + self.log_late_s)
        return r.bcd(stamp, 12) + r.bcd(index, 12) + r.u32(index // 100) + r.f32(301.0)

    def _day(self, now, place):
        """The oldest first; gas days end at 06:00."""
        last = (int(now) + 2 * HOUR_S) // DAY_S * DAY_S - 2 * HOUR_S
        end = last - (DAYS_RECORDS - 1 - place) * DAY_S
        return r.u32(end) + r.bcd(self.index(end + self.log_late_s), 12)
