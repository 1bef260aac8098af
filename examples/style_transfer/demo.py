"""Stylise a photo in four styles and lay the results out on one labelled sheet.

    python examples/style_transfer/demo.py [PHOTO] [--output out]

Needs nothing but windfall.
"""

import argparse
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console

import windfall
from windfall.features.fitting import fit, open_photo

HERE = Path(__file__).parent
STYLES = ("city", "glass", "oils", "waves")
GAP, CAPTION = 16, 34


def stylise(photo: Image.Image, console: Console) -> dict[str, Image.Image]:
    """Return the photo as each style's model paints it, and say how long that took."""
    pictures = {"photo": photo}
    for style in STYLES:
        start = time.perf_counter()
        model = windfall.load(HERE / "models" / f"{style}.mlmodel")
        pictures[style] = model.predict({"image": photo})["stylized"]
        ready = time.perf_counter()
        model.predict({"image": photo})
        again = time.perf_counter() - ready
        console.print(f"  {style:6} {ready - start:5.2f} s from file to picture, {again:5.2f} s when run again")
    return pictures


def contact_sheet(pictures: dict[str, Image.Image]) -> Image.Image:
    """Lay pictures of one size side by side, each with its name below."""
    width, height = next(iter(pictures.values())).size
    sheet = Image.new("RGB", (GAP + (width + GAP) * len(pictures), height + CAPTION + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(18)
    for index, (name, picture) in enumerate(pictures.items()):
        left = GAP + index * (width + GAP)
        sheet.paste(picture, (left, GAP))
        draw.text((left + width / 2, GAP + height + CAPTION / 2), name, fill="black", font=font, anchor="mm")
    return sheet


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path, nargs="?", default=HERE / "photo.jpg")
    parser.add_argument("--output", type=Path, default=Path("out"))
    options = parser.parse_args()
    console = Console(highlight=False)
    console.print(f"windfall {windfall.__version__}: {options.photo.name} in {len(STYLES)} styles")
    start = time.perf_counter()
    photo = fit(open_photo(options.photo), (256, 256))
    sheet = contact_sheet(stylise(photo, console))
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "styles.png"
    sheet.save(path)
    console.print(f"{time.perf_counter() - start:.1f} s in all. The contact sheet is [bold]{path.resolve()}[/bold]\n")
    console.print(windfall.load(HERE / "models" / f"{STYLES[0]}.mlmodel").description)


if __name__ == "__main__":
    main()
