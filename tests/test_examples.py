"""What the style transfer example makes of its models."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import windfall
from windfall.features.fitting import fit, open_photo
from windfall.lowering.neural_network.network import lower_network
from windfall.runtime.engine import checked_options, engine_named
from windfall.runtime.serialize import serialize

STYLE_TRANSFER = Path(__file__).parents[1] / "examples" / "style_transfer"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """``flexible.py``, found as it is by the demo beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(STYLE_TRANSFER)
        import flexible
    return flexible


@pytest.fixture(scope="module")
def style() -> windfall.Model:
    return windfall.load(STYLE_TRANSFER / "models" / "city.mlmodel", engine="onnxruntime")


@pytest.fixture(scope="module")
def flexible(example: ModuleType, style: windfall.Model) -> windfall.Model:
    return example.flexible(style)


def stylised(model: windfall.Model, width: int, height: int) -> Image.Image:
    photo = fit(open_photo(STYLE_TRANSFER / "photo.jpg"), (width, height))
    return model.predict({"image": photo})["stylized"]


def not_rewritten(model: windfall.Model) -> NDArray[np.uint8]:
    """Run a style's layers as they stand, at 256 by 256."""
    graph = lower_network(model._file, {"image": (1, 256, 256, 3)}, ["stylized"])
    program = engine_named("onnxruntime").compile(serialize(graph), checked_options(1, "all"))
    photo = fit(open_photo(STYLE_TRANSFER / "photo.jpg"), (256, 256))
    (result,) = program.run({"image": np.asarray(photo)[None]})
    return result


def test_at_its_own_size_the_flexible_style_is_the_style(style: windfall.Model, flexible: windfall.Model) -> None:
    np.testing.assert_array_equal(not_rewritten(flexible), not_rewritten(style))
    # Which rewrites fire depends on what is known of the sizes; they may round otherwise.
    expected = np.asarray(stylised(style, 256, 256), np.int16)
    difference = np.abs(np.asarray(stylised(flexible, 256, 256), np.int16) - expected)
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= difference.size // 1000


@pytest.mark.parametrize("size", [(64, 64), (101, 75), (320, 92)])
def test_it_gives_a_picture_of_the_size_of_the_photo(flexible: windfall.Model, size: tuple[int, int]) -> None:
    assert stylised(flexible, *size).size == size
    assert len(flexible._programs) == 1


def test_the_grain_is_laid_side_by_side(example: ModuleType, style: windfall.Model, flexible: windfall.Model) -> None:
    (bias,) = (layer.bias for layer in style.spec.neuralNetwork.layers if layer.name == "grain")
    grain = np.frombuffer(bias.bias.float16Value, np.float16).reshape(256, 256).astype(np.float32)
    x = Image.new("RGB", (300, 280))
    found = np.asarray(flexible.predict({"image": x}, outputs=["grain_cut"])["grain_cut"])
    np.testing.assert_array_equal(found.reshape(280, 300), np.tile(grain, (2, 2))[:280, :300])
    assert example.MOST == 2048


def test_it_keeps_what_old_devices_know(flexible: windfall.Model, tmp_path: Path) -> None:
    assert flexible.spec.specificationVersion == 3
    saved = windfall.load(flexible.save(tmp_path / "flexible.mlmodel"))
    kind = saved.description.inputs[0].type
    assert (kind.width_range.least, kind.height_range.most) == (64, 2048)


def test_demo_writes_both_sizes(example: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rich.console import Console

    monkeypatch.syspath_prepend(STYLE_TRANSFER)
    monkeypatch.setitem(sys.modules, "flexible", example)
    import demo

    monkeypatch.setattr(demo, "LARGER", {"SD": (96, 72), "HD": (128, 72)})
    paths = demo.stylise_larger(open_photo(STYLE_TRANSFER / "photo.jpg"), "city", tmp_path, Console(quiet=True))
    assert {name: open_photo(path).size for name, path in paths.items()} == {"SD": (96, 72), "HD": (128, 72)}
