"""The file of `tmrepro view`. It runs its own scripts and no others, which its policy names by their hashes.

What a run says reaches the page as JSON in a block that no browser runs, and from there as text, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tmrepro.errors import UsageError
from tmrepro.reporting.explore.data import page_data
from tmrepro.reporting.masthead import masthead
from tmrepro.reporting.report import page_environment, write_page
from tmrepro.spec import spec_hash
from tmrepro.store.finished import Finished, path_outside, read_finished

HERE = Path(__file__).parent
PLOTLY = HERE / "vendor" / "plotly-gl3d.min.js"
PLOTLY_LICENSE = HERE / "vendor" / "plotly-LICENSE.txt"
PARTS = ("numbers.js", "map.js", "solid.js", "page.js")  # of the page's own script, in this order

SHOWN_STATISTICS = (
    "loss_at_minimum", "loss_min", "loss_max", "loss_median", "half_rise_radius", "low_loss_fraction_1.0", "roughness",
    "convex_fraction", "non_finite",
)  # fmt: skip


def write_view(folder: Path, *, to: Path | None = None) -> Path:
    """Write the page of the finished run or reference `folder` to the file `to`, NAME-view.html here by default.

    Raises:
        UsageError: `to` is a folder or lies in the run; there is no surface to show.
        DamagedError: the run is not what its manifest says.
        StorageError: `to` cannot be written.
    """
    run = read_finished(folder)
    target = path_outside(to or Path(f"{run.spec.name}-view.html"), folder, option="--to")
    if target.is_dir():
        raise UsageError(f"{target} is a folder; name a file with --to")
    write_page(render_view(run), target)
    return target


def render_view(run: Finished) -> str:
    """The page of `run`, HTML in UTF-8.

    Raises:
        UsageError: it has no surfaces.
    """
    if not run.surfaces:
        raise UsageError(f"{run.name} has no surfaces: every network collapsed or diverged")
    plotly = PLOTLY.read_text(encoding="utf-8")
    own = own_script()
    return (
        page_environment()
        .get_template("view.html.j2")
        .render(
            run=run,
            masthead=masthead(run.provenance),
            spec_hash=spec_hash(run.spec),
            embedded={},
            data=Markup(json_block(page_data(run))),  # noqa: S704 - escaped for where it stands
            scripts=[Markup(plotly), Markup(own)],  # noqa: S704 - ours and the vendored one
            hashes=[script_hash(script) for script in (plotly, own)],
            license=PLOTLY_LICENSE.read_text(encoding="utf-8"),
            statistics=SHOWN_STATISTICS,
        )
    )


def own_script() -> str:
    """The page's own script."""
    parts = "\n".join((HERE / "assets" / part).read_text(encoding="utf-8") for part in PARTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();'


def script_hash(script: str) -> str:
    """As a content security policy names a script."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def json_block(value: Any) -> str:
    """`value` as JSON that nothing in it can lead out of the script element it stands in."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
