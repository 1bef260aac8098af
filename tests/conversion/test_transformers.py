"""Models of the transformers library, of full size and with random weights, converted by coremltools.

They need libraries and releases that windfall's own tests do without: ``make conformance-sample`` runs them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall

pytest.importorskip("transformers", reason="make conformance-sample runs this, with the libraries it needs")

import coremltools
import torch
import transformers


class Wrapped(torch.nn.Module):
    """Gives the first output of a model as a tensor, which can be traced."""

    def __init__(self, model: torch.nn.Module, argument: str) -> None:
        super().__init__()
        self.model = model.eval()
        self.argument = argument

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(**{self.argument: x}, return_dict=False)[0]


def converted(model: Wrapped, example: torch.Tensor, path: Path, precision: Any, **tensor_type: Any) -> windfall.Model:
    """Trace a model, convert it, and load the package with windfall."""
    with torch.no_grad():
        traced = torch.jit.trace(model, example)
    package = coremltools.convert(
        traced,
        inputs=[coremltools.TensorType(name="x", **tensor_type)],
        minimum_deployment_target=coremltools.target.iOS17,
        compute_precision=precision,
        skip_model_load=True,
    )
    package.save(str(path))
    return windfall.load(path)


def result(model: Wrapped, x: torch.Tensor) -> Any:
    with torch.no_grad():
        return model(x).numpy()


def test_a_language_model_of_the_size_of_gpt2_at_several_lengths(tmp_path):
    torch.manual_seed(0)
    config = transformers.GPT2Config(attn_implementation="eager", use_cache=False)
    model = Wrapped(transformers.GPT2LMHeadModel(config), "input_ids")
    length = coremltools.RangeDim(1, 64, default=16)
    tokens = torch.randint(0, config.vocab_size, (1, 40))
    loaded = converted(
        model,
        tokens[:, :16],
        tmp_path / "gpt2.mlpackage",
        coremltools.precision.FLOAT32,
        shape=(1, length),
        dtype=np.int32,
    )
    for size in (1, 16, 40):
        (got,) = loaded.predict({"x": tokens[:, :size].numpy()}).values()
        expected = result(model, tokens[:, :size])
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(got.argmax(-1), expected.argmax(-1))
    assert len(loaded._programs) == 1


def test_a_vision_transformer_with_weights_in_float16(tmp_path):
    torch.manual_seed(0)
    config = transformers.ViTConfig(attn_implementation="eager", num_labels=1000)
    model = Wrapped(transformers.ViTForImageClassification(config), "pixel_values")
    picture = torch.randn(1, 3, 224, 224)
    half = coremltools.precision.FLOAT16
    loaded = converted(model, picture, tmp_path / "vit.mlpackage", half, shape=picture.shape)
    (got,) = loaded.predict({"x": picture.numpy()}).values()
    # The weights are rounded, what is computed with them is not.
    np.testing.assert_allclose(got, result(model, picture), rtol=0, atol=2e-2)
