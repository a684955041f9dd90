"""The file of `tmrepro view`. Its content security policy lists the hashes of its own scripts and forbids all others.

The content of a run is in the page as JSON, in a block that browsers do not run. It is shown as text, never as markup.
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
PARTS = ("numbers.js", "map.js", "solid.js", "page.js")  # files of the page's own script, in this order

SHOWN_STATISTICS = (
    "loss_at_minimum", "loss_min", "loss_max", "loss_median", "half_rise_radius", "low_loss_fraction_1.0", "roughness",
    "convex_fraction", "non_finite",
)  # fmt: skip


def write_view(folder: Path, *, to: Path | None = None) -> Path:
    """Write the page of the finished run or reference `folder` to the file `to`, by default NAME-view.html here.

    Raises:
        UsageError: `to` is a folder or is in the run; or the run has no surface.
        DamagedError: the run differs from its manifest.
        StorageError: `to` cannot be written.
    """
    run = read_finished(folder)
    target = path_outside(to or Path(f"{run.spec.name}-view.html"), folder, option="--to")
    if target.is_dir():
        raise UsageError(f"{target} is a folder; name a file with --to")
    write_page(render_view(run), target)
    return target


def render_view(run: Finished) -> str:
    """Return the page of `run`, HTML in UTF-8.

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
            data=Markup(json_block(page_data(run))),  # noqa: S704 - escaped for its block
            scripts=[Markup(plotly), Markup(own)],  # noqa: S704 - our own script and the vendored one
            hashes=[script_hash(script) for script in (plotly, own)],
            license=PLOTLY_LICENSE.read_text(encoding="utf-8"),
            statistics=SHOWN_STATISTICS,
        )
    )


def own_script() -> str:
    """Return the page's own script."""
    parts = "\n".join((HERE / "assets" / part).read_text(encoding="utf-8") for part in PARTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();'


def script_hash(script: str) -> str:
    """Return the hash of a script for a content security policy."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def json_block(value: Any) -> str:
    """Return `value` as JSON, escaped so that no content can end the script element around it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
