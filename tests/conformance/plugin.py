"""A pytest plugin that runs coremltools' own test suite on windfall.

The suite ships inside coremltools' wheel; nobody of this project wrote it, and its expected values come from NumPy and
PyTorch. It predicts on a Mac alone, so the plugin installs windfall in the place of Core ML and says that this is a
Mac. ``make conformance`` runs it; ``suite.py`` judges the results.
"""

import windfall.interop.coremltools
from tests.conformance.proxy import CountingProxy


def pytest_configure() -> None:
    """Install windfall as users do, and let everything else in coremltools believe that this is a Mac, too.

    No test module is imported yet.
    """
    windfall.interop.coremltools.install(CountingProxy)
    import coremltools._deps
    from coremltools.models import utils

    # Other modules hold this function already: its code is replaced, not its name.
    utils._is_macos.__code__ = (lambda: True).__code__
    coremltools._deps._IS_MACOS = True
