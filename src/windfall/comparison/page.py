"""A comparison as one web page that needs nothing from elsewhere.

Names come from files of strangers: every text is escaped, and the page's own policy lets nothing run or be fetched.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from windfall.comparison.numbers import mean_text, number_text, worst_sample_text, worst_text
from windfall.comparison.report import columns_of, output_title, outputs_of, title
from windfall.comparison.results import ComparedModel, Comparison, Score, WorstSample
from windfall.text import safe

_MOST_LETTERS = 240
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --faint: #8888; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin-top: 1.5rem; }
h1, h2, h3, td, figcaption, p { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 600; } .number { text-align: right; white-space: nowrap; }
.sample { margin: 1rem 0; padding-top: .5rem; border-top: 1px solid var(--line); }
.sample p { margin: .2rem 0; }
.pictures { display: flex; flex-wrap: wrap; gap: .75rem; }
figure { margin: 0; } figcaption { color: GrayText; font-size: .85rem; }
img { max-width: 256px; display: block; border: 1px solid var(--faint); }
"""


def page(comparison: Comparison) -> str:
    """Return the page."""
    heading = _text(title(comparison))
    body = "\n".join([f"<h1>{heading}</h1>", *_body(comparison)])
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{heading}</title>
<style>{_STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _body(comparison: Comparison) -> Iterator[str]:
    models = (comparison.reference, *comparison.candidates)
    yield _models(models)
    for output in outputs_of(comparison):
        yield f"<h2>{_text(output_title(output))}</h2>"
        yield _scores([(m, s) for m in comparison.candidates for s in m.scores if s.output == output], comparison)
        for model in comparison.candidates:
            worst = [sample for sample in model.worst if sample.output == output]
            if worst:
                yield f"<h3>{_text(model.name)}: the worst samples</h3>"
                yield from (_worst(model, sample) for sample in worst)


def _models(models: Sequence[ComparedModel]) -> str:
    columns = columns_of(models)
    rows = [[model.name, *(texts[row] for _, texts in columns)] for row, model in enumerate(models)]
    return _table(["Model", *(heading for heading, _ in columns)], rows)


def _scores(rows: Sequence[tuple[ComparedModel, Score]], comparison: Comparison) -> str:
    texts = [
        [m.name, s.measure, mean_text(s, comparison.samples), worst_text(s), worst_sample_text(s)] for m, s in rows
    ]
    return _table(["Model", "Measure", ">Mean", ">Worst", "Worst sample"], texts)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a heading that starts with ``>`` is that of numbers."""
    kinds = [' class="number"' if heading.startswith(">") else "" for heading in headings]
    head = _row("th", kinds, [heading.removeprefix(">") for heading in headings])
    body = "\n".join(_row("td", kinds, row) for row in rows)
    return f'<div class="wide"><table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _row(tag: str, kinds: Sequence[str], texts: Sequence[str]) -> str:
    cells = (f"<{tag}{kind}>{_text(text)}</{tag}>" for kind, text in zip(kinds, texts, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _worst(model: ComparedModel, sample: WorstSample) -> str:
    units = {score.measure: score.unit for score in model.scores if score.output == sample.output}
    values = ", ".join(f"{name} {number_text(value, units[name])}" for name, value in sample.values.items())
    lines = [f"<p><strong>{_text(sample.sample)}</strong> {_text(values)}</p>"]
    if sample.reference or sample.candidate:
        lines.append(f"<p>reference: {_text(sample.reference)}<br>candidate: {_text(sample.candidate)}</p>")
    figures = "".join(_figure(caption, png) for caption, png in sample.pictures.items())
    if figures:
        lines.append(f'<div class="pictures">{figures}</div>')
    return f'<div class="sample">{"".join(lines)}</div>'


def _figure(caption: str, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    text = _text(caption)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _text(text: str) -> str:
    """Return a text as HTML shows it: taken literally, safe, and not endless."""
    clean = safe(text)
    return escape(clean if len(clean) <= _MOST_LETTERS else clean[: _MOST_LETTERS - 1] + "…")
