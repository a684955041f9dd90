"""ro-crate-metadata.json: the run as a Workflow Run RO-Crate, for tools that do not know tmrepro.

Profiles: Workflow Run Crate 0.5, Process Run Crate 0.5 and Workflow RO-Crate 1.0, on RO-Crate 1.1. The spec is the
workflow, its run is the action, the data set is the action's object and the other files are its result.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rocrate.model import ComputerLanguage, ContextEntity, Person
from rocrate.rocrate import ROCrate

from tmrepro.store.run_files import SPEC

_ROCRATE_VERSION = "1.1"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_WORKFLOW_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"


@dataclass(frozen=True)
class CrateFile:
    """A file of the run, or a folder of it if `path` ends with '/'. `encoding_format` is a media type."""

    path: str
    description: str
    encoding_format: str


@dataclass(frozen=True)
class CrateFacts:
    """The data of a crate about a run. `started` and `ended` are ISO 8601 with a time zone; `license` is a URL.

    `files` are the run's files except spec.yaml, the manifest and the crate itself. All of them exist.
    """

    name: str
    spec_hash: str
    data_name: str
    data_fingerprint: str
    started: str
    ended: str
    version: str
    commit: str | None
    python: str
    torch: str
    device: str
    agent: str
    license: str
    succeeded: bool
    files: tuple[CrateFile, ...]


def crate_metadata(facts: CrateFacts) -> str:
    """Return the text of ro-crate-metadata.json. The same facts give the same bytes. Nothing is read, copied or written."""
    crate = ROCrate(version=_ROCRATE_VERSION)
    crate.name = f"tmrepro run of {facts.name}"
    crate.description = (
        f"Loss surfaces around the minima that the spec {facts.name!r} trains, made by tmrepro {facts.version}."
    )
    crate.datePublished = facts.ended
    crate.license = crate.add(ContextEntity(crate, facts.license, properties={
        "@type": "CreativeWork", "name": facts.license.rstrip("/").rsplit("/", 1)[-1],
        "description": "The terms under which this run may be used.",
    }))  # fmt: skip
    crate.root_dataset["conformsTo"] = [
        crate.add(ContextEntity(crate, url, properties={"@type": "CreativeWork", "name": name, "version": version}))
        for url, (name, version) in _PROFILES.items()
    ]
    workflow = _add_workflow(crate, facts)
    results = [_add_file(crate, file) for file in sorted(facts.files, key=lambda file: file.path)]
    crate.root_dataset["mentions"] = _add_action(crate, facts, workflow=workflow, results=results)
    return json.dumps(crate.metadata.generate(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _add_workflow(crate: Any, facts: CrateFacts) -> Any:
    language = crate.add(ComputerLanguage(crate, "#tmrepro-spec", properties={
        "name": "tmrepro spec", "version": facts.version, "description": "A YAML file that says what a run computes.",
    }))  # fmt: skip
    code = f"tmrepro {facts.version}" + (f" (commit {facts.commit})" if facts.commit else "")
    return crate.add_workflow(dest_path=SPEC, main=True, lang=language, properties={
        "name": facts.name,
        "description": "The resolved spec, with every default written out.",
        "version": facts.version,
        "encodingFormat": "application/yaml",
        "identifier": f"sha256:{facts.spec_hash}",
        "runtimePlatform": f"{code}, Python {facts.python}, torch {facts.torch}, {facts.device}",
        "conformsTo": {"@id": _WORKFLOW_PROFILE},
    })  # fmt: skip


def _add_file(crate: Any, file: CrateFile) -> Any:
    properties = {
        "name": file.path.rstrip("/").rsplit("/", 1)[-1],
        "description": file.description,
        "encodingFormat": file.encoding_format,
    }
    add = crate.add_dataset if file.path.endswith("/") else crate.add_file
    return add(dest_path=file.path, properties=properties)


def _add_action(crate: Any, facts: CrateFacts, *, workflow: Any, results: list[Any]) -> Any:
    data = crate.add(ContextEntity(crate, "#data", properties={
        "@type": "PropertyValue", "name": facts.data_name, "value": f"sha256:{facts.data_fingerprint}",
        "description": "The data set, by the fingerprint of its pixels and labels.",
    }))  # fmt: skip
    agent = crate.add(Person(crate, "#agent", properties={"name": facts.agent}))
    crate.root_dataset["author"] = agent
    status = "CompletedActionStatus" if facts.succeeded else "FailedActionStatus"
    return crate.add(ContextEntity(crate, "#run", properties={
        "@type": "CreateAction",
        "name": f"Run of {facts.name}",
        "description": f"tmrepro run {SPEC}",
        "startTime": facts.started,
        "endTime": facts.ended,
        "agent": agent,
        "actionStatus": f"http://schema.org/{status}",
        "instrument": workflow,
        "object": data,
        "result": results if len(results) != 1 else results[0],
    }))  # fmt: skip
