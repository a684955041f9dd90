"""Whatever is in the file: a spec, or an error that names the line, the field and what is wanted."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tmrepro.errors import SpecError
from tmrepro.spec import load_spec, parse_spec
from tmrepro.spec.scalars import write_flow

SMALLEST = "version: 1\nname: tiny\ndata: {name: digits}\n"


def findings(text):
    with pytest.raises(SpecError) as caught:
        parse_spec(text, source="spec/x.yaml")
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def findings_if_any(text):
    try:
        parse_spec(text)
    except SpecError as error:
        return error.findings
    return []


BAD_FIELDS = [
    (
        "surfaces: [{name: a, grid: {K: 4096}, chunk: 15}]",
        "4:39: surfaces[0].chunk: divides 4096 x 4096 points into 75076 chunks; must be at least 16 (got 15)",
    ),
    (
        "surfaces: [{name: a, grid: {K: 4096}}, {name: b, grid: {K: 4096}}]",
        "4:12: surfaces[0].chunk: makes 393216 chunks in all surfaces; at most 262144 fit into one run: raise chunk",
    ),
    (
        "replicates: {training: 334, directions: 2}",
        "4:14: replicates.training: makes 1002 trainings; at most 1000 fit into one run",
    ),
    (
        "replicates: {directions: 999, training: 5}",
        "4:14: replicates.directions: makes 14985 surfaces of single networks; at most 10000 fit into one run",
    ),
    ("surfaces:\n  - name: a\n    grid:\n        K: 1\n", "7:9: surfaces[0].grid.K: must be at least 2 (got 1)"),
    ("surfaces: [{name: a, grid: {K: 0}}]", "4:29: surfaces[0].grid.K: must be at least 2 (got 0)"),
    ("surfaces: [{name: a, grid: {K: -3}}]", "4:29: surfaces[0].grid.K: must be at least 2 (got -3)"),
    (
        "surfaces: [{name: a, grid: {K: 1000000000}}]",
        "4:29: surfaces[0].grid.K: must be at most 4096 (got 1000000000)",
    ),
    ("surfaces: [{name: a, grid: {K: 5.0}}]", "4:29: surfaces[0].grid.K: must be a whole number (got 5.0)"),
    ("surfaces: [{name: a, grid: {K: '5'}}]", "4:29: surfaces[0].grid.K: must be a whole number (got text '5')"),
    ("surfaces: [{name: a, grid: {K: true}}]", "4:29: surfaces[0].grid.K: must be a whole number (got true)"),
    ("surfaces: [{name: a, grid: {K: }}]", "4:29: surfaces[0].grid.K: must be a whole number (got nothing)"),
    ("surfaces: [{name: a, grid: {step: 0}}]", "4:29: surfaces[0].grid.step: must be above 0 (got 0)"),
    ("surfaces: [{name: a, grid: {step: .inf}}]", "4:29: surfaces[0].grid.step: must be finite (got inf)"),
    (
        "surfaces: [{name: a, grid: {step: 1e308}}]",
        "4:29: surfaces[0].grid.step: step x (K - 1) must be finite (got 1e+308 x 50)",
    ),
    (
        "surfaces: [{name: a, grid: {K: 10, origin: center}}]",
        "4:29: surfaces[0].grid.K: must be odd when the origin is center, so that theta* is a point (got 10)",
    ),
    (
        "surfaces: [{name: a, grid: {k: 10}}]",
        "4:29: surfaces[0].grid.k: unknown field; did you mean 'K'?",
    ),
    (
        "surfaces: [{name: a, directions: {seeds: {delta: 2}}}]",
        "4:35: surfaces[0].directions.seeds.eta: must differ from delta, or the plane is a line (both are 2)",
    ),
    (
        "surfaces: [{name: a, models: [cmn]}]",
        "4:31: surfaces[0].models[0]: no model is called 'cmn'; did you mean 'cnn'?",
    ),
    ("surfaces: [{name: a, models: [dnn, dnn]}]", "4:36: surfaces[0].models[1]: 'dnn' is listed twice"),
    ("surfaces: [{name: a, models: []}]", "4:22: surfaces[0].models: must have at least 1 (got 0)"),
    ("surfaces: []", "4:1: surfaces: must have at least 1 (got 0)"),
    ("surfaces: [{name: a, samples: 1025}]", "4:22: surfaces[0].samples: must be at most data.train, 1024 (got 1025)"),
    (
        "surfaces: [{name: a}, {name: a}]",
        "4:24: surfaces[1].name: 'a' is already the name of surfaces[0]; names must be unique",
    ),
    ("training: {optimizer: {lr: 0}}", "4:24: training.optimizer.lr: must be above 0 (got 0)"),
    ("training: {optimizer: {lr: .nan}}", "4:24: training.optimizer.lr: must be finite (got nan)"),
    ("training: {optimizer: {lr: nan}}", "4:24: training.optimizer.lr: must be a number (got text 'nan')"),
    ("training: {optimizer: {lr: yes}}", "4:24: training.optimizer.lr: must be a number (got text 'yes')"),
    ("training: {optimizer: {betas: [0.9]}}", "4:24: training.optimizer.betas[1]: is missing"),
    ("training: {optimizer: {betas: [1, 0]}}", "4:32: training.optimizer.betas[0]: must be below 1 (got 1)"),
    ("training: {optimizer: adam}", "4:12: training.optimizer: must be a mapping (got text 'adam')"),
    ("training: {optimizer: {name: 3}}", "4:24: training.optimizer.name: must be text (got 3)"),
    (
        "training: {optimizer: {name: adamm}}",
        "4:24: training.optimizer.name: must be one of adam, adamw, sgd (got text 'adamm'); did you mean 'adam'?",
    ),
    (
        "training: {optimizer: {name: sgd, betas: [0, 0]}}",
        "4:35: training.optimizer.betas: unknown field; known fields: name, lr, momentum, weight_decay",
    ),
    ("training: {clip_probability: 0.5}", "4:12: training.clip_probability: must be below 0.5 (got 0.5)"),
    ("training: {stop: {patience: 0}}", "4:19: training.stop.patience: must be at least 1 (got 0)"),
    ("training: {reestimate_batch_norm: 1}", "4:12: training.reestimate_batch_norm: must be true or false (got 1)"),
    ("training: {seed: -1}", "4:12: training.seed: must be at least 0 (got -1)"),
    ("training:", "4:1: training: must be a mapping (got nothing)"),
    ("models: []", "4:1: models: must have at least 1 (got 0)"),
    ("models: {name: dnn}", "4:1: models: must be a list (got a mapping)"),
    ("models: [dnn]", "4:10: models[0]: must be a mapping (got text 'dnn')"),
    ("models: [{name: a}]", "4:10: models[0].kind: is missing"),
    ("models: [{kind: dnn}]", "4:10: models[0].name: is missing"),
    (
        "models: [{name: a, kind: resnet}]",
        "4:20: models[0].kind: must be one of dnn, cnn, resnet50, custom (got text 'resnet'); did you mean 'resnet50'?",
    ),
    (
        "models: [{name: ../a, kind: dnn}]",
        "4:11: models[0].name: must be 1 to 64 of a-z, 0-9, _ and -, the first a letter or digit (got text '../a')",
    ),
    (
        "models: [{name: a, kind: dnn}, {name: b, kind: cnn}, {name: a, kind: cnn}]",
        "4:55: models[2].name: 'a' is already the name of models[0]; names must be unique",
    ),
    (
        "models: [{name: a, kind: dnn, widths: [20, 11]}]",
        "4:44: models[0].widths[1]: must be 10, the number of classes of digits (got 11)",
    ),
    (
        "models: [{name: a, kind: dnn, widths: [1000000, 10]}]",
        "4:31: models[0].widths: makes 3.1e+09 parameters; at most 2.1e+09 are allowed",
    ),
    (
        "models: [{name: a, kind: cnn, kernel: 2}]",
        "4:31: models[0].kernel: must be odd, because the padding is half of it (got 2)",
    ),
    (
        "models: [{name: a, kind: custom, factory: 'os.getcwd'}]",
        "4:34: models[0].factory: must look like package.module:function (got text 'os.getcwd')",
    ),
    (
        "models: [{name: a, kind: custom, factory: 'a:b', arguments: {x: [1, .nan]}}]",
        "4:69: models[0].arguments.x[1]: must be finite (got nan)",
    ),
    (
        "models: [{name: a, kind: custom, factory: 'a:b', arguments: {2x: 1}}]",
        "4:50: models[0].arguments: an argument's name must be a Python identifier of at most 100 characters (got '2x')",
    ),
    (
        "models: [{name: a, kind: resnet50, training: {batch_size: 1023}}]",
        (
            "4:47: models[0].training.batch_size: leaves a batch of one image (1024 images in batches of 1023), on which "
            "batch norm of model 'a' cannot train; change batch_size or data.train"
        ),
    ),
    (
        "training: {optimizer: {name: sgd}}\nmodels: [{name: a, kind: dnn, training: {optimizer: {lr: 1}}}]",
        "5:42: models[0].training.optimizer: needs a name: it replaces the whole training.optimizer, which is sgd",
    ),
    (
        "minimum: {labels: had}",
        "4:11: minimum.labels: must be one of hard, soft (got text 'had'); did you mean 'hard'?",
    ),
    ("replicates: {training: 0}", "4:14: replicates.training: must be at least 1 (got 0)"),
    ("compute: {threads: 257}", "4:11: compute.threads: must be at most 256 (got 257)"),
    ("figure: {scale: log}", "4:1: figure: unknown field; did you mean 'figures'?"),
]


@pytest.mark.parametrize(("added", "expected"), BAD_FIELDS, ids=[added.split("\n")[0] for added, _ in BAD_FIELDS])
def test_a_wrong_field_is_named_with_its_line_and_column(added, expected):
    assert findings(SMALLEST + added) == [f"spec/x.yaml:{expected}"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("name: digits, train: 1600, validation: 200", "3:22: data.train: train + validation must be at most 1797"),
        ("name: digits, train: 9", "3:22: data.train: must be at least 10, one image of each class (got 9)"),
        ("name: digits, size: 7", "3:22: data.size: must be at least 8 (got 7)"),
        (
            "name: cifar10, train: 50001",
            "3:23: data.train: must be at most 50000, the number that CIFAR-10 has (got 50001)",
        ),
        ("name: cifar10, validation: 10001", "3:23: data.validation: must be at most 10000"),
        ("name: cifar10, size: 64", "3:23: data.size: must be 32 for cifar10 (got 64); use name: images to resize"),
        ("name: mnist", "3:8: data.name: must be one of cifar10, images, digits, arrays, custom (got text 'mnist')"),
        ("train: 10", "3:1: data.name: is missing"),
        ("name: images, train: 0", "3:22: data.train: must be at least 1 (got 0)"),
    ],
)
def test_more_images_than_there_are_is_refused_before_any_is_loaded(data, expected):
    (finding,) = findings(f"version: 1\nname: tiny\ndata: {{{data}}}\n")
    assert finding.startswith(f"spec/x.yaml:{expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: is empty"),
        ("# only a comment\n\n", "1:1: is empty"),
        ("---\n", "1:1: is empty"),
        ("null", "1:1: is empty"),
        ("- version: 1\n", "1:1: must be a mapping (got a list)"),
        ("just words", "1:1: must be a mapping (got text 'just words')"),
        ("version: 1\nname:\ttiny\n\tdata: 3", "2:6: a tab; use spaces"),
        ("version: 1\n\tname: tiny", "2:1: a tab; use spaces"),
        ("version: [1", "1:12: is not YAML while parsing a flow sequence: expected ',' or ']'"),
        ("version: 1\nname: 'tiny", "2:12: is not YAML while scanning a quoted scalar"),
        ("version: 1\n name: tiny", "2:6: is not YAML: mapping values are not allowed here"),
        (SMALLEST + "---\n" + SMALLEST, "4:1: a second document"),
        ("%YAML 1.1\n---\n" + SMALLEST, "1:1: % directives are not allowed"),
        (SMALLEST + "\x07", "4:1: the character U+0007 is not allowed in YAML"),
        (SMALLEST + "name: other\n", "4:1: name: is repeated (first in line 2)"),
        (SMALLEST + "figures: &f {scale: log}\n", "4:1: figures: anchors are not allowed (&f); remove it"),
        (SMALLEST + "figures: !!map {scale: log}\n", "4:1: figures: tags are not allowed (!!map); remove it"),
        (SMALLEST + "figures: !python/object:os.system {}\n", "4:1: figures: tags are not allowed (!python/object"),
        (SMALLEST + "figures: {1: 2}\n", "4:11: figures: a key must be text"),
        (SMALLEST + "figures: {[a]: 2}\n", "4:11: figures: a key must be text"),
        (
            SMALLEST + "training: {seed: " + "9" * 5000 + "}",
            "4:12: training.seed: a number of 5000 digits fits no field",
        ),
        (
            SMALLEST + "training: {seed: " + "9" * 500 + "}",
            "4:12: training.seed: must be at most 9007199254740991 (got 9",
        ),
        (SMALLEST + 'figures: {scale: "\\uD800"}', "4:11: figures.scale: half a surrogate pair is not a character"),
        (SMALLEST + 'figures: {scale: "\\UFFFFFFFF"}', "1:1: is not readable as YAML"),
        (SMALLEST + "x: " + "[" * 200_000, "4:35: x[0][0]: nested deeper than 32 levels"),
        (SMALLEST + "#" * 2**20, "1:1: is larger than 1048576 bytes"),
    ],
)
def test_text_that_is_no_spec_is_refused_with_a_line(text, expected):
    assert findings(text)[0].startswith(f"spec/x.yaml:{expected}")


def test_an_alias_is_refused_once_and_not_expanded():
    bomb = "a: &a [x, x]\n" + "".join(f"b{i}: [*a, *a, *a]\n" for i in range(20))
    lines = findings(bomb)
    assert sum("aliases are not allowed (*a)" in line for line in lines) == 60
    assert findings(SMALLEST + "figures: {scale: *a}") == [
        "spec/x.yaml:4:11: figures.scale: aliases are not allowed (*a); write the value out"
    ]


def test_a_document_that_is_only_an_alias_is_refused_for_that_alone():
    assert findings("*a") == ["spec/x.yaml:1:1: aliases are not allowed (*a); write the value out"]


def test_a_key_of_any_text_neither_floods_nor_steers_the_terminal():
    (steering,) = findings(SMALLEST + '"\\e[31mred": 1')
    assert steering.startswith("spec/x.yaml:4:1: '\\x1b[31mred': unknown field; known fields: version")
    (flooding,) = findings(SMALLEST + "a" * 1000 + ": 1")
    assert f": {'a' * 60}...: unknown field" in flooding


def test_everything_wrong_is_said_at_once_in_file_order():
    text = """\
version: 2
name: Tiny
data: {name: digits, train: 1024, sise: 32}
models:
  - {name: a, kind: dnn, widths: [0, 11]}
  - {name: a, kind: cnn, training: {stop: {epsilon: 0, patence: 3}, optimizer: {name: sgd, lr: -1}}}
  - {name: r, kind: resnet50, training: {batch_size: 0}}
surfaces:
  - {name: s, models: [a, zz], grid: {K: 1}}
  - {name: s}
name: again
"""
    places = [":".join([*line.split(": ")[0].split(":")[1:], line.split(": ")[1]]) for line in findings(text)]
    assert places == [
        "1:1:version",
        "2:1:name",
        "3:35:data.sise",
        "5:35:models[0].widths[0]",
        "6:6:models[1].name",
        "6:44:models[1].training.stop.epsilon",
        "6:56:models[1].training.stop.patence",
        "6:92:models[1].training.optimizer.lr",
        "7:42:models[2].training.batch_size",
        "9:27:surfaces[0].models[1]",
        "9:39:surfaces[0].grid.K",
        "10:6:surfaces[1].name",
        "11:1:name",
    ]


def test_a_missing_field_is_placed_at_the_section_that_lacks_it():
    assert findings("name: tiny\nfigures: {}\n") == [
        "spec/x.yaml:1:1: version: is missing",
        "spec/x.yaml:1:1: data: is missing",
    ]


def test_files_that_cannot_be_read_are_spec_errors(tmp_path):
    for path, reason in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SpecError, match=rf":1:1: cannot be read: {reason}"):
            load_spec(path)
    (tmp_path / "latin.yaml").write_bytes(b"version: 1\nname: caf\xe9\n")
    with pytest.raises(SpecError, match=r"latin.yaml:2:10: the byte 0xe9 is not UTF-8"):
        load_spec(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_bytes(b"\xe9" * (2**20 + 1))
    with pytest.raises(SpecError, match=r"large.yaml:1:1: is larger than 1048576 bytes"):
        load_spec(tmp_path / "large.yaml")


def test_a_byte_order_mark_and_windows_lines_are_fine(tmp_path):
    (tmp_path / "dos.yaml").write_bytes(b"\xef\xbb\xbf" + SMALLEST.replace("\n", "\r\n").encode())
    assert load_spec(tmp_path / "dos.yaml") == parse_spec(SMALLEST)


YAML_SCRAPS = st.sampled_from(
    [
        *"[]{}:,-?&*!|>'\"%@`#\n\t ~.\\",
        "- ",
        ": ",
        "\n  ",
        "models",
        "surfaces",
        "name",
        "kind: dnn",
        "&a",
        "*a",
        "!!int",
        "training",
        "optimizer",
        "1e-3",
        "null",
        "true",
        ".nan",
        "---",
        "...",
        "<<",
        "0x",
        "\u2028",
        "\x85",
        "\ufeff",
        '"\\x',
    ]
)


@given(
    st.one_of(st.text(), st.lists(YAML_SCRAPS).map("".join), st.lists(YAML_SCRAPS).map(lambda s: SMALLEST + "".join(s)))
)
@example("? ")
@example("!<tag:")
@example("a: !<!> b")
@example("&")
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_spec_or_an_error_with_a_line(text):
    found = findings_if_any(text)
    assert all(finding.line >= 1 and finding.column >= 1 and finding.message for finding in found)


@given(content=st.binary())
@settings(max_examples=50, deadline=None)
def test_any_file_is_a_spec_or_an_error(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError):
        load_spec(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(path=st.sampled_from([added.split("\n")[0].split(":")[0] for added, _ in BAD_FIELDS] + ["data"]), value=VALUES)
@settings(max_examples=200, deadline=None)
def test_any_value_of_any_section_is_taken_or_refused(path, value):
    text = SMALLEST if path != "data" else "version: 1\nname: tiny\n"
    findings_if_any(f"{text}{path}: {write_flow(value)}\n")  # raises nothing else
