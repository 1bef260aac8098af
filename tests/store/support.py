"""A web server that can be told to break off, to lie, to stall and to redirect."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from tests.support import layer_spec

Answer = Callable[["Handler"], None]


def model_bytes(scale: float = 2.0, size: int = 40) -> bytes:
    """An inner product of ``size`` inputs to 30 outputs, whose weights are 0, scale, 2 * scale ..."""
    x = np.zeros((1, size), np.float32)
    weights = np.arange(30 * size, dtype=np.float32) * scale
    spec = layer_spec("innerProduct", x, inputChannels=size, outputChannels=30, weights=weights)
    return bytes(spec.SerializeToString())


def expected(x: Any, scale: float = 2.0) -> Any:
    """Return what the model of ``model_bytes`` gives."""
    size = x.shape[1]
    return x @ (np.arange(30 * size, dtype=np.float32) * scale).reshape(30, size).T


class Handler(BaseHTTPRequestHandler):
    """Answers as the server is told: by what is left of its script, else by its usual answer."""

    server: "Server"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.requests.append({"path": self.path, **{key.lower(): text for key, text in self.headers.items()}})
        answer = self.server.script.pop(0) if self.server.script else self.server.usual
        try:
            answer(self)
        except (BrokenPipeError, ConnectionResetError):
            return

    def start(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for key, value in headers.items():
            if value is not None:
                self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


class Server(ThreadingHTTPServer):
    """Attributes: ``requests``, what came; ``script``, the next answers; ``usual``, all others."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, str]] = []
        self.script: list[Answer] = []
        self.usual: Answer = serve(content)

    def url(self, path: str = "city.mlmodel") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serve(content: bytes, *, etag: str | None = '"1"', cut: int | None = None, **headers: object) -> Answer:
    """Serve as servers should: whole, or from a place on if that is asked for of the same version.

    Args:
        content: What is served.
        etag: Its version.
        cut: After so many bytes the connection is closed.
        headers: Others than there would be; None leaves one out.
    """

    def answer(handler: Handler) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        same = handler.headers.get("If-Range") in (None, etag)
        start = int(wanted[1]) if wanted and same else 0
        if start >= len(content) > 0 and start:
            handler.start(416, Content_Range=f"bytes */{len(content)}", Content_Length=0)
            return
        body = content[start:]
        about: dict[str, object] = {"Content_Length": len(body), "ETag": etag}
        if start:
            about["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.start(206 if start else 200, **about | headers)
        handler.wfile.write(body[:cut])

    return answer


def reply(status: int, body: bytes = b"", **headers: object) -> Answer:
    """Answer the same whatever is asked for."""

    def answer(handler: Handler) -> None:
        handler.start(status, **{"Content_Length": len(body)} | headers)
        handler.wfile.write(body)

    return answer


def stall(content: bytes, after: int | None, seconds: float = 5.0) -> Answer:
    """Send a part and then nothing; with ``after`` None not even headers."""

    def answer(handler: Handler) -> None:
        if after is not None:
            handler.start(200, Content_Length=len(content), ETag='"1"')
            handler.wfile.write(content[:after])
            handler.wfile.flush()
        time.sleep(seconds)

    return answer


def drip(content: bytes, pause: float, *, headers: bool = False) -> Answer:
    """Send a byte at a time, of the headers or of the content."""

    def answer(handler: Handler) -> None:
        if headers:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        else:
            handler.start(200, Content_Length=len(content), ETag='"1"')
        for byte in content:
            handler.wfile.write(b"a" if headers else bytes([byte]))
            handler.wfile.flush()
            time.sleep(pause)

    return answer


def chunked(*pieces: bytes, end: bool = True, **headers: object) -> Answer:
    """Send pieces without saying how many there will be."""

    def answer(handler: Handler) -> None:
        handler.start(200, Transfer_Encoding="chunked", **headers)
        for piece in pieces:
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if end:
            handler.wfile.write(b"0\r\n\r\n")

    return answer
