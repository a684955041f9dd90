"""The resolved form: one text and one hash for all specs that mean the same."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tmrepro.errors import SpecError
from tmrepro.spec import SpecDifference, canonical_dict, dump_spec, first_difference, load_spec, parse_spec, spec_hash

SMALLEST = "version: 1\nname: tiny\ndata: {name: digits}\n"
SHIPPED = sorted((Path(__file__).parents[2] / "spec").rglob("*.yaml"))


def custom(arguments: str) -> str:
    return SMALLEST + f'models: [{{name: mine, kind: custom, factory: "a.b:c", arguments: {arguments}}}]\n'


def test_the_hash_is_that_of_sorted_json_without_spaces():
    # For values without floats whose shortest form Python and RFC 8785 write differently, json.dumps is an independent oracle.
    spec = parse_spec(
        SMALLEST + "training: {optimizer: {name: sgd}}\nmodels: [{name: a, kind: dnn}, {name: b, kind: cnn}]"
    )

    def integers(value):
        if isinstance(value, dict):
            return {key: integers(below) for key, below in value.items()}
        if isinstance(value, list):
            return [integers(item) for item in value]
        return int(value) if isinstance(value, float) and value.is_integer() else value

    text = json.dumps(integers(canonical_dict(spec)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert spec_hash(spec) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("field", ["samples", "chunk", "directions: {seeds: {delta: 1, eta"])
def test_every_integer_that_is_taken_has_a_hash(field):
    """RFC 8785 has doubles for numbers, so none beyond 2^53 - 1."""

    def with_integer(number):
        closing = "}}" if "{" in field else ""
        return SMALLEST.replace("digits", "images") + (
            f"models: [{{name: a, kind: dnn}}]\nsurfaces: [{{name: s, {field}: {number}{closing}}}]"
        )

    assert len(spec_hash(parse_spec(with_integer(2**53 - 1)))) == 64
    with pytest.raises(SpecError, match="must be at most 9007199254740991"):
        parse_spec(with_integer(2**53))


@pytest.mark.parametrize(
    "same",
    [
        "# a comment\n" + SMALLEST,
        "data:\n  name: 'digits'\nname: \"tiny\"\nversion: 0x1\n",
        "{version: 1, name: tiny, data: {name: digits, size: 32}}",
        SMALLEST + "training: {optimizer: {lr: 1e-2, betas: [0.90, 0.999], weight_decay: 0}, max_epochs: +200}",
        SMALLEST + "training: {optimizer: {weight_decay: -0.0}}",
        SMALLEST + "surfaces: [{name: paper, grid: {step: 1}, models: null, chunk: 16}]",
        SMALLEST + "surfaces: [{name: paper, models: [dnn, cnn, resnet50]}]",
        SMALLEST
        + "models: [{name: dnn, kind: dnn}, {name: cnn, kind: cnn, training: {}}, {name: resnet50, kind: resnet50}]",
    ],
)
def test_writing_it_otherwise_changes_neither_hash_nor_text(same):
    spec, other = parse_spec(SMALLEST), parse_spec(same)
    assert spec == other
    assert spec_hash(spec) == spec_hash(other)
    assert dump_spec(spec) == dump_spec(other)
    assert first_difference(spec, other) is None


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (SMALLEST + "surfaces: [{name: paper, grid: {K: 41}}]", "surfaces[0].grid.K: 51 here, 41 there"),
        (SMALLEST.replace("tiny", "small"), "name: tiny here, small there"),
        (SMALLEST + "training: {seed: 3}", "models[0].training.seed: 0 here, 3 there"),
        (SMALLEST + "models: [{name: dnn, kind: dnn}]", "models: 3 entries here, 1 there"),
        (
            SMALLEST
            + "models: [{name: dnn, kind: dnn, widths: [5, 10]}, {name: cnn, kind: cnn}, {name: resnet50, kind: resnet50}]",
            "models[0].widths: [128, 64, 32, 16, 10] here, [5, 10] there",
        ),
        (
            SMALLEST + "training: {clip_probability: 1e-7}",
            "models[0].training.clip_probability: null here, 1.0e-07 there",
        ),
    ],
)
def test_the_first_difference_is_named_with_both_values(other, difference):
    assert str(first_difference(parse_spec(SMALLEST), parse_spec(other))) == difference
    assert spec_hash(parse_spec(SMALLEST)) != spec_hash(parse_spec(other))


def test_optimizers_of_two_kinds_differ_by_name_first():
    sgd = parse_spec(SMALLEST + "training: {optimizer: {name: sgd}}")
    found = first_difference(sgd, parse_spec(SMALLEST))
    assert found == SpecDifference("models[0].training.optimizer.name", "sgd", "adam")


def test_arguments_with_other_keys_differ():
    difference = first_difference(parse_spec(custom("{a: 1}")), parse_spec(custom("{b: 1}")))
    assert difference == SpecDifference("models[0].arguments.a", "1", None)
    assert str(difference) == "models[0].arguments.a: only here"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_resolved_form_is_a_fixed_point(path, tmp_path):
    spec = load_spec(path)
    (tmp_path / "spec.yaml").write_text(dump_spec(spec), encoding="utf-8")
    again = load_spec(tmp_path / "spec.yaml")
    assert again == spec
    assert spec_hash(again) == spec_hash(spec)
    assert dump_spec(again) == dump_spec(spec)


@pytest.mark.parametrize("version", [(1, 1), (1, 2)])
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_other_yaml_readers_read_the_resolved_form_alike(path, version):
    spec = load_spec(path)
    reader = YAML(typ="safe", pure=True)
    reader.version = version
    assert reader.load(dump_spec(spec)) == canonical_dict(spec)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(value=JSON_LIKE)
@settings(max_examples=40, deadline=None)
def test_any_argument_survives_writing_and_reading(value):
    spec = parse_spec(custom(f"{{x: {json.dumps(value, ensure_ascii=True)}}}" if _is_bmp(value) else "{x: 1}"))
    text = dump_spec(spec)
    assert parse_spec(text) == spec
    assert dump_spec(parse_spec(text)) == text
    if _is_bmp(value):
        assert spec.models[0].arguments == {"x": value}
        assert YAML(typ="safe", pure=True).load(text) == canonical_dict(spec)


def _is_bmp(value) -> bool:
    """JSON writes other characters as surrogate pairs, which YAML has not."""
    return all(ord(character) <= 0xFFFF for character in json.dumps(value, ensure_ascii=False))


def test_a_number_without_fraction_arrives_as_it_was_hashed():
    whole, fraction = parse_spec(custom("{n: 1, f: [2.5, 1e20]}")), parse_spec(custom("{n: 1.0, f: [2.5, 1e20]}"))
    assert dump_spec(whole) == dump_spec(fraction)
    arguments = fraction.models[0].arguments
    assert isinstance(arguments["n"], int)
    assert arguments == {"n": 1, "f": [2.5, 1e20]}


@pytest.mark.parametrize("name", ["123", "1e5", "no", "null", "0x1f", "on", "y", "true", "a-1_b"])
def test_names_that_look_like_something_else_stay_names(name):
    spec = parse_spec(f'version: 1\nname: "{name}"\ndata: {{name: digits}}\n')
    assert spec.name == name
    assert parse_spec(dump_spec(spec)) == spec
    reader = YAML(typ="safe", pure=True)
    reader.version = (1, 1)
    assert reader.load(dump_spec(spec))["name"] == name


def test_unicode_arguments_are_written_as_they_are():
    spec = parse_spec(custom('{label: "Verlustfläche 損失 \\U0001F600", path: "a\\\\b\\"c\\u2028\\x07"}'))
    text = dump_spec(spec)
    assert 'label: "Verlustfläche 損失 😀"' in text
    assert parse_spec(text) == spec
