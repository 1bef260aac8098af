"""Texts for people: from files of strangers made safe to show, and sizes as people read them."""

# Characters that could move the cursor, or turn the direction of the text, of whoever looks at a file of a stranger.
_CONTROLS = (*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SAFE = dict.fromkeys(_CONTROLS, "\N{REPLACEMENT CHARACTER}")


def safe(text: object) -> str:
    r"""Return a text without the characters that would control a terminal; tabs and new lines stay.

    >>> safe("red: \x1b[31m")
    'red: �[31m'
    """
    return str(text).replace("\r\n", "\n").translate(_SAFE)


def one_line(value: object, most: int) -> str:
    """Return a value's text on one line, of at most so many letters."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def brief(value: object, most: int = 40) -> str:
    """Return a value of the user's as a message shows it: on one line, of at most so many letters.

    >>> brief("some text"), brief([1] * 50, 12)
    ("'some text'", '[1, 1, 1,...')
    """
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # lists that lie too deep in each other, an integer of thousands of digits
        text = f"<{type(value).__name__}>"
    return one_line(text, most)


def bytes_text(size: int) -> str:
    """Return a size as people read it, in powers of 1000.

    >>> bytes_text(121), bytes_text(26_345), bytes_text(2_213_561)
    ('121 bytes', '26.3 kB', '2.2 MB')
    """
    if size < 1000:
        return f"{size} bytes"
    value = size / 1000
    for unit in ("kB", "MB"):
        if value < 999.95:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
