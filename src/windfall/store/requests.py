"""Requests over HTTP that end in bounded time and follow safe redirects only.

The standard library's timeout is one for each piece that arrives: a server that sends a byte now and then holds a
client for ever. Here what arrives must also come at a least speed, headers included.
"""

import io
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any, cast
from urllib import request
from urllib.parse import urlsplit

import windfall
from windfall.errors import FetchError

PATIENCE = 30.0
"""Seconds without a byte, or below the least speed, after which a server is given up."""
SLOWEST = 1000
"""The least speed, in bytes per second of waiting."""
SCHEMES = ("http", "https")


class _PacedReader(io.RawIOBase):
    """Reads from a socket; fails where its bytes come too slowly."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._waited = 0.0
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        start = time.monotonic()
        count = cast("int | None", self._raw.readinto(buffer))
        self._waited += time.monotonic() - start
        self._received += count or 0
        if count and self._waited > PATIENCE:
            if self._received < PATIENCE * SLOWEST:
                raise TimeoutError
            self._waited, self._received = 0.0, 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fp: io.BufferedReader = io.BufferedReader(_PacedReader(self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Http(request.HTTPHandler):
    def http_open(self, req: request.Request) -> HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(request.HTTPSHandler):
    def https_open(self, req: request.Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, req)


class Redirects(request.HTTPRedirectHandler):
    """Follows redirects that stay as safe as the request was; the standard library follows at most ten."""

    def redirect_request(
        self, req: request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> request.Request | None:
        """Return the request that follows a redirect.

        Raises:
            FetchError: It leads from https to http, or to another scheme.
        """
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        where = f"{shown_url(req.full_url)} redirects to {shown_url(newurl)}, must"
        is_known, is_safe = after in SCHEMES, after == "https" or before != "https"
        if not (is_known and is_safe):
            fp.close()
            rule = (
                "stay https; if you trust that address, give it instead"
                if is_known
                else "lead to https or http; download it yourself"
            )
            raise FetchError(f"{where} {rule}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(url: str, headers: Mapping[str, str]) -> HTTPResponse:
    """Send a GET request; proxies are those of the environment.

    Args:
        url: Its address, http or https.
        headers: What it says besides windfall's name.

    Raises:
        FetchError: It is redirected to what is less safe.
        OSError: The server cannot be reached, or answers with an error; ``urllib.error`` has the classes.
        HTTPException: It does not speak HTTP.
    """
    handlers = (
        request.ProxyHandler,
        request.UnknownHandler,
        _Http,
        _Https,
        request.HTTPDefaultErrorHandler,
        Redirects,
        request.HTTPErrorProcessor,
    )
    opener = request.OpenerDirector()
    opener.addheaders = [("User-Agent", f"windfall/{windfall.__version__}"), ("Accept-Encoding", "identity")]
    for handler in handlers:
        opener.add_handler(handler())
    return cast("HTTPResponse", opener.open(request.Request(url, headers=dict(headers)), timeout=PATIENCE))  # noqa: S310  # the caller has checked the scheme


def shown_url(url: str) -> str:
    """Return an address as it is shown and recorded: without what may be a password or a signature.

    >>> shown_url("https://example.org/city.mlmodel?token=1")
    'https://example.org/city.mlmodel'
    """
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
