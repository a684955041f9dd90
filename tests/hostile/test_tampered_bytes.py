"""Level `integrity` against every change of a finished run that nobody took the trouble to forge: each is named.

The long form flips every byte of a run, one at a time. Figures and page, nine tenths of it, are small stand-ins there, for
integrity knows nothing of them but their bytes; the short form samples a run as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from itertools import combinations
from pathlib import Path
from random import Random

import pytest

from tests.support.runs import seal
from tmrepro.store.manifest import check_manifest
from tmrepro.store.run_files import MANIFEST
from tmrepro.verification.level_integrity import check_integrity
from tmrepro.verification.verdict import Verdict

DAMAGED = 3
COMMAND = "from tmrepro.cli import main; main()"
main = import_module("tmrepro.cli.main")  # its package has a function of that name
PER_FILE = 12


@pytest.fixture
def run(finished, tmp_path) -> Path:
    copy = tmp_path / "run"
    shutil.copytree(finished(K=2, chunk=1), copy)
    return copy


def blamed(run: Path) -> set[str]:
    """The files that level `integrity` finds damaged; the exit code must be that of damage, or of none."""
    checks = check_integrity(run)
    found = {check.subject for check in checks if not check.passed}
    assert Verdict(str(run), "integrity", None, tuple(checks)).exit_code == (DAMAGED if found else 0)
    return found


def files(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


def flips(run: Path, *, per_file: int | None) -> Iterator[tuple[str, int, bytes]]:
    """Every byte of every file, or so many spread over each, changed one at a time: the file, the place, its new bytes.

    One bit changes, another one at each place.
    """
    for path in files(run):
        data = (run / path).read_bytes()
        count = len(data) if per_file is None else min(per_file, len(data))
        for number in range(count):
            place = number if count == len(data) else number * (len(data) - 1) // (count - 1)
            yield path, place, data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]


def names(path: str, place: int, before: bytes) -> set[str]:
    """What a flip may be blamed on: its file; one in the manifest, on the file of that line or on the manifest."""
    if path != MANIFEST:
        return {path}
    line = before[: before.find(b"\n", place)].rpartition(b"\n")[2].decode()
    return {MANIFEST, line[66:]}


def flip_each(run: Path, *, per_file: int | None) -> int:
    whole = {path: (run / path).read_bytes() for path in files(run)}
    assert blamed(run) == set()
    flipped = 0
    for path, place, data in flips(run, per_file=per_file):
        (run / path).write_bytes(data)
        found = blamed(run)
        assert found & names(path, place, whole[path]), f"byte {place} of {path}: {found or 'passes'}"
        (run / path).write_bytes(whole[path])
        flipped += 1
    assert blamed(run) == set()
    return flipped


def test_a_flipped_bit_anywhere_is_damage_of_its_file(run):
    assert flip_each(run, per_file=PER_FILE) > 300


@pytest.mark.soak
def test_every_byte_flipped_is_damage_of_its_file(run):
    for path in [*(run / "figures").iterdir(), run / "report.html"]:
        path.write_bytes(path.read_bytes()[:100])
    seal(run)
    flipped = flip_each(run, per_file=None)
    assert flipped == sum((run / path).stat().st_size for path in files(run))
    sys.stdout.write(f"{flipped} bytes flipped, one at a time\n")


@pytest.mark.soak
def test_hundreds_of_bytes_of_each_file_of_a_whole_run(run):
    flipped = flip_each(run, per_file=700)
    assert flipped > 10_000
    sys.stdout.write(f"{flipped} bytes flipped, one at a time\n")


def test_a_file_cut_emptied_removed_or_lengthened_is_damage_of_that_file(run):
    for path in files(run):
        data = (run / path).read_bytes()
        for changed in (data[:-1], data[: len(data) // 2], b"", None, data + b"\0", data + data):
            if changed is None:
                (run / path).unlink()
            else:
                (run / path).write_bytes(changed)
            found = blamed(run)
            lost_lines = path == MANIFEST and changed is not None and len(changed) < len(data)
            assert path in found or (lost_lines and found), (path, changed if changed is None else len(changed))
            (run / path).write_bytes(data)
    assert blamed(run) == set()


def test_two_chunks_or_any_two_files_swapped_are_both_damage(run):
    paths = files(run)
    chunks = [path for path in paths if "/c/" in path]
    others = list(zip(paths, paths[1:] + paths[:1], strict=True))
    swapped = 0
    for one, other in [*combinations(chunks, 2), *others]:
        first, second = (run / one).read_bytes(), (run / other).read_bytes()
        if first == second or MANIFEST in (one, other):
            continue
        (run / one).write_bytes(second)
        (run / other).write_bytes(first)
        assert blamed(run) == {one, other}
        (run / one).write_bytes(first)
        (run / other).write_bytes(second)
        swapped += 1
    assert swapped > 30
    assert blamed(run) == set()


def test_a_file_or_an_empty_folder_added_anywhere_is_named(run):
    folders = ["", *(f"{path.relative_to(run)}/" for path in run.rglob("*") if path.is_dir())]
    for folder in folders:
        for name in ("x", ".hidden", "zarr.json.bak", "theta.pkl"):
            (run / folder / name).write_bytes(b"")
            assert f"{folder}{name}" in blamed(run)
            (run / folder / name).unlink()
        (run / folder / "empty").mkdir()
        assert f"{folder}empty" in blamed(run)
        (run / folder / "empty").rmdir()
    assert blamed(run) == set()


@pytest.mark.parametrize("kind", ["link", "hard link of another file", "folder", "pipe"])
def test_a_file_replaced_by_something_else_is_named(run, tmp_path, kind):
    outside = tmp_path / "outside"
    outside.write_bytes(b"another")
    for path in files(run):
        data = (run / path).read_bytes()
        (run / path).unlink()
        match kind:
            case "link":  # with the very bytes that belong there: a link is not the file
                outside.write_bytes(data)
                (run / path).symlink_to(outside)
            case "hard link of another file":
                os.link(outside, run / path)
            case "folder":
                (run / path).mkdir()
            case _:
                os.mkfifo(run / path)
        assert path in blamed(run)
        (run / path).rmdir() if kind == "folder" else (run / path).unlink()
        (run / path).write_bytes(data)
    assert blamed(run) == set()


@pytest.mark.parametrize("folder", ["models", "models/dnn", "figures", "surfaces.zarr", "surfaces.zarr/s/dnn/loss/c/0"])
def test_a_folder_replaced_by_a_link_to_its_own_copy_is_named(run, tmp_path, folder):
    (run / folder).rename(tmp_path / "moved")
    (run / folder).symlink_to(tmp_path / "moved")
    assert folder in blamed(run)


def test_the_command_names_the_file_and_exits_with_3(run):
    path = run / "surfaces.zarr/s/dnn/loss/c/1/0"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    code, said = command_alone("verify", str(run), "--level", "integrity")
    assert code == DAMAGED
    assert "surfaces.zarr/s/dnn/loss/c/1/0" in said


@pytest.fixture
def command_here(monkeypatch, capsys):
    """`tmrepro ARGUMENTS` in this process: the exit code and standard output."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tmrepro", *arguments])
        return main._run(debug=False), capsys.readouterr().out

    return run


def command_alone(*arguments: str) -> tuple[int, str]:
    """`tmrepro ARGUMENTS` in a process of its own."""
    done = subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout


@pytest.mark.soak
def test_a_thousand_random_bits_are_found_by_the_command(finished, tmp_path, command_here, capsys):
    """Of the run that TMREPRO_SOAK_RUN names, or of a small one; half of them spread over all bits, half over the files."""
    taken = os.environ.get("TMREPRO_SOAK_RUN") or finished(K=2, chunk=1)
    run = Path(shutil.copytree(taken, tmp_path / "run"))
    whole = {path: (run / path).read_bytes() for path in files(run)}
    sizes = [len(data) for data in whole.values()]
    random, alone, by_name = Random(3), 0, Counter()  # noqa: S311
    assert command_here("verify", str(run), "--level", "integrity")[0] == 0
    for number in range(1000):
        (path,) = random.choices(list(whole), sizes if number % 2 else None)
        place, bit = random.randrange(len(whole[path])), random.randrange(8)
        data = bytearray(whole[path])
        data[place] ^= 1 << bit
        (run / path).write_bytes(data)
        command = command_here if number % 50 else command_alone
        code, said = command("verify", str(run), "--level", "integrity")
        expected = names(path, place, whole[path])
        assert code == DAMAGED, f"bit {bit} of byte {place} of {path}: {code}\n{said}"
        assert any(name in said for name in expected), f"bit {bit} of byte {place} of {path}: {said}"
        (run / path).write_bytes(whole[path])
        alone += command is command_alone
        by_name[path] += 1
    assert command_here("verify", str(run), "--level", "integrity")[0] == 0
    with capsys.disabled():
        sys.stdout.write(
            f"1000 bits of {sum(sizes)} bytes in {len(whole)} files flipped, one at a time, {alone} of them before a process "
            f"of its own: each time exit code 3 and the file named; {len(by_name)} files were hit\n"
        )


def test_a_manifest_of_a_million_wrong_lines_is_told_in_a_thousand(run):
    (run / MANIFEST).write_text("".join(f"{n:064x}  f{n}\n" for n in range(30_000)))
    assert len(check_manifest(run)) > 30_000
    assert len(check_integrity(run)) == 1001
