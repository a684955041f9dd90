"""Messages between two processes: requests, results and errors as JSON, and back. Nothing is unpickled.

A result is read back by its type, so it is the same frozen record as in one process. An error of tmrepro or of Python itself is
recreated from its arguments. Any other error becomes a RuntimeError that names it.
"""

from __future__ import annotations

import builtins
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from tmrepro import errors
from tmrepro.errors import FieldError, Finding, LoadedTooEarlyError, SpecError, TmreproError
from tmrepro.spec import Spec, dump_spec, parse_spec

_PLAIN = (str, int, float, bool, type(None))
_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")


def dump_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of a function of `tmrepro.api` as JSON values. Both processes have the same working directory."""
    return {name: _dump_argument(value) for name, value in arguments.items()}


def load_arguments(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that `dump_arguments` wrote."""
    return {name: parse_spec(value["spec"]) if isinstance(value, dict) else value for name, value in document.items()}


def dump_result(function: Callable[..., Any], result: Any) -> str:
    """Return the result of `function` as JSON text."""
    text: bytes = _adapter(function).dump_json((result,))
    return text.decode()


def load_result(function: Callable[..., Any], text: str) -> Any:
    """Return the result of `function` in its return type."""
    return _adapter(function).validate_json(text, strict=True)[0]


def dump_error(error: BaseException) -> dict[str, Any]:
    """Return an error as JSON values."""
    findings = error.findings if isinstance(error, SpecError) else []
    return {
        "kind": type(error).__name__,
        "is_ours": isinstance(error, TmreproError) and getattr(errors, type(error).__name__, None) is type(error),
        "message": error.message if isinstance(error, FieldError) else str(error),
        "location": list(error.location) if isinstance(error, FieldError) else [],
        "arguments": [_plain(argument) for argument in _arguments(error)],
        "findings": [asdict(finding) for finding in findings],
        "trace": "".join(traceback.format_exception(error)),
    }


def load_error(document: Mapping[str, Any]) -> Exception:
    """Return the error that `dump_error` wrote. An error that is not a TmreproError has the child's traceback as a note."""
    name, message = document["kind"], document["message"]
    if document["is_ours"]:
        return _load_ours(getattr(errors, name), document)
    kind = getattr(builtins, name, None)
    try:
        error = kind(*document["arguments"]) if isinstance(kind, type) and issubclass(kind, Exception) else None
    except (TypeError, ValueError):
        error = None
    if not isinstance(error, Exception) or str(error) != message:
        error = RuntimeError(f"{name}: {message}")
    error.add_note(f"In the process that computed:\n{document['trace']}")
    return error


def _load_ours(kind: type[TmreproError], document: Mapping[str, Any]) -> TmreproError:
    message = document["message"]
    if kind is SpecError:
        return SpecError([Finding(**finding) for finding in document["findings"]])
    if kind is FieldError:
        return FieldError(tuple(document["location"]), message)
    return LoadedTooEarlyError(message, {}) if kind is LoadedTooEarlyError else kind(message)


def _arguments(error: BaseException) -> tuple[Any, ...]:
    """Return the arguments to recreate an error from. Those of an OSError do not include its file."""
    if isinstance(error, OSError) and error.filename is not None and len(error.args) == 2:
        return (*error.args, error.filename)
    return error.args


def _plain(value: Any) -> Any:
    return value if isinstance(value, _PLAIN) else str(value)


def _dump_argument(value: Any) -> Any:
    if isinstance(value, Spec):
        return {"spec": dump_spec(value)}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, _PLAIN):
        return value
    if hasattr(value, "item"):  # a NumPy number
        return value.item()
    return [_dump_argument(one) for one in value]


def _adapter(function: Callable[..., Any]) -> Any:
    """Return an adapter for the results of `function`. A tuple around the type, since records keep their own configuration."""
    kind: Any = tuple[_result_type(function.__name__)]  # type: ignore[misc]
    return TypeAdapter(kind, config=_CONFIG)


def _result_type(name: str) -> Any:
    """Return a result type. The types are named here, because `tmrepro.api` imports them only for type checkers."""
    from tmrepro.runner.execute import RunResult
    from tmrepro.store.curvature import CurvatureDocument
    from tmrepro.verification import Verdict

    known: dict[str, Any] = {
        "run": RunResult,
        "verify": Verdict,
        "build_reference": Path,
        "measure_curvature": tuple[dict[str, CurvatureDocument], bool],
    }
    return known[name]
