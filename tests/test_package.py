"""The package's metadata: what an index shows of it is whole, wherever the repository is."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
ADDRESS = "https://forge.example/people/tmrepro"
REFERENCE = re.compile(r'\]\(([^)]+)\)|(?:src|href)="([^"]+)"')

pytestmark = pytest.mark.skipif(not (ROOT / "hatch_build.py").is_file(), reason="needs a checkout")


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def references(text: str) -> list[str]:
    return [first or second for first, second in REFERENCE.findall(text)]


def test_the_tour_of_the_code_names_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawing = text.partition("```text")[2].partition("```")[0]
    rooms = {name for line in drawing.splitlines() for name in re.findall(r"[a-z]+", line[1:].partition("  ")[0])}
    package = ROOT / "tmrepro"
    present = {path.parent.name for path in package.glob("*/__init__.py")} | {
        path.stem for path in package.glob("[a-z]*.py")
    }
    assert rooms == present
    for path in re.findall(r"`([a-z_/]+(?:\.py|\.yaml|/))`", text):
        assert (package / path).exists() or (ROOT / path).exists(), path
    for path in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    "room", sorted({path.parent for path in (ROOT / "tmrepro").rglob("*/__init__.py")}), ids=lambda path: path.name
)
def test_every_room_says_what_its_modules_do(room):
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8")))
    modules = {path.stem for path in room.glob("*.py")} - {"__init__"}
    assert {name for name in modules if not re.search(rf"\b{name}\b", said)} == set()


def test_every_picture_and_link_of_the_readme_has_a_whole_address_and_exists(hook):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    whole = hook.long_description(readme, address=ADDRESS, tag="v1.2.3")
    found = references(whole)
    assert len(found) == len(references(readme)) > 5
    assert sum(f"{ADDRESS}/raw/v1.2.3/" in one for one in found) >= 2
    for reference in found:
        assert reference.startswith("https://")
        path = re.sub(f"^{ADDRESS}/(raw|blob)/v1.2.3/", "", reference)
        assert path.startswith("https://") or (ROOT / path).exists(), path


def test_without_an_address_nothing_is_broken_and_no_word_is_lost(hook):
    text = 'One ![a picture](a.png) and [words](b.md), [a site](https://example.org).\n<img src="c.png" width="3">\n'
    found = hook.long_description(text, address=None, tag="v1")
    assert found == "One  and words, [a site](https://example.org).\n\n"
    readme = hook.long_description((ROOT / "README.md").read_text(encoding="utf-8"), address=None, tag="v1")
    assert all(reference.startswith("https://") for reference in references(readme))


@pytest.mark.parametrize("line", ["", f"repository-code: {ADDRESS}/\n", f'repository-code: "{ADDRESS}"\n'])
def test_address_of_the_citation_is_that_of_the_package(line, tmp_path):
    from hatchling.metadata.core import ProjectMetadata
    from hatchling.plugin.manager import PluginManager

    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    citation = re.sub(r"^repository-code:.*\n", "", citation, flags=re.MULTILINE)
    (tmp_path / "CITATION.cff").write_text(citation + line, encoding="utf-8")
    metadata = ProjectMetadata(str(tmp_path), PluginManager()).core
    tag = f"v{metadata.version}"
    assert dict(metadata.urls) == ({} if not line else {
        "Repository": ADDRESS, "Documentation": f"{ADDRESS}/tree/{tag}/docs",
        "Changelog": f"{ADDRESS}/blob/{tag}/CHANGELOG.md", "Issues": f"{ADDRESS}/issues",
    })  # fmt: skip
    assert metadata.readme_content_type == "text/markdown"
    assert (f'<img src="{ADDRESS}/raw/{tag}/paper/figure1.png"' in metadata.readme) == bool(line)
    assert 'src="paper' not in metadata.readme
