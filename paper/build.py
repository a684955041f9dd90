"""Typeset paper.typ with numbers.json: `python paper/build.py [NUMBERS] [PDF]` writes paper.pdf beside this file."""

import sys
from importlib.metadata import distribution
from pathlib import Path

import typst

HERE = Path(__file__).resolve().parent


def typeset(numbers: str, pdf: Path, *, source: Path = HERE / "paper.typ") -> None:
    """Compile `source` to `pdf`; `numbers` is the text of a numbers.json.

    Raises:
        RuntimeError: a statement of the text does not hold for the numbers, or the text is no Typst.
    """
    # Its font alone: importing the package would change matplotlib's settings.
    fonts = Path(str(distribution("matplotlib-fontja").locate_file("matplotlib_fontja/fonts")))
    typst.compile(source, output=pdf, root=source.parent, font_paths=[fonts], sys_inputs={"numbers": numbers})


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    typeset(
        (given[0] if given else HERE / "numbers.json").read_text(), given[1] if len(given) > 1 else HERE / "paper.pdf"
    )
