"""Attacks on any file of a run folder: other bytes, other names, other kinds of file, other values in its JSON."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import socket
from pathlib import Path
from typing import Any

import payloads
from case import NAMES, RunCase


def bytes_changed(case: RunCase) -> None:
    path, random_ = case.pick(""), case.random
    if path.stat().st_size > 2**22:
        return
    data = bytearray(path.read_bytes())
    match random_.randrange(6):
        case 0 if data:
            for _ in range(random_.randint(1, 8)):
                data[random_.randrange(len(data))] ^= random_.randint(1, 255)
        case 1:
            del data[random_.randint(0, len(data)) :]
        case 2:
            data = bytearray()
        case 3:
            data += random_.randbytes(random_.choice((1, 100, 70_000)))
        case 4:
            data = bytearray(random_.randbytes(random_.choice((1, 8, 1000))))
        case _:
            start = random_.randint(0, len(data))
            data[start:start] = random_.choice((b"\0", b"\n", b"\xff", b"{", b"..", b"\x1b[31m")) * random_.randint(
                1, 4
            )
    path.write_bytes(bytes(data))


def huge_file(case: RunCase) -> None:
    with case.pick("").open("ab") as file:
        file.truncate(case.random.choice((2**28, 2**28, 2**40)))


def code_in_disguise(case: RunCase) -> None:
    payload = case.random.choice((payloads.pickled, payloads.torch_file))(case.marker)
    case.pick("").write_bytes(payload)


def replaced(case: RunCase) -> None:
    """A file, or a folder with all in it, gives way to something that is neither."""
    path, random_ = case.pick(""), case.random
    for _ in range(random_.choice((0, 0, 1, 2))):
        path = path.parent if path.parent != case.run else path
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    match random_.randrange(9):
        case 0:
            path.symlink_to(case.outside / "secret.txt")
        case 1:
            path.symlink_to(case.outside)
        case 2:
            path.symlink_to(path.name)
        case 3:
            path.symlink_to(random_.choice(("/dev/zero", "/proc/self/environ", "/etc/passwd", "/")))
        case 4:
            os.mkfifo(path)
        case 5:
            where = Path.cwd()
            os.chdir(path.parent)  # the name of a socket must be short
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
            os.chdir(where)
        case 6:
            path.mkdir()
        case 7:
            (path / "deeper").mkdir(parents=True)
            (path / "deeper" / path.name).write_bytes(b"x")
        case _:
            path.symlink_to(case.template / path.relative_to(case.run))


def strange_names(case: RunCase) -> None:
    folder = case.pick("").parent
    name = case.random.choice(NAMES)
    path = folder / name
    if case.random.random() < 0.3:
        for _ in range(case.random.choice((1, 20, 300))):
            path = path / "d"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    except OSError:
        _deep(folder)


def _deep(folder: Path) -> None:
    """Folders below folders until no path names the last."""
    where = Path.cwd()
    try:
        os.chdir(folder)
        for _ in range(60):
            Path("d" * 100).mkdir(exist_ok=True)
            os.chdir("d" * 100)
    finally:
        os.chdir(where)


def removed(case: RunCase) -> None:
    path = case.pick("")
    shutil.rmtree(path.parent) if case.random.random() < 0.3 and path.parent != case.run else path.unlink()


def swapped(case: RunCase) -> None:
    one, other = case.pick(""), case.pick("")
    if max(one.stat().st_size, other.stat().st_size) > 2**22:
        return
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def json_changed(case: RunCase, name: str = ".json") -> None:
    path = case.pick(name)
    if path.stat().st_size > 2**20:
        return
    try:
        document = json.loads(path.read_text())
    except (ValueError, RecursionError):
        return
    text, random_ = json.dumps(document), case.random
    for _ in range(random_.choice((1, 1, 2, 4))):
        spot = random_.choice(list(_spots(document)) or [((), None)])
        text = _with_odd_value(document, spot[0], random_)
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            break
    path.write_text(text, errors="surrogateescape")


def _spots(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """Every place in a JSON value, as a path of keys."""
    yield path, value
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _spots(below, (*path, key))


def _with_odd_value(document: Any, path: tuple[Any, ...], random_: random.Random) -> str:
    """The text of a document with one place changed, removed, renamed or given twice."""
    changed, hole = copy.deepcopy(document), "@hole@"
    if not path:
        return random_.choice(payloads.ODD_JSON)
    above = changed
    for key in path[:-1]:
        above = above[key]
    match random_.randrange(5):
        case 0 if isinstance(above, dict):
            del above[path[-1]]
        case 1 if isinstance(above, dict):
            above[random_.choice(NAMES)] = above.pop(path[-1])
        case 2 if isinstance(above, list):
            above.extend(above * random_.choice((1, 100)))
        case _:
            above[path[-1]] = hole
    text = json.dumps(changed)
    return text.replace(f'"{hole}"', random_.choice(payloads.ODD_JSON))
