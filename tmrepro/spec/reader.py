"""From a file or text to a resolved spec, or to an error that lists everything wrong with it."""

from __future__ import annotations

from pathlib import Path

from tmrepro.errors import Finding, SpecError
from tmrepro.spec.canonical import dump_spec
from tmrepro.spec.checks import find_problems
from tmrepro.spec.document import MAX_BYTES, read_document
from tmrepro.spec.model import Spec
from tmrepro.spec.resolve import resolve


def load_spec(path: Path | str) -> Spec:
    """The resolved spec in the YAML file `path`.

    Raises:
        SpecError: the file cannot be read, or the spec is wrong; with all findings and their lines.
    """
    source = str(path)
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig" if len(content) <= MAX_BYTES else "latin-1")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        message = f"the byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise SpecError([Finding(source, line, column, "", message)]) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError([Finding(source, 1, 1, "", f"cannot be read: {reason}")]) from error
    return parse_spec(text, source=source)


def parse_spec(text: str, *, source: str = "<string>") -> Spec:
    """The resolved spec that the YAML `text` describes; `source` stands before each finding.

    Raises:
        SpecError: the spec is wrong; with all findings and their lines.
    """
    document = read_document(text, source=source)
    raw = document.root.plain()
    found = [document.find(location, message) for location, message in find_problems(raw)]
    findings = list(dict.fromkeys([*document.findings, *(finding for finding in found if finding)]))
    if findings:
        raise SpecError(sorted(findings, key=lambda finding: (finding.line, finding.column)))
    spec = resolve(Spec.model_validate(raw))
    if len(dump_spec(spec).encode()) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES} bytes once every default is written out"
        raise SpecError([Finding(source, 1, 1, "", message)])
    return spec
