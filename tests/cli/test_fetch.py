from pathlib import Path

import numpy as np
import pytest

import windfall
from tests.cli.conftest import Run
from tests.store.conftest import server, store  # noqa: F401  # fixtures
from tests.store.support import Server, expected, reply
from tests.store.test_fetching import DIGEST


def test_fetch_prints_the_path(run: Run, server: Server, store: Path) -> None:  # noqa: F811  # the fixture
    result = run("fetch", server.url(), "--name", "city", "--sha256", DIGEST)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{store / DIGEST / 'city.mlmodel'}\n"
    assert result.stderr == f"sha256 {DIGEST}\n"
    assert run("fetch", "city").stdout == result.stdout
    x = np.ones((1, 40), np.float32)
    y = windfall.load(result.stdout.strip()).predict({"x0": x})["y0"]
    np.testing.assert_allclose(y, expected(x), rtol=1e-4)
    assert len(server.requests) == 1
    assert run("fetch", "city", "--refresh").exit_code == 0
    assert len(server.requests) == 2


def test_errors(run: Run, server: Server, store: Path) -> None:  # noqa: F811  # the fixture
    server.usual = reply(404)
    result = run("fetch", server.url())
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: cannot fetch {server.url()}: the server answers 404, Not Found; check the address\n"
    )
    assert run("fetch", server.url(), "--largest", "0").exit_code == 2


def test_a_model_that_cannot_be_run_is_kept(
    run: Run,
    server: Server,  # noqa: F811  # the fixture
    store: Path,  # noqa: F811  # the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object) -> None:
        raise windfall.UnsupportedError("it has a layer that does not run")

    monkeypatch.setattr(windfall.Model, "compiled", property(fail))
    result = run("fetch", server.url())
    assert result.exit_code == 0
    assert result.stderr.endswith("Kept, but cannot be run: it has a layer that does not run\n")
    assert result.stdout.endswith("city.mlmodel\n")
