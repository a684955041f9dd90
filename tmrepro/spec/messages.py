"""pydantic's errors -> a location in the file and a sentence for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tmrepro.spec.fields import NAME_PATTERN, TRAINED_NAME_PATTERN, Location, Section
from tmrepro.spec.model import Spec

Problem = tuple[Location, str]

MAX_PROBLEMS = 1000  # many more than are shown, but few enough to search for similar names at each

_LIMITS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "finite_number": "finite",
    "string_type": "text",
    "bool_type": "true or false",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "none_required": "null",
}


def problems(error: ValidationError, *, root: type[Section] = Spec) -> list[Problem]:
    """Return the first problems of `error`, each with its location in a file that describes a `root`.

    A wrong number of items is left out if an item is invalid.
    """
    details = error.errors(include_url=False)[:MAX_PROBLEMS]
    blamed = [detail["loc"] for detail in details]
    return [
        _problem(detail, root)
        for detail in details
        if not (detail["type"] in {"too_short", "too_long"} and any(_is_inside(loc, detail["loc"]) for loc in blamed))
    ]


def got(value: Any) -> str:
    """Return a short description of `value`, as it is in the file."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return f"text {value!r}" if len(value) <= 60 else f"text {value[:57]!r}..."
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            shown = str(value)
            return shown if len(shown) <= 40 else f"{shown[:20]}... of {len(shown)} digits"


def did_you_mean(word: Any, choices: tuple[str, ...]) -> str:
    """Return a hint if one of `choices` is similar, as in: ; did you mean 'K'? Else return an empty string."""
    if not isinstance(word, str):
        return ""
    lowered = {choice.lower(): choice for choice in choices}
    near = get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    return f"; did you mean {lowered[near[0]]!r}?" if near else ""


def _problem(detail: ErrorDetails, root: type[Section]) -> Problem:
    location, fields = _in_file(detail["loc"], root)
    value, context = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "contradiction":
            return (*location, *context["at"]), context["message"]
        case "missing":
            return location, "is missing"
        case "extra_forbidden":
            hint = did_you_mean(location[-1], fields) or f"; known fields: {', '.join(fields)}"
            return location, f"unknown field{hint}"
        case "literal_error" | "union_tag_invalid":
            return _choice(detail, location)
        case "union_tag_not_found":
            return _nameless(value, location)
        case "too_short" | "too_long" as kind:
            word, limit = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
            return location, f"must have {word} {context[limit]} (got {len(value)})"
        case "string_too_long":
            return location, f"must have at most {context['max_length']} characters (got {len(value)})"
        case "string_pattern_mismatch":
            return location, f"{_pattern(context['pattern'])} (got {got(value)})"
        case kind if kind in _LIMITS:
            limit, word = _LIMITS[kind]
            bound = context[limit]
            return location, f"must be {word} {bound:g} (got {got(value)})" if isinstance(bound, float) else (
                f"must be {word} {bound} (got {got(value)})"
            )
        case kind:
            wanted = _KINDS.get(kind)
            return location, f"must be {wanted} (got {got(value)})" if wanted else f"{detail['msg']} (got {got(value)})"


def _choice(detail: ErrorDetails, location: Location) -> Problem:
    context, value = detail["ctx"], detail["input"]
    choices = tuple(re.findall(r"'([^']*)'", str(context.get("expected") or context.get("expected_tags"))))
    if detail["type"] == "union_tag_invalid":
        key = "kind" if "kind" in value else "name"
        location, value = (*location, key), value[key]
    expected = f"one of {', '.join(choices)}" if len(choices) > 1 else f"{choices[0]}"
    return location, f"must be {expected} (got {got(value)}){did_you_mean(value, choices)}"


def _nameless(value: Any, location: Location) -> Problem:
    if not isinstance(value, dict):
        return location, f"must be a mapping (got {got(value)})"
    if "name" in value and location[-1] == "optimizer":
        return (*location, "name"), f"must be text (got {got(value['name'])})"
    return (*location, "name" if location == ("data",) else "kind"), "is missing"


def _pattern(pattern: str) -> str:
    if pattern == NAME_PATTERN:
        return "must be 1 to 64 of a-z, 0-9, _ and -, the first a letter or digit"
    if pattern == TRAINED_NAME_PATTERN:
        return "must be the name of a model, or of a replicate of one, such as cnn.r1"
    return "must look like package.module:function"


def _is_inside(location: Location, outer: Location) -> bool:
    return len(location) > len(outer) and location[: len(outer)] == outer


def _in_file(location: Location, root: type[Section]) -> tuple[Location, tuple[str, ...]]:
    """Return pydantic's location without the names of union members, and the fields of the last section."""
    annotation: Any = root
    kept: list[str | int] = []
    fields: tuple[str, ...] = ()
    for part in location:
        sections = list(_sections(annotation))
        if len(sections) > 1:
            annotation = next((section for section in sections if _is_called(section, part)), None)
            continue
        kept.append(part)
        fields = tuple(sections[0].model_fields) if sections else ()
        annotation = _below(annotation, sections, part)
    return tuple(kept), fields


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from _sections(get_args(annotation)[0])
    elif _is_union(annotation):
        for member in get_args(annotation):
            yield from _sections(member)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) is Union or type(annotation).__name__ == "UnionType"


def _is_called(section: type[Section], tag: str | int) -> bool:
    field = section.model_fields.get("kind") or section.model_fields["name"]
    return get_origin(field.annotation) is Literal and tag in get_args(field.annotation)


def _below(annotation: Any, sections: list[type[Section]], part: str | int) -> Any:
    if sections:
        field = sections[0].model_fields.get(str(part))
        return field.annotation if field else None
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0]
    return None


def keys(mapping: Any) -> Mapping[str, Any]:
    """Return `mapping` if it is a mapping, else an empty one. The value may be anything."""
    return mapping if isinstance(mapping, dict) else {}
