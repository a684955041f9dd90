"""YAML text -> values with their positions, and all errors of the text as YAML.

ruamel.yaml's event stream is read one event at a time, so the cost of a hostile text is limited by its size. Nesting and
the number of values are limited before anything is built. Aliases, which can expand without limit, are refused. The
meaning of a scalar is decided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from tmrepro.errors import Finding, SpecError
from tmrepro.spec.fields import Location
from tmrepro.spec.scalars import Scalar, read_scalar

MAX_BYTES = 2**20
MAX_DEPTH = 32
MAX_VALUES = 50_000  # the largest useful spec has about 20000; a parser in Python is slow
MAX_FINDINGS = 100  # nobody reads more, and a text of 1 MiB can have 300000
MAX_SHOWN = 60
EMPTY = "is empty; the smallest spec is 'version: 1', 'name: NAME' and 'data: {name: digits}'"


@dataclass(frozen=True)
class Node:
    """A value and its position: the line and column, from 1, of its key, of its list item, or of itself.

    `readable` is False if the text had no usable value. Then a finding says so already.
    """

    value: Scalar | list[Node] | dict[str, Node]
    line: int
    column: int
    readable: bool = True

    def below(self, part: str | int) -> Node | None:
        """Return the value of a key or of an item; None if there is none."""
        if isinstance(self.value, dict):
            return self.value.get(str(part))
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            return self.value[part]
        return None

    def plain(self) -> Any:
        """Return the value as dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


@dataclass
class Document:
    """The document of a text, and the errors of its YAML."""

    source: str
    root: Node = field(default_factory=lambda: Node(None, 1, 1))
    findings: list[Finding] = field(default_factory=list)

    def find(self, location: Location, message: str) -> Finding | None:
        """Return the finding about `location`, or None if a finding about its YAML covers it."""
        node = self.root
        for part in location:
            if (below := node.below(part)) is None:
                break
            node = below
            if not node.readable:
                return None
        return Finding(self.source, node.line, node.column, written(location), message)


def written(location: Location) -> str:
    """Return a location as text: ("surfaces", 0, "grid", "K") -> "surfaces[0].grid.K"."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_shown(part)}" for part in location).removeprefix(".")


def _shown(key: str) -> str:
    """Return a key as short text without control characters, safe to print."""
    short = key if len(key) <= MAX_SHOWN else f"{key[:MAX_SHOWN]}..."
    return short if short.isprintable() else repr(short)


def read_document(text: str, *, source: str) -> Document:
    """Return the document of `text`. Its `findings` are the errors that leave the rest readable.

    Raises:
        SpecError: the text is not YAML from some position on, or has no value.
    """
    if len(text.encode("utf-8", errors="replace")) > MAX_BYTES:
        raise SpecError([Finding(source, 1, 1, "", f"is larger than {MAX_BYTES} bytes, the most a spec may have")])
    builder = _Builder(Document(source))
    try:
        builder.build(iter(YAML(typ="safe", pure=True).parse(text)))
    except _StopReadingError:
        pass
    except (YAMLError, ValueError, OverflowError, AttributeError, IndexError, NotImplementedError) as error:
        # ruamel.yaml does not catch some of Python's own errors, e.g. for an escape beyond Unicode.
        builder.refuse(*_syntax(error, text))
    else:
        return builder.document
    raise SpecError(first_findings(builder.document.findings))


def first_findings(findings: list[Finding]) -> list[Finding]:
    """Return the findings in the order of the file, up to a limit, and a note if there are more."""
    ordered = sorted(findings, key=lambda finding: (finding.line, finding.column))
    if len(ordered) <= MAX_FINDINGS:
        return ordered
    last = ordered[MAX_FINDINGS]
    more = f"more errors follow, which are not listed; correct the {MAX_FINDINGS} findings above first"
    return [*ordered[:MAX_FINDINGS], Finding(last.source, last.line, last.column, "", more)]


class _StopReadingError(Exception):
    """A finding after which the rest cannot be read."""


class _Builder:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.depth = 0
        self.values = 0

    def refuse(self, line: int, column: int, message: str, *, path: Location = ()) -> None:
        self.document.findings.append(Finding(self.document.source, line, column, written(path), message))
        if len(self.document.findings) > MAX_FINDINGS:
            raise _StopReadingError

    def build(self, events: Iterator[Event]) -> None:
        next(events)  # start of the stream
        start = next(events)
        if isinstance(start, StreamEndEvent):
            self.refuse(1, 1, EMPTY)
            raise _StopReadingError
        if isinstance(start, DocumentStartEvent) and (start.version or start.tags):
            self.refuse(1, 1, "% directives are not allowed; remove this line")
        root = next(events)
        self.document.root = self.node(root, events, (), *_place(root))
        if self.document.root.value is None:
            if self.document.root.readable:
                self.refuse(1, 1, EMPTY)
            raise _StopReadingError
        while not isinstance(event := next(events), StreamEndEvent):
            if not isinstance(event, DocumentEndEvent):
                self.refuse(*_place(event), "a second document; a spec is one document, without '---' in the middle")
                raise _StopReadingError

    def node(self, event: Any, events: Iterator[Event], path: Location, line: int, column: int) -> Node:
        self.values += 1
        if self.values > MAX_VALUES:
            self.refuse(line, column, f"holds more than {MAX_VALUES} values, the most a spec may have")
            raise _StopReadingError
        if isinstance(event, AliasEvent):
            self.refuse(line, column, f"aliases are not allowed (*{event.anchor}); write the value out", path=path)
            return Node(None, line, column, readable=False)
        if getattr(event, "anchor", None) is not None:
            self.refuse(line, column, f"anchors are not allowed (&{event.anchor}); remove it", path=path)
        if (tag := getattr(event, "tag", None)) is not None:
            short = str(tag).replace("tag:yaml.org,2002:", "!!")
            self.refuse(line, column, f"tags are not allowed ({short}); remove it", path=path)
        if isinstance(event, CollectionStartEvent):
            # Counted, not taken from the path: a key can be a collection too, and its path is that of its mapping.
            if self.depth == MAX_DEPTH:
                self.refuse(line, column, f"nested deeper than {MAX_DEPTH} levels", path=path[:3])
                raise _StopReadingError
            self.depth += 1
            read = self.mapping if isinstance(event, MappingStartEvent) else self.sequence
            node = Node(read(events, path), line, column)
            self.depth -= 1
            return node
        return self.scalar(event, path, line, column)

    def scalar(self, event: Any, path: Location, line: int, column: int) -> Node:
        text: str = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            self.refuse(line, column, "half a surrogate pair is not a character", path=path)
            return Node(None, line, column, readable=False)
        if not event.implicit[0]:  # quoted or a block: text, whatever it looks like
            return Node(text, line, column)
        try:
            return Node(read_scalar(text), line, column)
        except ValueError as error:
            self.refuse(line, column, f"{error} fits no field", path=path)
            return Node(None, line, column, readable=False)

    def sequence(self, events: Iterator[Event], path: Location) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            items.append(self.node(event, events, (*path, len(items)), *_place(event)))
        return items

    def mapping(self, events: Iterator[Event], path: Location) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while isinstance(event := next(events), AliasEvent | ScalarEvent | CollectionStartEvent):
            line, column = _place(event)
            key = self.node(event, events, path, line, column)
            name = (
                key.value
                if isinstance(key.value, str)
                else f"({event.value})"
                if isinstance(event, ScalarEvent)
                else "(?)"
            )
            value = self.node(next(events), events, (*path, name), line, column)
            if not isinstance(key.value, str):
                if key.readable:
                    self.refuse(
                        line, column, "a key must be text; put it in quotes if it looks like a number", path=path
                    )
            elif name in entries:
                self.refuse(line, column, f"is repeated (first in line {entries[name].line})", path=(*path, name))
            else:
                entries[name] = value
        return entries


def _place(event: Event) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _syntax(error: Exception, text: str) -> tuple[int, int, str]:
    """Return line, column and message of an error of the YAML reader."""
    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return (
            line,
            column,
            f"the character {_code(error.character)} is not allowed in YAML; write it as an escape in quotes",
        )
    if not isinstance(error, MarkedYAMLError):
        return 1, 1, f"is not readable as YAML: {error}"
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = (error.problem or error.context or "not readable").strip()
    if "\\t" in problem:
        return line, column, "a tab; use spaces"
    context = f" {error.context}" if error.context and error.problem else ""
    return line, column, f"is not YAML{context}: {problem}"


def _code(character: Any) -> str:
    code = ord(character) if isinstance(character, str) else int(character)
    return f"U+{code:04X}"
