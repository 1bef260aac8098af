"""The curve of size against a metric as an SVG picture that needs nothing from elsewhere."""

from html import escape

from windfall.shrinking.plot import Plot, PlotPoint, plot_of
from windfall.shrinking.results import ShrinkResult
from windfall.text import safe

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 20, 50, 70
_COLORS = {"mixed": "#888", "alike": "#06c", "chosen": "#d33"}
_RADII = {"mixed": 3, "alike": 5, "chosen": 6}
_NAMES = {"chosen": "the result", "alike": "all layers alike", "mixed": "bits for each layer"}


def curve_svg(result: ShrinkResult) -> str:
    """Return the picture; without two models to draw it says so."""
    plot = plot_of(result)
    body = [_text(_WIDTH / 2, _HEIGHT / 2, "too few models to draw", "middle")] if plot is None else _drawn(plot)
    lines = "\n".join(['<rect width="100%" height="100%" fill="white"/>', *body])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="13">\n{lines}\n</svg>\n'
    )


def _drawn(plot: Plot) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = [
        _text(_WIDTH / 2, 25, plot.title, "middle"),
        _line(_LEFT, bottom, right, bottom, "#000"),
        _line(_LEFT, _TOP, _LEFT, bottom, "#000"),
        _text(_LEFT - 8, _TOP + 5, plot.top, "end"),
        _text(_LEFT - 8, bottom, plot.bottom, "end"),
        _text(_LEFT, bottom + 20, plot.left, "start"),
        _text(right, bottom + 20, plot.right, "end"),
    ]
    bound = plot.row(plot.bound)
    if bound is not None:
        parts.append(_line(_LEFT, _down(bound), right, _down(bound), "#2a2", ' stroke-dasharray="5 4"'))
    parts += [_point(point) for point in plot.points]
    for number, (kind, name) in enumerate(_NAMES.items()):
        x = _LEFT + 10 + 170 * number
        parts += [_circle(x, _HEIGHT - 20, kind), _text(x + 10, _HEIGHT - 16, name, "start")]
    return parts


def _across(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _down(share: float) -> float:
    return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)


def _point(point: PlotPoint) -> str:
    return _circle(_across(point.x), _down(point.y), point.kind, point.text)


def _circle(x: float, y: float, kind: str, text: str = "") -> str:
    title = f"<title>{escape(safe(text))}</title>" if text else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADII[kind]}" fill="{_COLORS[kind]}">{title}</circle>'


def _line(x1: float, y1: float, x2: float, y2: float, color: str, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"{more}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(safe(text))}</text>'
