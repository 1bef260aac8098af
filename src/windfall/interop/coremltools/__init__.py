"""Predict with coremltools on any platform.

::

    import windfall.interop.coremltools

    windfall.interop.coremltools.install()

From there on ``coremltools.models.MLModel.predict`` computes with windfall, and so do compiled models. ``uninstall``
puts back what was there. Neither imports coremltools, which takes seconds; it may be imported before or after.

The names live here; where they go is in ``patches.py``.
"""

from windfall.interop.coremltools.patches import install, installed, uninstall
from windfall.interop.coremltools.proxy import MLModelProxy

__all__ = ["MLModelProxy", "install", "installed", "uninstall"]
