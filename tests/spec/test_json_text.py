from __future__ import annotations

import dataclasses
import json
import math

import jsonschema
import pytest

from tmrepro.records import Minimum
from tmrepro.spec.json_text import dump_json
from tmrepro.store.minima import minimum_schema

EXAMPLES = {"str": "dnn", "int": 3, "float": 0.25, "Category": "GM", "tuple[int, ...]": [1000000]}
EXAMPLES["dict[str, float | None]"] = {"paper": 0.5, "far": None}
CHOICES = {"labels": "hard", "stopped": "gm"}


@pytest.fixture
def minimum():
    """A minimum.json, filled by the record's own annotations."""
    return {
        field.name: CHOICES.get(field.name) or EXAMPLES[str(field.type).removesuffix(" | None")]
        for field in dataclasses.fields(Minimum)
    }


@pytest.fixture(scope="module")
def validator():
    schema = minimum_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_minimum_schema_has_the_fields_of_the_record():
    names = [field.name for field in dataclasses.fields(Minimum)]
    assert list(minimum_schema()["properties"]) == names
    assert minimum_schema()["required"] == names


def test_minimum_schema_accepts_the_record_as_json(validator, minimum):
    record = Minimum(**minimum | {"seeds_collapsed": (5, 7), "gradient_norm": None, "relabelled_loss": None})
    validator.validate(json.loads(dump_json(dataclasses.asdict(record))))


@pytest.mark.parametrize(
    "change",
    [{"category": "XM"}, {"epochs": 1.5}, {"model": None}, {"labels": "firm"}, {"other": 1}],
    ids=str,
)
def test_minimum_schema_refuses_what_the_record_cannot_hold(validator, minimum, change):
    validator.validate(minimum)
    assert not validator.is_valid(minimum | change)


def test_minimum_schema_requires_every_field(validator, minimum):
    for name in minimum:
        assert not validator.is_valid({key: value for key, value in minimum.items() if key != name}), name


def test_json_text_keeps_order_and_every_bit():
    value = {"b": [0.1 + 0.2, 5e-324], "a": None, "é": 1}
    assert dump_json(value) == '{\n  "b": [\n    0.30000000000000004,\n    5e-324\n  ],\n  "a": null,\n  "é": 1\n}\n'
    assert json.loads(dump_json(value)) == value


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_text_never_holds_what_json_has_not(number):
    with pytest.raises(ValueError, match="JSON"):
        dump_json({"loss": number})
