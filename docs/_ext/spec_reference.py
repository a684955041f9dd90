"""The reference of the spec, from its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from plain import as_markdown

from tmrepro.spec import spec_schema

Schema = Mapping[str, Any]


def fields() -> str:
    """Markdown: a section for each field of the spec, and below it every field that it holds."""
    schema = spec_schema()
    return "\n".join(_Page(schema["$defs"]).sections(schema))


class _Page:
    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self.definitions = definitions
        self.told: set[str] = set()
        self.home: dict[str, str] = {}  # a section of the top level -> its name

    def sections(self, root: Schema) -> Iterator[str]:
        self.home = {reference: name for name, field in root["properties"].items() for reference in _own(field)}
        for name, field in root["properties"].items():
            required = name in root["required"]
            yield f"## `{name}`\n"
            yield self._about(field, required=required)
            several = field.get("type") == "array"
            yield from self._below(field, path=f"{name}[]" if several else name)

    def _below(self, field: Schema, *, path: str) -> Iterator[str]:
        """Every section that `field` can hold, each once; a section of the top level stands there."""
        for reference in _references(field):
            if reference in self.told or self.home.get(reference, path) != path:
                continue
            self.told.add(reference)
            section = self.definitions[reference]
            if len(_references(field)) > 1:
                yield f"### `{path}` with {_kind(section)}\n"
            elif "." in path:
                yield f"### `{path}`\n"
            if len(_references(field)) > 1 or "." in path:
                yield as_markdown(section["description"]) + "\n"
            required = section.get("required", [])
            for name, inner in section["properties"].items():
                yield f"`{name}`\n" + _definition(self._about(inner, required=name in required, path=f"{path}.{name}"))
            for name, inner in section["properties"].items():
                yield from self._below(inner, path=f"{path}.{name}")

    def _about(self, field: Schema, *, required: bool, path: str | None = None) -> str:
        values = self._values(field, path)
        source = _paper(field["paper"]) if "paper" in field else f"Our choice: {as_markdown(field['reason'])}."
        default = "" if "default" not in field or _is_section(field) else f" Default: {_default(field['default'])}."
        asked = "Required. " if required else ""
        lines = [as_markdown(field.get("description", "")), f"{asked}{values}.{default}", f"*{source}*"]
        return "\n\n".join(line for line in lines if line) + "\n"

    def _values(self, field: Schema, path: str | None = None) -> str:
        """What may be written, in words."""
        match field:
            case {"anyOf": options}:
                return ", or ".join(self._values(option, path) for option in options)
            case {"type": "null"}:
                return "`null`"
            case {"const": value}:
                return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"
            case {"enum": values}:
                return " or ".join(f"`{value}`" for value in values)
            case {"type": "boolean"}:
                return "`true` or `false`"
            case {"type": "integer" | "number" as kind}:
                return f"{'An integer' if kind == 'integer' else 'A number'}{_range(field)}"
            case {"type": "string"}:
                pattern = f" that matches `{field['pattern']}`" if "pattern" in field else ""
                return f"Text{pattern}"
            case {"type": "array"}:
                return self._list(field)
            case {"type": "object"}:
                return "A mapping"
            case {"$ref": _} if path and _references(field)[0] in self.home:
                return f"A section like `{self.home[_references(field)[0]]}`"
            case _:
                return "A section: see below" if path else "A section"

    def _list(self, field: Schema) -> str:
        if "prefixItems" in field:
            items = [self._values(item) for item in field["prefixItems"]]
            inner = items[0] if len(set(items)) == 1 else "; ".join(items)
            return f"A list of {len(items)}. Each: {_lowered(inner)}"
        least, most = field.get("minItems", 0), field.get("maxItems")
        size = f"{least} to {most}" if most else f"{least} or more"
        inner = "sections" if _references(field) else f"items. Each: {_lowered(self._values(field['items']))}"
        return f"A list of {size} {inner}"


def _references(field: Schema) -> list[str]:
    """Names of the sections that a field can hold."""
    match field:
        case {"$ref": reference}:
            return [reference.removeprefix("#/$defs/")]
        case {"items": Mapping() as items} if "prefixItems" not in field:
            return _references(items)
        case {"oneOf": options} | {"anyOf": options}:
            return [name for option in options for name in _references(option)]
        case _:
            return []


def _own(field: Schema) -> list[str]:
    """The one section that a field of the top level is."""
    return _references(field) if "$ref" in field else []


def _paper(place: str) -> str:
    return f"{'Section ' if place[0].isdigit() else ''}{place} of the paper."


def _is_section(field: Schema) -> bool:
    return bool(_references(field)) and field.get("default") is not None


def _kind(section: Schema) -> str:
    """How a variant is told from the others: `kind: dnn`."""
    for key in ("kind", "name"):
        match section["properties"].get(key):
            case {"const": value}:
                return f"`{key}: {value}`"
            case {"enum": values}:
                return f"`{key}: {' | '.join(values)}`"
    raise ValueError(f"{section['title']}: nothing tells it from the others")


def _range(field: Schema) -> str:
    least, most = field.get("minimum"), field.get("maximum")
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    words = [
        f"at least {_number(least)}" if least is not None else "",
        f"greater than {_number(above)}" if above is not None else "",
        f"at most {_number(most)}" if most is not None and most < 2**53 - 1 else "",
        f"less than {_number(below)}" if below is not None else "",
    ]
    said = ", ".join(word for word in words if word)
    return f", {said}" if said else ""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _default(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _definition(body: str) -> str:
    first, *rest = body.rstrip().split("\n")
    return "\n".join([f": {first}", *(f"  {line}" if line else "" for line in rest)]) + "\n"


def _lowered(text: str) -> str:
    return text[0].lower() + text[1:]
