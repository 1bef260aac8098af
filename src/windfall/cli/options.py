"""Options that several commands have."""

import click

FITS = {"center-crop": "centerCrop", "scale-fit": "scaleFit", "scale-fill": "scaleFill"}
"""How photos are brought to a model's size: the words on the command line, and those of ``features.fitting``."""

fit_option = click.option(
    "--fit",
    type=click.Choice(list(FITS)),
    default="center-crop",
    show_default=True,
    help="Bring photos to the model's size: crop what is too long, show all with black around it, or stretch.",
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), show_default="all cores", help="Use this many threads."
)
weights_option = click.option(
    "--weights",
    type=click.Choice(["expanded", "compressed"]),
    default="expanded",
    show_default=True,
    help="Hold quantized weights as float32, or in less memory as they are stored.",
)
