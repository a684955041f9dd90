"""Of installed packages, name and version of the distribution count; what is only on the path, or edited in place, is hashed."""

from __future__ import annotations

import pytest

from tests.usercode.factories import record_of

NET = "import fastacts.gelu\ndef make():\n    return None\n"
PACKAGE = {"fastacts/__init__.py": "", "fastacts/gelu.py": ""}
RECORD = "fastacts/__init__.py,,\nfastacts/gelu.py,,\n"


def metadata(version: str, *, record: str | None = RECORD, top: str | None = "fastacts\n") -> dict[str, str]:
    folder = "Fast_Acts-1.dist-info"
    found = {f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: Fast-Acts\nVersion: {version}\n"}
    found |= {f"{folder}/RECORD": record} if record is not None else {}
    return found | ({f"{folder}/top_level.txt": top} if top is not None else {})


@pytest.mark.parametrize("folder", ["site-packages", "target"])
@pytest.mark.parametrize("top", ["fastacts\n", None])
def test_an_installed_package_counts_by_its_version(write, forget, folder, top):
    write({"net.py": NET})
    write({**PACKAGE, **metadata("1.0", top=top)}, folder=folder)  # "target": pip install --target
    found = record_of("net:make")
    assert set(found.files) == {"net.py"}
    assert found.distributions == {"Fast-Acts": "1.0"}
    forget()
    write(metadata("1.1", top=top), folder=folder)
    assert record_of("net:make").distributions == {"Fast-Acts": "1.1"}


def test_a_package_on_the_path_is_the_users_and_hashed(write):
    write({"net.py": NET, **PACKAGE})
    found = record_of("net:make")
    assert set(found.files) == {"net.py", *PACKAGE}
    assert found.distributions == {}


def test_a_package_that_is_edited_in_place_is_hashed(write):
    write({"net.py": NET})
    write(PACKAGE, folder="source")
    write(metadata("1.0", record="__editable__.fastacts.pth,,\n"), folder="site-packages")
    assert set(record_of("net:make").files) == {"net.py", *PACKAGE}


def test_a_file_that_no_distribution_put_among_installed_packages_is_the_users(write):
    write({"net.py": NET})
    write(PACKAGE, folder="site-packages")
    assert set(record_of("net:make").files) == {"net.py", *PACKAGE}


def test_only_what_the_users_code_imports_counts_not_what_that_needs(write):
    write({"net.py": "from torch import nn\ndef make():\n    return [nn.Identity()]\n"})
    assert set(record_of("net:make").distributions) == {"torch"}


def test_a_factory_of_an_installed_package_has_no_files():
    found = record_of("collections:OrderedDict")
    assert (found.files, found.distributions) == ({}, {})
    found = record_of("rfc8785:dumps", obj=1)
    assert (dict(found.files), set(found.distributions)) == ({}, {"rfc8785"})
