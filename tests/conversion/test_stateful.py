"""A decoder that keeps its keys and values in states, converted by coremltools from PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall

pytest.importorskip("transformers", reason="make conformance-sample runs this, with the libraries it needs")

import coremltools
import torch

LAYERS, HEADS, WIDTH, CONTEXT, TOKENS = 2, 4, 16, 64, 100
SIZE = HEADS * WIDTH


class Layer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(SIZE, 3 * SIZE), torch.nn.Linear(SIZE, SIZE)
        self.up, self.down = torch.nn.Linear(SIZE, 4 * SIZE), torch.nn.Linear(4 * SIZE, SIZE)
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(SIZE) for _ in range(2))


class Decoder(torch.nn.Module):
    """Attends to the keys and values in its buffers, which hold what came before."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = torch.nn.Embedding(TOKENS, SIZE), torch.nn.Embedding(CONTEXT, SIZE)
        self.layers = torch.nn.ModuleList(Layer() for _ in range(LAYERS))
        self.head = torch.nn.Linear(SIZE, TOKENS)
        for name in states():
            self.register_buffer(name, torch.zeros(1, HEADS, CONTEXT, WIDTH))

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the logits for tokens [1, n]; the mask [1, 1, n, past + n] is added to the scores."""
        end = mask.shape[-1]
        start = end - tokens.shape[1]
        x = self.tokens(tokens) + self.places.weight[start:end]
        for index, layer in enumerate(self.layers):
            query, key, value = layer.qkv(layer.norms[0](x)).view(1, -1, 3, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
            keys, values = getattr(self, f"keys_{index}"), getattr(self, f"values_{index}")
            keys[:, :, start:end, :] = key
            values[:, :, start:end, :] = value
            seen = torch.nn.functional.scaled_dot_product_attention(
                query, keys[:, :, :end, :], values[:, :, :end, :], attn_mask=mask
            )
            x = x + layer.out(seen.permute(0, 2, 1, 3).reshape(1, -1, SIZE))
            x = x + layer.down(torch.nn.functional.gelu(layer.up(layer.norms[1](x))))
        return self.head(x)


def states() -> list[str]:
    return [f"{kind}_{index}" for index in range(LAYERS) for kind in ("keys", "values")]


def causal(n: int, end: int) -> Any:
    """Return the mask with which each of the last n of ``end`` tokens sees those up to itself."""
    rows = np.arange(end - n, end)[:, None]
    return np.where(np.arange(end) <= rows, 0, -1e4).astype(np.float16)[None, None]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    example = (torch.zeros(1, 2, dtype=torch.int32), torch.zeros(1, 1, 2, 5))
    with torch.no_grad():
        traced = torch.jit.trace(Decoder().eval(), example, check_trace=False)
    n, end = (coremltools.RangeDim(1, CONTEXT, default=1) for _ in range(2))
    model = coremltools.convert(
        traced,
        inputs=[
            coremltools.TensorType("tokens", (1, n), dtype=np.int32),
            coremltools.TensorType("mask", (1, 1, n, end), dtype=np.float16),
        ],
        outputs=[coremltools.TensorType("logits", dtype=np.float16)],
        states=[
            coremltools.StateType(coremltools.TensorType(shape=(1, HEADS, CONTEXT, WIDTH), dtype=np.float16), name=name)
            for name in states()
        ],
        minimum_deployment_target=coremltools.target.iOS18,
        skip_model_load=True,
    )
    path = tmp_path_factory.mktemp("stateful") / "decoder.mlpackage"
    model.save(str(path))
    return path


def test_the_cache_gives_the_same_tokens_as_none(package: Path) -> None:
    model = windfall.load(package)
    sequence, state = [3, 14, 15], model.make_state()
    logits = model.predict({"tokens": np.int32([sequence]), "mask": causal(3, 3)}, state)["logits"]
    for _ in range(40):
        sequence.append(int(logits[0, -1].argmax()))
        given = {"tokens": np.int32([sequence[-1:]]), "mask": causal(1, len(sequence))}
        logits = model.predict(given, state)["logits"]
        whole = {"tokens": np.int32([sequence]), "mask": causal(len(sequence), len(sequence))}
        expected = model.predict(whole, model.make_state())["logits"]
        np.testing.assert_allclose(logits[0, -1], expected[0, -1], rtol=1e-2, atol=2e-3)
        assert logits[0, -1].argmax() == expected[0, -1].argmax()
    assert len(model._programs) == 1


def test_states_are_updated_where_they_lie(package: Path) -> None:
    model = windfall.load(package)
    state = model.make_state()
    before = {name: buffer.ctypes.data for name, buffer in state.buffers.items()}
    for end in (1, 2, 3):
        model.predict({"tokens": np.int32([[7]]), "mask": causal(1, end)}, state)
    assert {name: buffer.ctypes.data for name, buffer in state.buffers.items()} == before
    assert state.spare == {}
