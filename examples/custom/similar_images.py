"""Similar images as one file: a network embeds a photo, a custom model finds its neighbours in an index.

The index is a parameter of the custom model: ``with_index`` puts another one into a file, and no code changes. Run it:
python examples/custom/similar_images.py
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import windfall
from windfall.description import ImageType

SIDE, CELLS, TURNS = 64, 4, 8
DIMENSIONS = CELLS * CELLS * (TURNS + 3)
PHOTO = Path(__file__).parent.parent / "style_transfer" / "photo.jpg"


@windfall.custom_model("NearestImages")
class NearestImages(windfall.CustomModel):
    """Find the nearest of some vectors by the cosine of the angle between them.

    Parameters: ``vectors``, float32 as bytes, each of length 1; ``names``, one on each line; ``neighbours``, how many
    to give; ``tables``, of how many tables of hashes to look up, 0 to compare with all vectors; ``bits`` of each hash.
    """

    def __init__(self, description: Any, parameters: Any) -> None:
        # The parameters are not kept, so that the vectors are there once. NumPy puts large arrays on large pages, which
        # makes reading them a quarter faster than the bytes that they come as.
        self.description = description
        self.names = parameters["names"].split("\n")
        self.vectors = np.frombuffer(parameters["vectors"], np.float32).reshape(len(self.names), -1).copy()
        self.neighbours = min(parameters["neighbours"], len(self.names))
        tables, bits = parameters.get("tables", 0), parameters.get("bits", 12)
        self.hashes = Hashes(self.vectors, tables, bits) if tables else None

    def predict(self, inputs: Any, options: Any) -> Any:  # noqa: ARG002  # it needs none
        """Return the names of the neighbours, the nearest first, and their cosines."""
        indices, cosines = self.search(inputs["print"])
        names = [self.names[index] for index in indices]
        return {"names": names, "cosines": dict(zip(names, cosines.tolist(), strict=True)), "nearest": names[0]}

    def search(self, query: Any) -> Any:
        """Return the indices and cosines of the neighbours, the nearest first."""
        if self.hashes is None:
            return best(self.vectors @ query, self.neighbours)
        candidates = self.hashes.candidates(query, self.neighbours)
        chosen, cosines = best(self.vectors[candidates] @ query, self.neighbours)
        return candidates[chosen], cosines


def best(scores: Any, count: int) -> Any:
    """Return the indices of the largest scores, the largest first, and these scores."""
    found = np.argpartition(scores, -count)[-count:] if count < len(scores) else np.arange(len(scores))
    found = found[np.argsort(-scores[found], kind="stable")]
    return found, scores[found]


class Hashes:
    """Locality-sensitive hashing (Charikar, 2002): which side of random planes a vector lies on.

    Vectors at a small angle lie on the same side of most planes. Each table has planes of its own, and is looked up at
    the query's hash and at those that differ in the planes nearest to the query (Lv et al., 2007).
    """

    def __init__(self, vectors: Any, tables: int, bits: int) -> None:
        random = np.random.default_rng(0)
        self.planes = random.normal(size=(tables, bits, vectors.shape[1])).astype(np.float32)
        self.powers = 2 ** np.arange(bits)
        self.order, self.starts = [], []
        for planes in self.planes:
            codes = (vectors @ planes.T > 0) @ self.powers
            self.order.append(np.argsort(codes, kind="stable").astype(np.int32))
            self.starts.append(np.searchsorted(codes[self.order[-1]], np.arange(2**bits + 1)))

    def candidates(self, query: Any, least: int) -> Any:
        """Return vectors that share a hash with the query; more tables' nearest hashes until there are enough."""
        sides = self.planes @ query  # [tables, bits]
        codes = (sides > 0) @ self.powers
        nearest = np.argsort(abs(sides), axis=1)
        found = np.empty(0, np.int32)
        for probes in range(len(self.powers) + 1):
            flipped = codes if probes == 0 else codes ^ self.powers[nearest[:, probes - 1]]
            buckets = [
                order[starts[code] : starts[code + 1]]
                for order, starts, code in zip(self.order, self.starts, flipped, strict=True)
            ]
            found = np.union1d(found, np.concatenate(buckets))
            if probes >= 3 and len(found) >= least:
                return found
        return found if len(found) >= least else np.arange(len(self.order[0]))


def embedding_model() -> Any:
    """Return a network from a photo to a vector of length 1, as a ``Model`` message: colours and edges, place by place.

    Its filters are fixed: what it needs is to be a network, not to be a good one.
    """
    spec = windfall.custom.make_network({"image": ImageType(SIDE, SIDE, "RGB")}, {"print": (DIMENSIONS,)})
    layers = spec.neuralNetwork.layers
    preprocessing = spec.neuralNetwork.preprocessing.add(featureName="image").scaler
    preprocessing.channelScale = 1 / 127.5
    preprocessing.redBias = preprocessing.greenBias = preprocessing.blueBias = -1
    _convolution(layers.add(name="edges", input=["image"], output=["edge"]), edge_filters())
    layers.add(name="strength", input=["edge"], output=["strong"]).activation.ReLU.SetInParent()
    layers.add(name="all", input=["image", "strong"], output=["maps"]).concat.SetInParent()
    pooling = layers.add(name="cells", input=["maps"], output=["cells"]).pooling
    pooling.type = pooling.AVERAGE
    pooling.kernelSize.extend([SIDE // CELLS] * 2)
    pooling.stride.extend([SIDE // CELLS] * 2)
    pooling.valid.SetInParent()
    layers.add(name="row", input=["cells"], output=["row"]).flatten.SetInParent()
    layers.add(name="length", input=["row"], output=["print"]).l2normalize.epsilon = 1e-6
    return spec


def edge_filters() -> Any:
    """Return filters for edges in some directions, [TURNS, 3, 5, 5]."""
    down, across = np.indices((5, 5)) - 2
    filters = []
    for turn in range(TURNS):
        angle = 2 * np.pi * turn / TURNS
        slope = (across * np.cos(angle) + down * np.sin(angle)) * np.exp(-(across**2 + down**2) / 4)
        filters.append(np.stack([slope / abs(slope).sum()] * 3))
    return np.array(filters)


def _convolution(layer: Any, kernel: Any) -> None:
    convolution = layer.convolution
    convolution.outputChannels, convolution.kernelChannels = kernel.shape[:2]
    convolution.nGroups = 1
    convolution.kernelSize.extend(kernel.shape[2:])
    convolution.same.SetInParent()
    convolution.weights.floatValue.extend(kernel.ravel().tolist())


def search_model(vectors: Any, names: list[str], *, neighbours: int = 3, tables: int = 0, bits: int = 12) -> Any:
    """Return the custom model with an index, as a ``Model`` message."""
    return windfall.custom.make_model(
        "NearestImages",
        inputs={"print": (vectors.shape[1],)},
        outputs={"nearest": str, "names": list[str], "cosines": dict[str, float]},
        parameters=_index(vectors, names) | {"neighbours": neighbours, "tables": tables, "bits": bits},
        description="Finds the nearest of the images whose vectors are stored in it",
    )


def _index(vectors: Any, names: list[str]) -> dict[str, Any]:
    return {"vectors": np.ascontiguousarray(vectors, np.float32).tobytes(), "names": "\n".join(names)}


def with_index(spec: Any, vectors: Any, names: list[str]) -> Any:
    """Return a pipeline with another index; all else in the file stays."""
    changed = type(spec)()
    changed.CopyFrom(spec)
    parameters = changed.pipeline.models[1].customModel.parameters
    for name, value in _index(vectors, names).items():
        setattr(parameters[name], f"{'bytes' if isinstance(value, bytes) else 'string'}Value", value)
    return changed


def similar_images(photos: dict[str, Any], **options: int) -> Any:
    """Return a pipeline that finds the nearest of some photos, as a ``Model`` message."""
    network = embedding_model()
    return windfall.custom.make_pipeline(
        {"embed": network, "search": search_model(embedded(network, photos), list(photos), **options)},
        outputs=["nearest", "names", "cosines"],
    )


def embedded(network: Any, photos: dict[str, Any]) -> Any:
    """Return the vectors of photos."""
    rows = windfall.load(network).predict_batch([{"image": fitted(photo)} for photo in photos.values()])
    return np.stack([row["print"] for row in rows]).astype(np.float32)


def fitted(photo: Any) -> Any:
    """Return a photo in the size that the network takes."""
    return photo.convert("RGB").resize((SIDE, SIDE))


def crops(photo: Any, size: int = 100, step: int = 50) -> dict[str, Any]:
    """Cut a photo into overlapping squares, named after their places."""
    places = [(x, y) for y in range(0, photo.height - size + 1, step) for x in range(0, photo.width - size + 1, step)]
    return {f"{x},{y}": photo.crop((x, y, x + size, y + size)) for x, y in places}


def main() -> None:
    """Show what it does."""
    with Image.open(PHOTO) as opened:
        photo = opened.convert("RGB")
    model = windfall.load(similar_images(crops(photo)))
    print(model.description)
    moved = photo.crop((104, 98, 204, 198))
    print("cut out at 104,98:", model.predict({"image": fitted(moved)}))


if __name__ == "__main__":
    main()
