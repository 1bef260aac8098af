"""Download a file in as many attempts as it takes; what has arrived is never asked for twice.

The bytes go to a part file, which is at every moment a beginning of the whole. Beside it lies what the server said of
the whole: its ETag or the time of its last change, and its size. The rest is asked for only of that same version.
"""

import json
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import url2pathname

from windfall.errors import FetchError
from windfall.spec.openfile import open_file
from windfall.store.requests import SLOWEST, open_url, shown_url
from windfall.text import bytes_text

Progress = Callable[[int, int | None], object]
"""Is told how many bytes have arrived, and how many there are, None if that is not known."""
ATTEMPTS = 5
_PIECE = 2**18
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_MOST_DIGITS = 18
_WHOLE, _PARTIAL, _NO_SUCH_RANGE = 200, 206, 416


class BrokenOff(Exception):  # noqa: N818  # it is no error as long as there are attempts left
    """A connection ended early, or its bytes came too slowly; the message says how."""


class Stale(Exception):  # noqa: N818  # what follows is a download from the start
    """The part that is there is none of what the server has now."""


class Part:
    """The beginning of a file that is being downloaded, and what the server said of the whole.

    Args:
        path: Where it lies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._about = path.with_suffix(".json")

    @property
    def size(self) -> int:
        """How many bytes have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    def age(self) -> float:
        """Return for how many seconds nothing has arrived."""
        return time.time() - self.path.stat().st_mtime if self.path.exists() else math.inf

    def about(self) -> dict[str, Any]:
        """Return what the server said: ``validator`` and ``total``; nothing if that is not known."""
        try:
            about = json.loads(self._about.read_bytes())
        except (OSError, ValueError):
            return {}
        return about if isinstance(about, dict) else {}

    def begin(self, about: dict[str, Any]) -> None:
        """Start from nothing."""
        with writing(self.path):
            self.path.write_bytes(b"")  # first: old bytes must not be taken for those of the new version
            self._about.write_text(json.dumps(about))

    def discard(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the file system into ones that name the file."""
    try:
        yield
    except OSError as error:
        raise FetchError(
            f"cannot write {str(path)!r}: {error.strerror}; check the folder and its free space"
        ) from error


def download(url: str, part: Part, largest: int, progress: Progress, *, checked: bool) -> None:
    """Download a file, or what is missing of it.

    Args:
        url: Its address: http, https or file.
        part: Where it goes.
        largest: The most bytes that it may have.
        progress: Is told of every piece.
        checked: Whether the whole will be compared with a checksum that is known.

    Raises:
        FetchError: The server cannot be reached, gives an error or too much, or breaks off again and again.
        FormatError: A file of this machine cannot be opened.
    """
    if urlsplit(url).scheme == "file":
        _copy(url, part, largest, progress)
        return
    first = True
    for attempt in range(1, ATTEMPTS + 1):
        before = part.size
        try:
            _attempt(url, part, largest, progress, checked=checked)
        except Stale as error:
            part.discard()
            if not first:
                raise FetchError(
                    f"cannot fetch {shown_url(url)}: the server's answers vary; try again later"
                ) from error
            first = False
        except BrokenOff as error:
            if attempt == ATTEMPTS or part.size == before:
                raise _broken_off(url, part, error, checked=checked) from error
        else:
            return


def _broken_off(url: str, part: Part, error: BrokenOff, *, checked: bool) -> FetchError:
    way_out = "run it again to go on from there" if _may_go_on(part, checked=checked) else "try again later"
    return FetchError(f"cannot fetch {shown_url(url)}: {error} after {bytes_text(part.size)}; {way_out}")


def _copy(url: str, part: Part, largest: int, progress: Progress) -> None:
    path = Path(url2pathname(urlsplit(url).path))
    source = open_file(path, path.name, path.name, "a model file or a zipped model")
    _check_size(url, source.size, largest)
    part.discard()
    with writing(part.path):
        source.copy_to(part.path)
    progress(source.size, source.size)


def _may_go_on(part: Part, *, checked: bool) -> bool:
    return part.size > 0 and (checked or bool(part.about().get("validator")))


def _attempt(url: str, part: Part, largest: int, progress: Progress, *, checked: bool) -> None:
    start = part.size if _may_go_on(part, checked=checked) else 0
    before = part.about() if start else {}
    if start and start == before.get("total"):
        progress(start, start)
        return
    with _asked(url, start, before) as response:
        about = _about(url, response, start, checked=checked)
        if response.status == _PARTIAL:
            _check_rest(response, start, before, about)
        else:
            part.begin(about)
        _check_size(url, about["total"] or 0, largest)
        _receive(url, response, part, about["total"], largest, progress)


def _asked(url: str, start: int, before: dict[str, Any]) -> HTTPResponse:
    """Ask for a file, or for the rest of it."""
    try:
        response = open_url(url, _range_headers(start, before))
    except HTTPError as error:
        error.close()
        if start and error.code == _NO_SUCH_RANGE:
            raise Stale from error
        raise _answered(url, error.code, error.reason) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _unreachable(url, error) from error
    if response.status not in (_WHOLE, _PARTIAL) or (response.status == _PARTIAL and not start):
        response.close()
        raise _answered(url, response.status, response.reason)
    return response


def _range_headers(start: int, about: dict[str, Any]) -> dict[str, str]:
    if not start:
        return {}
    validator = about.get("validator")
    return {"Range": f"bytes={start}-"} | ({"If-Range": str(validator)} if validator else {})


def _about(url: str, response: HTTPResponse, start: int, *, checked: bool) -> dict[str, Any]:
    """Return what a response says of the whole file."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise FetchError(
            f"{shown_url(url)} comes with Content-Encoding {encoding!r}, must come as it is; download it yourself"
        )
    total = _number(response.headers.get("Content-Length"))
    if response.status == _PARTIAL:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        whole = _number(match[3]) if match else None
        total = whole if whole is not None else None if total is None else start + total
    if total is None and not checked and not response.chunked:
        raise FetchError(
            f"{shown_url(url)} comes without its size, so that a broken download would look like a whole one; "
            "give its sha256"
        )
    return {"validator": _validator(response), "total": total}


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def _validator(response: HTTPResponse) -> str | None:
    """Return what tells this version of the file from others, byte by byte."""
    tag = response.headers.get("ETag")
    if tag is not None:
        return None if tag.startswith("W/") else tag
    return response.headers.get("Last-Modified")


def _check_rest(response: HTTPResponse, start: int, before: dict[str, Any], about: dict[str, Any]) -> None:
    """Make sure that a response is the rest of what was begun."""
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    same = all(before.get(key) in (None, about[key]) for key in ("validator", "total"))
    if match is None or _number(match[1]) != start or not same or (about["total"] or start) < start:
        raise Stale


def _check_size(url: str, size: int, largest: int) -> None:
    if size > largest:
        raise FetchError(
            f"{shown_url(url)} has {bytes_text(size)} or more, may have {bytes_text(largest)}; give a larger limit"
        )


def _receive(url: str, response: HTTPResponse, part: Part, total: int | None, largest: int, progress: Progress) -> None:
    """Append a response to the part."""
    done = part.size
    progress(done, total)
    with writing(part.path), part.path.open("ab") as file:
        for piece in _pieces(response, None if total is None else total - done):
            done += len(piece)
            _check_size(url, done, largest)
            file.write(piece)
            progress(done, total)
    if total is not None and done < total:
        raise BrokenOff("the connection ended")


def _pieces(response: HTTPResponse, missing: int | None) -> Iterator[bytes]:
    """Give what a server sends, no more than what is missing."""
    try:
        while (most := _PIECE if missing is None else min(_PIECE, missing)) and (piece := response.read1(most)):
            yield piece
            missing = None if missing is None else missing - len(piece)
    except TimeoutError as error:
        raise BrokenOff(f"the server sends nothing, or less than {SLOWEST} bytes per second,") from error
    except (OSError, HTTPException, ValueError) as error:  # ValueError: the length of a chunk is no number
        raise BrokenOff("the connection broke") from error


def _answered(url: str, status: int, reason: str) -> FetchError:
    text = f"the server answers {status}, {' '.join(reason.split())}"
    return FetchError(f"cannot fetch {shown_url(url)}: {text}; check the address")


def _unreachable(url: str, error: Exception) -> FetchError:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return FetchError(f"cannot fetch {shown_url(url)}: the server does not answer; try again later")
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return FetchError(f"cannot fetch {shown_url(url)}: {' '.join(text.split())}; check the address and the network")
