"""Nothing is ever written to a meter: no frame of the session, and no call in the program, that could."""
import os
import subprocess
from pathlib import Path

import pytest

from lib.frames import fault_of
from lib.gateway import ROOT, program, run

# Of libmodbus the program takes the serial port, the collecting of a TCP reply and its own sockets: no request function.
LIBMODBUS = {"modbus_close", "modbus_connect", "modbus_free", "modbus_get_socket", "modbus_new_rtu", "modbus_new_tcp",
             "modbus_new_tcp_pi", "modbus_receive_confirmation", "modbus_set_byte_timeout", "modbus_set_error_recovery",
             "modbus_set_response_timeout", "modbus_set_socket", "modbus_strerror"}


def test_program_has_no_function_that_writes():
    release = Path(os.environ.get("METERGATE_RELEASE", ROOT / "build" / "metergate"))
    for binary in {program(), release.resolve()}:
        listed = subprocess.run(["nm", "-D", "--undefined-only", binary], capture_output=True, text=True, check=True)
        used = {line.split()[-1].split("@")[0] for line in listed.stdout.splitlines()}
        of_modbus = {name for name in used if name.startswith("modbus_")}
        assert of_modbus and of_modbus <= LIBMODBUS, f"{binary}: {sorted(of_modbus - LIBMODBUS)}"


def test_walk_sees_what_it_looks_for():
    good = bytes.fromhex("010300000002c40b")
    assert fault_of(good, rtu=True) is None
    assert fault_of(bytes.fromhex("0001000000060103006b0003"), rtu=False) is None
    for frame, rtu in (("010600010003980b", True),             # write one register
                       ("010300000002c40c", True),             # check sum
                       ("01030000007e8589", True), ("0103ffff0002c5ef", True),
                       ("000100000006010600010003", False), ("0001000000060110006b0003", False),
                       ("000100010006010300010003", False), ("000100000007010300010003", False),
                       ("000100000006010300010000", False)):
        assert fault_of(bytes.fromhex(frame), rtu) is not None, frame


@pytest.mark.after_all
def test_every_frame_of_the_session(meters, every_frame):
    """Reads over each kind of path at least, and then all that the other tests made the program send."""
    for bus in (meters.tcp([1]), meters.tcp([1], rtu=True), meters.serial([1])):
        assert run("read", "--link", bus.url, "--unit", 1, "--profile", "fuxin-totalizer",
                   "--profiles", ROOT / "drivers" / "profiles").status == 0
    every_frame.logs()
    assert not every_frame.faults, "\n".join(every_frame.faults[:20])
    print(f"frames walked, by function: {dict(every_frame.functions)}")
    assert every_frame.functions[3] >= 3 and set(every_frame.functions) <= {1, 2, 3, 4}
