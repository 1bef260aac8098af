"""Downloads from servers that break off, lie, stall and redirect; every byte is compared."""

import io
import re
import time
from contextlib import suppress
from http.client import HTTPMessage
from pathlib import Path
from typing import Any
from urllib.request import Request

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.store.support import Server, chunked, drip, reply, serve, stall
from windfall.errors import FetchError, FormatError
from windfall.store import downloading, requests
from windfall.store.downloading import Part, download

CONTENT = np.random.default_rng(1).bytes(300_000)


def fetched(server: Server, part: Part, *, checked: bool = False, largest: int = 10**6) -> bytes:
    download(server.url(), part, largest, lambda *_: None, checked=checked)
    return part.path.read_bytes()


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(tmp_path / "x.part")


@pytest.fixture
def content(server: Server) -> bytes:
    server.usual = serve(CONTENT)
    return CONTENT


def ranges(server: Server) -> list[str | None]:
    return [request.get("range") for request in server.requests]


def error(server: Server, part: Part, **options: Any) -> str:
    with pytest.raises(FetchError) as caught:
        fetched(server, part, **options)
    return re.sub(r"127.0.0.1:\d+", "server", str(caught.value))


def test_a_whole_file(server: Server, part: Part, content: bytes) -> None:
    seen: list[tuple[int, int | None]] = []
    download(server.url(), part, 10**6, lambda *state: seen.append(state), checked=False)
    assert part.path.read_bytes() == content
    assert seen[0] == (0, len(content))
    assert seen[-1] == (len(content), len(content))
    assert seen == sorted(seen)
    assert server.requests[0]["user-agent"].startswith("windfall/")
    assert set(server.requests[0]) == {"path", "host", "user-agent", "accept-encoding", "connection"}


def test_what_was_broken_off_is_gone_on_with(server: Server, part: Part, content: bytes) -> None:
    server.script = [serve(content, cut=1000), serve(content, cut=2000)]
    assert fetched(server, part) == content
    assert ranges(server) == [None, "bytes=1000-", "bytes=3000-"]
    assert server.requests[1]["if-range"] == '"1"'


def test_it_is_gone_on_with_after_an_error(server: Server, part: Part, content: bytes) -> None:
    server.script = [serve(content, cut=1000), serve(content, cut=0)]
    assert error(server, part) == (
        "cannot fetch http://server/city.mlmodel: the connection ended after 1.0 kB; run it again to go on from there"
    )
    assert fetched(server, part) == content
    assert ranges(server)[-1] == "bytes=1000-"


def test_a_whole_part_is_not_asked_for_again(server: Server, part: Part, content: bytes) -> None:
    fetched(server, part)
    assert fetched(server, part) == content
    assert len(server.requests) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(cuts=[1, 1, 1], etags=['"1"', '"2"', '"1"', '"1"', '"1"'], ignores=[False] * 5)
@given(
    cuts=st.lists(st.integers(1, 400), max_size=4),
    etags=st.lists(st.sampled_from(['"1"', '"2"', 'W/"1"', None]), min_size=5, max_size=5),
    ignores=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_whatever_the_breaks_and_versions_the_bytes_are_right(
    server: Server, tmp_path: Path, cuts: list[int], etags: list[str | None], ignores: list[bool]
) -> None:
    part = Part(tmp_path / "p.part")
    part.discard()
    versions = {etag: np.random.default_rng(len(str(etag))).bytes(500) for etag in etags}
    last = etags[len(cuts)]
    server.script = [
        reply(200, versions[etag], ETag=etag) if ignore and cut > 300 else serve(versions[etag], etag=etag, cut=cut)
        for cut, etag, ignore in zip(cuts, etags, ignores, strict=False)
    ]
    server.usual = serve(versions[last], etag=last)
    got = None
    for _ in range(len(cuts) + 1):  # a break that brought nothing ends it, to be run again
        with suppress(FetchError):
            got = fetched(server, part)
            break
    assert got in versions.values()


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
def test_without_a_version_it_starts_anew(server: Server, part: Part, etag: str | None) -> None:
    server.usual = serve(CONTENT, etag=etag)
    server.script = [serve(CONTENT, etag=etag, cut=1000)]
    assert fetched(server, part) == CONTENT
    assert ranges(server) == [None, None]


def test_without_a_version_it_is_gone_on_with_if_a_checksum_follows(server: Server, part: Part) -> None:
    server.usual = serve(CONTENT, etag=None)
    server.script = [serve(CONTENT, etag=None, cut=1000)]
    assert fetched(server, part, checked=True) == CONTENT
    assert ranges(server) == [None, "bytes=1000-"]


def test_a_new_version_starts_anew(server: Server, part: Part, content: bytes) -> None:
    server.script = [serve(b"old" * 1000, etag='"0"', cut=1000)]
    assert fetched(server, part) == content
    assert ranges(server) == [None, "bytes=1000-"]


@pytest.mark.parametrize(
    "lie",
    [
        reply(206, CONTENT[900:], Content_Range=f"bytes 900-{len(CONTENT) - 1}/{len(CONTENT)}", ETag='"1"'),
        reply(206, CONTENT[1000:], ETag='"1"'),
        reply(206, CONTENT[1000:], Content_Range="bytes 1000-", ETag='"1"'),
        reply(206, CONTENT[1000:], Content_Range=f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}", ETag='"2"'),
        reply(206, CONTENT[1000:], Content_Range="bytes 1000-1000/7", ETag='"1"'),
        reply(416),
    ],
)
def test_another_part_than_was_asked_for_is_not_taken(server: Server, part: Part, content: bytes, lie: Any) -> None:
    server.script = [serve(content, cut=1000), lie]
    assert fetched(server, part) == content
    assert ranges(server) == [None, "bytes=1000-", None]


def test_a_size_that_is_no_number_is_not_believed(server: Server, part: Part, content: bytes) -> None:
    rest = reply(206, content[1000:], Content_Range=f"bytes 1000-2000/{'9' * 5000}", ETag='"1"')
    server.script = [serve(content, cut=1000), rest]
    assert fetched(server, part) == content


def test_a_server_that_keeps_lying_is_given_up(server: Server, part: Part) -> None:
    server.script = [serve(CONTENT, cut=1000), reply(416), serve(CONTENT, cut=1000), reply(416)]
    assert error(server, part).endswith("the server's answers vary; try again later")


def test_a_server_that_breaks_off_for_ever_is_given_up(server: Server, part: Part) -> None:
    server.usual = serve(CONTENT, cut=10)
    assert error(server, part).endswith("the connection ended after 50 bytes; run it again to go on from there")
    assert len(server.requests) == downloading.ATTEMPTS


def test_a_content_length_that_is_too_long(server: Server, part: Part) -> None:
    server.usual = serve(CONTENT, Content_Length=len(CONTENT) + 5)
    assert error(server, part).startswith("cannot fetch http://server/city.mlmodel: ")
    assert len(server.requests) <= downloading.ATTEMPTS


def test_what_lies_behind_the_content_length_is_no_part_of_the_file(server: Server, part: Part) -> None:
    server.usual = serve(CONTENT, Content_Length=2000)
    assert fetched(server, part) == CONTENT[:2000]


def test_pieces_of_unknown_number(server: Server, part: Part) -> None:
    server.usual = chunked(CONTENT[:1000], CONTENT[1000:])
    assert fetched(server, part) == CONTENT


def test_pieces_that_end_early(server: Server, part: Part) -> None:
    server.script = [chunked(CONTENT[:1000], end=False, ETag='"1"')]
    server.usual = serve(CONTENT)
    assert fetched(server, part) == CONTENT
    assert ranges(server) == [None, "bytes=1000-"]


def test_no_size_at_all(server: Server, part: Part) -> None:
    server.usual = reply(200, CONTENT, Content_Length=None)
    assert error(server, part) == (
        "http://server/city.mlmodel comes without its size, so that a broken download would look like a whole one; "
        "give its sha256"
    )
    assert fetched(server, part, checked=True) == CONTENT


def test_a_file_that_is_too_large(server: Server, part: Part, content: bytes) -> None:
    text = "http://server/city.mlmodel has 300.0 kB or more, may have 1.0 kB; give a larger limit"
    assert error(server, part, largest=1000) == text
    server.usual = chunked(CONTENT)
    assert "or more, may have 1.0 kB" in error(server, part, largest=1000)
    assert part.size <= 1000


def test_a_compressed_answer(server: Server, part: Part) -> None:
    server.usual = reply(200, b"x", Content_Encoding="gzip")
    assert error(server, part) == (
        "http://server/city.mlmodel comes with Content-Encoding 'gzip', must come as it is; download it yourself"
    )


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (reply(404), "the server answers 404, Not Found; check the address"),
        (reply(503), "the server answers 503, Service Unavailable; check the address"),
        (reply(206, b"x"), "the server answers 206, Partial Content; check the address"),
        (reply(204), "the server answers 204, No Content; check the address"),
        (reply(302, Location="ftp://x/y"), "redirects to ftp://x/y, must lead to https or http; download it yourself"),
        (reply(302, Location="file:///etc/passwd"), "302"),
        (lambda handler: handler.wfile.write(b"hello\r\n\r\n"), "hello; check the address and the network"),
    ],
)
def test_answers_that_are_no_file(server: Server, part: Part, answer: Any, text: str) -> None:
    server.usual = answer
    assert text in error(server, part)
    assert part.size == 0
    assert "\n" not in error(server, part)


def test_nobody_there(server: Server, part: Part) -> None:
    url = server.url()
    server.server_close()
    server.shutdown()
    with pytest.raises(FetchError, match=r": Connection refused; check the address and the network$"):
        download(url, part, 10, lambda *_: None, checked=False)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (stall(CONTENT, None), "the server does not answer; try again later"),
        (drip(bytes(100), 0.05, headers=True), "the server does not answer; try again later"),
        (stall(CONTENT, 0), "the server sends nothing, or less than 1000 bytes per second, after 0 bytes; try again"),
        (drip(bytes(100), 0.05), "the server sends nothing, or less than 1000 bytes per second, after "),
    ],
)
def test_a_server_that_stalls(
    server: Server, part: Part, answer: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "PATIENCE", 0.3)
    monkeypatch.setattr(downloading, "ATTEMPTS", 1)
    server.usual = answer
    start = time.monotonic()
    assert text in error(server, part)
    assert time.monotonic() - start < 3


def test_after_a_stall_it_is_gone_on_with(server: Server, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "PATIENCE", 0.3)
    server.script = [stall(CONTENT, 1000)]
    server.usual = serve(CONTENT)
    assert fetched(server, part) == CONTENT
    assert ranges(server) == [None, "bytes=1000-"]


def test_redirects_are_followed(server: Server, part: Part, content: bytes) -> None:
    server.script = [reply(302, Location="/there"), reply(308, Location=server.url("elsewhere"))]
    assert fetched(server, part) == content
    assert [request["path"] for request in server.requests] == ["/city.mlmodel", "/there", "/elsewhere"]


def test_redirects_in_a_circle(server: Server, part: Part) -> None:
    server.usual = reply(302, Location="/city.mlmodel")
    assert "redirect" in error(server, part)
    assert len(server.requests) < 20


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (
            "https://a/x?key=1",
            "http://b/y",
            "https://a/x redirects to http://b/y, must stay https; if you trust",
        ),
        ("http://a/x", "ftp://b/y", "http://a/x redirects to ftp://b/y, must lead to https or http; download"),
        ("https://a/x", "file:///etc/passwd", "https://a/x redirects to file:///etc/passwd, must lead to https or"),
    ],
)
def test_redirects_to_what_is_less_safe(before: str, after: str, text: str) -> None:
    with pytest.raises(FetchError, match=re.escape(text)):
        requests.Redirects().redirect_request(Request(before), io.BytesIO(), 302, "Found", HTTPMessage(), after)  # noqa: S310  # not sent


def test_redirects_to_what_is_safer() -> None:
    found = requests.Redirects().redirect_request(
        Request("http://a/x"), None, 302, "Found", HTTPMessage(), "https://b/y"
    )
    assert found is not None
    assert found.full_url == "https://b/y"


def test_a_file_of_this_machine(tmp_path: Path, part: Part) -> None:
    path = tmp_path / "my model.mlmodel"
    path.write_bytes(CONTENT)
    download(path.as_uri(), part, 10**6, lambda *_: None, checked=False)
    assert part.path.read_bytes() == CONTENT
    with pytest.raises(FetchError, match=r"has 300\.0 kB or more, may have 10 bytes; give a larger limit"):
        download(path.as_uri(), part, 10, lambda *_: None, checked=False)
    with pytest.raises(FormatError, match="No such file or directory; check the path"):
        download((tmp_path / "none").as_uri(), part, 10, lambda *_: None, checked=False)
    with pytest.raises(FormatError, match="must be a model file or a zipped model"):
        download(tmp_path.as_uri(), part, 10, lambda *_: None, checked=False)


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    text = error(server, Part(tmp_path / "no" / "x.part"))
    assert re.fullmatch(
        r"cannot write '.*x.part': No such file or directory; check the folder and its free space", text
    )


def test_a_damaged_note_beside_a_part_starts_anew(server: Server, part: Part, content: bytes) -> None:
    server.script = [serve(content, cut=1000), serve(content, cut=0)]
    error(server, part)
    for note in (b"{", b"[]", b"\xff"):
        part.path.with_suffix(".json").write_bytes(note)
        assert fetched(server, part) == content
        part.path.write_bytes(content[:1000])
    assert ranges(server)[-3:] == [None, None, None]
