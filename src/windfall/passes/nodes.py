"""Read the nodes of a finished graph, and replace them."""

from abc import abstractmethod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import InPlacePass, PassResult

Floats = NDArray[np.float32]


def array_of(node: ir.Node, index: int) -> NDArray[Any] | None:
    """Return an input of a node as an array; None if there is none, or it is no constant."""
    value = node.inputs[index] if len(node.inputs) > index else None
    return None if value is None or value.const_value is None else value.const_value.numpy()


def constant_dims(node: ir.Node, index: int) -> tuple[int, ...] | None:
    """Return the shape of an input of a node, without decoding it; None if there is none, or it is no constant."""
    value = node.inputs[index] if len(node.inputs) > index else None
    return None if value is None or value.const_value is None else tuple(value.const_value.shape.numpy())


def integers_of(node: ir.Node, index: int) -> list[int] | None:
    """Return an input of a node as whole numbers; None if there is none, or it is no constant."""
    array = array_of(node, index)
    return None if array is None else [int(number) for number in array.reshape(-1)]


def number_of(node: ir.Node, index: int, default: float) -> float | None:
    """Return an input of one number, or the default where it is left out; None if it is no constant."""
    if len(node.inputs) <= index or node.inputs[index] is None:
        return default
    # A weight is not to be decoded for this.
    array = array_of(node, index) if constant_dims(node, index) in ((), (1,)) else None
    return None if array is None else float(array.reshape(-1)[0])


def dims_of(value: ir.Value | None) -> list[int] | None:
    """Return the shape of a value; None if some of it is known only at run time."""
    if value is None or value.shape is None:
        return None
    dims = [dim for dim in value.shape if isinstance(dim, int)]
    return dims if len(dims) == len(value.shape) else None


def only_producer(value: ir.Value | None) -> ir.Node | None:
    """Return the node that makes a value, if one other node uses the value and nothing else does."""
    if value is None or value.is_graph_output() or len(value.uses()) != 1:
        return None
    return value.producer()


def only_user(value: ir.Value) -> ir.Node | None:
    """Return the node that uses a value, if nothing else does."""
    uses = list(value.uses())
    return None if value.is_graph_output() or len(uses) != 1 else uses[0][0]


def pads_of(pad: ir.Node) -> list[int] | None:
    """Return the pads of a Pad for all axes, ends behind beginnings; None if they are not constant."""
    x, pads = pad.inputs[0], integers_of(pad, 1)
    if x is None or x.shape is None or pads is None:
        return None
    rank, axes = len(x.shape), list(range(len(x.shape)))
    if len(pad.inputs) > 3 and pad.inputs[3] is not None:
        given = integers_of(pad, 3)
        if given is None:
            return None
        axes = [axis % rank for axis in given]
    whole = [0] * (2 * rank)
    for place, axis in enumerate(axes):
        whole[axis], whole[rank + axis] = pads[place], pads[len(axes) + place]
    return whole


def layer_of(node: ir.Node) -> str:
    """Return the layer that a node was lowered from, for the names of what takes its place."""
    name = str(node.name)
    return name.rpartition(".")[0] or name


class ConvolutionPass(InPlacePass):
    """A pass that looks at each convolution once."""

    @abstractmethod
    def rewrite(self, model: ir.Model, conv: ir.Node) -> bool:
        """Rewrite the graph around a convolution, and tell whether anything changed."""

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        modified = False
        for node in list(model.graph):
            if node.op_type == "Conv" and node.domain == "":
                modified |= self.rewrite(model, node)
        return PassResult(model, modified)


def drop_unused(value: ir.Value | None) -> None:
    """Remove the node that makes a value if nothing uses it, and those before it that are left without users."""
    waiting = [value]
    while waiting:
        last = waiting.pop()
        node = None if last is None else last.producer()
        if node is None or node.graph is None or any(out.uses() or out.is_graph_output() for out in node.outputs):
            continue
        waiting.extend(node.inputs)
        node.graph.remove(node, safe=True)


def replace(node: ir.Node, value: ir.Value) -> None:
    """Put a value in the place of a node's only output, with its name, and remove what nothing uses then."""
    replace_value(node.outputs[0], value)


def replace_value(old: ir.Value, value: ir.Value) -> None:
    """Put a value in the place of another, with its name, and remove what nothing uses then."""
    name = old.name
    old.replace_all_uses_with(value, replace_graph_outputs=True)
    drop_unused(old)
    old.name, value.name = f"{name}~old", name
