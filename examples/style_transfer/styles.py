"""Draw the four style pictures from scratch: city, glass, oils and waves.

Each picture is drawn by a function of its size alone, with a fixed seed, so that everybody gets the same four pictures
and nobody's copyright is involved. The drawing is done at twice the size and averaged down, which smooths every edge.

Example: python styles.py --folder styles
"""

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom

SUPERSAMPLING = 2
DEFAULT_SIZE = 512

CITY_WALLS = (
    "#1b2a6b", "#23418f", "#2d5fae", "#4a2a86", "#6d2f8d", "#a83a7b", "#d0486a", "#1d5f80", "#2c1c58", "#18204f",
)  # fmt: skip
CITY_LIGHTS = ("#ffd75e", "#ffc23b", "#fff1b8", "#ff9a4a", "#8fe0f5")
CITY_SKY = ("#0d1140", "#3a1f6e", "#a8356f", "#f2844b")
GLASS_PALETTE = (
    "#c8102e", "#e2342b", "#f5a300", "#ffd23f", "#0a4fc4", "#1273de", "#27a9e1", "#0b8a4a", "#35b558", "#6a1fa0",
    "#a32cc4", "#f06a1d", "#f7e9c0", "#0e7f86",
)  # fmt: skip
OILS_PALETTE = (
    "#14324f", "#1f5d74", "#2f6b4f", "#5f8f45", "#a3ad45", "#e3bb45", "#f4d27a", "#f7e6bd", "#f2b14a", "#e58a2e",
    "#d25a2a", "#a8302b", "#6b2036", "#3b2233",
)  # fmt: skip
WAVES_PALETTE = ("#f3e6c8", "#fbf6e6", "#a9cbd6", "#5f9dbf", "#2a66a0", "#173f7a", "#10295a")
WAVES_OUTLINE = "#0b1a40"


def rgb(colour: str) -> Floats:
    """Return a ``#rrggbb`` colour as three numbers from 0 to 255."""
    return np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)], dtype=np.float64)


def palette(colours: tuple[str, ...]) -> Floats:
    """Return the colours as an array [len(colours), 3]."""
    return np.stack([rgb(colour) for colour in colours])


def as_fill(colour: Floats) -> tuple[int, int, int]:
    """Return a colour in the form that Pillow draws with."""
    red, green, blue = (int(value) for value in np.clip(colour, 0, 255))
    return red, green, blue


def smooth_noise(rng: np.random.Generator, side: int, scale: float) -> Floats:
    """Return noise [side, side] with features of about ``scale`` pixels, mean 0 and standard deviation 1."""
    noise = gaussian_filter(rng.standard_normal((side, side)), scale, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def shrink(pixels: Floats) -> Image.Image:
    """Average the supersampled pixels [H, W, 3] down and return the picture."""
    height, width, channels = pixels.shape
    step = SUPERSAMPLING
    blocks = pixels.reshape(height // step, step, width // step, step, channels)
    return Image.fromarray(np.clip(blocks.mean(axis=(1, 3)) + 0.5, 0, 255).astype(np.uint8))


def city_sky(rng: np.random.Generator, side: int) -> Image.Image:
    """Paint a dusk sky, crossed by translucent shards of light."""
    stops = palette(CITY_SKY)
    rows = np.linspace(0, len(stops) - 1, side)
    columns = [np.interp(rows, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    sky = np.repeat(np.stack(columns, axis=1)[:, None], side, axis=1)
    picture = Image.fromarray(sky.astype(np.uint8))
    draw = ImageDraw.Draw(picture, "RGBA")
    for _ in range(26):
        corners = [tuple(corner) for corner in rng.uniform(-0.1, 1.1, (3, 2)) * side]
        draw.polygon(corners, fill=(*as_fill(stops[rng.integers(len(stops))] * 1.25), 90))
    return picture


def draw_windows(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: Box, wall: Floats) -> None:
    """Fill a wall with a grid of windows, some lit, the others darker than the wall."""
    left, top, right, bottom = box
    wide, high = rng.choice([10.0, 12.0, 14.0]), rng.choice([14.0, 18.0, 22.0])
    gap = rng.choice([7.0, 8.0, 9.0])
    lights, lit = palette(CITY_LIGHTS), rng.uniform(0.35, 0.75)
    favourite = rng.choice(len(lights), p=(0.34, 0.26, 0.16, 0.16, 0.08))
    for y in np.arange(top + gap, bottom - high, high + gap):
        for x in np.arange(left + gap, right - wide, wide + gap):
            own = lights[favourite if rng.random() < 0.7 else rng.integers(len(lights))]
            fill = own if rng.random() < lit else wall * 0.5
            draw.rectangle((x, y, x + wide, y + high), fill=as_fill(fill))


def draw_tower(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: Box) -> None:
    """Draw one tower: a lit face, a shaded face, a pointed roof, windows and outlines."""
    left, top, right, bottom = box
    width = right - left
    walls = palette(CITY_WALLS)
    wall = walls[rng.integers(len(walls))]
    fold = left + width * rng.uniform(0.35, 0.7)
    peak = top - abs(rng.uniform(-0.5, 0.5) * width)
    bright, dark, edge = as_fill(wall * 1.3 + 12), as_fill(wall * 0.62), as_fill(wall * 0.25)
    draw.polygon([(left, top), (fold, peak), (fold, bottom), (left, bottom)], fill=bright, outline=edge, width=5)
    draw.polygon([(fold, peak), (right, top), (right, bottom), (fold, bottom)], fill=dark, outline=edge, width=5)
    if rng.random() < 0.4:
        draw.line([(fold, peak), (fold, peak - width * 0.9)], fill=as_fill(wall * 1.6 + 40), width=3)
    draw_windows(rng, draw, (left, top, fold, bottom), wall * 1.2)
    draw_windows(rng, draw, (fold, top, right, bottom), wall * 0.6)


def draw_city(size: int) -> Image.Image:
    """Draw a cubist skyline at dusk, back to front: the sky, then rows of towers, each a bit lower and larger."""
    rng, side = np.random.default_rng(1925), size * SUPERSAMPLING
    picture = city_sky(rng, side)
    draw = ImageDraw.Draw(picture, "RGBA")
    for row in range(6):
        left = -rng.uniform(0, 60)
        while left < side:
            width = rng.uniform(90, 170) * (0.8 + 0.1 * row)
            top = side * (0.06 + 0.165 * row) + rng.uniform(-0.09, 0.1) * side
            draw_tower(rng, draw, (left, top, left + width, side))
            left += width * rng.uniform(0.8, 1.15)
        shard = [tuple(corner) for corner in rng.uniform(-0.1, 1.1, (3, 2)) * side]
        draw.polygon(shard, fill=(*as_fill(palette(CITY_LIGHTS)[rng.integers(5)]), 34))
    return shrink(np.asarray(picture, dtype=np.float64))


def voronoi_fields(sites: Floats, points: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return each point's nearest site, its distance to it, and its distance to the border of that site's cell."""
    distances, nearest = cKDTree(sites).query(points, k=2)
    between = np.linalg.norm(sites[nearest[:, 0]] - sites[nearest[:, 1]], axis=1)
    border = (distances[:, 1] ** 2 - distances[:, 0] ** 2) / (2 * between)
    return nearest[:, 0], distances[:, 0], border


def relaxed_sites(rng: np.random.Generator, count: int, rounds: int = 2) -> Floats:
    """Return random sites in the unit square, spread by a few rounds of Lloyd's relaxation."""
    sites, samples = rng.random((count, 2)), rng.random((60 * count, 2))
    for _ in range(rounds):
        _, owner = cKDTree(sites).query(samples)
        totals = np.stack([np.bincount(owner, samples[:, axis], count) for axis in range(2)], axis=1)
        sites = totals / np.maximum(np.bincount(owner, minlength=count), 1)[:, None]
    return sites


def cell_colours(rng: np.random.Generator, count: int, colours: Floats) -> Floats:
    """Give each cell a palette colour, a little lighter or darker than its neighbours of the same colour."""
    shades = rng.uniform(0.8, 1.15, (count, 1))
    return colours[rng.integers(len(colours), size=count)] * shades


def draw_glass(size: int) -> Image.Image:
    """Draw a stained-glass window: glowing cells of saturated glass between dark leading."""
    rng, side = np.random.default_rng(1248), size * SUPERSAMPLING
    rows, columns = np.mgrid[0:side, 0:side]
    bend = 10.0 * np.stack([smooth_noise(rng, side, 45.0), smooth_noise(rng, side, 45.0)], axis=-1)
    points = (np.stack([rows, columns], axis=-1) + bend).reshape(-1, 2)
    sites = relaxed_sites(rng, 330) * side
    owner, centre, border = (field.reshape(side, side) for field in voronoi_fields(sites, points))
    glass = cell_colours(rng, len(sites), palette(GLASS_PALETTE))[owner]
    reach = np.maximum(centre + border, 1.0)
    glow = 1.28 - 0.55 * (centre / reach) ** 1.5  # light gathers in the middle of each pane
    streaks = 0.07 * smooth_noise(rng, side, 9.0)
    pane = glass * (glow + streaks)[..., None] + 40.0 * np.clip(glow - 1.1, 0, 1)[..., None]
    lead = np.clip((border - 6.4) / 1.6, 0, 1)[..., None]
    rim = 24.0 * np.exp(-((border - 2.0) ** 2) / 2.0)[..., None]  # the rounded lead catches a little light
    return shrink(lead * pane + (1 - lead) * (np.array([14.0, 12.0, 18.0]) + rim))


def flow_angles(rng: np.random.Generator, side: int) -> Floats:
    """Return the direction of the brush at each pixel: the contour lines of a smooth landscape."""
    land = smooth_noise(rng, side, side / 9) + 0.2 * smooth_noise(rng, side, side / 20)
    down, across = np.gradient(land)
    return np.arctan2(across, -down)


def stroke_path(angles: Floats, start: Point, length: float) -> Floats:
    """Follow the flow from ``start`` and return the path [steps, 2] as x and y."""
    step, side = 4.0, len(angles)
    path = [np.array(start)]
    for _ in range(int(length / step)):
        x, y = np.clip(path[-1], 0, side - 1).astype(int)
        path.append(path[-1] + step * np.array([np.cos(angles[y, x]), np.sin(angles[y, x])]))
    return np.stack(path)


class OilCanvas:
    """A canvas that records the colour of the paint and, for the lighting, its thickness."""

    def __init__(self, rng: np.random.Generator, side: int) -> None:
        self.rng, self.side = rng, side
        self.colour, self.relief = Image.new("RGB", (side, side), "#3b2233"), Image.new("L", (side, side), 60)
        self.brush, self.knife = ImageDraw.Draw(self.colour), ImageDraw.Draw(self.relief)

    def stroke(self, path: Floats, width: float, paint: Floats) -> None:
        """Lay one stroke as a row of bristles, each with its own shade and its own thickness of paint."""
        rng, heading = self.rng, np.gradient(path, axis=0)
        across = np.stack([-heading[:, 1], heading[:, 0]], axis=1) / (np.linalg.norm(heading, axis=1)[:, None] + 1e-6)
        for offset in rng.permutation(np.linspace(-0.5, 0.5, max(int(width / 4.5), 3))):
            begin, end = int(rng.integers(0, 3)), len(path) - int(rng.integers(0, 3))
            points = [tuple(point) for point in (path + offset * width * across)[begin:end]]
            shade = as_fill(paint * rng.normal(1.0, 0.1) + rng.normal(0, 6))
            self.brush.line(points, fill=shade, width=7)
            thickness = int(np.clip(205 - 190 * abs(offset) + rng.normal(0, 38), 0, 255))
            self.knife.line(points, fill=thickness, width=7)

    def layer(self, angles: Floats, themes: Floats, brush: tuple[int, float, float]) -> None:
        """Paint ``brush`` = (count, width, length) strokes along the angles, coloured by the themes."""
        count, width, length = brush
        colours = palette(OILS_PALETTE)
        for start in self.rng.uniform(-0.05, 1.05, (count, 2)) * self.side:
            x, y = np.clip(start, 0, self.side - 1).astype(int)
            index = int(themes[y, x] + self.rng.normal(0, 0.8)) % len(colours)
            path = stroke_path(angles, (float(start[0]), float(start[1])), length * self.rng.uniform(0.6, 1.3))
            self.stroke(path, width * self.rng.uniform(0.75, 1.25), colours[index])


def light_relief(canvas: Floats, relief: Floats) -> Floats:
    """Light the paint from the upper left, so that ridges of thick paint shine and throw shadows."""
    down, across = np.gradient(gaussian_filter(relief, 1.4))
    slope = -(down + across) / 14.0
    shine = np.clip(slope - 0.9, 0, 2.0)
    return canvas * (1 + 0.30 * np.tanh(slope))[..., None] + 38.0 * shine[..., None]


def draw_oils(size: int) -> Image.Image:
    """Draw thick brush strokes that follow a swirling flow, three layers of them."""
    rng, side = np.random.default_rng(1889), size * SUPERSAMPLING
    angles = flow_angles(rng, side)
    themes = 7 + 4.2 * smooth_noise(rng, side, side / 13)
    canvas = OilCanvas(rng, side)
    for brush in ((1400, 52.0, 190.0), (1100, 36.0, 150.0), (420, 22.0, 110.0)):
        canvas.layer(angles, themes, brush)
    colour, relief = (np.asarray(picture, dtype=np.float64) for picture in (canvas.colour, canvas.relief))
    return shrink(light_relief(colour, relief))


def swirl(points: Floats, centre: Floats, radius: float, turns: float) -> Floats:
    """Rotate the points [..., 2] around ``centre``, most in its middle and not at all far away."""
    offset = points - centre
    angle = 2 * np.pi * turns * np.exp(-(offset**2).sum(axis=-1) / radius**2)
    sine, cosine = np.sin(angle), np.cos(angle)
    x, y = offset[..., 0], offset[..., 1]
    return centre + np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)


def wave_field(rng: np.random.Generator, side: int) -> tuple[Floats, Floats]:
    """Return for each pixel the number of wave bands below it, and the way along its band, both after swirling."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    points = np.stack([columns, rows], axis=-1)
    for _ in range(14):
        centre, radius = rng.uniform(0, 1, 2), rng.uniform(0.08, 0.17)
        points = swirl(points, centre, radius, rng.choice([-1, 1]) * rng.uniform(0.3, 0.6))
    along, up = points[..., 0], points[..., 1]
    bands = 24 * up + 1.1 * np.sin(2 * np.pi * 1.5 * along) + 0.5 * smooth_noise(rng, side, side / 14)
    return bands, along


def paint_bands(bands: Floats) -> Floats:
    """Colour each band: blues of all depths, with a crest of white or cream every few bands."""
    colours = palette(WAVES_PALETTE)
    cycle = np.array([0, 5, 4, 3, 1, 4, 2, 5, 0, 4, 1, 6, 3, 2, 0, 1, 5, 0, 3, 4])
    number = np.floor(bands).astype(int)
    paint = colours[cycle[number % len(cycle)]]
    shade = 1.06 - 0.16 * (bands - number)  # each band is a little deeper towards its lower edge
    return paint * shade[..., None]


def band_edges(bands: Floats) -> Floats:
    """Return the distance in pixels from each pixel to the nearest edge between two bands."""
    down, across = np.gradient(bands)
    return np.abs(bands - np.round(bands)) / np.maximum(np.hypot(down, across), 1e-4)


def sprinkle_foam(rng: np.random.Generator, picture: Image.Image, bands: Floats) -> None:
    """Scatter outlined drops of foam, most of them beside the white crests."""
    draw, side = ImageDraw.Draw(picture), picture.width
    for x, y in rng.uniform(0, side, (900, 2)):
        if np.floor(bands[int(y), int(x)]).astype(int) % 5 not in (1, 3):
            continue
        radius = rng.uniform(3.0, 8.0)
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, fill=WAVES_PALETTE[1], outline=WAVES_OUTLINE, width=2)


def draw_waves(size: int) -> Image.Image:
    """Draw swirling waves in blues, white and cream with ink outlines, in the manner of Hokusai's woodcuts."""
    rng, side = np.random.default_rng(1831), size * SUPERSAMPLING
    bands, along = wave_field(rng, side)
    scallops = 0.30 * np.abs(np.sin(2 * np.pi * 13 * along)) * (np.floor(bands + 0.3) % 3 == 1)
    bands = bands + scallops
    ink = np.clip((band_edges(bands) - 2.4) / 1.6, 0, 1)[..., None]
    grain = 4.0 * smooth_noise(rng, side, 1.5)[..., None]
    paint = ink * (paint_bands(bands) + grain) + (1 - ink) * rgb(WAVES_OUTLINE)
    picture = Image.fromarray(np.clip(paint, 0, 255).astype(np.uint8))
    sprinkle_foam(rng, picture, bands)
    return shrink(np.asarray(picture, dtype=np.float64))


STYLES: dict[str, Callable[[int], Image.Image]] = {
    "city": draw_city,
    "glass": draw_glass,
    "oils": draw_oils,
    "waves": draw_waves,
}


@click.command()
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=Path("styles"), show_default=True)
@click.option("--size", type=click.IntRange(64), default=DEFAULT_SIZE, show_default=True, help="Side in pixels.")
def main(folder: Path, size: int) -> None:
    """Draw the four style pictures and save them as PNG files in FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in STYLES.items():
        draw(size).save(folder / f"{name}.png")
        click.echo(f"{folder / name}.png")


if __name__ == "__main__":
    main()
