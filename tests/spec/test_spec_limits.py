"""Every limit of the reader of specs, on both sides: what is just allowed is taken, one more is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tmrepro.errors import SpecError
from tmrepro.spec import checks as checks_module
from tmrepro.spec import document as document_module
from tmrepro.spec import parse_spec
from tmrepro.spec.document import first_findings, read_document
from tmrepro.spec.fields import LARGEST_INTEGER, Section
from tmrepro.spec.limits import LARGEST_K
from tmrepro.spec.networks import parameter_count
from tmrepro.spec.scalars import read_scalar

START = "version: 1\nname: x\ndata: {name: digits}\n"
CUSTOM = "models: [{name: m, kind: custom, factory: 'a:b', arguments: {%s: 1}}]\n"


def spec(text: str) -> Any:
    return parse_spec(START + text)


def models(count: int, more: str = "") -> str:
    listed = ", ".join(f"{{name: m{number}, kind: dnn}}" for number in range(count))
    return f"models: [{listed}]\n{more}"


def surfaces(count: int) -> str:
    listed = ", ".join(
        f"{{name: s{number}, directions: {{seeds: {{delta: {2 * number + 1}, eta: {2 * number + 2}}}}}, grid: {{K: 2}}}}"
        for number in range(count)
    )
    return f"models: [{{name: m, kind: dnn}}]\nsurfaces: [{listed}]\n"


def parameters(over: int, patch: pytest.MonkeyPatch) -> Any:
    text = "models: [{name: m, kind: dnn, widths: [4, 10]}]\n"
    model = spec(text).models[0]
    count = parameter_count(model, size=spec(text).data.size, classes=10)
    assert count is not None
    patch.setattr(checks_module, "MAX_PARAMETERS", count - over)
    return spec(text)


def values(over: int, patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(document_module, "MAX_VALUES", 20)
    return read_document("[" + "1, " * (18 + over) + "1]", source="x").findings == [] or None


def findings(over: int, _: pytest.MonkeyPatch) -> bool:
    found = read_document("\n".join(f"k{number}: *a" for number in range(100 + over)), source="x").findings
    return not any("more errors follow" in one.message for one in first_findings(found))


CASES: dict[str, Callable[[int, pytest.MonkeyPatch], Any]] = {
    "MAX_BYTES": lambda over, _: parse_spec(START + "#" * (2**20 - len(START) + over)),
    "MAX_DEPTH": lambda over, _: read_document("[" * (32 + over) + "1" + "]" * (32 + over), source="x"),
    "MAX_VALUES": values,
    "MAX_FINDINGS": findings,
    "MAX_DIGITS": lambda over, _: read_scalar("1" * (1000 + over)),
    "MAX_KEY_LENGTH": lambda over, _: spec(CUSTOM % ("k" * (100 + over))),
    "MAX_KEY_LENGTH of a mapping": lambda over, _: spec(
        (CUSTOM % "k").replace("1}}", f"{{{'k' * (100 + over)}: 1}}}}}}")
    ),
    "MAX_ITEMS of models": lambda over, _: spec(models(100 + over)),
    "MAX_ITEMS of surfaces": lambda over, _: spec(surfaces(100 + over)),
    "MAX_LAYERS": lambda over, _: spec(f"models: [{{name: m, kind: dnn, widths: {[4] * (63 + over) + [10]}}}]\n"),
    "MAX_PARAMETERS": parameters,
    "MAX_TRAININGS": lambda over, _: spec(models(10, f"replicates: {{training: {100 + over}}}\n")),
    "MAX_SURFACES": lambda over, _: spec(models(1, f"replicates: {{training: 100, directions: {100 + over}}}\n")),
    "MAX_CHUNKS_IN_ALL": lambda over, _: spec(
        models(1, f"surfaces: [{{name: s, grid: {{K: {LARGEST_K}}}}}]\nreplicates: {{directions: {4 + over}}}\n")
    ),
    "MOST_CHUNKS": lambda over, _: spec(
        models(1, f"surfaces: [{{name: s, grid: {{K: {LARGEST_K}}}, chunk: {16 - over}}}]\n")
    ),
    "LARGEST_K": lambda over, _: spec(models(1, f"surfaces: [{{name: s, grid: {{K: {LARGEST_K + over}}}}}]\n")),
    "LARGEST_INTEGER": lambda over, _: spec(f"training: {{seed: {LARGEST_INTEGER + over}}}\n"),
    "a name": lambda over, _: spec(f"models: [{{name: {'m' * (64 + over)}, kind: dnn}}]\n"),
    "a factory": lambda over, _: spec(
        f"models: [{{name: m, kind: custom, factory: 'a:{'b' * (254 + over)}', arguments: {{}}}}]\n"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_just_allowed_is_taken_and_one_more_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CASES[name](0, monkeypatch)
    try:
        refused = CASES[name](1, monkeypatch) in {False, None}
    except (SpecError, ValueError):
        refused = True
    except TypeError:  # what was taken is no word
        refused = False
    assert refused


def bounded() -> Iterator[tuple[str, FieldInfo, Any, Any]]:
    """Every bound of every field: its name, the field, the last value inside and the first outside."""
    waiting, seen = [Section], set()
    while waiting:
        section = waiting.pop()
        waiting += section.__subclasses__()
        for name, field in section.model_fields.items():
            for bound in field.metadata:
                key = f"{section.__name__}.{name} {bound}"
                if key in seen or not isinstance(bound, Ge | Gt | Le | Lt):
                    continue
                seen.add(key)
                whole = field.annotation is int
                match bound:
                    case Ge(ge=end):
                        yield key, field, end, end - 1 if whole else end - 1e-9
                    case Le(le=end):
                        yield key, field, end, end + 1 if whole else end * (1 + 1e-9)
                    case Gt(gt=end):
                        yield key, field, end + (1 if whole else 1e-9), end
                    case Lt(lt=end):
                        yield key, field, end - (1 if whole else 1e-9), end


@pytest.mark.parametrize(("field", "inside", "outside"), [(f, i, o) for _, f, i, o in bounded()],
                         ids=[key for key, *_ in bounded()])  # fmt: skip
def test_a_field_takes_its_last_value_and_not_the_next(field: FieldInfo, inside: Any, outside: Any) -> None:
    bounds = [one for one in field.metadata if isinstance(one, Ge | Gt | Le | Lt | MinLen | MaxLen)]
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, *bounds])
    assert adapter.validate_python(inside) == inside
    with pytest.raises(ValidationError):
        adapter.validate_python(outside)
