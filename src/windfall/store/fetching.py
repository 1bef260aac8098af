"""Fetch a model by its address, check it, keep it, load it."""

import difflib
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from windfall.errors import FetchError, FormatError, UnsupportedError
from windfall.store.downloading import Part, Progress, download
from windfall.store.folder import CHECKSUM, NAMES, Store, checksum, store_folder
from windfall.store.requests import SCHEMES, shown_url
from windfall.store.unpacking import FOLDERS, SINGLE, is_zip, unpack
from windfall.text import brief

if TYPE_CHECKING:
    from windfall.model import Model

LARGEST = 8 * 10**9
"""Bytes that a model may have, downloaded and unpacked, where nothing else is said."""
_NO_MODELS = {
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"<?xml": "an XML text",
    b"{": "a JSON text",
    b"version https://git-lfs": "a pointer of Git LFS",
}
_NAME = re.compile(r"\w[\w.-]{0,99}")
_NOT_IN_A_FILE_NAME = re.compile(r"[^\w.-]+")


class Source(NamedTuple):
    """Where a model comes from, and the SHA-256 that it must have, None for any."""

    url: str
    sha256: str | None


def fetch(
    source: str,
    *,
    sha256: str | None = None,
    name: str | None = None,
    refresh: bool = False,
    largest: int = LARGEST,
    progress: Progress | None = None,
    **options: Any,
) -> "Model":
    """Download a Core ML model, or take the one that was downloaded before, and load and compile it.

    A model is downloaded once and kept in a folder of the user's data, or in that which ``WINDFALL_MODELS`` names. From
    then on it is served from there without any request. A download that was broken off is gone on with.

    Args:
        source: An address with http, https or file; or a name in ``names.json`` of that folder. There lies an
            ``.mlmodel``, or a zip file with one, with an ``.mlpackage`` or an ``.mlmodelc``.
        sha256: The checksum of that file. Without one, any content is taken the first time, and its checksum is
            recorded; another one from the same address is an error later on.
        name: Keep the address and the checksum under this name, too.
        refresh: Download it again, and compare the checksums.
        largest: The most bytes that it may have, downloaded and unpacked.
        progress: Called with the bytes that have arrived and with how many there are, None if that is not known.
        **options: What ``load`` takes.

    Returns:
        The model, compiled for its default input shapes. One that has parts that cannot be run is not compiled, and
        can be inspected.

    Raises:
        FetchError: It cannot be downloaded or kept, or has another checksum.
        FormatError: What came is no Core ML model, or a zip file with what a model does not have.
        UnsupportedError: An option has a value that windfall does not know.
    """
    from windfall.loading import load

    path = fetch_file(source, sha256=sha256, name=name, refresh=refresh, largest=largest, progress=progress)
    model = load(path, **options)
    try:
        _ = model.compiled
    except UnsupportedError:
        return model
    return model


def fetch_file(
    source: str,
    *,
    sha256: str | None = None,
    name: str | None = None,
    refresh: bool = False,
    largest: int = LARGEST,
    progress: Progress | None = None,
) -> Path:
    """Download a model as ``fetch`` does, and return where it lies.

    Raises:
        FetchError: It cannot be downloaded or kept, or has another checksum.
        FormatError: What came is no Core ML model, or a zip file with what a model does not have.
    """
    store = Store(store_folder())
    wanted = _source(store, source, sha256)
    if name is not None:
        _check_name(name)
    path = None if refresh else _stored(store, wanted)
    if path is None:
        path = _fetched(store, wanted, refresh, largest, progress or _no_progress)
    if name is not None:
        store.name(name, wanted.url, path.parent.name)
    return path


def _no_progress(_done: int, _total: int | None) -> None:
    return


def _source(store: Store, text: str, sha256: str | None) -> Source:
    """Read an address, or look up a name; a checksum that is given goes before that of the name."""
    if not isinstance(text, str):
        raise FetchError(f"the source is of type {type(text).__name__}, must be an address or a name")
    given = None if sha256 is None else _checked_checksum(sha256)
    if "://" in text or text.startswith("file:"):
        return Source(_checked_url(text), given)
    names = store.names()
    if text not in names:
        close = difflib.get_close_matches(text, names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; give an address, or write it into {NAMES}"
        raise FetchError(f"{brief(text)} is no address and no name in {str(store.folder / NAMES)!r}{hint}")
    entry = names[text]
    entry = {"url": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise FetchError(f"{text!r} in {NAMES} is {brief(entry)}, must be an address or have 'url' and 'sha256'")
    if given is None and entry.get("sha256") is not None:
        given = _checked_checksum(entry["sha256"])
    return Source(_checked_url(entry["url"]), given)


def _checked_checksum(text: object) -> str:
    if not isinstance(text, str) or not CHECKSUM.fullmatch(text.strip().lower()):
        raise FetchError(f"sha256 is {brief(text)}, must be 64 hexadecimal digits")
    return text.strip().lower()


def _checked_url(url: str) -> str:
    """Return an address without its fragment."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise FetchError(f"the address {brief(url, 100)} is wrong: {error}; check it") from error
    if parts.scheme not in (*SCHEMES, "file"):
        raise FetchError(f"the address {brief(url, 100)} has the scheme {parts.scheme!r}, must be https, http or file")
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        raise FetchError(f"the address {brief(url, 100)} is of another machine, must be file:///path")
    if "@" in parts.netloc:
        raise FetchError(f"the address {shown_url(url)!r} has a user or a password, which are not sent; leave them out")
    if parts.scheme != "file" and (not parts.hostname or re.search(r"[^!-~]", url)):
        raise FetchError(
            f"the address {brief(url, 100)} must have a server, and ASCII letters only; escape others by %"
        )
    return parts._replace(fragment="").geturl()


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise FetchError(f"the name is {brief(name)}, must be letters, digits, '.', '-' and '_', at most 100")


def _stored(store: Store, source: Source) -> Path | None:
    digest = source.sha256 or store.recorded(source.url)
    return None if digest is None else store.model(digest)


def _fetched(store: Store, source: Source, refresh: bool, largest: int, progress: Progress) -> Path:
    with store.fetching(source.url) as part:
        # Another process may have been quicker.
        path = None if refresh else _stored(store, source)
        if path is None:
            if refresh:
                part.discard()
            path = _kept(store, source, part, largest, progress)
        part.discard()
    return path


def _kept(store: Store, source: Source, part: Part, largest: int, progress: Progress) -> Path:
    """Download a model and keep it."""
    expected = source.sha256 or store.recorded(source.url)
    digest = _downloaded(source, part, expected, largest, progress)
    try:
        path = store.put(digest, lambda folder: _placed(part.path, source.url, folder, largest))
    except (FormatError, UnsupportedError):
        part.discard()
        raise
    store.record(source.url, digest)
    return path


def _downloaded(source: Source, part: Part, expected: str | None, largest: int, progress: Progress) -> str:
    """Download a file and return its checksum."""
    begun = part.size > 0
    download(source.url, part, largest, progress, checked=expected is not None)
    digest = checksum(part.path)
    if expected not in (None, digest) and begun:
        # What was there already may be of another version.
        part.discard()
        download(source.url, part, largest, progress, checked=True)
        digest = checksum(part.path)
    if expected in (None, digest):
        return digest
    part.discard()
    shown = shown_url(source.url)
    if source.sha256 is None:
        raise FetchError(
            f"{shown} has changed: its sha256 is {digest}, was {expected}; to take the new one, give its sha256"
        )
    raise FetchError(f"{shown} has the sha256 {digest}, must have {expected}; check the address and the checksum")


def _placed(downloaded: Path, url: str, folder: Path, largest: int) -> Path:
    """Put a model into a folder, and make sure that it is one."""
    from windfall.spec.modelfile import read_model_file

    name = _file_name(url)
    if is_zip(downloaded):
        path = unpack(downloaded, name, folder, _stem(name), largest)
    else:
        path = folder / f"{_stem(name)}{SINGLE}"
        _check_start(downloaded, url)
        downloaded.replace(path)
    read_model_file(path)
    return path


def _check_start(path: Path, url: str) -> None:
    """Refuse what servers give where there is no model, or where it is only pointed to."""
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    for mark, what in _NO_MODELS.items():
        if start.startswith(mark):
            raise FormatError(f"{shown_url(url)} is {what}, must be a model; give the address of the file itself")


def _file_name(url: str) -> str:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return _NOT_IN_A_FILE_NAME.sub("_", name).strip("._")[-100:] or "model"


def _stem(name: str) -> str:
    """Return a file's name without the endings of models and of zip files."""
    path = PurePosixPath(name)
    return _stem(path.stem) if path.suffix.lower() in (".zip", SINGLE, *FOLDERS) else name
