"""The JSON Schemas that the program ships, applied to real traffic."""
import json
from pathlib import Path

import jsonschema

FOLDER = Path(__file__).resolve().parents[3] / "config" / "schemas"


class Schemas:
    """Validators by the value of `schema` that they are for ("reading/1")."""

    def __init__(self, folder=FOLDER):
        self._validators = {}
        for path in sorted(folder.glob("*.json")):
            document = json.loads(path.read_text())
            if not isinstance(document.get("properties", {}).get("schema", {}).get("const"), str):
                continue  # definitions, or a schema of something that is no message
            validator = jsonschema.validators.validator_for(document)
            validator.check_schema(document)
            self._validators[document["properties"]["schema"]["const"]] = validator(document)

    def names(self):
        return set(self._validators)

    def faults(self, message):
        """What is wrong with a message (already parsed), as texts; a schema nobody ships is a fault too."""
        name = message.get("schema") if isinstance(message, dict) else None
        if name not in self._validators:
            return [f"no schema {name!r} in {FOLDER}"]
        return [f"{'/'.join(map(str, error.absolute_path)) or '(whole)'}: {error.message}"
                for error in self._validators[name].iter_errors(message)]
