"""Any bytes at all as a spec: a spec that means what its schema says, or an error that a person can read; and soon.

Valid and nearly valid specs are drawn from the published JSON Schema, so what the schema allows and what the reader takes
are held against each other too.
"""

from __future__ import annotations

import json
import random
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tmrepro.errors import SpecError
from tmrepro.spec import (
    dump_spec,
    expand_models,
    expand_surfaces,
    explain,
    format_explanations,
    load_spec,
    parse_spec,
    spec_hash,
    spec_schema,
)
from tmrepro.spec.document import MAX_BYTES, MAX_FINDINGS, read_document

SCHEMA = spec_schema()
SMALLEST = b"version: 1\nname: tiny\ndata: {name: digits}\n"
CPU_SECONDS = 20
MEMORY_BYTES = 2**29  # beyond what the process held before

SCRAPS = (
    b"[", b"]", b"{", b"}", b":", b": ", b",", b"- ", b"? ", b"&a ", b"*a", b"!", b"!!int ", b"!!python/object/apply:os.system ",
    b"|", b">", b"|2-\n", b"'", b'"', b'"\\x41"', b"\\", b"%YAML 1.1\n", b"%TAG ! x\n", b"@", b"`", b"#", b"\n", b"\r", b"\t",
    b" ", b"\n  ", b"---\n", b"...\n", b"<<: *a", b"<<", b"a", b"a: 1\n", b"1", b"0o17", b"0x", b"1:30", b"yes", b"~", b".inf",
    b"1e999", b"-", b"\0", b"\x1b[2J", b"\x85", b"\xa0", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xed\xa0\x80",
    b"\xf0\x9f\xa7\xa8", b"models", b"surfaces: ", b"training: ", b"name: ", b"kind: dnn", b"9" * 2000, b"K: ", b"null",
)  # fmt: skip

ODD_VALUES = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 1, 2, 2**31, 2**53, 2**64, 10**400, 0.5, 1e308, 5e-324, float("inf")]),
    st.sampled_from([float("nan"), "", "x", "../x", "a" * 300, "\x1b[31m", "0", "1e-3", "yes", [], {}, [[]], {"": 1}]),
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(max_size=4),
        lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4), below, max_size=3),
        max_leaves=6,
    ),
)


def drawn_from(schema: dict[str, Any]) -> st.SearchStrategy[Any]:  # noqa: C901 - a case for each kind of schema
    """Values that the JSON Schema allows, optional fields among them or not."""
    if "$ref" in schema:
        return st.deferred(lambda: drawn_from(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]))
    for union in ("oneOf", "anyOf"):
        if union in schema:
            return st.one_of([drawn_from(member) for member in schema[union]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object" if "properties" in schema:
            fields = {name: drawn_from(below) for name, below in schema["properties"].items()}
            required = {name: fields.pop(name) for name in schema.get("required", [])}
            return st.fixed_dictionaries(required, optional=fields)
        case "object":
            return st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), ODD_VALUES, max_size=3)
        case "array" if "prefixItems" in schema:
            return st.tuples(*map(drawn_from, schema["prefixItems"])).map(list)
        case "array":
            least = schema.get("minItems", 0)
            return st.lists(drawn_from(schema["items"]), min_size=least, max_size=least + 3)
        case "integer":
            low, high = schema.get("minimum", -9), schema.get("maximum", 2**53)
            return st.sampled_from([low, high]) | st.integers(low, min(high, low + 300))
        case "number":
            low = schema.get("exclusiveMinimum", schema.get("minimum"))
            high = schema.get("exclusiveMaximum", schema.get("maximum", 1e300))
            return st.floats(
                low, high, exclude_min="exclusiveMinimum" in schema, exclude_max="exclusiveMaximum" in schema
            )
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        case "string":
            return st.text(max_size=8)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    raise AssertionError(schema)


VALID = drawn_from(SCHEMA)


@st.composite
def nearly_valid(draw) -> Any:
    """A valid spec with a few places spoilt: another value, a key too many, too few or misspelt, a list doubled."""
    spec = json.loads(json.dumps(draw(VALID)))
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(spec))
        above, key = draw(st.sampled_from(places))
        match draw(st.integers(0, 4)):
            case 0 if isinstance(above, dict):
                del above[key]
            case 1 if isinstance(above, dict):
                above[key[:-1] or "x"] = above[key]
            case 2 if isinstance(above, dict):
                above[draw(st.text(max_size=6))] = draw(ODD_VALUES)
            case 3 if isinstance(above, list):
                above.append(above[key])
            case _:
                above[key] = draw(ODD_VALUES)
    return spec


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, below in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(below, dict | list):
            yield from _places(below)


def as_block(value: Any, indent: str = "") -> str:
    """Block YAML, the way people write it; scalars as JSON writes them."""
    if isinstance(value, dict) and value:
        return "".join(f"\n{indent}{json.dumps(key)}:{as_block(below, indent + '  ')}" for key, below in value.items())
    if isinstance(value, list) and value:
        return "".join(f"\n{indent}-{as_block(below, indent + '  ')}" for below in value)
    return " " + json.dumps(value).replace("Infinity", ".inf").replace("NaN", ".nan")


@st.composite
def spec_bytes(draw) -> bytes:
    """A valid or nearly valid spec as a file, whose bytes may have been spoilt as well."""
    value = draw(nearly_valid())
    text = as_block(value).lstrip("\n") if draw(st.booleans()) else json.dumps(value, ensure_ascii=draw(st.booleans()))
    content = bytearray(text.encode("utf-8", errors="surrogatepass"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        place = draw(st.integers(0, len(content)))
        content[place : place + draw(st.sampled_from([0, 0, 1, 20]))] = draw(st.sampled_from(SCRAPS))
    return bytes(content)


raw_bytes = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from(SCRAPS), max_size=30).map(b"".join),
    st.lists(st.sampled_from(SCRAPS), max_size=12).map(lambda scraps: SMALLEST + b"".join(scraps)),
)


def met(content: bytes, path: Path) -> str:
    """What becomes of a file of these bytes, after everything that must hold of it was looked at."""
    path.write_bytes(content)
    with limited():
        spec, error = loaded(path)
        if error is not None:
            check_words(error, path)
            return "refused"
        check_spec(spec)
    return "taken"


def loaded(path: Path) -> tuple[Any, SpecError | None]:
    try:
        return load_spec(path), None
    except SpecError as error:
        return None, error


def check_words(error: SpecError, path: Path) -> None:
    lines = str(error).split("\n")
    assert 1 <= len(lines) == len(error.findings) <= MAX_FINDINGS + 1
    assert all(re.match(rf"{re.escape(str(path))}:[1-9]\d*:[1-9]\d*: .", line) for line in lines), lines
    assert all(line.isprintable() and len(line) < 3000 for line in lines), lines


def check_spec(spec: Any) -> None:
    text = dump_spec(spec)
    again = parse_spec(text)
    assert again == spec
    assert spec_hash(again) == spec_hash(spec)
    assert dump_spec(again) == text
    assert Draft202012Validator(SCHEMA).is_valid(read_document(text, source="").root.plain())
    assert format_explanations(explain(spec))
    assert expand_models(spec)
    assert expand_surfaces(spec)


@contextmanager
def limited() -> Iterator[None]:
    """No more than `CPU_SECONDS` of this process's own time: a busy machine is slow, and that is no fault."""

    def late(_number: int, _frame: object) -> None:
        raise TimeoutError(f"more than {CPU_SECONDS} s of processor")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def little_memory() -> Iterator[None]:
    """No more than `MEMORY_BYTES` beyond what is held already."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_bytes()
    yield
    assert _peak_bytes() - before < MEMORY_BYTES


def _peak_bytes() -> int:
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def short(examples: int):
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("specs") / "x.yaml"


@given(content=spec_bytes())
@short(110)
def test_specs_from_the_schema_are_taken_or_refused_in_words(content, path):
    met(content, path)


@given(content=raw_bytes)
@short(60)
def test_any_bytes_are_taken_or_refused_in_words(content, path):
    met(content, path)


@pytest.mark.soak
@given(content=spec_bytes())
@short(2000)
def test_thousands_of_specs_from_the_schema(content, path):
    met(content, path)


@pytest.mark.soak
@given(content=raw_bytes)
@short(500)
def test_thousands_of_raw_bytes(content, path):
    met(content, path)


@given(value=VALID)
@short(35)
def test_a_valid_spec_is_refused_only_for_what_no_schema_can_say(value, path):
    path.write_text(json.dumps(value))
    _, error = loaded(path)
    shape = r"unknown field|is missing|must be (text|a number|a whole number|a list|a mapping)"
    assert error is None or not re.search(shape, str(error))


@given(value=nearly_valid())
@short(35)
def test_what_the_schema_forbids_is_never_taken(value, path):
    path.write_text(json.dumps(value).replace("Infinity", ".inf").replace("NaN", ".nan"))
    _, error = loaded(path)
    assert error is not None or Draft202012Validator(SCHEMA).is_valid(value)


def filled(unit: bytes, before: bytes) -> bytes:
    return (before + unit * (MAX_BYTES // len(unit)))[:MAX_BYTES]


WORST = {
    "models": SMALLEST + b"models: [" + b"{}," * 300_000,
    "model names": SMALLEST
    + b"surfaces: [{name: a, models: ["
    + b",".join(b"m%d" % n for n in range(100_000))
    + b"]}]",
    "names that differ": SMALLEST
    + b"models: ["
    + b",".join(b"{name: m%d, kind: dnn}" % n for n in range(12_000))
    + b"]",
    "unknown keys": SMALLEST + b"".join(b"k%d: 1\n" % n for n in range(24_000)),
    "nested keys": filled(b"? ", b""),
    "key twice": filled(b"a: 1\n", b""),
    "aliases": b"a: &a [1]\nb: [" + b"*a," * 300_000 + b"]",
    "laughs": b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b"*a%d," % (n - 1) * 9) for n in range(1, 30)),
    "lists": filled(b"[", SMALLEST + b"x: "),
    "mappings": filled(b"{a: ", b""),
    "numbers": filled(b"1,", SMALLEST + b"models: [{name: a, kind: dnn, widths: ["),
    "one number": SMALLEST + b"x: " + b"9" * 900_000,
    "arguments": filled(b"[1],", SMALLEST + b"models: [{name: a, kind: custom, factory: 'a:b', arguments: {x: ["),
    "replicates": SMALLEST + b"replicates: {training: 1000, directions: 1000}\n",
    "too large": b"#" * (MAX_BYTES + 1),
}


QUICK = ("replicates", "nested keys", "key twice", "aliases", "laughs", "lists", "mappings", "one number", "too large")


@pytest.mark.parametrize(
    "what", [what if what in {*QUICK, "numbers"} else pytest.param(what, marks=pytest.mark.soak) for what in WORST]
)
def test_a_spec_of_a_mebibyte_is_refused_soon_and_in_little_memory(what, path):
    with little_memory():
        assert met(WORST[what][: MAX_BYTES + 1], path) == "refused"


@pytest.mark.soak
@given(
    unit=st.lists(st.sampled_from(SCRAPS), min_size=1, max_size=5).map(b"".join),
    before=st.sampled_from([b"", SMALLEST]),
)
@short(150)
def test_anything_repeated_to_a_mebibyte_is_met_soon_and_in_little_memory(unit, before, path):
    with little_memory():
        met(filled(unit, before), path)


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("compute: {threads: 0o17}", 15),
        ("compute: {threads: 017}", 17),
        ("compute: {threads: 0x1F}", 31),
        ("compute: {threads: +7}", 7),
    ],
)
def test_numbers_are_those_of_yaml_1_2(written, taken, path):
    path.write_bytes(SMALLEST + written.encode())
    assert load_spec(path).compute.threads == taken


@pytest.mark.parametrize(
    "written",
    [
        "1:30",
        "yes",
        "1_0",
        "0b1",
        ".inf",
        "-.INF",
        ".nan",
        "2001-01-01",
        "!!int 3",
        "0x",
        "1e1",
        "'3'",
        "3.0",
        "[3]",
        "~",
        "",
    ],
)
def test_what_yaml_1_1_would_take_for_a_number_is_none(written, path):
    assert met(SMALLEST + f"compute: {{threads: {written}}}\n".encode(), path) == "refused"


@pytest.mark.parametrize("merge", ["<<: {threads: 3}", "<<: [{threads: 3}]", "<<: *a", "'<<': {threads: 3}"])
def test_merge_keys_merge_nothing(merge, path):
    assert met(SMALLEST + f"compute:\n  {merge}\n".encode(), path) == "refused"


def test_every_text_that_is_taken_from_a_shuffled_spec_means_the_same(path):
    """The order of keys is no part of what a spec says."""
    value = read_document(dump_spec(parse_spec(SMALLEST.decode())), source="").root.plain()
    hashes = set()
    for seed in range(5):
        path.write_text(as_block(_shuffled(value, random.Random(seed))).lstrip("\n"))  # noqa: S311
        hashes.add(spec_hash(load_spec(path)))
    assert hashes == {spec_hash(parse_spec(SMALLEST.decode()))}


def _shuffled(value: Any, random_: random.Random) -> Any:
    if isinstance(value, dict):
        entries = [(key, _shuffled(below, random_)) for key, below in value.items()]
        random_.shuffle(entries)
        return dict(entries)
    return [_shuffled(item, random_) for item in value] if isinstance(value, list) else value
