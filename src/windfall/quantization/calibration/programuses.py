"""Where the weights of a program's operations get their input from, and how it looks to them.

Source: ``conv.py``, ``linear.py`` among coremltools' operator definitions.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from windfall.graph.builder import GraphBuilder
from windfall.lowering.ml_program.constants import constant_of
from windfall.lowering.ml_program.context import Ints, OperationContext
from windfall.lowering.ml_program.convolution import to_output_shape
from windfall.lowering.ml_program.scope import Scope
from windfall.lowering.ml_program.sliding import along_axes, check_pad_type, edges_of
from windfall.lowering.windows import Edge, Sizes, Window, cut, same_edges
from windfall.quantization.calibration.patches import Convolution, Floats, Pick, Rows, vectors
from windfall.quantization.calibration.uses import NESTED, OTHER, TWICE, UNSEEN, Use
from windfall.quantization.programs.values import names_used, opset_number, read_constant, steps
from windfall.quantization.programs.weights import ProgramWeight, program_weights
from windfall.spec.modelfile import ModelFile
from windfall.spec.programs import operations_of

SHARED = "is taken by other operations, too"
COMPUTED = "has arguments that are not known before the program runs"
FUNCTION = "lies in another function than the samples are for"
_PLANES = 2
"""How many spatial axes ``Convolution`` has."""


def program_uses(file: ModelFile, program: Any, prefix: str, function: str) -> dict[str, Use | str]:
    """Return for each operation that has weights how it uses them, or why that is not known.

    Args:
        file: The model.
        program: The ``Program`` message.
        prefix: What stands in front of operations' paths.
        function: The function that the samples are for.
    """
    found: dict[str, Use | str] = {}
    run = program.functions[function]
    block = _Block(run.block_specializations[run.opset])
    for path, operation, weights in program_weights(program, prefix):
        runs = weights[0].site.block is block.message
        found[path] = TWICE if path in found else _use(file, operation, weights, block) if runs else FUNCTION
    return found


class _Block:
    """A block.

    Attributes:
        message: It itself.
        operations: Those that lie in it and not deeper.
        taken: How often each value is taken, in the blocks inside of it and as an output, too.
    """

    def __init__(self, message: Any) -> None:
        self.message = message
        self.operations = list(message.operations)
        self.taken = Counter[str](message.outputs)
        for _, operation in operations_of(message):
            self.taken.update(names_used(operation))
            self.taken.update(name for inner in operation.blocks for name in inner.outputs)


def _use(file: ModelFile, operation: Any, weights: list[ProgramWeight], block: _Block) -> Use | str:
    weight = next((weight for weight in weights if (weight.layer_type, weight.field) in _USES), None)
    if weight is None:
        return OTHER
    arguments = _Arguments(file, weight)
    source = operation.inputs["x"].arguments[0]
    reasons = {
        NESTED: not any(operation is other for other in block.operations),
        SHARED: block.taken[weight.constant] > 1,
        UNSEEN: source.WhichOneof("binding") != "name" or source.name in weight.site.makers,
        COMPUTED: not arguments.are_known,
    }
    reason = next((reason for reason, holds in reasons.items() if holds), None)
    if reason is not None:
        return reason
    matrices = _USES[weight.layer_type, weight.field](arguments)
    if matrices is None:
        return OTHER
    bias = next((bias for bias in weights if bias.field == "bias" and block.taken[bias.constant] == 1), None)
    return Use(source.name, matrices.rows, matrices.groups, {weight.field: "" if bias is None else bias.field})


class _Matrices(NamedTuple):
    """What a weight multiplies: its rows, and how many groups of output channels there are."""

    rows: Rows
    groups: int = 1


class _Arguments:
    """The arguments of an operation that are constants.

    Attributes:
        weight: Its weight.
        ctx: The operation as a lowering has it, for checks and errors.
    """

    def __init__(self, file: ModelFile, weight: ProgramWeight) -> None:
        self.weight = weight
        self._file = file
        self._opset = weight.site.function.opset
        scope = Scope(file, GraphBuilder("weights"), opset_number(self._opset))
        self.ctx = OperationContext(weight.site.operation, scope)

    @property
    def are_known(self) -> bool:
        """Whether all but the input and the bias are."""
        others = (name for name in self.ctx.operation.inputs if name not in ("x", "bias"))
        return all(
            binding.WhichOneof("binding") == "value" or binding.name in self.weight.site.makers
            for name in others
            for binding in self.ctx.operation.inputs[name].arguments
        )

    def array(self, name: str) -> Any:
        """Return an argument, None where it is left out."""
        bindings = self.ctx.operation.inputs[name].arguments if name in self.ctx.operation.inputs else ()
        for binding in bindings:
            if binding.WhichOneof("binding") == "value":
                return constant_of(self._file, binding.value).array
            return read_constant(self._file, steps(self.weight.site.makers, binding.name), binding.name, self._opset)
        return None

    def ints(self, name: str) -> Ints | None:
        """Return a vector of whole numbers."""
        found = self.array(name)
        return None if found is None else tuple(int(item) for item in np.asarray(found).reshape(-1))

    def flag(self, name: str) -> bool:
        """Return a truth value, False where it is left out."""
        found = self.array(name)
        return found is not None and bool(np.asarray(found).any())

    def kind_of_padding(self) -> str:
        """Return ``pad_type``."""
        found = self.array("pad_type")
        return check_pad_type(self.ctx, "valid" if found is None else str(np.asarray(found).item()))


def _linear(arguments: _Arguments) -> _Matrices:
    return _Matrices(vectors(arguments.weight.shape[1]))


def _matmul(arguments: _Arguments) -> _Matrices | None:
    """Return the rows of the first factor, unless there are several matrices for it."""
    shape = arguments.weight.shape
    if len(shape) < 2 or math.prod(shape[:-2]) > 1:
        return None
    rows = vectors(shape[-1 if arguments.flag("transpose_y") else -2])
    if not arguments.flag("transpose_x"):
        return _Matrices(rows)

    def turned(x: Floats, pick: Pick) -> Floats:
        return rows(x.swapaxes(-1, -2), pick)

    return _Matrices(turned)


def _convolution(edges: Callable[[_Arguments, Window, Sizes], list[Edge]], *, is_transposed: bool) -> "_Find":
    def find(arguments: _Arguments) -> _Matrices | None:
        kernel = arguments.weight.shape[2:]
        count = len(kernel)
        if not 1 <= count <= _PLANES:
            return None
        strides, dilations = (along_axes(arguments.ctx, n, arguments.ints(n), count) for n in ("strides", "dilations"))
        own = Window(kernel, strides, dilations)
        groups = (arguments.ints("groups") or (1,))[0]
        # One spatial axis is the second of two, of which the first has size 1.
        ones = (1,) * (_PLANES - count)
        window = Window(ones + kernel, ones + strides, ones + dilations)

        def all_edges(dims: Sizes) -> list[Edge]:
            return [(0, 0)] * len(ones) + edges(arguments, own, dims[len(ones) :])

        convolution = Convolution(window, all_edges, groups, is_transposed)

        def rows(x: Floats, pick: Pick) -> Floats:
            return convolution(x.reshape(*x.shape[:2], *ones, *x.shape[2:]), pick)

        return _Matrices(rows, groups)

    return find


def _padding(arguments: _Arguments, window: Window, dims: Sizes) -> list[Edge]:
    """Return what a convolution adds around its input; see ``lower_conv``."""
    kind = arguments.kind_of_padding()
    if kind.startswith("same"):
        edges = same_edges(window, dims, lower=kind == "same_lower")
        assert edges is not None, dims
        return edges
    return edges_of(arguments.ctx, arguments.ints("pad") if kind == "custom" else None, len(dims))


def _cutting(arguments: _Arguments, window: Window, dims: Sizes) -> list[Edge]:
    """Return what a transposed convolution cuts off its output; see ``lower_conv_transpose``."""
    kind = arguments.kind_of_padding()
    edges = edges_of(arguments.ctx, arguments.ints("pad") if kind == "custom" else None, len(dims))
    output_shape = arguments.ints("output_shape")
    if output_shape is not None:
        return to_output_shape(arguments.ctx, window, dims, output_shape, edges)
    if kind == "same":
        return [cut(extent - stride) for extent, stride in zip(window.extent, window.stride, strict=True)]
    return edges


_Find = Callable[[_Arguments], _Matrices | None]
_USES: Mapping[tuple[str, str], _Find] = {
    ("conv", "weight"): _convolution(_padding, is_transposed=False),
    ("conv_transpose", "weight"): _convolution(_cutting, is_transposed=True),
    ("linear", "weight"): _linear,
    ("matmul", "y"): _matmul,
}
"""What operators multiply their weights by, by the argument."""
