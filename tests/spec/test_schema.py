"""The JSON Schema that editors use, and where each field comes from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from ruamel.yaml import YAML

from tmrepro.spec import (
    Spec,
    canonical_dict,
    dump_schema,
    explain,
    format_explanations,
    load_spec,
    parse_spec,
    spec_schema,
)
from tmrepro.spec.fields import Section

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "spec").rglob("*.yaml"))
SMALLEST = "version: 1\nname: tiny\ndata: {name: digits}\n"


def sections(annotation: object = Spec) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
        for field in annotation.model_fields.values():
            yield from sections(field.annotation)
    for below in get_args(annotation):
        yield from sections(below)


def test_every_field_has_a_meaning_and_either_a_section_of_the_paper_or_a_reason():
    found = set(sections())
    assert len(found) == 24
    for section in found:
        assert section.__doc__
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
            given = set(field.json_schema_extra) & {"paper", "reason"}
            assert len(given) == 1, f"{section.__name__}.{name}"
            assert field.json_schema_extra[given.pop()]


def test_every_field_carries_its_source_in_the_schema_too():
    schema = spec_schema()
    for part in [schema, *schema["$defs"].values()]:
        for name, field in part.get("properties", {}).items():
            assert ("paper" in field) != ("reason" in field), name
            # A field described in the words of its section refers to it.
            assert "description" in field or "description" in schema["$defs"][field["$ref"].split("/")[-1]], name


def test_the_shipped_schema_is_current():
    assert (ROOT / "spec" / "schema.json").read_text(encoding="utf-8") == dump_schema(), (
        "run: tmrepro spec schema > spec/schema.json"
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_specs_and_their_resolved_forms_fit_the_schema(path):
    jsonschema.Draft202012Validator.check_schema(spec_schema())
    validator = jsonschema.Draft202012Validator(spec_schema())
    validator.validate(YAML(typ="safe", pure=True).load(path))
    validator.validate(json.loads(json.dumps(canonical_dict(load_spec(path)))))


@pytest.mark.parametrize(
    "wrong",
    [
        {"surfaces": [{"name": "a", "grid": {"K": 1}}]},
        {"training": {"optimizer": {"name": "sgd", "eps": 1}}},
        {"training": {"optimizer": {"lr": "x"}}},
        {"models": [{"name": "a", "kind": "dnn", "channels": [10]}]},
        {"models": [{"name": "a"}]},
        {"unknown": 1},
        {"version": 2},
    ],
)
def test_the_schema_refuses_what_we_refuse(wrong):
    validator = jsonschema.Draft202012Validator(spec_schema())
    smallest = {"version": 1, "name": "tiny", "data": {"name": "digits"}}
    validator.validate(smallest)
    assert not validator.is_valid(smallest | wrong)


def test_explain_says_for_each_value_whether_it_is_the_default_and_why():
    text = """\
training: {optimizer: {lr: 0.5}, batch_size: 32}
models: [{name: a, kind: dnn, training: {batch_size: 16}}]
surfaces: [{name: s, grid: {K: 7}}]
"""
    rows = {row.path: row for row in explain(parse_spec(SMALLEST + text))}
    lr = rows["training.optimizer.lr"]
    assert (lr.value, lr.default, lr.usual, lr.paper, lr.reason) == (0.5, False, "0.01", "3.1", None)
    assert rows["models[0].training.optimizer.lr"].default  # as the section `training` says
    assert rows["models[0].training.batch_size"].usual == "32"
    assert not rows["models[0].training.batch_size"].default
    assert not rows["models[0].name"].default
    assert not rows["surfaces[0].grid.K"].default
    assert rows["surfaces[0].chunk"].default
    assert rows["surfaces[0].models"].value == ["a"]
    assert rows["data.train"].value == 1024
    assert "CIFAR-10" in rows["data.train"].reason


def test_explain_leaves_nothing_out():
    def leaves(value, path=""):
        if isinstance(value, dict) and value:
            for key, below in value.items():
                yield from leaves(below, f"{path}.{key}" if path else key)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for index, item in enumerate(value):
                yield from leaves(item, f"{path}[{index}]")
        else:
            yield path, value

    spec = load_spec(ROOT / "spec" / "paper.yaml")
    assert [(row.path, row.value) for row in explain(spec)] == list(leaves(canonical_dict(spec)))


def test_the_paper_is_the_default_but_for_its_names():
    rows = explain(load_spec(ROOT / "spec" / "paper.yaml"))
    assert [row.path for row in rows if not row.default] == ["version", "name", "data.name"]


def test_the_table_has_a_line_per_value():
    rows = explain(parse_spec(SMALLEST))
    lines = format_explanations(rows).splitlines()
    assert len(lines) == len(rows) + 1
    assert len({line.index("default  ") for line in lines if "  default  " in line}) == 1


def test_paper_keras_is_the_paper_with_the_defaults_of_keras():
    paper = {row.path: row.value for row in explain(load_spec(ROOT / "spec" / "paper.yaml"))}
    keras = {row.path: row.value for row in explain(load_spec(ROOT / "spec" / "paper-keras.yaml"))}
    assert {path: value for path, value in keras.items() if paper[path] != value and ".training." not in path} == {
        "name": "paper-keras",
        "models[0].init": "glorot",
        "models[1].init": "glorot",
        "models[2].init": "glorot",
        "models[2].batch_norm.momentum": 0.01,
        "models[2].batch_norm.eps": 1.001e-5,
        "training.optimizer.eps": 1e-7,
        "training.clip_probability": 1e-7,
        "training.batch_size": 32,
        "training.warmup_steps": 0,
    }
