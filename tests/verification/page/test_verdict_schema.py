"""The published schema of `tmrepro verify --json`: real verdicts keep to it, and it refuses what is none."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from tmrepro.cli.main import app
from tmrepro.errors import DamagedError
from tmrepro.spec.json_text import dump_json
from tmrepro.verification.document import dump_verdict_schema, error_document, verdict_document, verdict_schema

KINDS = ("identical", "equal", "consistent", "different", "damaged", "alone", "integrity", "other spec")


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(verdict_schema())
    return jsonschema.Draft202012Validator(verdict_schema())


@pytest.mark.parametrize("kind", KINDS)
def test_verdicts_keep_to_the_schema(verdicts, validator, kind):
    validator.validate(json.loads(dump_json(verdict_document(verdicts[kind]))))


def test_verification_without_a_verdict_keeps_to_the_schema(validator):
    validator.validate(error_document("runs/lost", DamagedError("nothing is there")))


def test_shipped_schema_is_current():
    shipped = Path(__file__).parents[3] / "spec" / "verdict.schema.json"
    assert shipped.read_text(encoding="utf-8") == dump_verdict_schema()


def test_command_prints_the_schema_and_verifies_nothing():
    result = CliRunner().invoke(app, ["verify", "no such run", "--schema"])
    assert result.exit_code == 0
    assert result.stdout == dump_verdict_schema()


def _objects(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The places of all objects in a document; of a list, the first with the most to say."""
    match value:
        case dict():
            return [path, *(place for key in value for place in _objects(value[key], (*path, key)))]
        case list() if value:
            first = max(range(len(value)), key=lambda index: len(json.dumps(value[index])))
            return _objects(value[first], (*path, first))
        case _:
            return []


def test_every_property_of_every_object_is_required_and_no_other_allowed(verdicts, validator):
    whole = verdict_document(verdicts["consistent"])
    places = _objects(whole)
    assert {place[-1] for place in places if place} >= {"band", "pixels", "provenance"}
    for place in places:
        changed = copy.deepcopy(whole)
        inner = changed
        for step in place:
            inner = inner[step]
        inner["surprise"] = 1
        assert not validator.is_valid(changed), place
        del inner["surprise"]
        for key in list(inner):
            kept = inner.pop(key)
            assert not validator.is_valid(changed), (*place, key)
            inner[key] = kept
    validator.validate(whole)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("grade",), "fine"),
        (("level",), "deep"),
        (("passed",), "yes"),
        (("format",), 2),
        (("checks", -1, "against"), "nothing"),
        (("checks", 0, "grade"), None),
        (("checks", -1, "numbers", 0, "value"), "1.5"),
        (("checks", -1, "numbers", 0, "band", "n"), 1),
        (("checks", -1, "numbers", 0, "band", "scale"), "square"),
        (("ungraded_figures", 0, "found_sha256"), "abc"),
        (("ungraded_figures", 0, "pixels", "share_different"), 1.5),
    ],
    ids=str,
)
def test_schema_refuses_what_no_verdict_says(verdicts, validator, place, value):
    document = verdict_document(verdicts["consistent"])
    inner = document
    for step in place[:-1]:
        inner = inner[step]
    assert place[-1] in inner
    inner[place[-1]] = value
    assert not validator.is_valid(document)


def test_bands_and_reference_values_are_in_the_json_as_the_reference_has_them(verdicts, made):
    document = verdict_document(verdicts["identical"])
    bands = json.loads((made / "reference" / "bands.json").read_text())
    statistics = json.loads((made / "reference" / "statistics.json").read_text())["middle"]["dnn"]
    (check,) = [check for check in document["checks"] if check["subject"] == "statistics middle/dnn"]
    assert [held["name"] for held in check["numbers"]] == list(statistics)
    for held in check["numbers"]:
        assert held["expected"] == statistics[held["name"]]
        assert held["band"] == bands["statistics"]["middle"]["dnn"].get(held["name"])
    (minimum,) = [check for check in document["checks"] if check["subject"] == "models/dnn"]
    assert {held["name"]: held["band"] for held in minimum["numbers"]} == bands["minima"]["dnn"]
