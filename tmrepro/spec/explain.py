"""The source of each value of a spec: the paper, or our reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from tmrepro.spec.canonical import canonical_dict
from tmrepro.spec.data import AnyDataSpec, CustomDataSpec, DataSpec
from tmrepro.spec.document import written
from tmrepro.spec.fields import Location, Section
from tmrepro.spec.model import Spec
from tmrepro.spec.resolve import resolve, resolve_data, resolve_surface
from tmrepro.spec.scalars import write_flow
from tmrepro.spec.surfaces import GridSpec, SurfaceSpec

COUNTS = {("data", "train"), ("data", "validation")}
COUNTS_REASON = "the paper's 50000 and 10000 (section 3.1) are for CIFAR-10; other sets have other numbers"


@dataclass(frozen=True)
class Explanation:
    """One field of a resolved spec. Exactly one of `paper` (a section of the paper) and `reason` (ours) is given.

    They are about the field and its default. `default` says whether `value` is the default. `usual` is the default as it
    is written in a spec (None: the field must be given).
    """

    path: str
    value: Any
    default: bool
    usual: str | None
    paper: str | None
    reason: str | None
    description: str


def explain(spec: Spec) -> tuple[Explanation, ...]:
    """Return every value of a resolved spec, in the order of the schema.

    The default of a model's `training` is the section `training`.
    """
    walk = _Walk(spec)
    return tuple(walk.section(spec, canonical_dict(spec), ()))


def format_explanations(explanations: tuple[Explanation, ...]) -> str:
    """Return a table for people: path, value, whether it is the default, and where the field and its default come from."""
    rows = [("field", "value", "given by", "why")]
    for row in explanations:
        source = f"paper, {row.paper}" if row.paper else f"ours: {row.reason}"
        if not row.default and row.usual is not None:
            source = f"default {row.usual}: {source}"
        rows.append((row.path, write_flow(row.value), "default" if row.default else "spec", source))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "".join("  ".join([*map(str.ljust, row[:3], widths), row[3]]) + "\n" for row in rows)


class _Walk:
    """The values of a spec, compared with the defaults that its rules give."""

    def __init__(self, spec: Spec) -> None:
        self.name = spec.data.name
        data = _with_defaults(spec.data)
        bare = resolve(Spec(version=spec.version, name=spec.name, data=data, training=spec.training))
        # Lists that are the default as a whole. In them, names and kinds are defaults too.
        self.default_lists = {field for field in ("models", "surfaces") if getattr(spec, field) == getattr(bare, field)}
        self.defaults: dict[Location, Section] = {("data",): resolve_data(data)}
        for field in self.default_lists:
            self.defaults |= {(field, index): item for index, item in enumerate(getattr(bare, field))}
        for index in range(len(spec.models)):
            self.defaults[("models", index, "training")] = spec.training
        for index, surface in enumerate(spec.surfaces):
            default = resolve_surface(SurfaceSpec(name=surface.name, grid=surface.grid), models=spec.models)
            self.defaults[("surfaces", index)] = default.model_copy(update={"grid": GridSpec()})

    def section(self, section: Section, plain: Mapping[str, Any], location: Location) -> Iterator[Explanation]:
        default = self.defaults.get(location)
        for name, info in type(section).model_fields.items():
            here, value = (*location, name), getattr(section, name)
            usual = (
                getattr(default, name) if default else info.get_default(call_default_factory=True, validated_data={})
            )
            if isinstance(value, Section):
                if isinstance(usual, type(value)):
                    self.defaults.setdefault(here, usual)
                yield from self.section(value, plain[name], here)
            elif isinstance(value, tuple) and isinstance(value[0], Section):
                for index, item in enumerate(value):
                    yield from self.section(item, plain[name][index], (*here, index))
            else:
                in_default_list = here[0] in self.default_lists
                required = info.is_required() and not in_default_list
                yield Explanation(
                    path=written(here),
                    value=plain[name],
                    default=not required and value == usual,
                    usual=None if required else write_flow(list(usual) if isinstance(usual, tuple) else usual),
                    description=info.description or "",
                    **self.source(here, info),
                )

    def source(self, location: Location, info: FieldInfo) -> dict[str, str | None]:
        given = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        if self.name != "cifar10" and location in COUNTS:
            return {"paper": None, "reason": COUNTS_REASON}
        return {key: str(given[key]) if key in given else None for key in ("paper", "reason")}


def _with_defaults(data: AnyDataSpec) -> AnyDataSpec:
    """Return the section `data` of the same kind with its required fields only."""
    match data:
        case DataSpec():
            return DataSpec(name=data.name)
        case CustomDataSpec():
            return CustomDataSpec(name=data.name, factory=data.factory)
        case _:
            return data
