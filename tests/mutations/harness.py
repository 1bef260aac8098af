"""Load, describe and run what may be damaged, in a process that has little memory."""

import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import windfall
from windfall.errors import FeatureError

# A model that validly asks for more is compiled, but not run.
LARGEST_RUN = 64 * 2**20
# A prediction is given this for a size that is open.
OPEN_SIZE = 2


class Mutation(NamedTuple):
    """A model that may be damaged.

    Attributes:
        model: A message, the path of a file or folder, or a model that is loaded.
        feeds: What it is given; black pictures and zeros by default.
        function: The function to run.
        options: What ``windfall.load`` is given besides.
        use: What is done with the model; a prediction by default.
    """

    model: Any
    feeds: Mapping[str, Any] | None = None
    function: str = ""
    options: Mapping[str, Any] = {}
    use: Callable[[windfall.Model], object] | None = None


class Group(NamedTuple):
    """Mutations of one kind.

    Attributes:
        count: How many there are.
        make: Returns one, given its number, a source of randomness and an empty folder for files.
    """

    count: int
    make: Callable[[int, random.Random, Path], Mutation]


class Outcome(NamedTuple):
    """How a mutation went.

    Attributes:
        result: ``result``, ``large``, the name of a ``WindfallError``, or ``LEAK`` with what must not be.
        seconds: The process's own time that it took.
        memory: What it added to the process's peak, in bytes.
    """

    result: str
    seconds: float
    memory: int


def outcome(mutation: Mutation) -> Outcome:
    """Run a mutation and measure it."""
    began, memory = time.process_time(), peak_memory()
    try:
        result = run(mutation)
    except BaseException as error:  # noqa: BLE001  # whatever it is, the test shows it
        result = f"LEAK {type(error).__name__}: {error}"
    return Outcome(result, round(time.process_time() - began, 3), peak_memory() - memory)


def run(mutation: Mutation) -> str:
    """Load, describe and run a model; says how it went."""
    try:
        model = _loaded(mutation)
        str(model.description)
        if mutation.use is not None and "feature_extractor" in mutation.options:  # it has no graph
            mutation.use(model)
            return "result"
        graph = model.compiled.graph.graph
        if _needs(graph) > LARGEST_RUN:
            return "large"
        if mutation.use is not None:
            mutation.use(model)
            return "result"
        feeds = _nothing(graph, model, mutation.function) if mutation.feeds is None else mutation.feeds
        model.predict(feeds, _state(model))
    except windfall.WindfallError as error:
        message = str(error)
        assert message, "an error without a message"
        assert "\n" not in message, message
        return type(error).__name__
    return "result"


def _loaded(mutation: Mutation) -> windfall.Model:
    if isinstance(mutation.model, windfall.Model):
        return mutation.model
    return windfall.load(mutation.model, threads=1, function=mutation.function, **mutation.options)


def _needs(graph: Any) -> int:
    """Return how many bytes all tensors of a graph need, as far as their sizes are known."""
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    counts = [
        np.prod([dim if isinstance(dim, int) else 1 for dim in value.shape], dtype=object)
        for value in values if value.shape is not None
    ]  # fmt: skip
    return int(sum(counts)) * 4


def _nothing(graph: Any, model: windfall.Model, function: str) -> dict[str, Any]:
    """Return black pictures and zeros for the inputs of a graph."""
    description = model.message.description
    functions = {described.name: described for described in description.functions}
    described = functions.get(function or description.defaultFunctionName or "main", description)
    pictures = {feature.name for feature in described.input if feature.type.HasField("imageType")}
    return {
        value.name: _black(value) if value.name in pictures else _zeros(value)
        for value in graph.inputs
        if value.name not in model.state_names
    }


def _black(value: Any) -> Image.Image:
    height, width = (dim if isinstance(dim, int) else 8 for dim in value.shape[1:3])
    return Image.new({1: "L", 3: "RGB"}[value.shape[3]], (width, height))


def _zeros(value: Any) -> NDArray[Any]:
    return np.zeros([dim if isinstance(dim, int) else OPEN_SIZE for dim in value.shape], np.float32)


def _state(model: windfall.Model) -> windfall.State | None:
    try:
        return model.make_state()
    except FeatureError:  # it keeps none
        return None


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def limit_memory() -> None:
    """Let the process have 6 GiB of addresses, where the system can limit that."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
