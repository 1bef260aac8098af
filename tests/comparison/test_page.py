"""The web page: well formed, complete, harmless."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import windfall
from tests.comparison.support import brighter, classifier, rows, times
from windfall.comparison import ComparedModel, Comparison, Score, WorstSample
from windfall.comparison.worst import MOST_SAMPLES, in_words

VOID = {"meta", "img", "br"}
HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}"


class Page(HTMLParser):
    """Reads a page; fails where an element is not closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def picture(image: dict[str, str | None]) -> Image.Image:
    """The picture in a data URI."""
    head, _, data = str(image["src"]).partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def photo(size: tuple[int, int], value: int) -> Image.Image:
    return Image.new("RGB", size, (value, value, value))


def test_the_worst_pictures_are_shown_beside_the_references() -> None:
    models = brighter(0, size=(600, 300)), brighter(50, size=(600, 300))
    # Where a picture is nearly white, less of the brightness is added: the darker half differs most.
    samples = [photo((600, 300), value) for value in (250, 0, 240, 210, 230, 220, 255)]
    comparison = windfall.compare(*models, samples)
    worst = comparison.candidates[0].worst
    assert [sample.sample for sample in worst] == ["sample 2", "sample 4", "sample 6", "sample 5"]
    assert len(worst) == MOST_SAMPLES
    page = Page(comparison.to_html())
    titles = ["input", "reference", "candidate", "difference, 5.1 times"]
    assert [image["alt"] for image in page.images[:4]] == titles
    shown = [picture(image) for image in page.images[:4]]
    assert {one.size for one in shown} == {(256, 128)}
    assert [one.getpixel((100, 50)) for one in shown] == [(0, 0, 0), (0, 0, 0), (50, 50, 50), (255, 255, 255)]
    assert "sample 2" in page.text
    assert "14.15 dB" in page.text


def test_equal_results_are_not_among_the_worst() -> None:
    comparison = windfall.compare(brighter(0), brighter(0), [photo((16, 12), 9)])
    assert comparison.candidates[0].worst == ()
    assert Page(comparison.to_html()).images == []


def test_floating_point_pictures_are_shown_from_black_to_white() -> None:
    gray = "GRAYSCALE_FLOAT16"
    ramp = Image.fromarray(np.linspace(-1, 1, 16 * 12).reshape(12, 16).astype(np.float32))
    page = Page(windfall.compare(brighter(0, gray), brighter(0.5, gray), [ramp]).to_html())
    first, reference, candidate, _ = (np.asarray(picture(image), np.float64) for image in page.images)
    np.testing.assert_array_equal(first, reference)
    assert (reference.min(), reference.max()) == (0, 255)
    assert candidate[0, 0] == pytest.approx(0.25 * 255, abs=1)


def test_classifiers_answers_are_shown_in_words() -> None:
    models = classifier(np.eye(3), ["a", "b", "c"]), classifier(np.eye(3)[::-1], ["a", "b", "c"])
    comparison = windfall.compare(*models, rows([0.7, 0.2, 0.1]))
    (worst,) = comparison.candidates[0].worst
    assert (worst.output, worst.reference, worst.candidate) == ("scores", "a 0.7, b 0.2, c 0.1", "c 0.7, b 0.2, a 0.1")
    text = Page(comparison.to_html()).text
    assert "reference: a 0.7, b 0.2, c 0.1" in text


def test_results_in_words() -> None:
    assert in_words(np.arange(5.0)) == "0, 1, 2, 3, ..."
    assert in_words(np.arange(2)) == "0, 1"
    assert in_words(1.23456789) == "1.23457"
    assert in_words("text") == "text"
    assert in_words({}) == ""


def test_hostile_names_are_escaped() -> None:
    score = Score(HOSTILE, HOSTILE, HOSTILE, "higher", 1.0, 0.0, 2.0, HOSTILE, HOSTILE, 0)
    worst = WorstSample(HOSTILE, HOSTILE, {HOSTILE: 1.0}, HOSTILE, HOSTILE, {HOSTILE: b"png"})
    model = ComparedModel(HOSTILE, 1, 1, 0.1, None, None, (score,), (worst,))
    comparison = Comparison(model, (model,), 2)
    html = comparison.to_html()
    page = Page(html)
    assert "script" not in page.tags
    assert "<script>" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", html)
    assert "\x1b" not in str(comparison)
    assert {name for name, _ in page.attributes} <= {
        "lang", "charset", "http-equiv", "content", "name", "class", "src", "alt"
    }  # fmt: skip


def test_hostile_names_of_files_and_classes_are_escaped(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>"
    model = classifier(np.eye(3), [name, "b", "c"]).save(tmp_path / f"{name}.mlmodel")
    other = classifier(np.eye(3)[::-1], [name, "b", "c"])
    page = Page(windfall.compare(model, other, rows([0.7, 0.2, 0.1])).to_html())
    assert f"{name}.mlmodel" in page.text
    assert f"{name} 0.7" in page.text
    assert "img" not in page.tags


def test_the_page_needs_nothing_from_elsewhere() -> None:
    html = windfall.compare(times(1), times(2), rows(np.ones((2, 3)))).to_html()
    assert "default-src 'none'" in html
    assert not re.search(r"https?:|<script|<link|@import|url\(", html)


def test_it_is_saved_whole(tmp_path: Path) -> None:
    comparison = windfall.compare(times(1), times(2), rows(np.ones((2, 3))))
    path = tmp_path / "page.html"
    path.write_text("old")
    assert comparison.save(path) == path
    assert path.read_text(encoding="utf-8") == comparison.to_html()
    assert list(tmp_path.iterdir()) == [path]
