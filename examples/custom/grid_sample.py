"""A custom layer that Core ML 2 did not have: sampling a map of features at places that the network itself computes.

Deformable convolutions and spatial transformers need it; PyTorch calls it ``grid_sample``. Run it:
python examples/custom/grid_sample.py
"""

from typing import Any

import numpy as np

import windfall


class GridSample(windfall.CustomLayer):
    """Sample [..., C, H, W] at [..., 2, h, w] with NumPy: x and y go from -1 to 1 over the picture.

    Parameters: ``align_corners``, whether -1 and 1 are the centres of the outermost pixels or their outer edges;
    ``padding``, what lies outside: ``zeros`` or ``border``.
    """

    def output_shapes(self, input_shapes: Any) -> Any:
        """Return [..., C, h, w]."""
        x, grid = input_shapes
        return [[*x[:-2], *grid[-2:]]]

    def evaluate(self, inputs: Any) -> Any:
        """Sample, bilinearly."""
        x, grid = inputs
        planes, places = x.reshape(-1, *x.shape[-3:]), grid.reshape(-1, *grid.shape[-3:])
        sampled = [self._sample(plane, *place) for plane, place in zip(planes, places, strict=True)]
        return [np.stack(sampled).reshape(*x.shape[:-2], *grid.shape[-2:])]

    def _sample(self, x: Any, across: Any, down: Any) -> Any:
        column, row = self._pixels(across, x.shape[2]), self._pixels(down, x.shape[1])
        left, top = np.floor(column), np.floor(row)
        total = np.zeros((len(x), *column.shape), np.float32)
        for dy in (0, 1):
            for dx in (0, 1):
                weight = (1 - abs(column - left - dx)) * (1 - abs(row - top - dy))
                total += weight * self._pixel(x, left + dx, top + dy)
        return total

    def _pixels(self, place: Any, size: int) -> Any:
        if self.parameters["align_corners"]:
            pixels = (place + 1) / 2 * np.float32(size - 1)
        else:
            pixels = ((place + 1) * np.float32(size) - 1) / 2
        return np.clip(pixels, 0, size - 1) if self.parameters["padding"] == "border" else pixels

    def _pixel(self, x: Any, column: Any, row: Any) -> Any:
        _, height, width = x.shape
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        column, row = np.clip(column, 0, width - 1).astype(int), np.clip(row, 0, height - 1).astype(int)
        return x[:, row, column] * inside


class EncodedGridSample(GridSample):
    """The same as ONNX's operator."""

    def encode(self, graph: Any, inputs: Any) -> Any:
        """Sample."""
        x, grid = map(graph.planes, inputs)
        places = graph.op("Transpose", grid, perm=[0, 2, 3, 1])  # [N, 2, h, w] -> [N, h, w, 2]
        corners = int(self.parameters["align_corners"])
        sampled = graph.op(
            "GridSample", x, places, mode="linear", padding_mode=self.parameters["padding"], align_corners=corners
        )
        return graph.restore(sampled, like=inputs[0])


def warp_model(size: int = 64, *, align_corners: bool = False, padding: str = "zeros") -> Any:
    """Return a network that bends a picture along a field of places, as a ``Model`` message."""
    spec = windfall.custom.make_network({"x": (3, size, size), "places": (2, size, size)}, {"bent": (3, size, size)})
    windfall.custom.add_layer(
        spec,
        "GridSample",
        inputs=["x", "places"],
        outputs=["bent"],
        parameters={"align_corners": align_corners, "padding": padding},
        description="Samples x at places from -1 to 1, bilinearly",
    )
    return spec


def main() -> None:
    """Show what it does."""
    across, down = np.meshgrid(*[np.linspace(-1, 1, 64)] * 2)
    angle = 2 * np.hypot(across, down)  # a whirl
    places = np.stack([across * np.cos(angle) - down * np.sin(angle), across * np.sin(angle) + down * np.cos(angle)])
    picture = np.indices((64, 64)).sum(axis=0) // 8 % 2 * np.ones((3, 1, 1))
    for found in (GridSample, EncodedGridSample):
        model = windfall.load(warp_model(), custom_layers={"GridSample": found})
        bent = model.predict({"x": picture, "places": places})["bent"]
        print(found.__name__, "mean of the bent picture:", bent.mean())


if __name__ == "__main__":
    main()
