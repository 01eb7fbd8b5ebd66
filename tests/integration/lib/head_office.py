"""Head office's side of commands: an Ed25519 key by python3-cryptography, messages and answers by python3-paho-mqtt."""
import base64
import json
import threading
import time
from collections import namedtuple
from datetime import datetime, timedelta, timezone

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from .schemas import Schemas
from .wait import wait_until

RESPONSES = "head-office/answers"
Answer = namedtuple("Answer", "topic payload correlation body")


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Key:
    """A signing key; `public` is the file that a gateway is given."""

    def __init__(self, folder, name="office-command"):
        self._private = Ed25519PrivateKey.generate()
        self.public = folder / f"{name}.pub"
        self.public.write_bytes(self._private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        self.private = folder / f"{name}.pem"
        self.private.write_bytes(self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))

    def sign(self, body):
        """The payload of a command with these bytes as its body."""
        return json.dumps({"schema": "command/1", "body": encode(body),
                           "signature": encode(self._private.sign(body))}).encode()


class HeadOffice:
    """One client that sends commands and keeps every answer, in order."""

    def __init__(self, port, key, gateway="site-042", prefix="metergate/v1", version=mqtt.MQTTv5):
        self.key, self.gateway, self.base = key, gateway, f"{prefix}/{gateway}"
        self.answers = []
        self.faults = []
        self._schemas = Schemas()
        self._counter = 0
        self._five = version == mqtt.MQTTv5
        self._granted = threading.Event()
        self._client = mqtt.Client(client_id=f"head-office-{time.monotonic_ns()}", protocol=version)
        self._client.on_connect = lambda *_: self._client.subscribe([(RESPONSES, 1), (f"{self.base}/reply/#", 1)])
        self._client.on_subscribe = lambda *_: self._granted.set()
        self._client.on_message = self._arrived
        self._client.max_inflight_messages_set(0)
        self._client.connect("127.0.0.1", port, keepalive=20)
        self._client.loop_start()
        assert self._granted.wait(10)

    def _arrived(self, _client, _userdata, raw):
        body = json.loads(raw.payload)
        self.faults += self._schemas.faults(body)
        correlation = getattr(getattr(raw, "properties", None), "CorrelationData", None)
        self.answers.append(Answer(raw.topic, bytes(raw.payload), correlation, body))

    def counter(self):
        """Unix milliseconds, above all before."""
        self._counter = max(int(time.time() * 1000), self._counter + 1)
        return self._counter

    def body(self, command, arguments=None, /, expires_s=60, **other):
        """The bytes of a body; `other` takes the place of its fields."""
        expires = datetime.now(timezone.utc) + timedelta(seconds=expires_s)
        fields = {"gateway": self.gateway, "name": command, "counter": self.counter(),
                  "expires": expires.strftime("%Y-%m-%dT%H:%M:%SZ"), "arguments": arguments or {}}
        return json.dumps({**fields, **other}).encode()

    def send(self, name, payload, correlation=None, response=RESPONSES, retain=False):
        properties = None
        if self._five:
            properties = Properties(PacketTypes.PUBLISH)
            if response:
                properties.ResponseTopic = response
            if correlation:
                properties.CorrelationData = correlation
        self._client.publish(f"{self.base}/command/{name}", payload, qos=1, retain=retain,
                             properties=properties).wait_for_publish(20)

    def wait_answers(self, count, deadline_s=30, where=lambda answer: True):
        def enough():
            found = [answer for answer in list(self.answers) if where(answer)]
            return found if len(found) >= count else None
        return wait_until(enough, deadline_s, lambda: f"{count} answers; there are {self.answers}")

    def ask(self, command, arguments=None, /, deadline_s=30, **other):
        """Sends a command and gives its answer's body."""
        payload = self.key.sign(self.body(command, arguments, **other))
        return self.ask_payload(command, payload, deadline_s)

    def ask_payload(self, name, payload, deadline_s=30):
        correlation = f"c{time.monotonic_ns()}".encode()
        self.send(name, payload, correlation)
        if self._five:
            return self.wait_answers(1, deadline_s, lambda answer: answer.correlation == correlation)[0].body
        raise AssertionError("MQTT 3.1.1 has no correlation data: use send and wait_answers")

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
        assert not self.faults, self.faults[:10]
