"""Models from the network and from the store; their numbers are compared with NumPy's."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.store.support import Server, drip, expected, model_bytes, reply, serve
from tests.store.test_unpacking import zipped
from tests.support import FullDisk
from windfall.spec import writing
from windfall.store import fetching, folder
from windfall.store.folder import Store, store_folder

MODEL = model_bytes()
DIGEST = hashlib.sha256(MODEL).hexdigest()
X = np.random.default_rng(0).normal(size=(1, 40)).astype(np.float32)


def check(model: windfall.Model, scale: float = 2.0) -> None:
    np.testing.assert_allclose(model.predict({"x0": X})["y0"], expected(X, scale), rtol=1e-4)


def refused(text: str, *arguments: Any, **options: Any) -> None:
    with pytest.raises(windfall.FetchError) as caught:
        windfall.fetch(*arguments, **options)
    assert re.sub(r"127.0.0.1:\d+", "server", str(caught.value)).startswith(text), caught.value


def rest(store: Path) -> list[str]:
    """Name what is left of downloads."""
    return [
        path.name for path in [*store.glob(".*"), *(store / "downloads").glob("*")] if not path.name.endswith(".lock")
    ]


def test_a_model_is_downloaded_once(server: Server, store: Path) -> None:
    check(windfall.fetch(server.url()))
    server.script = [reply(500)]
    check(windfall.fetch(server.url()))
    assert len(server.requests) == 1
    assert (store / DIGEST / "city.mlmodel").read_bytes() == MODEL
    assert rest(store) == []


def test_no_request_at_all_where_the_checksum_is_there(server: Server, store: Path) -> None:
    check(windfall.fetch(server.url(), sha256=DIGEST.upper()))
    check(windfall.fetch("https://192.0.2.1/elsewhere.mlmodel", sha256=DIGEST))
    assert len(server.requests) == 1


def test_a_store_that_may_only_be_read_serves(server: Server, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windfall.fetch(server.url())

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("mkdir", "write_bytes", "replace", "unlink"):
        monkeypatch.setattr(Path, name, fail)
    check(windfall.fetch(server.url()))
    check(windfall.fetch(server.url(), sha256=DIGEST))
    refused("cannot write '", server.url("other"))


def test_another_checksum(server: Server, store: Path) -> None:
    wrong = "0" * 64
    text = f"http://server/city.mlmodel has the sha256 {DIGEST}, must have {wrong}; check the address and the checksum"
    refused(text, server.url("city.mlmodel?key=secret"), sha256=wrong)
    assert not (store / DIGEST).exists()
    assert rest(store) == []


def test_a_model_that_has_changed(server: Server, store: Path) -> None:
    windfall.fetch(server.url())
    new = model_bytes(scale=3.0)
    digest = hashlib.sha256(new).hexdigest()
    server.usual = serve(new, etag='"2"')
    check(windfall.fetch(server.url()), 2.0)
    text = (
        f"http://server/city.mlmodel has changed: its sha256 is {digest}, was {DIGEST}; "
        "to take the new one, give its sha256"
    )
    refused(text, server.url(), refresh=True)
    check(windfall.fetch(server.url()), 2.0)
    check(windfall.fetch(server.url(), sha256=digest), 3.0)
    check(windfall.fetch(server.url()), 3.0)
    check(windfall.fetch(server.url(), refresh=True), 3.0)


def test_what_was_broken_off_with_another_version_is_fetched_whole(server: Server, store: Path) -> None:
    """A server without versions: the beginning is of an old model; the checksum tells."""
    old = model_bytes(scale=5.0)
    server.script = [serve(old, etag=None, cut=1000), serve(old, etag=None, cut=0)]
    refused(
        "cannot fetch http://server/city.mlmodel: the connection ended after 1.0 kB; run", server.url(), sha256=DIGEST
    )
    server.usual = serve(MODEL, etag=None)
    check(windfall.fetch(server.url(), sha256=DIGEST))
    assert [request.get("range") for request in server.requests[-2:]] == ["bytes=1000-", None]


@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "list", "no list"])
def test_a_damaged_model_in_the_store_is_downloaded_again(server: Server, store: Path, damage: str) -> None:
    windfall.fetch(server.url())
    path = store / DIGEST / "city.mlmodel"
    contents = path.with_name("contents.json")
    deeds: dict[str, Callable[[], object]] = {
        "cut": lambda: path.write_bytes(MODEL[:-1]),
        "flip": lambda: path.write_bytes(MODEL[:-1] + b"\xff"),
        "remove": path.unlink,
        "list": lambda: contents.write_bytes(b'{"model": "../x", "files": {}}'),
        "no list": lambda: shutil.rmtree(path.parent),
    }
    deeds[damage]()
    check(windfall.fetch(server.url()))
    assert len(server.requests) == 2
    assert path.read_bytes() == MODEL


def test_a_damaged_record_is_made_again(server: Server, store: Path) -> None:
    windfall.fetch(server.url())
    (record,) = (store / "addresses").iterdir()
    before = record.read_bytes()
    for damage in (b"", b"[]", b'{"sha256": "../.."}', b'{"sha256": 1}', before[:20]):
        record.write_bytes(damage)
        check(windfall.fetch(server.url()))
        assert record.read_bytes() == before
    assert json.loads(before) == {"url": server.url(), "sha256": DIGEST}


def test_keys_in_addresses_are_not_kept(server: Server, store: Path) -> None:
    windfall.fetch(server.url("city.mlmodel?signature=secret"))
    windfall.fetch(server.url("city.mlmodel?signature=other"))
    assert len(server.requests) == 2
    kept = [path.read_bytes() for path in store.rglob("*") if path.is_file()]
    assert not any(b"secret" in data for data in kept)
    assert store.stat().st_mode & 0o077 == 0 or os.name == "nt"


def test_a_zipped_package(server: Server, store: Path, tmp_path: Path) -> None:
    package = windfall.load(save(tmp_path)).save(tmp_path / "city.mlpackage")
    files = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in package.rglob("*") if path.is_file()}
    server.usual = serve(zipped(files))
    model = windfall.fetch(server.url("city.mlpackage.zip"))
    check(model)
    (found,) = store.glob("*/city.mlpackage")
    assert {path.relative_to(found.parent).as_posix() for path in found.rglob("*") if path.is_file()} == set(files)
    check(windfall.fetch(server.url("city.mlpackage.zip")))
    (found / "Data/com.apple.CoreML/model.mlmodel").write_bytes(b"damaged")
    check(windfall.fetch(server.url("city.mlpackage.zip")))
    assert len(server.requests) == 2


def save(tmp_path: Path) -> Path:
    path = tmp_path / "city.mlmodel"
    path.write_bytes(MODEL)
    return path


def test_a_file_of_this_machine(store: Path, tmp_path: Path) -> None:
    path = save(tmp_path)
    check(windfall.fetch(path.as_uri()))
    path.unlink()
    check(windfall.fetch(path.as_uri()))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"<!DOCTYPE html><html>", "/city.mlmodel is a web page, must be a model; give the address of the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS, must be a model"),
        (b'{"error": "no"}', "is a JSON text, must be a model"),
        (b"<?xml version='1.0'?>", "is an XML text, must be a model"),
        (b"", "city.mlmodel"),
        (MODEL[:-10], "city.mlmodel"),
        (zipped({"city.mlmodel": b"nothing"}), "city.mlmodel"),
        (zipped({"x.txt": b"nothing"}), "city.mlmodel holds no model, must hold one"),
    ],
)
def test_what_is_no_model_is_not_kept(server: Server, store: Path, body: bytes, text: str) -> None:
    server.script = [serve(body)]
    with pytest.raises(windfall.FormatError, match=re.escape(text)):
        windfall.fetch(server.url())
    assert rest(store) == []
    check(windfall.fetch(server.url()))


def test_a_model_that_cannot_be_run_can_be_inspected(server: Server, store: Path) -> None:
    spec = windfall.load(save(store.parent)).spec
    spec.neuralNetwork.layers[0].ClearField("innerProduct")
    spec.neuralNetwork.layers[0].custom.className = "Mine"
    server.usual = serve(spec.SerializeToString())
    model = windfall.fetch(server.url())
    assert "custom" in str(model.description)
    with pytest.raises(windfall.UnsupportedError, match="Mine"):
        model.predict({"x0": X})


def test_options_are_those_of_load(server: Server, store: Path) -> None:
    check(windfall.fetch(server.url(), threads=1, compute_units="cpu_only"))
    with pytest.raises(windfall.UnsupportedError, match="threads is 0, must be"):
        windfall.fetch(server.url(), threads=0)


def test_progress(server: Server, store: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    windfall.fetch(server.url(), progress=lambda *state: seen.append(state))
    assert seen[-1] == (len(MODEL), len(MODEL))


def test_names(server: Server, store: Path) -> None:
    check(windfall.fetch(server.url(), name="city"))
    assert json.loads((store / "names.json").read_bytes()) == {"city": {"url": server.url(), "sha256": DIGEST}}
    check(windfall.fetch("city"))
    (store / "names.json").write_text(json.dumps({"short": server.url("x"), "pinned": {"url": server.url("y")}}))
    check(windfall.fetch("short", name="long"))
    check(windfall.fetch("pinned"))
    assert set(json.loads((store / "names.json").read_bytes())) == {"short", "pinned", "long"}
    refused("'shirt' is no address and no name in '", "shirt")
    with pytest.raises(windfall.FetchError, match=r"; did you mean 'short'\?$"):
        windfall.fetch("shirt")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("{", r"names.json' cannot be read as JSON: .*; mend or remove it$"),
        ("[]", r"names.json' must be a JSON object of names and addresses; mend or remove it$"),
        ('{"a": 1}', r"^'a' in names.json is 1, must be an address or have 'url' and 'sha256'$"),
        ('{"a": {"url": "ftp://x"}}', r"^the address 'ftp://x' has the scheme 'ftp', must be https, http or file$"),
        ('{"a": {"url": "http://x/", "sha256": 5}}', "^sha256 is 5, must be 64 hexadecimal digits$"),
        ("{}", r"names.json'; give an address, or write it into names.json$"),
    ],
)
def test_names_that_are_wrong(store: Path, names: str, text: str) -> None:
    store.mkdir()
    (store / "names.json").write_text(names)
    with pytest.raises(windfall.FetchError, match=text):
        windfall.fetch("a")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://x/y", "the address 'ftp://x/y' has the scheme 'ftp', must be https, http or file"),
        (
            "http://me:secret@x/y",
            "the address 'http://x/y' has a user or a password, which are not sent; leave them out",
        ),
        ("http:///y", "the address 'http:///y' must have a server, and ASCII letters only; escape others by %"),
        ("http://x/a b", "the address 'http://x/a b' must have a server, and ASCII letters only"),
        ("http://x/a\r\nHost: y", "the address "),
        ("http://x/ü", "the address 'http://x/ü' must have a server"),
        ("http://x:port/", "the address 'http://x:port/' is wrong: Port could not be cast to integer value"),
        ("http://[/", "the address 'http://[/' is wrong: "),
        ("file://server/share", "the address 'file://server/share' is of another machine, must be file:///path"),
        (7, "the source is of type int, must be an address or a name"),
    ],
)
def test_addresses_that_are_wrong(store: Path, url: Any, text: str) -> None:
    refused(text, url)
    assert not store.exists()


@pytest.mark.parametrize("sha256", ["", "abc", 7])
def test_checksums_that_are_wrong(store: Path, sha256: Any) -> None:
    refused(f"sha256 is {sha256!r}, must be 64 hexadecimal digits", "http://x/", sha256=sha256)
    refused("sha256 is 'ggg", "http://x/", sha256="g" * 64)


@pytest.mark.parametrize("name", ["", "a/b", "http://x", ".x", "x" * 101])
def test_names_that_may_not_be_given(store: Path, name: str) -> None:
    refused("the name is ", "http://x/", name=name)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://x/city.mlmodel", "city.mlmodel"),
        ("http://x/city.mlmodel.zip?a=b.c", "city.mlmodel.zip"),
        ("http://x/", "model"),
        ("http://x/..%2f..%2fevil", "evil"),
        ("http://x/a%00b%5C%3A.mlmodel", "a_b_.mlmodel"),
        ("http://x/.hidden", "hidden"),
        ("http://x/" + 300 * "a", 100 * "a"),
    ],
)
def test_names_of_files(url: str, name: str) -> None:
    assert fetching._file_name(url) == name


def test_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(folder.VARIABLE, raising=False)
    assert store_folder().parts[-2:] == ("windfall", "models")
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_data_path", lambda *_, **__: Path("~/.local"))
    with pytest.raises(windfall.FetchError, match=r"^there is no folder for a user's data; name one for models"):
        store_folder()


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path / "file" / "models"))
    refused("cannot write '", server.url())


def test_a_full_disk_leaves_what_has_arrived(server: Server, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from windfall.store import downloading

    opened = Path.open

    def limited(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        file = opened(path, mode, *arguments, **options)
        return FullDisk(file) if path.suffix == ".part" and mode == "ab" else file

    with monkeypatch.context() as patch:
        patch.setattr(downloading.Path, "open", limited)
        with pytest.raises(windfall.FetchError, match=r"No space left on device; check the folder and its free space$"):
            windfall.fetch(server.url())
    check(windfall.fetch(server.url()))
    assert [request.get("range") for request in server.requests] == [None, "bytes=100-"]


def test_a_full_disk_while_unpacking_leaves_no_model(
    server: Server, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from windfall.store import unpacking

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    server.usual = serve(zipped({"city.mlmodel": MODEL}))
    with monkeypatch.context() as patch:
        patch.setattr(unpacking.shutil, "copyfileobj", full)
        with pytest.raises(windfall.WindfallError, match="No space left on device; check"):
            windfall.fetch(server.url())
    assert list(store.glob(".*")) == []
    check(windfall.fetch(server.url()))
    assert len(server.requests) == 1


def test_what_killed_processes_left_is_removed(server: Server, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windfall.fetch(server.url())
    left = store / f".{DIGEST}.{'a' * 32}"
    left.mkdir()
    (left / "x").write_bytes(b"x")
    mine = store / ".config.d"
    mine.mkdir()
    old, new = store / "downloads/old.part", store / "downloads/new.part"
    for part in (old, new):
        part.write_bytes(b"x")
    os.utime(old, (1, 1))
    server.usual = serve(model_bytes(scale=7.0))
    windfall.fetch(server.url("other"))
    assert not left.exists()
    assert mine.exists()
    assert (old.exists(), new.exists()) == (False, True)


def test_another_process_that_holds_the_lock(server: Server, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_LONGEST_WAIT", 0.1)
    with Store(store).fetching(server.url()):
        refused("another process has held '", server.url())


def test_many_threads_download_it_once(server: Server, store: Path) -> None:
    models: list[windfall.Model] = []
    threads = [threading.Thread(target=lambda: models.append(windfall.fetch(server.url()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    for model in models:
        check(model)


CODE = "import sys, windfall; windfall.fetch(sys.argv[1])"


def process(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CODE, url], stderr=subprocess.PIPE)  # noqa: S603  # our own code


def test_two_processes_download_it_once(server: Server, store: Path) -> None:
    processes = [process(server.url()) for _ in range(2)]
    for one in processes:
        assert one.communicate(timeout=120)[1] == b""
        assert one.returncode == 0
    assert len(server.requests) == 1
    check(windfall.fetch(server.url()))


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9")
def test_a_killed_process_leaves_a_part_that_is_gone_on_with(server: Server, store: Path) -> None:
    large = model_bytes(size=4000)
    server.script = [drip(large, 0.0005)]
    server.usual = serve(large)
    killed = process(server.url())
    while not any(part.stat().st_size for part in (store / "downloads").glob("*.part")):
        time.sleep(0.01)
        assert killed.poll() is None
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    x = np.random.default_rng(0).normal(size=(1, 4000)).astype(np.float32)
    y = windfall.fetch(server.url()).predict({"x0": x})["y0"]
    np.testing.assert_allclose(y, expected(x), rtol=1e-3)
    assert re.fullmatch(r"bytes=\d+-", server.requests[-1]["range"])
    assert rest(store) == []


class Killed(BaseException):
    """Stands for the end of the process: nothing after it is done."""


def ends(server: Server, step: int) -> bool:
    """Fetch in a process that ends before one of its steps on the file system; tell whether it has so many."""
    count = 0

    def ending(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count > step:
                raise Killed
            return function(*arguments, **options)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for name in ("mkdir", "write_bytes", "write_text", "replace", "rename", "unlink"):
            patch.setattr(Path, name, ending(getattr(Path, name)))
        patch.setattr(writing.shutil, "rmtree", ending(shutil.rmtree))
        try:
            windfall.fetch(server.url())
        except Killed:
            return True
    return False


@pytest.mark.parametrize("content", [MODEL, zipped({"city.mlmodel": MODEL})], ids=["single", "zipped"])
def test_an_end_at_any_step_leaves_nothing_wrong(server: Server, store: Path, content: bytes) -> None:
    server.usual = serve(content)
    steps = 0
    while ends(server, steps):
        check(windfall.fetch(server.url()))
        assert len(server.requests) <= 2
        server.script = [serve(model_bytes(scale=3.0))]
        check(windfall.fetch(server.url("other")), 3.0)
        assert rest(store) == []
        shutil.rmtree(store)
        server.requests.clear()
        steps += 1
    assert steps > 10
