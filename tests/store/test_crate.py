"""The crate, judged by roc-validator, offline: its cache is given the one context that it would fetch."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from rocrate_validator import services

from tmrepro.store.crate import CrateFacts, CrateFile, crate_metadata
from tmrepro.store.run_files import CRATE

# pyshacl's own use of rdflib, inside the validator.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")

CONTEXT_URL = "https://w3id.org/ro/crate/1.1/context"
SCHEMA_ORG = """
    ComputerLanguage CreateAction CreativeWork Dataset Person PropertyValue SoftwareSourceCode about actionStatus agent
    author datePublished description encodingFormat endTime hasPart identifier instrument license mainEntity mentions
    name object programmingLanguage result runtimePlatform startTime value version
"""
# What the RO-Crate 1.1 context says of the terms that we use: a term outside it would mean nothing to a reader.
TERMS = {
    **{term: f"http://schema.org/{term}" for term in SCHEMA_ORG.split()},
    "File": "http://schema.org/MediaObject",
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
}

FACTS = CrateFacts(
    name="quickstart",
    spec_hash="5d" * 32,
    data_name="digits",
    data_fingerprint="0f" * 32,
    started="2025-01-31T10:00:00+00:00",
    ended="2025-01-31T10:02:07+00:00",
    version="0.1.0",
    commit="0123456789abcdef",
    python="3.11.9",
    torch="2.11.0",
    device="cpu",
    agent="tmrepro",
    license="https://spdx.org/licenses/MIT",
    succeeded=True,
    files=(
        CrateFile("surfaces.zarr/", "Loss and accuracy on the grid.", "application/vnd.zarr"),
        CrateFile("models/dnn/history.csv", "Losses per epoch.", "text/csv"),
        CrateFile("provenance.json", "Where and when.", "application/json"),
    ),
)


class _Answers(HTTPAdapter):
    """Stands where the network would be, and knows one document."""

    def send(self, request, **_):
        assert request.url == CONTEXT_URL
        body = json.dumps({"@context": TERMS}).encode()
        return self.build_response(
            request,
            urllib3.HTTPResponse(
                body=io.BytesIO(body),
                headers={"Content-Type": "application/ld+json"},
                status=200,
                preload_content=False,
                request_url=request.url,
            ),
        )


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    for name in ("spec.yaml", "models/dnn/history.csv", "provenance.json", "surfaces.zarr/zarr.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}\n")
    return folder


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "http-cache"
    with CachedSession(str(path), backend="sqlite", expire_after=-1) as session:
        session.mount("https://", _Answers())
        assert session.get(CONTEXT_URL).ok
    return path


def _issues(run: Path, cache: Path, *, profile: str, severity: str) -> list[str]:
    result = services.validate({
        "rocrate_uri": str(run), "profile_identifier": profile, "requirement_severity": severity,
        "offline": True, "cache_path": cache, "skip_availability_check": True,
    })  # fmt: skip
    return [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]


@pytest.mark.parametrize("profile", ["ro-crate-1.1", "process-run-crate", "workflow-ro-crate", "workflow-run-crate"])
def test_crate_meets_what_the_profile_requires(run, cache, profile):
    (run / CRATE).write_text(crate_metadata(FACTS))

    assert _issues(run, cache, profile=profile, severity="REQUIRED") == []


def test_validator_would_notice_a_crate_without_its_action(run, cache):
    document = json.loads(crate_metadata(FACTS))
    document["@graph"] = [entity for entity in document["@graph"] if entity["@type"] != "CreateAction"]
    (run / CRATE).write_text(json.dumps(document))

    assert _issues(run, cache, profile="workflow-run-crate", severity="REQUIRED")


def test_action_names_spec_as_instrument_data_as_object_and_files_as_result():
    graph = {entity["@id"]: entity for entity in json.loads(crate_metadata(FACTS))["@graph"]}

    action = graph["#run"]
    assert action["instrument"] == {"@id": "spec.yaml"}
    assert graph[action["object"]["@id"]]["value"] == f"sha256:{FACTS.data_fingerprint}"
    assert [result["@id"] for result in action["result"]] == [
        "models/dnn/history.csv", "provenance.json", "surfaces.zarr/",
    ]  # fmt: skip
    assert graph["surfaces.zarr/"]["@type"] == "Dataset"
    assert FACTS.commit in graph["spec.yaml"]["runtimePlatform"]


def test_failed_run_says_so():
    assert "schema.org/FailedActionStatus" in crate_metadata(replace(FACTS, succeeded=False))


def test_same_facts_give_same_bytes_in_whatever_order_the_files_came():
    assert crate_metadata(FACTS) == crate_metadata(replace(FACTS, files=FACTS.files[::-1]))
