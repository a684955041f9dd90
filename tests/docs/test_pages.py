"""Every command and code block of README.md and of the site runs as it stands, or says why no test can run it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.docs import commands, pages
from tests.docs.pages import ROOT
from tmrepro.spec import parse_spec

if not (ROOT / "docs" / "conf.py").is_file():
    pytest.skip("needs a checkout", allow_module_level=True)

TEXTS = {".py", ".j2", ".md", ".yaml", ".toml", ".cff", ".sh", ".ipynb", ""}  # the last: Makefile, Dockerfile
PAGE = re.compile(r"(?<![\w/])docs/[\w/-]+\.(?:md|ipynb)")
LANGUAGES = {"sh", "python", "yaml", "json", "text"}
# What the pages call the quickstart: the same names, and nothing that takes time.
QUICKSTART = """
version: 1
name: quickstart
data: {name: digits, train: 60, validation: 20, size: 8}
models:
  - {name: dnn, kind: dnn, widths: [8, 10]}
  - {name: cnn, kind: dnn, widths: [6, 10]}
  - {name: resnet50, kind: dnn, widths: [4, 10]}
training: {batch_size: 20, warmup_steps: 2, max_epochs: 3, stop: {at: never}}
surfaces:
  - {name: paper, grid: {K: 3}}
compute: {threads: 1}
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages assume: spec/quickstart.yaml, its run and its reference, and the shipped references."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "spec").mkdir()
    (folder / "spec/quickstart.yaml").write_text(QUICKSTART, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        commands.run(shlex.split("tmrepro reference build spec/quickstart.yaml --runs built --quiet"))
    (run,) = (path.parent for path in (folder / "built").rglob("manifest-sha256.txt"))
    (folder / "runs").mkdir()
    run.rename(folder / "runs/quickstart")
    return folder


@pytest.fixture
def workplace(page: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A copy of `made` as the working directory, with `tmrepro` on the PATH, and the shipped references if the page uses any."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    if any("paper/reference" in block.text for block in pages.blocks_of(page)):  # thousands of files
        shutil.copytree(ROOT / "paper/reference", tmp_path / "paper/reference", copy_function=os.link)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield
    from matplotlib import pyplot as plt

    plt.close("all")


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("page", pages.page_names())
def test_every_block_runs_as_it_stands(page: str) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for block in pages.blocks_of(page):
        assert block.language in LANGUAGES, f"{block}: one of {sorted(LANGUAGES)} (got {block.language!r})"
        match block.language:
            case "python":
                code = compile("\n" * block.line + block.text, str(ROOT / page), "exec")
                if block.marker is None:
                    exec(code, names)  # noqa: S102 - our own page
            case "sh":
                for words in commands.simple_commands(block.text):
                    commands.check(words)
                    if block.marker is None:
                        commands.run(words)
            case "yaml":
                check_yaml(block)
            case "json":
                json.loads(block.text)
            case _:
                assert not block.text.startswith("tmrepro ") or "[OPTIONS]" in block.text, f"{block}: a command is sh"


@pytest.mark.parametrize("page", pages.page_names())
def test_commands_within_sentences_exist(page: str) -> None:
    for command in pages.inline_commands(page):
        commands.check_options(command.split()[1:])
    assert pages.bare_options(page) == []


def check_yaml(block: pages.Block) -> None:
    """A spec, or each part of one, is valid; other YAML is YAML."""
    if block.marker == "not a spec":
        assert YAML(typ="safe").load(block.text) is not None
    elif block.text.startswith("version:"):
        parse_spec(block.text, source=str(block))
    else:
        whole = "version: 1\nname: part\n"
        for part in [block.text] if block.text.count("\ndata:") == 0 else block.text.splitlines():
            data = "" if part.startswith("data:") else "data: {name: digits}\n"
            parse_spec(f"{whole}{data}{part}\n", source=str(block))


def test_every_page_that_code_and_messages_name_exists() -> None:
    folders = [
        path
        for name in ("tmrepro", "tests", "spec", "benchmarks", "docs", "docker", "tools")
        for path in (ROOT / name).rglob("*.*")
    ]
    files = [
        path
        for path in [*folders, *ROOT.glob("*"), *(ROOT / "paper").glob("*")]
        if path.suffix in TEXTS and path.is_file()
    ]
    named = {(path, name) for path in files for name in PAGE.findall(path.read_text(encoding="utf-8"))}
    assert len(named) > 20
    assert [(path, name) for path, name in sorted(named) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize(
    "words", ["tmrepro run x --no-such-option", "tmrepro nothing", "make nothing", "docker/nothing"]
)
def test_a_command_that_does_not_exist_would_be_found(words: str) -> None:
    with pytest.raises((AssertionError, FileNotFoundError)):
        commands.check(shlex.split(words))


def test_a_marker_is_read_and_a_directive_is_no_block() -> None:
    found = pages.blocks_of("docs/how-to/gpu.md")
    assert {block.marker for block in found} == {"not run"}
    assert all(not block.language.startswith("{") for page in pages.page_names() for block in pages.blocks_of(page))
