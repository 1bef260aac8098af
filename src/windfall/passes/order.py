"""The passes, in the order they run.

How many times as fast they make what they fire on, by ``benchmarks/passes.py``: the processor time of one thread with
AVX-512, which is exact to about 3 in 100; where two threads are named, the time of both, with AVX2.

| pass | on | ONNX Runtime | OpenVINO |
|---|---|---|---|
| PadIntoWindow | first layers of ResNet-50 as Keras has them, with a Pad before MaxPool | 1.18 to 1.26 | 1.05 to 1.09 |
| | before AveragePool; before convolutions, which engines find themselves | 0.99; 1.00 | 1.05; 1.00 |
| FuseHardSwish | five 1x1 convolutions of MobileNetV3, coremltools' hard swish behind each | 1.44 | 1.6 to 1.7 |
| UpsampleInConvolution | the style network; its layers alone | 1.09; 1.4 to 1.6 | 1.17; 1.9 to 2.0 |
| | one layer of 8 to 64 pixels and 512 to 32 channels | 1.0 to 1.8 | 1.7 to 2.1 |
| ConvolutionOverBlocks | the style network; its 9x9 layer alone; 7x7 to 3 channels | 1.21; 2.9; 2.3 | 1.08; 1.4; 1.1 |
| | 5x5 to 1 channel | 3.6 | 1.6 |
| UnsignedCodes, KeepWholeWeights | six quantized residual blocks, with AVX2 alone | 1.8 | |
| FuseAttention; FuseLayerNormalization | BERT of 6 layers, 128 tokens, two threads | 1.03; 1.01 | 0.99; 1.00 |
| | one step of GPT-2 small, two threads | 1.01; 1.00 | |
| FuseGru | two GRU layers of 100 steps as a network, with AVX2; OpenVINO beside ONNX Runtime with loops | 3.2 | 3.7 |
| | two threads, as a network; as a program | 4.9; 4.2 | |
| FoldConstants | BERT with a constant mask, two threads; OpenVINO beside ONNX Runtime | 1.00 | 0.96 to 1.17 |
| MergeEqualNodes, MergeReshapes | two transformer blocks, 31 rounds: no more than chance | 1.00, 1.01 | 1.03, 1.02 |

MergeEqualNodes, MergeReshapes and MergeTransposes make graphs smaller, and let others find what they look for.

What was tried and left out, with the reason:

- batch normalization, scale and bias into what comes before or behind: both engines do that for convolutions (ResNet-50
  and MobileNetV2 with them are 0.99 to 1.01 times as fast as without). ONNX Runtime leaves a scale and a bias behind a
  transposed convolution, 0.95 times as fast, and behind a Gemm of 64 rows, 0.91: not enough for weights that leave
  their file.
- convolutions from few channels over blocks: 3 channels, 3x3 to 9x9, 0.6 to 0.9 with OpenVINO, 0.2 to 0.5 with ONNX
  Runtime. To 3 channels, kernels of 3 and of 5: 0.75 to 0.95 with OpenVINO, 1.1 to 2.0 with ONNX Runtime, but there is
  one graph for both.
- GELU spelled out with Erf and Tanh: 0.95 to 1.00, as both engines find it; a product by the root of the mean square
  costs nothing that can be measured.
- means of whole pictures as GlobalAveragePool, for which ONNX Runtime keeps blocks of channels: 1.00 to 1.03. Without
  its fusion of x * Sigmoid(x): 0.92 to 1.02.
- the products that make queries, keys and values as one product, of joined matrices: 1.00 and 0.99.
"""

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes import InPlacePass
from onnx_ir.passes.common import RemoveUnusedNodesPass

from windfall.passes.convolution_over_blocks import ConvolutionOverBlocks
from windfall.passes.fold_affine_into_conv import FoldAffineIntoConv
from windfall.passes.fold_constants import FoldConstants
from windfall.passes.fuse_attention import FuseAttention
from windfall.passes.fuse_gru import FuseGru
from windfall.passes.fuse_hard_swish import FuseHardSwish
from windfall.passes.fuse_layer_normalization import FuseLayerNormalization
from windfall.passes.keep_compressed import KeepCompressed
from windfall.passes.keep_whole_weights import KeepWholeWeights
from windfall.passes.merge_equal_nodes import MergeEqualNodes
from windfall.passes.merge_moves import MergeReshapes, MergeTransposes
from windfall.passes.pad_into_window import PadIntoWindow
from windfall.passes.remove_identities import RemoveIdentities
from windfall.passes.unsigned_codes import UnsignedCodes
from windfall.passes.upsample_in_convolution import UpsampleInConvolution

PASSES: Sequence[InPlacePass] = (
    # Lowerings leave rank 5 values behind that nobody reads; all later passes look at users of values.
    RemoveUnusedNodesPass(),
    # An Identity between two nodes hides them from each other.
    RemoveIdentities(),
    FoldConstants(),
    # Before all that follow: what they look for may have one user more while a node is there twice.
    MergeEqualNodes(),
    # Before what reads shapes, which are not known behind a loop.
    FuseGru(),
    # What these leave behind, reshapes in a row above all, is for the two that follow.
    FuseLayerNormalization(),
    FuseAttention(),
    MergeTransposes(),
    MergeReshapes(),
    FuseHardSwish(),
    # Where a convolution pads by itself, a scale may go into it, and it may be one behind an upsampling.
    PadIntoWindow(),
    # Before what makes other numbers of weights: their codes are to stay. The one before the other, which takes uint8.
    UnsignedCodes(),
    KeepWholeWeights(),
    FoldAffineIntoConv(),
    UpsampleInConvolution(),
    ConvolutionOverBlocks(),
    # Initializers that the passes before have replaced are still there.
    RemoveUnusedNodesPass(),
)

FIRED = "windfall.passes"
"""The entry of a model's ``meta`` with the passes that changed it, and how many nodes each removed, at least 1."""


_left_out: set[str] = set()
"""The names of passes that do not run, for ``benchmarks/passes.py``."""


def optimize(model: ir.Model, *, compressed: bool = False, whole: bool = True, attention: bool = True) -> None:
    """Run all passes on a graph, in place.

    Args:
        model: The graph.
        compressed: Keep quantized weights as they are stored.
        whole: Keep those between rounded activations, for layers to compute with whole numbers.
        attention: Let one operator stand for attention; not all devices have it, and it is not quantized.
    """
    fired: dict[str, int] = model.meta.setdefault(FIRED, {})
    for rewrite in _passes(compressed=compressed, whole=whole, attention=attention):
        before = len(model.graph)
        if rewrite(model).modified:
            name = _name(rewrite)
            fired[name] = fired.get(name, 0) + max(1, before - len(model.graph))


def _passes(*, compressed: bool, whole: bool, attention: bool) -> Sequence[InPlacePass]:
    # What makes other weights is of no use where these are to stay as they are.
    unwanted = {
        UpsampleInConvolution: compressed,
        ConvolutionOverBlocks: compressed,
        FoldConstants: compressed,
        FuseGru: compressed,
        KeepWholeWeights: not whole,
        FuseAttention: not attention,
    }
    passes = [rewrite for rewrite in PASSES if not unwanted.get(type(rewrite), False)]
    if compressed:
        # The other passes change weights, which are to be numbers for that.
        passes.append(KeepCompressed())
    return [rewrite for rewrite in passes if _name(rewrite) not in _left_out]


def _name(rewrite: InPlacePass) -> str:
    return type(rewrite).__name__.removesuffix("Pass")
