"""Fetch the part of plotly.js that the page of `tmrepro view` carries, and put it into the package, if it is what it should be.

    python tools/vendor_plotly.py          # fetch with npm, check, write
    python tools/vendor_plotly.py --check  # is what is there what should be?

The package is plotly.js-gl3d-dist-min of npm, under the MIT licence: surfaces and lines in three dimensions, without the maps and
charts of all of plotly.js, and without code made from text (`eval`), which the page's policy forbids. For another version change
VERSION and INTEGRITY (`npm view plotly.js-gl3d-dist-min dist.integrity`), run it, look at the page, and put the new FILES here.
"""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "4.1.1"
INTEGRITY = "sha512-HNdhOi/mVr29u6BbzJvz1kAjEzCxwfaZNLipjNCxg33JE3RmRHhPDUd0LCuQMDcRR5LLFFfaSMMdtOWl0bERZA=="
PACKAGE = f"plotly.js-gl3d-dist-min@{VERSION}"
FOLDER = Path(__file__).resolve().parents[1] / "tmrepro" / "reporting" / "explore" / "vendor"
# Member of the package: name here, SHA-256.
FILES = {
    "package/plotly-gl3d.min.js": (
        "plotly-gl3d.min.js",
        "aab04dcd9c103a92b18723f8c837712fe820f325d0bcd2421e415e8124a75b9f",
    ),
    "package/LICENSE": ("plotly-LICENSE.txt", "8c45d9eaf50c2f72dd9c7ab9ef440788ba58a3538484b5c51c1f17d5128752e7"),
}


def check(content: bytes, expected: str, name: str) -> None:
    """Raise SystemExit unless `content` has the SHA-256 `expected`."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise SystemExit(f"{name}: expected SHA-256 {expected}, found {found}")


def fetch() -> dict[str, bytes]:
    """The files as npm has them, by the names that they get here."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", PACKAGE, "--pack-destination", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        archive = next(Path(folder).glob("*.tgz")).read_bytes()
    found = f"sha512-{base64.b64encode(hashlib.sha512(archive).digest()).decode('ascii')}"
    if found != INTEGRITY:
        raise SystemExit(f"{PACKAGE}: expected {INTEGRITY}, found {found}")
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        for member, (name, expected) in FILES.items():
            file = files.extractfile(member)
            contents[name] = file.read() if file is not None else b""
            check(contents[name], expected, name)
    return contents


def main() -> None:
    """Write the files, or check those that are there."""
    if "--check" in sys.argv[1:]:
        for name, expected in FILES.values():
            check((FOLDER / name).read_bytes(), expected, name)
        return
    for name, content in fetch().items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
