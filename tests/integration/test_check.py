"""metergate check: every fault with its place, from a corpus of broken files.

Each file in broken/ begins with its faults, all of them and in order: "# expect: LINE:COLUMN: PATH: part of the message".
"""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BROKEN = HERE / "broken"
GOOD = HERE / "good"
PROFILES = GOOD / "profiles"
CORPUS = sorted(BROKEN.glob("*.yaml"))
METERGATE = os.environ["METERGATE"]

SMALLEST = "gateway: {id: site-1, timezone: UTC}\n"
SITE = SMALLEST + """links: [{id: bus, url: "tcp://127.0.0.1:1502"}]
meters:
"""
# What cannot begin with a comment: (text, place and message)
WITHOUT_COMMENT = {
    "empty": (b"", "1:1: file: the file is empty"),
    "utf-16": ("gateway: {id: a, timezone: UTC}".encode("utf-16"), "1:1: file: the byte 0xFF is not UTF-8"),
    "latin-1": (b"gateway: {id: a, timezone: UTC, name: D\xfcren}", "1:40: file: the byte 0xFC is not UTF-8"),
    "json-unclosed": (b'{"gateway": {"id": "a", "timezone": "UTC"}', "1:43: file: this is not YAML"),
    "json-duplicate": (b'{"gateway": {"id": "a", "timezone": "UTC", "id": "b"}}',
                       "1:44: gateway.id: the key 'id' is given twice"),
    "json-null": (b'{"gateway": {"id": "a", "timezone": "UTC"}, "store": null}',
                  "1:54: store: here stands a single value; allowed: a map"),
    "json-unknown": (b'{"gateway": {"id": "a", "timezone": "UTC"},\n "stroe": {}}',
                     "2:2: stroe: unknown key 'stroe'; did you mean 'store'?"),
    "json-wrong-type": (b'{"gateway": {"id": "a", "timezone": "UTC"}, "store": {"raw_days": true}}',
                        "1:67: store.raw_days: 'true' is no whole number; allowed: 1 to 3660 d"),
}


def run(*arguments, text=None):
    result = subprocess.run([METERGATE, "check", *map(str, arguments)], input=text, capture_output=True, timeout=60,
                            check=False)
    stdout, stderr = result.stdout.decode(), result.stderr.decode()
    assert "Sanitizer" not in stderr and "runtime error" not in stderr, stderr
    return result.returncode, stdout, stderr


def split(line, path):
    """LINE, COLUMN, PATH, MESSAGE of a line that check printed."""
    match = re.fullmatch(r"(\d+):(\d+): (\S+): (.+)", line[len(f"{path}:"):])
    assert line.startswith(f"{path}:") and match, line
    return int(match[1]), int(match[2]), match[3], match[4]


def expected_of(path):
    first = path.read_bytes().split(b"\n")
    expected = [line.decode().removeprefix("# expect: ") for line in first if line.startswith(b"# expect: ")]
    assert expected, "the file must begin with # expect:"
    return expected


def assert_faults(path, stdout, expected):
    lines = stdout.splitlines()
    got = [split(line, path) for line in lines]
    assert len(got) == len(expected), stdout
    for (line, column, where, message), wanted in zip(got, expected):
        place, part = re.fullmatch(r"(\d+:\d+: \S+): (.+)", wanted).groups()
        assert f"{line}:{column}: {where}" == place, stdout
        assert part in message, stdout


def test_corpus_is_large_enough():
    assert len(CORPUS) >= 60


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_broken(path):
    status, stdout, stderr = run(path, "--profiles", PROFILES)
    assert status == 1, (stdout, stderr)
    assert_faults(path, stdout, expected_of(path))


@pytest.mark.parametrize("name", WITHOUT_COMMENT)
def test_broken_without_comment(name, tmp_path):
    text, expected = WITHOUT_COMMENT[name]
    path = tmp_path / "site.yaml"
    path.write_bytes(text)
    status, stdout, _ = run(path)
    assert status == 1
    assert_faults(path, stdout, [expected])


def test_faults_of_a_profile_are_told_where_they_are(tmp_path):
    (tmp_path / "bad.yaml").write_text("model: Bad\nsource: x\nchannels:\n  pressure: {register: 1, type: u8, unit: kPa}\n")
    site = tmp_path / "site.yaml"
    site.write_text(SITE + "  - {id: m1, link: bus, unit: 1, profile: ./bad.yaml}\n")
    status, stdout, _ = run(site)
    first, second = stdout.splitlines()
    assert status == 1
    assert split(first, site)[:3] == (4, 43, "meters[0].profile")
    assert split(second, tmp_path / "bad.yaml")[:3] == (4, 33, "channels.pressure.type")


def test_every_fault_is_counted(tmp_path):
    site = tmp_path / "site.yaml"
    site.write_text(SITE + "  - {}\n" * 100)
    status, stdout, stderr = run(site)
    assert status == 1
    assert len(stdout.splitlines()) == 200
    assert "200 more faults are not shown" in stderr


def test_good_files_print_nothing(tmp_path):
    site = tmp_path / "site.yaml"
    site.write_text(SITE + "  - {id: m1, link: bus, unit: 1, profile: plain, qmax_m3_h: 160}\n"
                           "  - {id: m2, link: bus, unit: 2, profile: open, units: {volume_base: l}}\n")
    status, stdout, stderr = run(site, "--profiles", PROFILES)
    assert (status, stdout) == (0, ""), stdout
    notes = stderr.splitlines()
    assert any("m2: over-range is off" in note for note in notes), stderr
    for rule in ("flow-mismatch", "sensor-stuck"):
        assert any(f"m2: {rule} is off" in note for note in notes), stderr
    assert not any("m1: over-range is off" in note for note in notes), stderr
    assert any("m2" in note and "not verified" in note for note in notes), stderr
    assert not any("m1" in note and "not verified" in note for note in notes), stderr
    assert run(PROFILES / "plain.yaml") == (0, "", "")
    status, stdout, stderr = run(PROFILES / "open.yaml")
    assert (status, stdout) == (0, "") and "not verified" in stderr


FIT = """
gateway: {{id: fit-test, timezone: UTC}}
links:
  - {{id: bus, url: "{url}"}}
  - {{id: spare, url: "tcp://192.0.2.9:502"}}
meters:
"""
FUXIN = 8 + 5 + 2 * 14 + 2 * 3.5  # bytes of its one request, of the reply to it, and silences


def fit_notes(tmp_path, url, intervals, meters=""):
    """What `check` says of a bus of Fuxin totalizers with these intervals."""
    path = tmp_path / "fit.yaml"
    rows = [f"  - {{id: m{unit}, link: bus, unit: {unit}, profile: fuxin-totalizer, interval_s: {seconds}, qmax_m3_h: 9}}\n"
            for unit, seconds in enumerate(intervals, 1)]
    path.write_text(FIT.format(url=url) + "".join(rows) + meters)
    status, stdout, stderr = run(path, "--profiles", ROOT / "drivers/profiles")
    assert (status, stdout) == (0, ""), stdout
    assert "link spare" not in stderr  # nothing is on it
    return [line for line in stderr.splitlines() if " link bus: " in line]


@pytest.mark.parametrize("baud,parity,bits", [(9600, "N", 10), (4800, "E", 11), (19200, "O", 11)])
def test_bus_load_is_told(tmp_path, baud, parity, bits):
    """Worked out here: silences of 3.5 characters, 20 ms of the meter, bits on the line."""
    poll_ms = FUXIN * bits * 1000 / baud + 20
    notes = fit_notes(tmp_path, f"rtu:///dev/ttyS0?baud={baud}&parity={parity}&stop=1", [10] * 9 + [60])
    percent = float(re.search(r"need ([0-9.]+) %", notes[0])[1])
    assert percent == pytest.approx(9 * poll_ms / 100 + poll_ms / 600, abs=0.051)
    assert notes[0].startswith("note: ") and f"{baud} Bd 8{parity}1" in notes[0]
    assert float(re.search(r"([0-9.]+) % are left", notes[0])[1]) == pytest.approx(100 - percent, abs=0.11)
    assert "m1 and 8 more like it, each: 1 request" in notes[1] and "m10: 1 request" in notes[2]
    for note in notes[1:]:
        assert float(re.search(r"([0-9.]+) ms every", note)[1]) == pytest.approx(poll_ms, abs=0.051)
    assert len(notes) == 3


def test_bus_that_does_not_fit_is_a_warning_with_what_to_do(tmp_path):
    notes = fit_notes(tmp_path, "rtu:///dev/ttyS0?baud=1200&parity=N&stop=1", [1] * 5)
    share = 5 * (FUXIN * 10 / 1200 + 0.02)  # of each second: 2.1
    assert notes[0].startswith("warning: ")
    assert float(re.search(r"need ([0-9.]+) %", notes[0])[1]) == pytest.approx(100 * share, abs=0.51)
    assert "110 % more than there is" in notes[0]
    assert "interval_s 3 times as long" in notes[0] and "set the bus to 4800 Bd" in notes[0] and "3 links" in notes[0]
    # And what it says helps: at that speed, or with those intervals, it is a note without advice.
    for url, intervals in (("rtu:///dev/ttyS0?baud=4800&parity=N&stop=1", [1] * 5),
                           ("rtu:///dev/ttyS0?baud=1200&parity=N&stop=1", [3] * 5)):
        notes = fit_notes(tmp_path, url, intervals)
        assert notes[0].startswith("note: ") and "interval_s" not in notes[0], notes


def test_a_long_poll_that_makes_others_late_is_a_warning(tmp_path):
    other = "  - {id: power, link: bus, unit: 99, profile: eastron-sdm630, interval_s: 600}\n"
    notes = fit_notes(tmp_path, "rtu:///dev/ttyS0?baud=1200&parity=N&stop=1", [1], other)
    assert notes[0].startswith("note: ")
    assert notes[-1].startswith("warning: ") and "m1 is due every 1 s, but a poll of power takes" in notes[-1]


def test_standard_input_and_json():
    document = {"gateway": {"id": "site-1", "timezone": "UTC", "name": "北厂"}, "store": {"raw_days": 7}}
    status, stdout, _ = run("-", text=json.dumps(document, ensure_ascii=False).encode())
    assert (status, stdout) == (0, "")
    status, stdout, _ = run("-", text=b"gateway: {id: site-1}\n")
    assert status == 1
    assert split(stdout.strip(), "stdin")[:3] == (1, 10, "gateway.timezone")


@pytest.mark.parametrize("path", sorted([*PROFILES.glob("*.yaml"), *(ROOT / "drivers/profiles").glob("*.yaml")]),
                         ids=lambda path: path.stem)
def test_good_profiles(path):
    status, stdout, _ = run(path)
    assert (status, stdout) == (0, "")


@pytest.mark.parametrize("wait,told", [("", True), (", response_timeout_ms: 999", True),
                                       (", response_timeout_ms: 1000", False)])
def test_time_that_a_meter_needs(tmp_path, wait, told):
    site = tmp_path / "site.yaml"
    site.write_text(SITE.replace("1502\"", f"1502\"{wait}") +
                    "  - {id: m1, link: bus, unit: 1, profile: abb-aquamaster3,\n"
                    "     units: {water_volume: m3, water_volume_reverse: m3, water_flow: m3/h}}\n")
    status, stdout, stderr = run(site)
    assert (status, stdout) == (0, "")
    assert ("m1: the meter may take 1000 ms to answer, the link bus waits for" in stderr) == told, stderr


def test_values_that_cut_into_each_other(tmp_path):
    profile = tmp_path / "profile.yaml"
    text = ("model: Test\nsource: this test\nverified: true\nchannels:\n  volume_base: {register: 18, type: bcd12, unit: m3}\n"
            "  flow_base: {register: %d, type: f32, unit: m3/h}\nstatus: [{register: 30, bit: 1, name: a}, "
            "{register: 30, bit: 2, name: b}]\n")
    profile.write_text(text % 20)
    status, stdout, stderr = run(profile)
    assert (status, stdout) == (0, "") and "registers 18 to 20 and 20 to 21 cut into each other" in stderr
    profile.write_text(text % 21)
    assert run(profile) == (0, "", "")
    for path in (ROOT / "drivers/profiles").glob("*.yaml"):
        assert "cut into" not in run(path)[2], path


def test_page_of_profiles():
    """drivers/profiles/README.md lists what is shipped, and its example is the shipped file."""
    folder = ROOT / "drivers/profiles"
    page = (folder / "README.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| [^|]+ \| ([a-z]+) \| (A|A-|B) \| ?(yes|) \|", page, re.MULTILINE)
    documents = {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml")}
    assert [row[0] for row in rows] == sorted(documents)
    assert {row[0]: (row[1], row[3]) for row in rows} == {
        name: (document["medium"], "yes" if "identity" in document else "") for name, document in documents.items()}
    assert not any(document["verified"] for document in documents.values())
    shipped = [line.strip() for line in (folder / "spirax-tva.yaml").read_text().splitlines()]
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1]
    assert [line for line in map(str.strip, example.splitlines()) if line and line not in shipped] == []
    cards = (ROOT / "tests/data/frames/cards/spirax-tva.csv").read_text().splitlines()
    card = re.search(r"```\n( *case.*?)```", page, re.DOTALL)[1]
    assert [line.strip() for line in card.splitlines() if line.strip() and line.strip() not in cards] == []
    _, reference, _ = run("--reference", "profile")
    keys = re.findall(r"^ *\| [^|]+ \| (`.*) \|$", page.split("has keys of its own")[1], re.MULTILINE)
    assert len(keys) >= 7
    for key in re.findall(r"`(\w+)`", " ".join(keys)):
        assert f"| `{key}`" in reference, key


def test_golden_frames_are_those_of_their_cards():
    done = subprocess.run([sys.executable, ROOT / "tests/data/frames/compose.py", "--check"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cards = {path.stem for path in (ROOT / "tests/data/frames/cards").glob("*.csv")}
    assert cards == {path.stem for path in (ROOT / "drivers/profiles").glob("*.yaml")}


def test_other_kinds_are_named(tmp_path):
    policy = tmp_path / "grading.yaml"
    policy.write_text('version: "2026-1"\nstars: []\n')
    status, stdout, stderr = run(policy)
    assert status == 1 and "grading policy, which this version does not know" in stdout + stderr
    procedures = tmp_path / "procedures.yaml"
    procedures.write_text("procedures: []\n")
    status, stdout, stderr = run(procedures)
    assert status == 1 and "procedures, which this version does not know" in stdout + stderr


def test_usage(tmp_path):
    status, stdout, _ = run("--help")
    assert status == 0 and stdout.startswith("usage: metergate check FILE")
    for wrong in ([], ["a", "b"], ["--colour", "a"], ["--schema", "a", "b"], ["--schema", "policy"]):
        status, stdout, stderr = run(*wrong)
        assert (status, stdout) == (2, "") and "metergate check:" in stderr, wrong
    missing = tmp_path / "missing.yaml"
    status, _, stderr = run(missing)
    assert status == 1 and str(missing) in stderr


# ---- schema -------------------------------------------------------------------------------------


class Loader(yaml.SafeLoader):
    """YAML 1.2's core types: no dates, no sexagesimal numbers, true and false only."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rows
                if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")]
        for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^-?[0-9]+(\.[0-9]+)?[eE][-+]?[0-9]+$"),
                             list("-0123456789"))
for letter in "tf":
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), [letter])


def schema(what):
    status, stdout, _ = run("--schema", what)
    assert status == 0
    document = json.loads(stdout)
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def test_schema_default_is_config():
    assert run("--schema")[1] == run("--schema", "config")[1]


def test_example_passes_check_and_schema():
    example = ROOT / "config/example.yaml"
    status, stdout, _ = run(example)
    assert (status, stdout) == (0, "")
    schema("config").validate(yaml.load(example.read_text(), Loader))


def test_contract_example_passes_check_and_schema():
    example = GOOD / "contract.yaml"
    status, stdout, _ = run(example, "--profiles", PROFILES)
    assert (status, stdout) == (0, "")
    schema("config").validate(yaml.load(example.read_text(), Loader))


def test_profiles_fit_the_schema():
    validator = schema("profile")
    for path in [*PROFILES.glob("*.yaml"), *(ROOT / "drivers/profiles").glob("*.yaml")]:
        validator.validate(yaml.load(path.read_text(), Loader))


@pytest.mark.parametrize("change", [
    {"colour": "red"},
    {"store": {"raw_days": 0}},
    {"store": {"raw_days": "many"}},
    {"store": []},
    {"gas": {"method": "nx19"}},
    {"gateway": {"id": "site-1"}},
    {"gateway": {"id": "Site 1", "timezone": "UTC"}},
    {"links": [{"id": "bus", "url": "udp://127.0.0.1"}]},
    {"meters": [{"id": "m1", "link": "bus", "unit": 256, "profile": "plain"}]},
    {"meters": [{"id": "m1", "link": "bus", "unit": 1, "profile": "plain", "units": {"presure": "kPa"}}]},
    {"office": {"url": "mqtt://localhost:1883", "summary_minutes": 10}},
], ids=str)
def test_schema_and_loader_refuse_alike(change):
    document = {"gateway": {"id": "site-1", "timezone": "UTC"}}
    validator = schema("config")
    validator.validate(document)
    document.update(change)
    assert not validator.is_valid(document)
    status, stdout, _ = run("-", "--profiles", PROFILES, text=json.dumps(document).encode())
    assert status == 1 and stdout


def test_reference_names_every_key():
    for what in ("config", "profile"):
        status, page, _ = run("--reference", what)
        assert status == 0 and page.startswith("# metergate ")
        keys = set(re.findall(r'"([a-z0-9_-]+)":\{"description"', run("--schema", what)[1]))
        assert len(keys) > 20
        for key in keys:
            assert f"| `{key}`" in page, key
