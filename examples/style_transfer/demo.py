"""Stylise a photo in four styles, look at what fewer bits do, and stylise it at two larger sizes with one model.

    python examples/style_transfer/demo.py [PHOTO] [--output out] [--all]

Needs nothing but windfall.
"""

import argparse
import time
from pathlib import Path

from flexible import flexible
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from widths import KEEP, Row, measure, parts_of, shrunk, table_of

import windfall
from windfall.features.fitting import fit, open_photo

HERE = Path(__file__).parent
STYLES = ("city", "glass", "oils", "waves")
LARGER = {"SD": (640, 480), "HD": (1280, 720)}
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


def contact_sheet(rows: list[list[tuple[str, Image.Image]]]) -> Image.Image:
    """Lay rows of pictures of one size below each other, each picture with its name below."""
    width, height = rows[0][0][1].size
    size = (GAP + (width + GAP) * len(rows[0]), (height + CAPTION + GAP) * len(rows))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(18)
    for line, row in enumerate(rows):
        top = GAP + line * (height + CAPTION + GAP)
        for column, (name, picture) in enumerate(row):
            left = GAP + column * (width + GAP)
            sheet.paste(picture, (left, top))
            draw.text((left + width / 2, top + height + CAPTION / 2), name, fill="black", font=font, anchor="mm")
    return sheet


def compare_widths(photo: Image.Image, styles: tuple[str, ...], console: Console) -> list[Row]:
    """Show what the models weigh at each width, how far their pictures are off, and what ``shrink`` chooses."""
    models = {style: windfall.load(HERE / "models" / f"{style}.mlmodel") for style in STYLES}
    photos = parts_of(photo)
    with console.status("storing the weights in 32, 16, 8, 4, 3 and 2 bits"):
        rows = measure(models, photos)
    console.print(table_of(rows, len(STYLES)))
    with console.status(f"finding the bits for each layer of {', '.join(styles)} that keep {KEEP:g} dB"):
        row, results = shrunk({style: models[style] for style in styles}, photos)
    for style, result in zip(styles, results, strict=True):
        console.print(f"\n[bold]windfall.shrink[/bold] keeps {KEEP:g} dB of {style}:", result)
    return [*rows, row]


def stylise_larger(photo: Image.Image, style: str, folder: Path, console: Console) -> dict[str, Path]:
    """Let one model take any size, and write the photo as it paints it at each of ``LARGER``."""
    with console.status(f"letting {style} take pictures of any size"):
        model = flexible(windfall.load(HERE / "models" / f"{style}.mlmodel"))
    console.print(f"\nOne model, {style}, takes pictures of any size now: {model.description.inputs[0].type}")
    paths = {}
    for name, size in LARGER.items():
        picture = fit(photo, size)
        start = time.perf_counter()
        stylised = model.predict({"image": picture})["stylized"]
        took = time.perf_counter() - start
        paths[name] = folder / f"{style}-{name.lower()}.png"
        stylised.save(paths[name])
        console.print(f"  {name} {size[0]} x {size[1]}: {took:5.2f} s, [bold]{paths[name].resolve()}[/bold]")
    return paths


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path, nargs="?", default=HERE / "photo.jpg")
    parser.add_argument("--output", type=Path, default=Path("out"))
    parser.add_argument("--all", action="store_true", help="let shrink choose for all styles, not for the first alone")
    options = parser.parse_args()
    console = Console(highlight=False)
    console.print(f"windfall {windfall.__version__}: {options.photo.name} in {len(STYLES)} styles")
    start = time.perf_counter()
    photo = open_photo(options.photo)
    options.output.mkdir(parents=True, exist_ok=True)
    pictures = stylise(fit(photo, (256, 256)), console)
    path = options.output / "styles.png"
    contact_sheet([list(pictures.items())]).save(path)
    console.print(f"{time.perf_counter() - start:.1f} s in all. The contact sheet is [bold]{path.resolve()}[/bold]\n")
    console.print(windfall.load(HERE / "models" / f"{STYLES[0]}.mlmodel").description)
    styles = STYLES if options.all else STYLES[:1]
    rows = compare_widths(photo, styles, console)
    path = options.output / "widths.png"
    contact_sheet([[(f"{style}, {row.name}", picture) for style, picture in named(row)] for row in rows]).save(path)
    console.print(f"\nEach width has a row on [bold]{path.resolve()}[/bold]")
    stylise_larger(photo, STYLES[0], options.output, console)


def named(row: Row) -> list[tuple[str, Image.Image]]:
    """Return the pictures of a row with their styles."""
    return list(zip(STYLES, row.pictures, strict=False))


if __name__ == "__main__":
    main()
