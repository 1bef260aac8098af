"""Train the style networks on this computer's processor, without pretrained weights, and convert them to Core ML.

Examples:
    python train.py
    python train.py --style city --minutes 8 --size 192
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from convert import SIZE, save_model
from grain import add_grain, canvas_grain
from losses import StructureLoss, StyleLoss
from network import StyleNetwork, count_weights
from photos import PhotoStream, to_tensor
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from styles import DEFAULT_SIZE, STYLES
from torch import Tensor

Terms = tuple[float, float]  # style, structure

HERE = Path(__file__).parent
LAST_RATE = 2e-5
SAVE_EVERY = 250
WARM_UP = 0.03  # share of the training during which the learning rate rises


@dataclass(frozen=True)
class Recipe:
    """What is tuned per style."""

    scale_weights: tuple[float, ...] = (1.0, 1.0, 1.0)  # of the patches, fine to coarse
    gabor: float = 0.75  # share of Gabor filters; the others are white noise
    fine: float = 0.2  # structure of 2 to 20 pixels
    coarse: float = 0.3  # structure of 8 pixels and more


RECIPES = {
    "city": Recipe(scale_weights=(0.4, 1.0, 1.0), gabor=0.5, fine=0.25),
    "glass": Recipe(scale_weights=(0.6, 1.0, 1.0), gabor=0.5),
    "oils": Recipe(scale_weights=(0.6, 1.0, 1.0)),
    "waves": Recipe(scale_weights=(0.6, 1.0, 1.0)),
}


class SceneLoss:
    """The whole training loss of one style."""

    def __init__(self, style: str, recipe: Recipe) -> None:
        picture = np.asarray(STYLES[style](DEFAULT_SIZE), dtype=np.float32) / 255
        self.recipe = recipe
        self.style = StyleLoss(to_tensor(picture), recipe.scale_weights, recipe.gabor)
        self.fine = StructureLoss(pool=2, radius=8)
        self.coarse = StructureLoss(pool=8, radius=6)

    def __call__(self, picture: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance of one stylized picture from the style, and from the scene's structure."""
        structure = self.recipe.fine * self.fine(picture, photo) + self.recipe.coarse * self.coarse(picture, photo)
        return self.style(picture), structure


@dataclass(frozen=True)
class Plan:
    """How a network is trained."""

    style: str  # a name in STYLES
    minutes: float
    size: int  # side of the training pictures in pixels
    rate: float  # the highest learning rate
    checkpoint: Path  # where the weights are saved

    def learning_rate(self, done: float) -> float:
        """Return the learning rate after the share ``done`` of the time: a short rise, then a cosine fall."""
        if done < WARM_UP:
            return self.rate * (done + 0.001) / WARM_UP
        fall = 0.5 + 0.5 * np.cos(np.pi * (done - WARM_UP) / (1 - WARM_UP))
        return float(LAST_RATE + (self.rate - LAST_RATE) * fall)


def train_step(
    network: StyleNetwork, optimizer: torch.optim.Optimizer, loss: SceneLoss, photo: Tensor, grain: Tensor
) -> Terms:
    """Improve the network on one photo and return the two terms of the loss."""
    with torch.autocast("cpu", torch.bfloat16):
        picture = network(add_grain(photo, grain))
    style, structure = loss(picture.float(), photo)
    optimizer.zero_grad()
    (style + structure).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return style.item(), structure.item()


def training_steps(network: StyleNetwork, plan: Plan) -> Iterator[tuple[float, Terms]]:
    """Train until the time is up; after each step yield the share of the time gone and the two terms of the loss."""
    loss, photos = SceneLoss(plan.style, RECIPES[plan.style]), PhotoStream(plan.size)
    grain = canvas_grain(SIZE)
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    begin = time.monotonic()
    while (done := (time.monotonic() - begin) / (60 * plan.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate(done)
        yield done, train_step(network, optimizer, loss, photos.draw(), grain)


def new_network(start: Path | None) -> StyleNetwork:
    """Return a network with random weights, or with those of the checkpoint ``start``."""
    torch.manual_seed(0)
    network = StyleNetwork()
    if start is not None:
        network.load_state_dict(torch.load(start))
    return network


def train(network: StyleNetwork, plan: Plan) -> None:
    """Train the network, in place; show the progress and save the weights now and then."""
    columns = (*Progress.get_default_columns()[:3], TimeElapsedColumn(), TextColumn("{task.fields[state]}"))
    with Progress(*columns) as progress:
        task = progress.add_task(f"{plan.style:6}", total=1.0, state="")
        average = np.zeros(2)
        for step, (done, terms) in enumerate(training_steps(network, plan), start=1):
            average += (np.array(terms) - average) / min(step, 100)
            state = f"step {step}, style {average[0]:.3f}, structure {average[1]:.3f}"
            progress.update(task, completed=done, state=state)
            if step % SAVE_EVERY == 0:
                torch.save(network.state_dict(), plan.checkpoint)
        progress.update(task, completed=1.0)
        progress.console.print(f"{plan.style}: {count_weights(network):,} weights, {state}")
    torch.save(network.state_dict(), plan.checkpoint)


@click.command()
@click.option("--style", type=click.Choice([*STYLES, "all"]), default="all", show_default=True)
@click.option("--minutes", type=float, default=16.0, show_default=True, help="Training time per style.")
@click.option("--size", type=click.IntRange(96), default=128, show_default=True, help="Side of the training pictures.")
@click.option("--rate", type=float, default=2e-3, show_default=True, help="The highest learning rate.")
@click.option("--threads", type=int, default=torch.get_num_threads(), show_default=True, help="Processor cores to use.")
@click.option("--start", type=click.Path(exists=True, path_type=Path), help="Go on from this checkpoint.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=HERE, help="Where the results go.")
def main(style: str, minutes: float, size: int, rate: float, threads: int, start: Path | None, folder: Path) -> None:
    """Train one style or all of them and save each as a Core ML model.

    The weights go to FOLDER/checkpoints, the models to FOLDER/models.
    """
    torch.set_num_threads(threads)
    checkpoints, models = folder / "checkpoints", folder / "models"
    checkpoints.mkdir(parents=True, exist_ok=True)
    models.mkdir(exist_ok=True)
    for name in STYLES if style == "all" else [style]:
        network = new_network(start)
        train(network, Plan(name, minutes, size, rate, checkpoints / f"{name}.pt"))
        layers = save_model(network, name, models / f"{name}.mlmodel")
        click.echo(f"{models / name}.mlmodel: {layers}")


if __name__ == "__main__":
    main()
