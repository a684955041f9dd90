"""How a spec names a user's function and its arguments."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tmrepro.spec.fields import LARGEST_INTEGER, Location, contradiction

MAX_KEY_LENGTH = 100  # even escaped, below the 1024 characters that YAML allows for a key


def _json_like(arguments: dict[str, Any]) -> dict[str, Any]:
    for name in arguments:
        if not name.isidentifier() or len(name) > MAX_KEY_LENGTH:
            message = f"an argument's name must be a Python identifier of at most {MAX_KEY_LENGTH} characters (got {name[:40]!r})"
            raise contradiction(message, at=())
    return {name: _canonical(value, at=(name,)) for name, value in arguments.items()}


def _canonical(value: Any, *, at: Location) -> Any:
    """Return `value` as it is hashed. JSON has one 1, so 1.0 becomes 1. The factory gets what is hashed."""
    match value:
        case None | bool() | str():
            return value
        case int() if abs(value) <= LARGEST_INTEGER:
            return value
        case float() if value.is_integer() and abs(value) <= LARGEST_INTEGER:
            return int(value)
        case float() if abs(value) < float("inf"):
            return value
        case list() | tuple():
            return [_canonical(item, at=(*at, index)) for index, item in enumerate(value)]
        case dict() if all(isinstance(key, str) and len(key) <= MAX_KEY_LENGTH for key in value):
            return {key: _canonical(item, at=(*at, key)) for key, item in value.items()}
        case int():
            message = f"an integer must lie within +-{LARGEST_INTEGER} (got {value}); write it as text"
        case float():
            message = f"must be finite (got {value})"
        case dict():
            message = f"a key must be text of at most {MAX_KEY_LENGTH} characters"
        case _:
            message = f"must be JSON: null, true, numbers, text, lists, mappings (got {type(value).__name__})"
    raise contradiction(message, at=at)


Factory = Annotated[
    str,
    Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$", max_length=256),
]
Arguments = Annotated[dict[str, Any], AfterValidator(_json_like)]
