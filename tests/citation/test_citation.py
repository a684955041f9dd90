"""CITATION.cff and .zenodo.json are valid, and say the same as the package.

cff-1.2.0.schema.json is the schema of the Citation File Format 1.2.0 (doi.org/10.5281/zenodo.1003149, CC-BY-4.0), as cffconvert
2.0.0 has it. cffconvert itself can't be installed beside the other tests: it needs a jsonschema older than 4.
"""

from __future__ import annotations

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from ruamel.yaml import YAML

from tmrepro.reporting.masthead import PAPER

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What Zenodo's deposit API takes of software (developers.zenodo.org, "Deposit metadata").
ZENODO_FIELDS = {
    "title", "upload_type", "version", "description", "creators", "license", "access_right", "language", "keywords", "references",
    "related_identifiers", "notes", "contributors", "communities", "grants", "publication_date", "doi", "subjects",
}  # fmt: skip

pytestmark = pytest.mark.skipif(not (ROOT / ".zenodo.json").is_file(), reason="needs a checkout")


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    return YAML(typ="safe").load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def zenodo() -> dict[str, Any]:
    return json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    return Draft7Validator(json.loads((HERE / "cff-1.2.0.schema.json").read_text(encoding="utf-8")))


def as_json(value: Any) -> Any:
    """YAML reads dates as dates, the schema has texts."""
    return json.loads(json.dumps(value, default=date.isoformat))


def test_citation_is_valid(citation, validator) -> None:
    assert [error.message for error in validator.iter_errors(as_json(citation))] == []


@pytest.mark.parametrize(
    "change", [{"license": "none"}, {"authors": []}, {"version": None}, {"invented": 1}, {"type": "paper"}]
)
def test_an_invalid_citation_would_be_found(citation, validator, change) -> None:
    assert list(validator.iter_errors(as_json({**citation, **change})))


def test_all_three_say_the_same(citation, zenodo, project) -> None:
    assert citation["version"] == zenodo["version"] == project["version"]
    assert citation["license"] == zenodo["license"] == project["license"]
    assert citation["title"] == zenodo["title"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in zenodo["creators"]]
    assert [author["name"] for author in project["authors"]] == [author["name"] for author in zenodo["creators"]]
    assert project["keywords"] == zenodo["keywords"]


def test_zenodo_gets_what_it_knows(zenodo) -> None:
    assert set(zenodo) <= ZENODO_FIELDS
    assert zenodo["upload_type"] == "software"
    assert all(
        set(identifier) <= {"identifier", "relation", "resource_type"} for identifier in zenodo["related_identifiers"]
    )


def test_the_paper_that_is_reproduced_comes_first(citation, zenodo) -> None:
    title = PAPER.partition(", Visualization")[2]
    assert title
    assert citation["references"][0]["title"].endswith(title.strip())
    assert title.strip() in zenodo["references"][0]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## How to cite")[2].partition("\n## ")[0]
    assert 0 < section.index(title.strip()) < section.index("tmrepro")
    assert f"version {citation['version']}" in section
