"""The JSON Schema of `tmrepro verify --json`, published as spec/verdict.schema.json for readers in other languages."""

from __future__ import annotations

from typing import Any, get_args

from tmrepro.schemas import SCHEMA_DIALECT, dump_json
from tmrepro.statistics.ranges import Scale
from tmrepro.verify.output import FORMAT
from tmrepro.verify.scales import JUDGES_NOTHING
from tmrepro.verify.words import Against, Grade, Level

_GRADES = (
    "identical: the same bits; equal: within 1e-4 relative and 1e-6 absolute; consistent: inside the measured band; "
    "different: none of these; litter: no file of the run, which is whole otherwise; damaged: cannot be believed or read"
)


def verdict_schema() -> dict[str, Any]:
    """The schema of a verdict. Every property is always there; null says that there is nothing to tell."""
    return {
        "$schema": SCHEMA_DIALECT,
        "title": "A verdict of tmrepro verify",
        **_object(
            format={"const": FORMAT, "description": "of this document; a change that breaks its readers raises it"},
            headline=_text("the verdict in one line, for people"),
            subject=_text("the run folder or the spec that was verified"),
            level=_choice(Level, "how far it was verified; null: there is no verdict", null=True),
            reference=_or_null(_text("name of the reference that it was held against")),
            replicate=_flag("only agreement within the bands was asked for, the seeds being others"),
            grade=_choice(Grade, f"the worst of all checks; null: there is no verdict. {_GRADES}", null=True),
            passed=_flag("no check is different, litter or damaged"),
            exit_code={
                "type": "integer",
                "description": "0: verified, 1: different, 2: wrong usage or spec, 3: damaged, missing, litter, 4: not computed",
            },
            same_bits={
                "type": ["boolean", "null"],
                "description": "whether all bits held against another run are the same; null where none were",
            },
            checks={"type": "array", "items": _check()},
            warnings=_texts("what limits the verdict, and promises that were not kept though every check passed"),
            notes=_texts("what explains the checks"),
            ungraded_figures={
                "type": "array",
                "items": _figure(),
                "description": "to be looked at: they show what may differ, so nobody can grade them",
            },
            provenance=_or_null(_provenance()),
            error=_or_null(_text("why there is no verdict; null: there is one")),
        ),
    }


def dump_verdict_schema() -> str:
    """The schema as the text of spec/verdict.schema.json."""
    return dump_json(verdict_schema())


def _check() -> dict[str, Any]:
    return _object(
        level=_choice(Level, "the level that the check belongs to"),
        against=_choice(
            Against,
            "what the subject is held against: what follows from its own files, a reference, the spec run again",
        ),
        subject=_text("what was looked at; a file by its path relative to the run folder"),
        grade=_choice(Grade, _GRADES),
        passed=_flag("the grade is none of different, litter and damaged"),
        detail=_text("what was found, for people"),
        numbers={
            "type": "array",
            "items": _number_held(),
            "description": "empty where the check is of something else",
        },
        figure=_or_null(_figure()),
    )


def _number_held() -> dict[str, Any]:
    return _object(
        surface=_or_null(_text("name of the surface that it is a statistic of; null: it is a number of minimum.json")),
        model=_text("name of the network"),
        name=_text("name of the statistic, or of the field of minimum.json"),
        unit=_text("its unit; empty for a pure number"),
        value=_number("in the run; null: undefined"),
        expected=_number("in what the run is held against; null: undefined"),
        grade=_choice(
            Grade, f"{_GRADES}; null: it differs, and nobody can judge it, without a band or a value", null=True
        ),
        band=_or_null(_band()),
    )


def _band() -> dict[str, Any]:
    return {
        "description": "where the number of another replicate lies, as the reference's replicates tell",
        **_object(
            n={"type": "integer", "minimum": 2, "description": "replicates it was measured on"},
            mean=_number("their mean, on the scale", null=False),
            deviation={"type": "number", "minimum": 0, "description": "their deviation, on the scale"},
            low=_number("lower end, in the statistic's unit, never below what it can be", null=False),
            high=_number("upper end, in the statistic's unit, never above what it can be", null=False),
            scale=_choice(Scale, "log: measured on natural logarithms; logit: on log(x / (1 - x))"),
            judges_nothing=_flag(f"the band is so wide that lying in it says nothing: {JUDGES_NOTHING}"),
        ),
    }


def _figure() -> dict[str, Any]:
    digest = _or_null(
        {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256; null: none that can be read"}
    )
    return _object(
        name=_text("path relative to the run folder"),
        against=_choice(Against, "what it is held against"),
        expected_sha256=digest,
        found_sha256=digest,
        pixels=_or_null(
            _object(
                same_size=_flag("both pictures have one size"),
                identical=_flag("every pixel is the same"),
                share_different={"type": "number", "minimum": 0, "maximum": 1, "description": "of the pixels"},
                max_difference={"type": "integer", "minimum": 0, "maximum": 255, "description": "of any channel"},
                mean_difference={"type": "number", "minimum": 0, "maximum": 255, "description": "over all channels"},
            )
        ),
    )


def _provenance() -> dict[str, Any]:
    line = _object(
        path=_text("place in provenance.json, keys joined by dots"),
        run=_or_null(_text("what the run says; null: nothing")),
        expected=_or_null(_text("what the other side says; null: nothing")),
        differs=_flag("the sides differ in it, times of day and durations left out"),
    )
    return _object(
        against=_choice(Against, "what the other side is; null: there is none", null=True),
        lines={"type": "array", "items": line},
    )


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _choice(of: Any, description: str, *, null: bool = False) -> dict[str, Any]:
    return {"enum": [*get_args(of), None] if null else list(get_args(of)), "description": description}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _texts(description: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}, "description": description}


def _flag(description: str) -> dict[str, Any]:
    return {"type": "boolean", "description": description}


def _number(description: str, *, null: bool = True) -> dict[str, Any]:
    return {"type": ["number", "null"] if null else "number", "description": description}
