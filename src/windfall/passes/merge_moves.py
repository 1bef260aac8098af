"""Make one of two nodes in a row that do no more than move entries."""

import onnx_ir as ir
from onnx_ir.passes import InPlacePass, PassResult

from windfall.passes.nodes import dims_of, drop_unused, integers_of


class MergeTransposes(InPlacePass):
    """Make one of two transposes in a row.

    Before: x -> Transpose(perm=p) -> t -> Transpose(perm=q) -> y
    After:  x -> Transpose(perm=[p[axis] for axis in q]) -> y

    Where the two undo each other, users of y use x. The first node stays where ``t`` has other users.
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        modified = False
        for second in list(model.graph.all_nodes()):
            first = _before(second, ("Transpose",)) if second.op_type == "Transpose" else None
            if first is not None and _perm(first) and _perm(second):
                _compose(first, second)
                drop_unused(first.outputs[0])
                modified = True
            modified |= second.op_type == "Transpose" and _pass_by(second)
        return PassResult(model, modified)


class MergeReshapes(InPlacePass):
    """Make one of two reshapes in a row, and none of one that keeps the shape.

    Before: x -> Reshape, Flatten, Squeeze or Unsqueeze -> t -> Reshape(to sizes) -> y
    After:  x -> Reshape(to sizes) -> y

    The sizes are constant, and none of them is taken over from ``t``. The first node stays where ``t`` has other users.
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        modified = False
        for second in list(model.graph.all_nodes()):
            if second.op_type != "Reshape" or second.domain != "" or not _is_given(second):
                continue
            first = _before(second, ("Reshape", "Flatten", "Squeeze", "Unsqueeze"))
            if first is not None:
                second.replace_input_with(0, first.inputs[0])
                drop_unused(first.outputs[0])
                modified = True
            modified |= _pass_by(second)
        return PassResult(model, modified)


def _before(node: ir.Node, operators: tuple[str, ...]) -> ir.Node | None:
    """Return the node that makes a node's input, if it is one of some operators and of the same graph."""
    producer = None if node.inputs[0] is None else node.inputs[0].producer()
    if producer is None or producer.domain != "" or producer.graph is not node.graph:
        return None
    return producer if producer.op_type in operators else None


def _perm(transpose: ir.Node) -> list[int]:
    """Return where each axis comes from; empty if the rank is known only at run time."""
    given = transpose.attributes.get_ints("perm", ())
    value = transpose.inputs[0]
    rank = 0 if value is None or value.shape is None else len(value.shape)
    return list(given) or list(reversed(range(rank)))


def _compose(first: ir.Node, second: ir.Node) -> None:
    before, after = _perm(first), _perm(second)
    second.attributes["perm"] = ir.AttrInt64s("perm", [before[axis] for axis in after])
    second.replace_input_with(0, first.inputs[0])


def _is_given(reshape: ir.Node) -> bool:
    """Whether the sizes of a Reshape are constant and its own."""
    sizes = integers_of(reshape, 1)
    return sizes is not None and (0 not in sizes or bool(reshape.attributes.get_int("allowzero", 0)))


def _pass_by(node: ir.Node) -> bool:
    """Let the users of a node that changes nothing use its input; False if it does change something."""
    x, y = node.inputs[0], node.outputs[0]
    if x is None or y.is_graph_output() or not y.uses() or not _changes_nothing(node):
        return False
    y.replace_all_uses_with(x)
    drop_unused(node.outputs[0])
    return True


def _changes_nothing(node: ir.Node) -> bool:
    if node.op_type == "Transpose":
        perm = _perm(node)
        return bool(perm) and perm == list(range(len(perm)))
    before = dims_of(node.inputs[0])
    return before is not None and before == dims_of(node.outputs[0])
