"""Store the four styles in fewer and fewer bits, and look at what that does to the pictures.

Needs nothing but windfall.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from rich.table import Table

import windfall
from windfall.features.fitting import fit

WIDTHS = (32, 16, 8, 4, 3, 2)
KEEP = 30.0
"""The PSNR in dB that ``windfall.shrink`` is to keep."""
SIDE = 256


@dataclass(frozen=True)
class Row:
    """All styles at one width.

    Attributes:
        name: The width in words.
        size: What the models' files weigh together, in bytes.
        psnr: The mean over styles and photos, against float32, in dB; None for float32 itself.
        pictures: One for each style.
    """

    name: str
    size: int
    psnr: float | None
    pictures: list[Image.Image]


def parts_of(photo: Image.Image) -> list[Image.Image]:
    """Return a photo and five parts of it, all of the models' size: none of them was trained on."""
    whole = fit(photo, (2 * SIDE, 2 * SIDE))
    corners = [(0, 0), (SIDE, 0), (0, SIDE), (SIDE, SIDE), (SIDE // 2, SIDE // 2)]
    crops = [whole.crop((x, y, x + SIDE, y + SIDE)) for x, y in corners]
    return [fit(photo, (SIDE, SIDE)), *crops]


def at_width(model: windfall.Model, bits: int) -> windfall.Model:
    """Return a model at a width: tables of k-means, float16 or float32."""
    if bits == 32:
        return windfall.quantize_weights(model, mode="dequantize")
    return windfall.quantize_weights(model, bits, "kmeans" if bits < 16 else "linear")


def measure(models: dict[str, windfall.Model], photos: list[Image.Image]) -> list[Row]:
    """Return a row for each width."""
    sizes, psnr = dict.fromkeys(WIDTHS, 0), dict[int, list[float]]()
    pictures: dict[int, list[Image.Image]] = {bits: [] for bits in WIDTHS}
    for original in models.values():
        reference, *candidates = (at_width(original, bits) for bits in WIDTHS)
        comparison = windfall.compare(reference, candidates, photos)
        for bits, model, found in zip(
            WIDTHS, (reference, *candidates), (comparison.reference, *comparison.candidates), strict=True
        ):
            sizes[bits] += found.size
            pictures[bits].append(model.predict({"image": photos[0]})["stylized"])
            if bits != WIDTHS[0]:
                psnr.setdefault(bits, []).append(found.score("PSNR").mean)
    names = {32: "float32", 16: "float16"}
    return [
        Row(
            names.get(bits, f"{bits} bits"),
            sizes[bits],
            float(np.mean(psnr[bits])) if bits in psnr else None,
            pictures[bits],
        )
        for bits in WIDTHS
    ]


def shrunk(models: dict[str, windfall.Model], photos: list[Image.Image]) -> tuple[Row, list[windfall.ShrinkResult]]:
    """Let each layer have the bits that it needs, and return the row with what that gave."""
    results, psnr = [], []
    for model in models.values():
        full = windfall.quantize_weights(model, mode="dequantize")
        results.append(windfall.shrink(full, photos, keep={"psnr": KEEP}))
        psnr.append(results[-1].kept[0].value)
    pictures = [result.model.predict({"image": photos[0]})["stylized"] for result in results]
    size = sum(result.size_after for result in results)
    return Row("shrink", size, float(np.mean(psnr)), pictures), results


def table_of(rows: list[Row], count: int) -> Table:
    """Return the rows as a table."""
    table = Table("Weights", title=f"{count} styles", title_justify="left", pad_edge=False)
    for header in ("Size", "PSNR"):
        table.add_column(header, justify="right")
    for row in rows:
        table.add_row(row.name, f"{row.size / 1e6:.2f} MB", _decibels(row.psnr))
    return table


def _decibels(psnr: float | None) -> str:
    if psnr is None:
        return ""
    return "the same" if psnr == float("inf") else f"{psnr:.1f} dB"
