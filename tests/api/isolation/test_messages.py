"""Requests, results and errors survive the way between two processes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tmrepro import api, errors
from tmrepro.api.isolation.factories import require_importable
from tmrepro.api.isolation.messages import (
    dump_arguments,
    dump_error,
    dump_result,
    load_arguments,
    load_error,
    load_result,
)
from tmrepro.errors import Finding, SpecError, TmreproError
from tmrepro.records import Minimum
from tmrepro.spec import load_spec, parse_spec, spec_hash
from tmrepro.spec.shipped import find_spec
from tmrepro.verification.bands import Band
from tmrepro.verification.verdict import Check, FigureComparison, NumberComparison, Remarks, Sides, Verdict

OURS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TmreproError)]


def sent(error: BaseException) -> Exception:
    return load_error(json.loads(json.dumps(dump_error(error))))


OF_THEIR_OWN = {SpecError, errors.FieldError, errors.LoadedTooEarlyError}


@pytest.mark.parametrize("kind", [kind for kind in OURS if kind not in OF_THEIR_OWN])
def test_our_errors_stay_what_they_are(kind):
    error = sent(kind("what\nhappened"))
    assert type(error) is kind
    assert str(error) == "what\nhappened"
    assert error.exit_code == kind.exit_code


def test_the_findings_of_a_spec_stay_with_it():
    findings = [Finding("x.yaml", 3, 9, "surfaces[0].grid.K", "must be at least 2 (got 1)"), Finding("x", 1, 1, "", "")]
    error = sent(SpecError(findings))
    assert isinstance(error, SpecError)
    assert error.findings == findings


def test_the_place_of_a_field_stays_with_its_error():
    error = sent(errors.FieldError(("data", "file"), "no such data"))
    assert isinstance(error, errors.FieldError)
    assert (error.location, str(error)) == (("data", "file"), "data.file: no such data")


def test_loaded_too_early_has_no_environment_to_start_again_with():
    error = sent(errors.LoadedTooEarlyError("too early", {"A": "b"}))
    assert isinstance(error, errors.LoadedTooEarlyError)
    assert (str(error), error.environment) == ("too early", {})


@pytest.mark.parametrize("error", [MemoryError(), KeyError("name"), OSError("odd"), ZeroDivisionError("by zero")])
def test_pythons_errors_stay_what_they_are(error):
    found = sent(error)
    assert (type(found), found.args, str(found)) == (type(error), error.args, str(error))
    assert any("In the process that computed" in note for note in found.__notes__)


def test_an_error_of_a_file_keeps_its_file():
    with pytest.raises(FileNotFoundError) as caught:
        Path("/nowhere/at/all").read_bytes()
    found = sent(caught.value)
    assert isinstance(found, FileNotFoundError)
    assert (found.errno, found.filename, str(found)) == (2, "/nowhere/at/all", str(caught.value))


class OwnError(Exception):
    """Of somebody's code, which this process need not have."""


class UsageError(Exception):
    """Called as one of ours, and none."""


@pytest.mark.parametrize("kind", [OwnError, UsageError, type("exit", (Exception,), {})])
def test_any_other_error_is_named(kind):
    found = sent(kind("of a user's own"))
    assert type(found) is RuntimeError
    assert str(found) == f"{kind.__name__}: of a user's own"


def test_arguments_stay_what_they_mean():
    spec = parse_spec("version: 1\nname: tiny\ndata: {name: digits}\n")
    given = {"spec": spec, "out": Path("runs/x"), "reuse": [Path("a"), "b"], "only": ("cnn",), "workers": np.int64(2)}
    found = load_arguments(json.loads(json.dumps(dump_arguments(given))))
    assert spec_hash(found.pop("spec")) == spec_hash(spec)
    assert found == {"out": "runs/x", "reuse": ["a", "b"], "only": ["cnn"], "workers": 2}


def test_a_verdict_is_read_back_as_it_was():
    band = Band(n=3, mean=0.1 + 0.2, deviation=1e-300, low=-1.5, high=2.0, scale="linear")
    numbers = (
        NumberComparison("one", "dnn", "loss_max", 0.1, 1, "different", band),
        NumberComparison(None, "dnn", "epochs", 7, None, None),
    )
    check = Check(
        "audit", "x", "different", "two\nlines", "reference", numbers, FigureComparison("a.png", b"\x89\x00\xff", None)
    )
    sides = Sides({"a": [1, 2.5, None, {"b": "c"}]}, {"a": 1}, "rerun")
    verdict = Verdict("runs/x", "audit", "x", (check,), Remarks(("n",), ("w",), (), sides), replicate=True)
    found = load_result(api.verify, dump_result(api.verify, verdict))
    assert found == verdict
    assert type(found.checks[0].numbers[0].expected) is int
    assert type(found.checks[0].numbers[1].value) is int


def test_numbers_that_json_does_not_have_are_read_back():
    from tmrepro.runner.execute import RunResult

    plain = dict.fromkeys(Minimum.__dataclass_fields__)
    minimum = Minimum(**plain | {
        "model": "dnn", "category": "LM", "reason": "", "labels": "hard", "epsilon": 0.05, "epochs": 1, "best_epoch": 1,
        "stopped": "lm", "train_loss_last": float("inf"), "parameters": 1, "seed": 0, "seeds_collapsed": (0, 1000000),
        "training_seconds": 0.5, "depth_below_minimum": {"one": None},
    })  # fmt: skip
    result = RunResult(Path("runs/x"), already_complete=False, minima={"dnn": minimum}, statistics={"one": {"dnn": {}}})
    assert load_result(api.run, dump_result(api.run, result)) == result


def test_the_shipped_specs_may_be_computed_elsewhere():
    require_importable(load_spec(find_spec("spec/paper.yaml")))


def test_a_name_among_a_factorys_arguments_is_no_factory():
    text = (
        "version: 1\nname: tiny\ndata: {name: digits}\nmodels:\n"
        '  - {name: own, kind: custom, factory: "a:b", arguments: {factory: "__main__:x"}}\n'
    )
    require_importable(parse_spec(text))
    with pytest.raises(errors.UsageError, match="networks:b"):
        require_importable(parse_spec(text.replace('"a:b"', '"__main__:b"')))
