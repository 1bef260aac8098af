"""A pytest plugin that runs coremltools' own test suite on windfall.

The suite ships inside coremltools' wheel; nobody of this project wrote it, and its expected values come from NumPy and
PyTorch. It predicts on a Mac alone, so the plugin installs windfall in the place of Core ML and says that this is a
Mac. ``make conformance`` runs it; ``suite.py`` judges the results.
"""

import gc
from typing import Any

import windfall.interop.coremltools
from tests.conformance.proxy import CountingProxy
from windfall.runtime import choice

_OFTEN = 50
_finished = 0


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
    _stand_in_for_boston()
    # Both engines run each larger model, and must agree; which is faster for a model of one test matters to nobody.
    choice.BUDGET = choice._SLOW = 0.0


def pytest_collection_finish() -> None:
    """Take the thousands of collected tests out of the garbage collector's sight.

    coremltools collects garbage in every conversion: going through the tests anew took three quarters of the time.
    """
    _freeze()


def pytest_runtest_logfinish() -> None:
    """Do the same now and then for what tests leave behind, which adds up."""
    global _finished  # noqa: PLW0603  # pytest's hooks are functions
    _finished += 1
    if _finished % _OFTEN == 0:
        _freeze()


def _freeze() -> None:
    gc.collect()
    gc.freeze()


def _stand_in_for_boston() -> None:
    """Let tests have a table in place of the Boston housing data, which they download; it has fewer rows.

    What they expect is what scikit-learn and XGBoost make of the same table.
    """
    import numpy as np
    from coremltools.test import utils

    def load_boston() -> dict[str, Any]:
        rng = np.random.default_rng(0)
        data = np.abs(rng.normal(size=(150, 13))) * rng.uniform(0.5, 50, 13)
        data[:, 3] = rng.integers(0, 2, 150)  # tests take these two for categories
        data[:, 8] = rng.integers(1, 25, 150)
        target = 20 + data @ rng.normal(size=13) / 20 + rng.normal(size=150)
        names = "CRIM ZN INDUS CHAS NOX RM AGE DIS RAD TAX PTRATIO B LSTAT"
        return {"data": data, "target": target, "feature_names": np.array(names.split())}

    utils.load_boston = load_boston
