"""Use Attention where products, a softmax and moves stand for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import InPlacePass, PassResult

from windfall.passes.emitting import Emitter
from windfall.passes.nodes import dims_of, layer_of, number_of, only_producer, only_user, replace

_OPSET = 23
"""The first version of ONNX that has Attention."""
_OF_BEFORE = frozenset({
    "GlobalLpPool", "LpNormalization", "MaxRoiPool", "Multinomial", "RandomNormal", "RandomNormalLike",
    "RandomUniform", "RandomUniformLike", "RoiAlign",
})  # fmt: skip
"""Operators of which ONNX Runtime, from 1.30 to 1.32, has no kernel for that version."""
_SWAPPED, _LAST_SWAPPED, _COLUMNS_OF_ROWS = (0, 2, 1, 3), (0, 1, 3, 2), (0, 2, 3, 1)


class FuseAttention(InPlacePass):
    """Compute attention with one operator, which reads the heads where they are and splits the work over them.

    Before: q, Transpose(k) -> MatMul -> [Mul or Div(number)] -> [Add(mask)] -> Softmax -> p;  p, v -> MatMul -> y
    After:  q, k, v, [mask] -> Attention -> y

    q is [B, N, S, H], k and v are [B, N, T, H], for N heads. Mostly they are Transposes of [B, S, N, H], and so is
    what y is used for; then Attention takes and gives [B, S, N * H], without any of these. A number by which q is
    multiplied beforehand goes in, too. Where all of a row is masked by -infinity, the result may be 0 in place of NaN.

    Before: past, Transpose(k) -> Concat(axis=2) -> present;  the same for v
    After:  past of k and v -> Attention -> present of k and v
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        modified = False
        if any(node.op_type in _OF_BEFORE and node.domain == "" for node in model.graph.all_nodes()):
            return PassResult(model, modified)
        for node in list(model.graph):
            found = _attention(node)
            if found is not None:
                _rewrite(model, found)
                modified = True
        if modified:
            model.graph.opset_imports[""] = max(_OPSET, model.graph.opset_imports[""])
        return PassResult(model, modified)


@dataclass(frozen=True)
class _Heads:
    """Queries, keys or values: [B, N, T, H], or what was transposed to that.

    Attributes:
        whole: The value [B, N, T, H]; None for keys that are there as columns only.
        rows: The value [B, T, N, H] that all of them, or the last ones, are transposed from.
        past: The value [B, N, P, H] that comes before those of the rows.
    """

    whole: ir.Value | None
    rows: ir.Value | None
    past: ir.Value | None = None


@dataclass(frozen=True)
class _Attention:
    """What stands for attention.

    Attributes:
        product: The node that makes the result.
        query: What is looked up.
        key: What it is compared with.
        value: What is summed.
        mask: What is added to the products of queries and keys.
        scale: What these are multiplied by.
        sizes: B, N, S and T.
    """

    product: ir.Node
    query: _Heads
    key: _Heads
    value: _Heads
    mask: ir.Value | None
    scale: float
    sizes: Sequence[int]

    @property
    def parts(self) -> Sequence[_Heads]:
        """Queries, keys and values."""
        return self.query, self.key, self.value

    @property
    def width(self) -> int:
        """The width of a head of the result."""
        return (_dims(self.value) or [0])[-1]


def _attention(product: ir.Node) -> _Attention | None:
    """Return the attention whose result a node makes, if it does."""
    softmax = only_producer(product.inputs[0]) if _is(product, "MatMul") else None
    if softmax is None or not _is(softmax, "Softmax") or softmax.attributes.get_int("axis", -1) not in (-1, 3):
        return None
    scores, mask = _without_mask(softmax.inputs[0])
    scores, scale = _without_number(scores)
    dot = only_producer(scores)
    if dot is None or not _is(dot, "MatMul") or dims_of(dot.outputs[0]) != dims_of(softmax.outputs[0]):
        return None
    query, number = _query(dot.inputs[0])
    sizes = dims_of(dot.outputs[0]) or ()
    found = _Attention(product, query, _key(dot.inputs[1]), _heads(product.inputs[1]), mask, scale * number, sizes)
    return found if _fits(found) else None


def _is(node: ir.Node, operator: str) -> bool:
    return node.op_type == operator and node.domain == "" and node.outputs[0].dtype == ir.DataType.FLOAT


def _without_mask(value: ir.Value | None) -> tuple[ir.Value | None, ir.Value | None]:
    """Return what a mask is added to, and the mask."""
    adding, dims = only_producer(value), dims_of(value)
    if adding is None or not _is(adding, "Add") or dims is None:
        return value, None
    for scores, mask in (adding.inputs, reversed(adding.inputs)):
        made = only_producer(scores)
        mask_dims = dims_of(mask)
        if made is not None and made.op_type in ("MatMul", "Mul", "Div") and mask_dims and mask_dims[-1] == dims[-1]:
            return scores, mask
    return value, None


def _without_number(value: ir.Value | None) -> tuple[ir.Value | None, float]:
    """Return what is multiplied or divided by a number, and the factor; the value and 1 where nothing is."""
    node = only_producer(value)
    if node is None or not (_is(node, "Mul") or _is(node, "Div")):
        return value, 1.0
    for index in (0, 1) if node.op_type == "Mul" else (0,):
        number = number_of(node, 1 - index, 0)
        if number:
            return node.inputs[index], number if node.op_type == "Mul" else 1 / number
    return value, 1.0


def _query(value: ir.Value | None) -> tuple[_Heads, float]:
    """Return queries without the number that they are multiplied by, before or after they are transposed."""
    plain, number = _without_number(value)
    heads = _heads(plain)
    rows, factor = _without_number(heads.rows)
    return (heads, number) if rows is heads.rows else (_Heads(None, rows), number * factor)


def _key(columns: ir.Value | None) -> _Heads:
    """Return the keys of which there are the columns [B, N, H, T]."""
    node = None if columns is None else columns.producer()
    if node is None or node.op_type != "Transpose" or dims_of(columns) is None:
        return _Heads(None, None)
    perm = tuple(node.attributes.get_ints("perm", ()))
    if perm == _COLUMNS_OF_ROWS:
        return _Heads(None, node.inputs[0])
    return _heads(node.inputs[0]) if perm == _LAST_SWAPPED else _Heads(None, None)


def _heads(value: ir.Value | None) -> _Heads:
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Concat" and node.attributes.get_int("axis") == 2 and len(node.inputs) == 2:
        return _Heads(value, _rows(node.inputs[1]), node.inputs[0])
    return _Heads(value, _rows(value))


def _rows(value: ir.Value | None) -> ir.Value | None:
    node = None if value is None else value.producer()
    if node is None or node.op_type != "Transpose" or tuple(node.attributes.get_ints("perm", ())) != _SWAPPED:
        return None
    return node.inputs[0]


def _fits(found: _Attention) -> bool:
    """Whether shapes are known and those of one attention: nothing is empty, or repeated for several heads."""
    if len(found.sizes) != 4 or not all(found.sizes) or not found.scale > 0:
        return False
    *batch_and_heads, queries, keys = found.sizes
    dims = [_dims(heads) for heads in found.parts]
    wanted = [[*batch_and_heads, count] for count in (queries, keys, keys)]
    query, key, _ = dims
    return [size and size[:3] for size in dims] == wanted and (query or [])[3:] == (key or [])[3:]


def _dims(heads: _Heads) -> list[int] | None:
    """Return [B, N, T, H]."""
    if heads.whole is not None:
        return dims_of(heads.whole)
    dims = dims_of(heads.rows)
    return None if dims is None else [dims[axis] for axis in _SWAPPED]


def _rewrite(model: ir.Model, found: _Attention) -> None:
    moving = _swap_behind(found.product)
    emit = Emitter(model, found.product, layer_of(found.product))
    if moving is None or any(heads.rows is None for heads in found.parts) or not _have_one_past(found):
        replace(found.product, _of_heads(emit, found))
        return
    y, *present = _of_rows(emit, found)
    replace(moving, y)
    for heads, value in zip((found.key, found.value), present, strict=False):
        joined = None if heads.whole is None else heads.whole.producer()
        if joined is not None and joined.graph is not None:
            replace(joined, value)


def _swap_behind(product: ir.Node) -> ir.Node | None:
    """Return the node that makes [B, S, N, H] of a result, if nothing else uses that."""
    node = only_user(product.outputs[0])
    return node if node is not None and _rows(node.outputs[0]) is product.outputs[0] else None


def _have_one_past(found: _Attention) -> bool:
    """Whether keys and values both follow others and are outputs together with them, or neither follows any.

    Attention cannot leave out what it puts together, so that somebody has to want it.
    """
    if found.query.past is not None:
        return False
    if found.key.past is None and found.value.past is None:
        return True
    both = found.key.past is not None and found.value.past is not None
    return both and all(_is_result(heads.whole) for heads in found.parts[1:])


def _is_result(value: ir.Value | None) -> bool:
    return value is not None and value.is_graph_output() and len(value.uses()) == 1


def _of_rows(emit: Emitter, found: _Attention) -> Sequence[ir.Value]:
    """Emit attention of [B, S, N * H]; returns its result as [B, S, N, H], and keys and values if there is a past."""
    (batch, heads, queries, keys), width = found.sizes, found.width
    past = [each.past for each in found.parts[1:]]
    present = [[batch, heads, keys, (_dims(each) or [0])[-1]] for each in found.parts[1:] if each.past is not None]
    inputs = [_joined(emit, each.rows) for each in found.parts]
    y, *rest = emit.ops(
        "Attention",
        *_without_end([*inputs, _full_mask(emit, found), *past]),
        outputs=[[batch, queries, heads * width], *present],
        q_num_heads=heads,
        kv_num_heads=heads,
        scale=found.scale,
    )
    return [_reshaped(emit, y, [batch, queries, heads, width]), *rest]


def _of_heads(emit: Emitter, found: _Attention) -> ir.Value:
    """Emit attention of [B, N, S, H], and return its result."""
    parts = [each.whole or _swapped(emit, each.rows) for each in found.parts]
    inputs = _without_end([*parts, _full_mask(emit, found)])
    return emit.op("Attention", *inputs, dims=found.product.outputs[0].shape, scale=found.scale)


def _without_end(inputs: Sequence[ir.Value | None]) -> list[ir.Value | None]:
    """Leave out the last inputs that are not there."""
    count = max(index for index, value in enumerate(inputs) if value is not None)
    return list(inputs[: count + 1])


def _full_mask(emit: Emitter, found: _Attention) -> ir.Value | None:
    """Return the mask [.., S, T]: of its sizes, only those before these may be 1."""
    dims = dims_of(found.mask)
    if found.mask is None or dims is None:
        return None
    full = [*dims[:-2], *found.sizes[2:]]
    if full == dims:
        return found.mask
    return emit.op("Expand", found.mask, emit.constant(np.array(full, np.int64), "sizes"), dims=full)


def _joined(emit: Emitter, rows: ir.Value | None) -> ir.Value:
    """[B, T, N, H] -> [B, T, N * H]."""
    dims = dims_of(rows)
    assert rows is not None, emit.prefix
    assert dims is not None, rows
    return _reshaped(emit, rows, [*dims[:2], dims[2] * dims[3]])


def _swapped(emit: Emitter, rows: ir.Value | None) -> ir.Value:
    """[B, T, N, H] -> [B, N, T, H]."""
    dims = dims_of(rows)
    assert dims is not None, rows
    return emit.op("Transpose", rows, dims=[dims[axis] for axis in _SWAPPED], perm=_SWAPPED)


def _reshaped(emit: Emitter, value: ir.Value, dims: list[int]) -> ir.Value:
    return emit.op("Reshape", value, emit.constant(np.array(dims, np.int64), "sizes"), dims=dims)
