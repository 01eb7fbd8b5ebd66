"""The JSON Schemas of config/schemas: each is itself valid and takes the golden messages that the unit test of the
feed compares byte by byte; each refuses a message with a part missing, a part too many, or a part of another kind."""
import copy
import json
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMAS = {path.name.removesuffix(".schema.json"): json.loads(path.read_text())
           for path in sorted((ROOT / "config/schemas").glob("*.schema.json"))}
GOLDEN = sorted((ROOT / "tests/data/feed").glob("*.json"))


def validator(message):
    schema = SCHEMAS[message["schema"].replace("/", "-")]
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_valid(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["properties"]["schema"]["const"] == name.replace("-", "/")


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_message(path):
    message = json.loads(path.read_text())
    validator(message).validate(message)


def objects(node, path=()):
    if isinstance(node, dict):
        yield path
        for key, child in node.items():
            yield from objects(child, path + (key,))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from objects(child, path + (index,))


def at(node, path):
    for key in path:
        node = node[key]
    return node


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_damaged_message(path):
    message = json.loads(path.read_text())
    check = validator(message)
    named = {"channels", "heads"}  # objects whose keys are names: there a key may be missing
    optional = {"replaces", "stream", "lane", "seq", "reason", "unit", "why", "index"}
    tried = 0
    for place in objects(message):
        damaged = copy.deepcopy(message)
        at(damaged, place)["NOT A KEY"] = 1
        assert not check.is_valid(damaged), f"a key too many at {place}"
        tried += 1
        for key in at(message, place):
            damaged = copy.deepcopy(message)
            at(damaged, place)[key] = {"other": ["kind"]}
            assert not check.is_valid(damaged), f"another kind at {place} {key}"
            tried += 1
            if key in optional or (place and place[-1] in named):
                continue
            damaged = copy.deepcopy(message)
            del at(damaged, place)[key]
            assert not check.is_valid(damaged), f"missing {key} at {place}"
            tried += 1
    assert tried > 10


def test_ranges():
    summary = json.loads((ROOT / "tests/data/feed/summary.json").read_text())
    check = validator(summary)
    for path, value in ((("seq",), 0), (("version",), 0), (("reads", "good"), -1), (("at",), "2026-11-23 08:15"),
                        (("from",), "2026-13-45T99:00:00.000Z"), (("meter",), "gateway"), (("meter",), "Boiler"),
                        (("channels", "volume_base", "start"), 9.3e12), (("quality",), "fine"), (("lane",), "fast")):
        damaged = copy.deepcopy(summary)
        at(damaged, path[:-1])[path[-1]] = value
        assert not check.is_valid(damaged), path
