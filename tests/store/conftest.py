from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.support import Server, model_bytes, serving


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models, empty; proxies of this machine are not asked."""
    monkeypatch.setenv("WINDFALL_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "models"


@pytest.fixture
def server(store: Path) -> Iterator[Server]:
    """A server that has the same model at every address."""
    with serving(model_bytes()) as server:
        yield server
