"""An image folder, made hostile in ways drawn from a seed; and folders that call themselves CIFAR-10."""

from __future__ import annotations

import io
import os
import random
import shutil
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import payloads
from case import Case
from PIL import Image

FORMATS = ("png", "jpg", "bmp", "ppm", "tif", "webp")
NAMES = (
    "a\nb", "a\x1b[31mred", "-rf", " ", "x" * 255, "ä\u202e", "🧨", os.fsdecode(b"\xff\xfe"), ".hidden", "..x", "*", "~",
)  # fmt: skip


@dataclass
class PicturesCase(Case):
    """`run` is a folder of pictures."""

    random: random.Random

    @property
    def run(self) -> Path:
        return self.home / "data"

    def picture(self) -> Path:
        """One of the pictures, or where one was."""
        part, name = self.random.choice(("train", "test")), self.random.choice(("ant", "bee"))
        return self.run / part / name / f"{self.random.randrange(3)}.{self.random.choice(FORMATS[:3])}"


def build(home: Path, *, seed: int, template: Path) -> PicturesCase:  # noqa: ARG001 - the runs have one
    """The case of a seed, written below `home`."""
    case = PicturesCase(home, random.Random(f"images {seed}"))  # noqa: S311 - to be drawn again
    (home / "cwd").mkdir()
    case.outside.mkdir()
    (case.outside / "secret.png").write_bytes(picture("png", case.random))
    if case.random.random() < 0.05:
        case.about.append("cifar10")
        _cifar10(case)
        case.argv = ["load", str(case.run), "cifar10"]
        return case
    for part in ("train", "test"):
        for name in ("ant", "bee"):
            folder = case.run / part / name
            folder.mkdir(parents=True)
            for number in range(3):
                form = FORMATS[number]
                (folder / f"{number}.{form}").write_bytes(picture(form, case.random))
    for _ in range(case.random.choice((1, 1, 2, 3))):
        attack = case.random.choices([one for one, _ in ATTACKS], [weight for _, weight in ATTACKS])[0]
        case.about.append(attack.__name__)
        attack(case)
    case.argv = ["load", str(case.run), "images"]
    return case


def picture(form: str, random_: random.Random, *, side: int = 9) -> bytes:
    """A whole picture of noise."""
    pixels = np.frombuffer(random_.randbytes(3 * side * side), dtype=np.uint8).reshape(side, side, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format={"jpg": "JPEG", "tif": "TIFF"}.get(form, form.upper()))
    return buffer.getvalue()


def _written(case: PicturesCase, content: bytes) -> None:
    path = case.picture()
    if path.parent.is_dir() and not path.is_dir() and not path.is_symlink():
        path.unlink(missing_ok=True)
        path.write_bytes(content)


# The attacks.


def damaged(case: PicturesCase) -> None:
    form, random_ = case.random.choice(FORMATS), case.random
    data = bytearray(picture(form, random_))
    for _ in range(random_.choice((1, 1, 3, 30))):
        match random_.randrange(4):
            case 0:
                del data[random_.randint(0, len(data)) :]
            case 1 if data:
                data[random_.randrange(len(data))] = random_.randrange(256)
            case 2 if len(data) > 4:
                start = random_.randrange(min(len(data) - 4, 80))  # headers are where sizes stand
                data[start : start + 4] = random_.choice(
                    (b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\1\0\0")
                )
            case _:
                start = random_.randint(0, len(data))
                data[start:start] = random_.randbytes(random_.choice((1, 4, 100)))
    _written(case, bytes(data))


def disguised(case: PicturesCase) -> None:
    text = '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><svg>&b;</svg>'
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../outside/escape", "x")
    _written(
        case,
        case.random.choice(
            [
                payloads.eps(case.marker), payloads.pickled(case.marker), payloads.torch_file(case.marker), text.encode(),
                laughs.encode(), b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(50), b"%PDF-1.4\n" + bytes(100), archive.getvalue(),
                b"\xc5\xd0\xd3\xc6" + bytes(28) + payloads.eps(case.marker), b"push graphic-context\nimage over 0,0 '|touch x'\n",
                b"just text\n", b"", b"\0", b"\x1b[2J" * 100, b"<?php system('touch x'); ?>", case.random.randbytes(5000),
            ]
        ),
    )  # fmt: skip


def bomb(case: PicturesCase) -> None:
    """A few bytes that claim, or hold, far more pixels or text than a picture has."""
    huge, text = case.random.choice((2**31 - 1, 60_000, 20_000, 9_600)), zlib.compress(bytes(2**25), 9)
    webp = b"RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\0\0\0\x10\0\0\0" + struct.pack("<I", 16383)[:3] * 2 + bytes(20)
    bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, huge, case.random.choice((huge, -huge)), 1,
                              case.random.choice((1, 8, 24)), case.random.choice((0, 1, 2)), 0, 1, 1, 0, 0)  # fmt: skip
    _written(
        case,
        case.random.choice(
            [
                payloads.png(huge, huge), payloads.png(huge, 1), payloads.png(0, 0), payloads.png(1, huge),
                payloads.png(5000, 5000),
                payloads.png(9, 9, depth=16, kind=6), payloads.png(9, 9, kind=3), payloads.png(9, 9, depth=3),
                payloads.png(9, 9, extra=payloads.png_chunk(b"zTXt", b"a\0\0" + text) * 3),
                payloads.png(9, 9, extra=payloads.png_chunk(b"iCCP", b"a\0\0" + text)),
                payloads.png(9, 9, extra=payloads.png_chunk(b"iTXt", b"a\0\1\0\0\0" + text)),
                payloads.png(9, 9, extra=payloads.png_chunk(b"eXIf", b"II*\0" + struct.pack("<I", 8) + b"\xff\xff" * 9)),
                payloads.png(9, 9, extra=payloads.png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
                payloads.png(9, 9, pixels=bytes(2**26)),
                webp, bmp, bmp + bytes(5000),
                f"P6 {huge} {huge} 255\n".encode() + bytes(50), b"P3 9 9 255\n" + b"9" * 100_000, b"P6 9 9 " + b"9" * 5000,
                b"P1 " + b"#" * 200_000 + b"\n9 9\n", f"P5 {huge} 1 65535\n".encode(),
                _tiff(case.random), _tiff(case.random), _tiff(case.random),
                b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", 65535, 65535) + b"\3\1\x11\0\2\x11\1\3\x11\1\xff\xd9",
                b"\xff\xd8" + b"\xff\xe1\xff\xff" + bytes(65533) * 3 + b"\xff\xd9",
            ]
        ),
    )  # fmt: skip


def _tiff(random_: random.Random) -> bytes:
    """A TIFF of one directory with tags drawn from those that sizes and offsets hang on; it may point to itself."""
    odd = (0, 1, 2, 8, 9, 65_535, 2**31, 2**32 - 1)
    tags = [(256, 4), (257, 4), (258, 3), (259, 3), (262, 3), (273, 4), (277, 3), (278, 4), (279, 4), (322, 4), (323, 4),
            (324, 4), (325, 4), (330, 4), (339, 3), (34665, 4)]  # fmt: skip
    plain = {256: 9, 257: 9, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 9, 279: 81}
    chosen = [(tag, kind) for tag, kind in tags if tag in plain or random_.random() < 0.3]
    entries = b""
    for tag, kind in chosen:
        value = random_.choice(odd) if tag not in plain or random_.random() < 0.3 else plain[tag]
        count = random_.choice((1, 1, 1, 1, 2**31, 70_000))
        entries += struct.pack("<HHII", tag, kind, count, value)
    following = random_.choice((0, 0, 8, 2**31))
    return (
        b"II*\0"
        + struct.pack("<I", 8)
        + struct.pack("<H", len(chosen))
        + entries
        + struct.pack("<I", following)
        + bytes(200)
    )


def replaced(case: PicturesCase) -> None:
    """A picture, a class or a whole part gives way to something that is neither file nor folder."""
    path, random_ = case.picture(), case.random
    for _ in range(random_.choice((0, 0, 0, 1, 2))):
        path = path.parent
    if path.is_symlink() or not path.parent.is_dir():
        return
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    match random_.randrange(8):
        case 0:
            path.symlink_to(case.outside / "secret.png")
        case 1:
            path.symlink_to(random_.choice(("/dev/zero", "/", "/etc/passwd", "/proc/self/mem")))
        case 2:
            path.symlink_to(path.name)
        case 3:
            path.symlink_to(Path(os.pardir, os.pardir))
        case 4:
            os.mkfifo(path)
        case 5:
            where = Path.cwd()
            os.chdir(path.parent)
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
            os.chdir(where)
        case 6:
            path.mkdir()
        case _:
            path.write_bytes(b"x")


def huge_file(case: PicturesCase) -> None:
    path = case.picture()
    if path.is_file() and not path.is_symlink():
        with path.open("ab") as file:
            file.truncate(case.random.choice((2**28, 2**33, 2**40)))


def huge_webp(case: PicturesCase) -> None:
    """A decoder that reads whole files before it looks at them, and a file of any length."""
    path = case.run / "train" / "ant" / "0.webp"
    if path.parent.is_dir():
        path.write_bytes(picture("webp", case.random))
        with path.open("ab") as file:
            file.truncate(case.random.choice((2**29, 2**33)))


def strange_layout(case: PicturesCase) -> None:
    random_, part = case.random, case.run / case.random.choice(("train", "test"))
    if not part.is_dir():
        return

    def name() -> Path:
        return part / random_.choice(NAMES)

    def classes() -> None:
        for number in range(2000):
            (part / f"c{number}").mkdir(exist_ok=True)

    def deep() -> None:
        where = Path.cwd()
        os.chdir(part / "ant" if (part / "ant").is_dir() else part)
        for _ in range(60):
            Path("d" * 100).mkdir(exist_ok=True)
            os.chdir("d" * 100)
        os.chdir(where)

    def many() -> None:
        folder = part / "ant"
        folder.mkdir(exist_ok=True)
        for number in range(500):
            (folder / f"n{number}.png").write_bytes(b"")

    random_.choice(
        [
            classes, deep, many,
            lambda: name().mkdir(exist_ok=True),
            lambda: shutil.rmtree(part),
            lambda: shutil.rmtree(part / "ant", ignore_errors=True),
            lambda: (part / "ant").exists() and (part / "ant").rename(name()),
            lambda: (part / "ant").is_dir() and (part / "ant" / f"{random_.choice(NAMES)[:250]}.png").write_bytes(b"x"),
            lambda: (part / "0.png").write_bytes(b"x"),
            lambda: (part / "ant.png").mkdir(exist_ok=True),
        ]
    )()  # fmt: skip


def _cifar10(case: PicturesCase) -> None:
    """Pickles under the published names: nothing that isn't the published file may be unpickled."""
    folder = case.run / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in (
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
        "batches.meta",
    ):
        if case.random.random() < 0.9:
            (folder / name).write_bytes(payloads.pickled(case.marker))
    if case.random.random() < 0.5:
        (case.run / "cifar-10-python.tar.gz").write_bytes(case.random.randbytes(100))
    if case.random.random() < 0.3:
        shutil.rmtree(folder)
        if case.random.random() < 0.5:
            os.mkfifo(folder)


ATTACKS: list[tuple[Callable[[PicturesCase], None], float]] = [
    (damaged, 12), (disguised, 5), (bomb, 8), (replaced, 5), (huge_file, 1), (huge_webp, 0.5), (strange_layout, 4),
]  # fmt: skip
