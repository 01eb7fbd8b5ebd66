"""Head office by python3-paho-mqtt: takes what the gateway publishes, and doubts all of it."""
import json
import threading
import time
from collections import defaultdict, namedtuple
from decimal import Decimal

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes

from .schemas import Schemas
from .wait import wait_until

Message = namedtuple("Message", "arrived topic payload retain properties body")
PREFIX = "metergate/v1"
LANES = ("alert", "live", "backfill")


def parse(payload):
    """JSON with numbers kept as decimals, so that no digit is lost on the way to a comparison."""
    return json.loads(payload.decode("utf-8"), parse_float=Decimal)


class Office:
    """One subscriber. `faults` collects what breaks the feed's promises as it arrives."""

    def __init__(self, port, gateway="site-042", prefix=PREFIX, subscribe=True, schemas=True):
        self.gateway = gateway
        self.base = f"{prefix}/{gateway}"
        self.messages = []
        self.faults = []
        self.connects = 0
        self._schemas = Schemas() if schemas else None
        self._subscribe = subscribe
        self._granted = threading.Event()
        self._first = {}                   # (lane, seq) -> payload of its first appearance
        self._highest = defaultdict(int)   # (stream, lane) -> seq
        self._client = mqtt.Client(client_id=f"office-{time.monotonic_ns()}", protocol=mqtt.MQTTv5)
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._granted.set()
        self._client.on_message = self._arrived
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(0)
        self._client.connect("127.0.0.1", port, keepalive=20, clean_start=True)
        self._client.loop_start()
        if subscribe:
            self.wait_subscribed()

    def _connected(self, client, _userdata, _flags, reason, _properties):
        if reason != 0:
            return
        self.connects += 1
        if self._subscribe:
            client.subscribe(f"{self.base}/#", qos=1)

    def subscribe(self):
        self._subscribe = True
        self._client.subscribe(f"{self.base}/#", qos=1)
        self.wait_subscribed()

    def wait_subscribed(self):
        if not self._granted.wait(10):
            raise AssertionError("the broker did not grant the office's subscription")

    def _arrived(self, _client, _userdata, raw):
        if raw.topic.startswith(f"{self.base}/command"):
            return
        try:
            body = parse(raw.payload)
        except (UnicodeDecodeError, ValueError) as error:
            self.faults.append(f"{raw.topic}: not JSON: {error}: {raw.payload[:200]!r}")
            body = None
        user = dict(raw.properties.UserProperty) if hasattr(raw.properties, "UserProperty") else {}
        message = Message(time.time(), raw.topic, bytes(raw.payload), bool(raw.retain), user, body)
        if body is not None:
            self._judge(message)
        self.messages.append(message)

    def _judge(self, message):
        body = message.body
        if self._schemas:
            self.faults += [f"{message.topic}: {fault}: {message.payload[:600].decode()}"
                            for fault in self._schemas.faults(body)]
        if not isinstance(body, dict):
            return
        if body.get("gateway") != self.gateway:
            self.faults.append(f"{message.topic}: gateway is {body.get('gateway')!r}")
        if "seq" not in body:
            return
        lane, seq = body.get("lane"), body["seq"]
        if lane not in LANES:
            self.faults.append(f"{message.topic}: unknown lane {lane!r}")
        key = (body.get("stream"), lane, seq)
        if key in self._first:
            if self._first[key] != (message.topic, message.payload):
                self.faults.append(f"two contents under {lane} {seq}: {self._first[key]!r} and "
                                   f"{(message.topic, message.payload)!r}")
            return
        self._first[key] = (message.topic, message.payload)
        if message.properties.get("replay") != "1":
            order = (body.get("stream"), lane)
            if seq <= self._highest[order]:
                self.faults.append(f"{lane} {seq} appears for the first time after {self._highest[order]}")
            self._highest[order] = max(seq, self._highest[order])

    # --- what came ---

    def of(self, kind, meter=None):
        """Bodies of the topics KIND/METER (or KIND alone) in order of arrival, each (lane, seq) once."""
        seen, found = set(), []
        for message in list(self.messages):
            parts = message.topic[len(self.base) + 1:].split("/")
            if message.body is None or parts[0] != kind or (meter is not None and parts[1:] != [meter]):
                continue
            key = (message.body.get("lane"), message.body.get("seq"))
            if key[1] is not None and key in seen:
                continue
            seen.add(key)
            found.append(message.body)
        return found

    def wait_for(self, kind, meter=None, where=lambda body: True, deadline_s=30, count=1):
        """The first `count` bodies of a kind for which `where` holds."""
        def enough():
            found = [body for body in self.of(kind, meter) if where(body)]
            return found if len(found) >= count else None
        return wait_until(enough, deadline_s,
                          lambda: f"{count} x {kind}/{meter or ''} at the office; it has "
                                  f"{len(self.of(kind, meter))} of them, topics {sorted(self.topics())}")

    def topics(self):
        return {message.topic[len(self.base) + 1:] for message in list(self.messages)}

    def seqs(self, lane):
        return sorted(seq for (_, of_lane, seq) in list(self._first) if of_lane == lane)

    def holes(self):
        """Sequence numbers that are missing between 1 and the highest of each lane and that no gap message names."""
        named = defaultdict(set)
        for gap in self.of("gap"):
            named[gap["of_lane"] if "of_lane" in gap else gap["lane"]].update(range(gap["first"], gap["last"] + 1))
        return [(lane, seq) for lane in LANES for seq in range(1, max(self.seqs(lane), default=0) + 1)
                if seq not in set(self.seqs(lane)) and seq not in named[lane]]

    def check(self):
        """Fails when anything that arrived broke a promise of the feed."""
        assert not self.faults, "\n".join(self.faults[:20])

    def publish(self, topic, payload, retain=False):
        self._client.publish(topic, payload, qos=1, retain=retain, properties=Properties(PacketTypes.PUBLISH))

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
