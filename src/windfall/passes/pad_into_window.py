"""Let convolutions and pooling pad by themselves."""

import math
from collections.abc import Callable, Mapping

import onnx_ir as ir
from onnx_ir.passes import InPlacePass, PassResult

from windfall.passes.nodes import drop_unused, number_of, pads_of


class PadIntoWindow(InPlacePass):
    """Pad where the window is, in place of a larger copy.

    Before: x -> Pad(p, with zeros) -> Conv(pads=q) -> y
    After:  x -> Conv(pads=p + q) -> y
    Before: x -> Pad(p, with zeros) -> AveragePool -> y
    After:  x -> AveragePool(pads=p, count_include_pad=1) -> y
    Before: x >= 0 -> Pad(p, with zeros) -> MaxPool -> y        or any x, padded with minus infinity
    After:  x >= 0 -> MaxPool(pads=p) -> y

    MaxPool pads with minus infinity: where each window has an entry of x, and that is not negative, it makes no
    difference. Pads that crop, and those of the batch and channel axes, stay. Other users of the Pad keep it.
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        modified = False
        for node in list(model.graph.all_nodes()):
            while _takes_padding(node):
                modified = True
        return PassResult(model, modified)


def _takes_padding(node: ir.Node) -> bool:
    """Move the Pad before one node into it; False if there is none, or it cannot be moved."""
    takes = _TAKES.get(node.op_type)
    pad = node.inputs[0].producer() if takes is not None and node.domain == "" and node.inputs[0] is not None else None
    if takes is None or pad is None or pad.op_type != "Pad" or pad.graph is not node.graph:
        return False
    added = _spatial_pads(pad)
    own = _own_pads(node, len(added) if added else 0)
    value = number_of(pad, 2, 0.0)
    if added is None or own is None or value is None or not takes(node, pad, added, value):
        return False
    node.attributes.pop("auto_pad", None)
    node.attributes["pads"] = ir.AttrInt64s("pads", [p + q for p, q in zip(added, own, strict=True)])
    node.replace_input_with(0, pad.inputs[0])
    drop_unused(pad.outputs[0])
    return True


def _spatial_pads(pad: ir.Node) -> list[int] | None:
    """Return the pads of a constant Pad for all axes but the first two, ends behind beginnings."""
    pads = pads_of(pad)
    if pads is None or pad.attributes.get_string("mode", "constant") != "constant" or min(pads, default=-1) < 0:
        return None
    rank = len(pads) // 2
    fixed = (*pads[:2], *pads[rank : rank + 2])
    return None if rank < 3 or any(fixed) else [*pads[2:rank], *pads[rank + 2 :]]


def _own_pads(node: ir.Node, count: int) -> list[int] | None:
    """Return a node's own pads; None where they depend on the size of its input."""
    if node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    return list(node.attributes.get_ints("pads", ()) or [0] * count)


def _convolution_takes(_node: ir.Node, _pad: ir.Node, _added: list[int], value: float) -> bool:
    return value == 0


def _average_takes(node: ir.Node, _pad: ir.Node, added: list[int], value: float) -> bool:
    own = any(node.attributes.get_ints("pads", ()))
    if value != 0 or not _windows_hold(node, added) or (own and not node.attributes.get_int("count_include_pad", 0)):
        return False
    node.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
    return True


def _maximum_takes(node: ir.Node, pad: ir.Node, added: list[int], value: float) -> bool:
    exact = value == -math.inf or (value == 0 and _is_not_negative(pad.inputs[0]))
    # The places of the largest entries are counted in the padded input.
    own = any(node.attributes.get_ints("pads", ()))
    return exact and not own and len(node.outputs) == 1 and _windows_hold(node, added)


def _windows_hold(node: ir.Node, added: list[int]) -> bool:
    """Whether each window of a pooling node has an entry that is not padding, as ONNX asks."""
    kernel = list(node.attributes.get_ints("kernel_shape", ()))
    own = list(node.attributes.get_ints("pads", ())) or [0] * len(added)
    moves = node.attributes.get_int("ceil_mode", 0) or any(d != 1 for d in node.attributes.get_ints("dilations", ()))
    return not moves and all(p + q < k for p, q, k in zip(added, own, kernel * 2, strict=True))


def _is_not_negative(value: ir.Value | None) -> bool:
    node = None if value is None else value.producer()
    if node is None or node.domain != "":
        return False
    if node.op_type == "Clip":
        least = number_of(node, 1, -math.inf)
        return least is not None and least >= 0
    return node.op_type in _NOT_NEGATIVE


_NOT_NEGATIVE = frozenset({"Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt"})
"""Operators without negative results."""
_TAKES: Mapping[str, Callable[[ir.Node, ir.Node, list[int], float], bool]] = {
    "Conv": _convolution_takes,
    "AveragePool": _average_takes,
    "MaxPool": _maximum_takes,
}
"""Whether an operator may pad by itself, by its name."""
