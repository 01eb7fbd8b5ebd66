"""The gateway's control socket, spoken from outside: a 4-byte big-endian length and JSON."""
import json
import os
import socket
import struct


class ControlError(Exception):
    """The gateway refused, with its own words."""


def _exactly(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError("the gateway closed the control socket")
        data += part
    return data


def _connect(connection, state):
    """To the socket's file; where the disk took none, to the abstract address of the folder."""
    try:
        connection.connect(str(state / "control.sock"))
    except (FileNotFoundError, ConnectionRefusedError):
        folder = os.stat(state)
        connection.connect(f"\0metergate/control/{folder.st_dev:x}-{folder.st_ino:x}")


def call(state, command, arguments=None, timeout_s=10):
    """One command of a running gateway; its result, parsed. OSError when none listens."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        _connect(connection, state)
        text = json.dumps({"id": 1, "command": command, "arguments": arguments or {}}).encode()
        connection.sendall(struct.pack(">I", len(text)) + text)
        (length,) = struct.unpack(">I", _exactly(connection, 4))
        answer = json.loads(_exactly(connection, length))
    if not answer.get("ok"):
        raise ControlError(answer.get("error", "no reason given"))
    return answer.get("result")
