"""What every test has."""

import os
from collections.abc import Iterator

import pytest

import windfall


@pytest.fixture(autouse=True, scope="session")
def _no_compile_cache() -> Iterator[None]:
    """Keep the user's cache out of the tests: they are about the code as it is now."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINDFALL_CACHE", "off")
        yield


@pytest.fixture(autouse=True, scope="session")
def _device() -> Iterator[None]:
    """Run what names no device on a graphics card, where there is one.

    ``WINDFALL_TEST_DEVICE=cuda pytest -W ignore::windfall.DeviceWarning tests/lowering``: what a device is not given,
    the processor runs with that warning.
    """
    with pytest.MonkeyPatch.context() as patch:
        device = os.environ.get("WINDFALL_TEST_DEVICE")
        if device is not None:
            patch.setitem(windfall.load.__kwdefaults__, "device", device)
        yield
