"""A finished run or reference in the formats of other tools.

export    chooses the format
netcdf    netCDF-4, one group per surface
vtk       VTK files for ParaView
tables    CSV tables
bag       a BagIt bag for archives
"""

from __future__ import annotations

from tmrepro.reporting.export.export import FORMATS, Format, export_run

__all__ = ["FORMATS", "Format", "export_run"]
