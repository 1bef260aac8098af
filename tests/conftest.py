"""What every test has."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _no_compile_cache() -> Iterator[None]:
    """Keep the user's cache out of the tests: they are about the code as it is now."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINDFALL_CACHE", "off")
        yield
