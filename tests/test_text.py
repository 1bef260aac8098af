import pytest

from windfall.text import brief, bytes_text, safe


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (2_213_561, "2.2 MB"),
        (3_400_000_000, "3.4 GB"),
        (5_000_000_000_000, "5000.0 GB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert bytes_text(size) == text


def test_texts_are_made_safe_to_show() -> None:
    assert safe("plain\ttext\r\n模型") == "plain\ttext\n模型"
    assert safe("\x1b[2J\r\x9b\x7f\u202e") == "�[2J����"


def deep() -> list[object]:
    found: list[object] = []
    for _ in range(100_000):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a  b", "'a b'"),
        (["x" * 100], "['" + "x" * 35 + "..."),
        pytest.param(10**5000, "<int>", id="digits"),
        pytest.param(deep(), "<list>", id="depth"),
    ],
)
def test_values_are_shown_on_one_line(value: object, text: str) -> None:
    assert brief(value) == text
