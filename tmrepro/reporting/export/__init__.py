"""A finished run or reference in the formats of other tools: netCDF, VTK, CSV tables, and a BagIt bag for archives."""

from __future__ import annotations

from tmrepro.reporting.export.export import FORMATS, Format, export_run

__all__ = ["FORMATS", "Format", "export_run"]
