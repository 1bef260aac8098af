"""How much smaller a model with bits for each layer is than the best one with all layers alike, at the same PSNR.

The style network of the examples, on squares cut out of photos. Layers alike: 8 to 1 bits, kmeans and linear, each
measured on the same samples that are held out.

    python benchmarks/shrinking.py [PHOTO...] [--psnr 30 35] [--samples 8] [--threads 2]

Without photos it takes that of the example, and the two of scikit-learn, which must be installed then.
"""

import argparse
import time
from importlib.resources import files
from pathlib import Path

from PIL import Image

import windfall

EXAMPLE = Path(__file__).parent.parent / "examples/style_transfer"
MODEL = EXAMPLE / "models/city.mlmodel"
SIDE = 256
MODES = ("kmeans", "linear")
CORNERS = ((0, 0), (1, 1), (1, 0), (0, 1), (0.5, 0.5))


def default_photos():
    """Return the photos that are there without looking for any."""
    folder = files("sklearn") / "datasets/images"
    return [EXAMPLE / "photo.jpg", folder / "china.jpg", folder / "flower.jpg"]


def squares(photos, count):
    """Cut squares out of photos, which take turns; each time at another place, and smaller ones later."""
    pictures = []
    for path in photos:
        with path.open("rb") as file, Image.open(file) as photo:
            pictures.append(photo.convert("RGB"))
    found = []
    for number in range(count):
        picture, turn = pictures[number % len(pictures)], number // len(pictures)
        side = min(picture.size) * 0.9 ** (1 + turn)
        right, down = CORNERS[turn % len(CORNERS)]
        left, top = (picture.width - side) * right, (picture.height - side) * down
        found.append(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)))
    return found


def alike(model, samples):
    """Return size and PSNR of all models whose layers are alike."""
    pairs = [(bits, mode) for bits in range(8, 0, -1) for mode in MODES]
    models = {pair: windfall.quantize_weights(model, *pair) for pair in pairs}
    found = windfall.compare(model, list(models.values()), samples).candidates
    return {pair: (one.size, one.score("PSNR").mean) for pair, one in zip(pairs, found, strict=True)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTO")
    parser.add_argument("--psnr", type=float, nargs="+", default=[30.0, 35.0])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    model = windfall.load(MODEL, threads=options.threads)
    samples = squares(options.photos or default_photos(), options.samples)
    widths = None
    print(
        "| PSNR at least | all layers alike | size | PSNR | bits for each layer | PSNR | smaller by | seconds | CPU |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for bound in options.psnr:
        start, cpu = time.perf_counter(), time.process_time()
        result = windfall.shrink(model, samples, {"psnr": bound})
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        held_out = [samples[int(name.split()[-1]) - 1] for name in result.held_out]
        widths = widths or alike(model, held_out)
        (bits, mode), (size, psnr) = min(
            ((pair, one) for pair, one in widths.items() if one[1] >= bound), key=lambda found: found[1][0]
        )
        (found,) = windfall.compare(model, result.model, held_out).candidates
        share = 1 - result.size_after / size
        print(
            f"| {bound:g} dB | {bits} bits, {mode} | {size:,} | {psnr:.2f} | {result.size_after:,} "
            f"| {found.score('PSNR').mean:.2f} | {share:.1%} | {seconds:.0f} | {cpu:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
