"""How layers of neural networks that hold a size come to follow the size of their input.

Source: the messages named after each rule, in NeuralNetwork.proto.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from windfall.shapes.allowed import Dims
from windfall.shapes.following import Follow, follow, resolved

_RESHAPES, _MODES = 4, 5
"""The specification versions that brought ``rankPreservingReshape``, and the grids of ``upsample``."""
FIXED = frozenset({
    "bias", "scale", "loadConstant", "loadConstantND", "cropResize", "resizeBilinear", "crop", "slice",
    "broadcastToStatic", "fillStatic", "reshape", "reshapeStatic", "rankPreservingReshape",
})  # fmt: skip
"""Layers that may give a size of their own whatever they are given."""


class Layer:
    """One layer of a network.

    Attributes:
        name: Its name.
        type: The member of the specification's ``oneof layer``.
        inputs: The names of what it reads.
        outputs: The names of what it gives.
    """

    def __init__(self, spec: Any, message: Any) -> None:
        self._spec = spec
        self._message = message
        self._old: tuple[Any, int] | None = None
        self.name = str(message.name)
        self.type = str(message.WhichOneof("layer"))
        self.inputs = list(message.input)
        self.outputs = list(message.output)

    @property
    def source(self) -> str:
        """The name of the input that it follows; empty if it has none."""
        return str(self.inputs[0]) if self.type in _RULES and self.inputs else ""

    @property
    def target(self) -> list[int]:
        """The constant that it reshapes to; empty if it does not."""
        return list(getattr(getattr(self._message, self.type), "targetShape", ())) if self.type in _RULES else []

    def rewrite(self, before: Dims, now: Dims) -> str | None:
        """Let the layer follow its input.

        Args:
            before: The shape of the input at the old default sizes.
            now: One in which all sizes differ that ever do.

        Returns:
            What it is now, None where there is no exact way.
        """
        if self.type not in _RULES:
            return None
        old = type(self._message)()
        old.CopyFrom(self._message)
        self._old = old, self._spec.specificationVersion
        change, version = _RULES[self.type](self._message, before, now) or (None, 0)
        self._spec.specificationVersion = max(self._spec.specificationVersion, version)
        return change

    def undo(self) -> None:
        """Take the last rewrite back."""
        assert self._old is not None
        self._message.CopyFrom(self._old[0])
        self._spec.specificationVersion = self._old[1]


def parts(spec: Any, network: Any) -> Iterator[Layer]:
    """Yield the layers of a network; those in nested networks are not rewritten."""
    return (Layer(spec, message) for message in network.layers)


Result = tuple[str, int] | None
"""What a layer is now, and the specification version that this needs."""


def _reshape(layer: Any, before: Dims, now: Dims) -> Result:
    """``ReshapeLayerParams``: to [C*H*W, 1, 1] it is a flattening, whose orders are the same."""
    params = layer.reshape
    inner, target = before[-3:], tuple(params.targetShape)
    if len(target) == 4 and target[0] == before[0] == now[0]:
        target = target[1:]
    if len(before) != 5 or len(target) != 3:
        return None
    rules = follow(inner, now[-3:], target)
    if rules is None:
        return None
    if target[1:] == (1, 1) and target[0] != 1:
        mode = params.mode
        layer.flatten.mode = mode
        return "flatten", 1
    if params.mode != params.CHANNEL_FIRST:
        return None
    return _rank_preserving(layer, [Follow(before[0], 0), Follow(before[1], 1), *_shifted(rules, 2)])


def _shifted(rules: list[Follow], count: int) -> list[Follow]:
    return [rule if rule.axis is None else rule._replace(axis=rule.axis + count) for rule in rules]


def _rank_preserving(layer: Any, rules: list[Follow]) -> Result:
    """Reshape to the input's sizes and to what they leave, where each has its own axis."""
    moved = [at for at, rule in enumerate(rules) if rule.axis not in (None, at)]
    if len(moved) > 1 or (moved and any(rule.is_rest for rule in rules)):
        return None
    target = [_entry(rule, at) for at, rule in enumerate(rules)]
    layer.rankPreservingReshape.targetShape.extend(target)
    return f"rankPreservingReshape to {target}", _RESHAPES


def _entry(rule: Follow, at: int) -> int:
    """Return 0 for the input's own size, -1 for the rest, else the size."""
    if rule.axis == at:
        return 0
    return -1 if rule.is_rest or rule.axis is not None else rule.size


def _reshape_static(layer: Any, before: Dims, now: Dims) -> Result:
    """``ReshapeStaticLayerParams``: one size may be -1; with the rank of the input, others may be the input's."""
    target = resolved(layer.reshapeStatic.targetShape, before)
    rules = None if target is None else follow(before, now, target)
    if rules is None:
        return None
    changing = [rule for rule in rules if rule.is_rest or rule.axis is not None]
    if len(rules) == len(before) and any(rule.axis is not None for rule in rules):
        return _rank_preserving(layer, rules)
    if len(changing) > 1:
        return None
    wanted = [-1 if rule in changing else rule.size for rule in rules]
    layer.reshapeStatic.targetShape[:] = wanted
    return f"reshapeStatic to {wanted}", 0


def _rank_preserving_reshape(layer: Any, before: Dims, now: Dims) -> Result:
    """``RankPreservingReshapeLayerParams``: 0 stands for the input's own size."""
    old = list(layer.rankPreservingReshape.targetShape)
    target = resolved(old, before)
    rules = None if target is None else follow(before, now, target)
    if rules is None:
        return None
    del layer.rankPreservingReshape.targetShape[:]
    result = _rank_preserving(layer, rules)
    if result is None:
        layer.rankPreservingReshape.targetShape.extend(old)
    return result


def _resize_bilinear(layer: Any, before: Dims, now: Dims) -> Result:
    """``ResizeBilinearLayerParams``: to a multiple of the size it is an upsampling on the same grid."""
    del now
    params = layer.resizeBilinear
    method = type(params.mode).Method.Name(params.mode.samplingMethod)
    target = tuple(int(size) for size in params.targetSize)
    if (
        method not in _GRIDS
        or len(target) != 2
        or any(size % own for size, own in zip(target, before[-2:], strict=True))
    ):
        return None
    factors = [size // own for size, own in zip(target, before[-2:], strict=True)]
    if 0 in factors:
        return None
    upsample = layer.upsample
    upsample.scalingFactor.extend(factors)
    upsample.mode = upsample.BILINEAR
    upsample.linearUpsampleMode = getattr(upsample, _GRIDS[method])
    return f"upsample by {factors[0]} x {factors[1]}", 1 if method == "UPSAMPLE_MODE" else _MODES


_GRIDS = {
    "STRICT_ALIGN_ENDPOINTS_MODE": "ALIGN_CORNERS_TRUE",
    "ALIGN_ENDPOINTS_MODE": "ALIGN_CORNERS_TRUE",
    "UPSAMPLE_MODE": "DEFAULT",
}


def _pooling(layer: Any, before: Dims, now: Dims) -> Result:
    """``PoolingLayerParams``: over all of its input it is a global one."""
    del now
    params = layer.pooling
    kind = params.WhichOneof("PoolingPaddingType")
    if (
        params.globalPooling
        or tuple(params.kernelSize or (3, 3)) != before[-2:]
        or kind not in ("valid", "includeLastPixel")
    ):
        return None
    if any(_paddings(params)):
        return None
    params.globalPooling = True
    return "globalPooling", 1


def _paddings(params: Any) -> Iterator[int]:
    for edge in params.valid.paddingAmounts.borderAmounts:
        yield from (edge.startEdgeSize, edge.endEdgeSize)
    yield from params.includeLastPixel.paddingAmounts


def _slice_static(layer: Any, before: Dims, now: Dims) -> Result:
    """``SliceStaticLayerParams``: what ends at the end of an axis ends there at any size."""
    params = layer.sliceStatic
    ends = [
        axis
        for axis, (end, size) in enumerate(zip(params.endIds, before, strict=False))
        if end == size != now[axis] and not params.endMasks[axis]
    ]
    for axis in ends:
        params.endMasks[axis] = True
    return (f"sliceStatic to the end of axes {ends}", 0) if ends else None


_RULES: Mapping[str, Callable[[Any, Any, Any], Result]] = {
    "reshape": _reshape,
    "reshapeStatic": _reshape_static,
    "rankPreservingReshape": _rank_preserving_reshape,
    "resizeBilinear": _resize_bilinear,
    "pooling": _pooling,
    "sliceStatic": _slice_static,
}
"""What makes a layer follow its input, by its type."""
