"""Loops that coremltools makes of torch's GRU become one operator."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from click.testing import CliRunner
from tests.passes.graphs import operators, run

import windfall
from windfall.cli.main import cli
from windfall.lowering import lower
from windfall.passes import order
from windfall.passes.fuse_gru import FuseGru
from windfall.runtime.openvino import has_openvino
from windfall.spec.modelfile import read_model_file
from windfall.streams.stacking import stack_items

KINDS = {"mlprogram": "gru.mlpackage", "neuralnetwork": "gru.mlmodel"}


@dataclass(frozen=True)
class Case:
    """A GRU of torch over 5 numbers, 4 wide; ``target`` is an iOS, ``most`` the largest number of steps if any fit."""

    layers: int = 1
    bidirectional: bool = False
    batch: int = 1
    batch_first: bool = False
    bias: bool = True
    given_state: bool = False
    steps: int = 6
    target: str = ""
    most: int = 0

    @property
    def directions(self) -> int:
        return self.layers * (1 + self.bidirectional)

    def feeds(self, steps: int) -> dict[str, np.ndarray]:
        random = np.random.default_rng(steps)
        dims = (self.batch, steps, 5) if self.batch_first else (steps, self.batch, 5)
        state = {"h": (self.directions, self.batch, 4)} if self.given_state else {}
        return {name: random.normal(size=size).astype(np.float32) for name, size in {"x": dims, **state}.items()}

    def shapes(self, ranged: Callable[[int, int], object]) -> dict[str, list[object]]:
        shapes: dict[str, list[object]] = {name: [*each.shape] for name, each in self.feeds(self.steps).items()}
        if self.most:
            shapes["x"][int(self.batch_first)] = ranged(1, self.most)
        return shapes


Save = Callable[[Case, str], tuple[Path, Callable[[int], list[np.ndarray]]]]


@pytest.fixture(scope="module")
def save(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """Return what converts a case, and gives what torch computes of ``feeds`` of some number of steps."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coremltools and torch warn about their own dependencies
        import coremltools as ct
        import torch

        class Network(torch.nn.Module):
            def __init__(self, case: Case) -> None:
                super().__init__()
                self.gru = torch.nn.GRU(5, 4, case.layers, case.bias, case.batch_first, 0.0, case.bidirectional)

            def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                y, state = self.gru(*inputs)
                return y, state

    def save(case: Case, kind: str) -> tuple[Path, Callable[[int], list[np.ndarray]]]:
        torch.manual_seed(0)
        network = Network(case).eval()

        def tensors(steps: int) -> tuple[torch.Tensor, ...]:
            return tuple(map(torch.from_numpy, case.feeds(steps).values()))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shapes = case.shapes(lambda least, most: ct.RangeDim(least, most, default=case.steps))
            inputs = [ct.TensorType(name=name, shape=shape) for name, shape in shapes.items()]
            precision = {"compute_precision": ct.precision.FLOAT32} if kind == "mlprogram" else {}
            target = {"minimum_deployment_target": ct.target[case.target]} if case.target else {}
            traced = torch.jit.trace(network, tensors(case.steps))
            converted = ct.convert(traced, inputs=inputs, convert_to=kind, skip_model_load=True, **precision, **target)
        path = tmp_path_factory.mktemp("gru") / KINDS[kind]
        converted.save(str(path))
        return path, lambda steps: [each.detach().numpy() for each in network(*tensors(steps))]

    yield save
    logging.disable(logging.NOTSET)


def check(case: Case, kind: str, save: Save, *lengths: int) -> None:
    """Check that a case becomes one GRU for each layer and direction, with the results of torch."""
    path, expected = save(case, kind)
    for engine in ("onnxruntime", *(["openvino"] if has_openvino() and not case.most else [])):
        model = windfall.load(path, engine=engine, threads=1)
        found = [node.op_type for node in model.compiled.onnx.graph.node]
        assert found.count("GRU") == case.directions
        assert "Loop" not in found
        for steps in lengths or (case.steps,):
            got = list(model.predict(case.feeds(steps)).values())
            for result, wanted in zip(got, expected(steps), strict=True):
                np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(layers=2, bidirectional=True, batch=3, batch_first=True, given_state=True),
        Case(bidirectional=True, batch=2, bias=False, given_state=True, steps=1),
        Case(layers=2, batch=2, batch_first=True, bias=False, steps=2),
        Case(layers=2, bidirectional=True, steps=1),
        Case(batch=3, batch_first=True, given_state=True),
    ],
    ids=str,
)
def test_a_gru_is_one_operator_for_each_layer_and_direction(case: Case, kind: str, save: Save) -> None:
    check(case, kind, save)


@pytest.mark.parametrize("target", ["iOS16", "iOS17", "iOS18"])
def test_indices_may_be_computed_as_later_opsets_need_it(target: str, save: Save) -> None:
    check(Case(layers=2, bidirectional=True, batch=2, target=target), "mlprogram", save)


@pytest.mark.parametrize(("kind", "target"), [("mlprogram", "iOS15"), ("mlprogram", "iOS18"), ("neuralnetwork", "")])
def test_the_number_of_steps_may_be_known_at_run_time_only(kind: str, target: str, save: Save) -> None:
    check(Case(layers=2, bidirectional=True, batch_first=True, target=target, most=50), kind, save, 1, 6, 50)


def test_no_steps_give_no_states(save: Save) -> None:
    model = lowered(save(Case(most=50), "mlprogram")[0], ["T", 1, 5])
    expected = run(model, np.zeros((0, 1, 5), np.float32))
    assert FuseGru()(model).modified
    assert expected.shape == run(model, np.zeros((0, 1, 5), np.float32)).shape == (0, 1, 4)


def test_profile_and_inspect_name_its_layers(save: Save) -> None:
    path, _ = save(Case(layers=2), "mlprogram")
    profile = CliRunner().invoke(cli, ["profile", str(path), "--runs", "1", "--engine", "onnxruntime"])
    assert profile.exit_code == 0, profile.output
    rows = [line.split()[:2] for line in profile.output.splitlines() if "GRU" in line]
    assert sorted(name for name, _ in rows) == ["while_loop_0_0", "while_loop_1_0"]
    inspect = CliRunner().invoke(cli, ["inspect", str(path)])
    assert inspect.exit_code == 0, inspect.output
    assert "ML program" in inspect.output


def test_weights_that_are_to_stay_small_stay_in_their_loop(save: Save) -> None:
    path, expected = save(Case(), "mlprogram")
    model = windfall.load(path, weights="compressed", threads=1)
    assert "Loop" in [node.op_type for node in model.compiled.onnx.graph.node]
    np.testing.assert_allclose(next(iter(model.predict(Case().feeds(6)).values())), expected(6)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "most"), [("mlprogram", 0), ("mlprogram", 50), ("neuralnetwork", 0), ("neuralnetwork", 50)]
)
def test_several_items_can_be_computed_at_once(kind: str, most: int, save: Save) -> None:
    file = read_model_file(save(Case(layers=2, bidirectional=True, batch_first=True, most=most), kind)[0])
    model = lower(file, {"x": [1, 6, 5]}, [output.name for output in file.spec.description.output])
    x = np.random.default_rng(0).normal(size=(3, 6, 5)).astype(np.float32)
    expected = [run(model, item[None]) for item in x]
    assert stack_items(model.graph, {"x": 0}, 3) == [0, 1]
    np.testing.assert_allclose(run(model, x), np.concatenate(expected), rtol=1e-5, atol=1e-6)


def lowered(path: Path, dims: list[int | str]) -> ir.Model:
    """Return a graph with its loops."""
    order._left_out.add("FuseGru")
    try:
        file = read_model_file(path)
        names = [output.name for output in file.spec.description.output]
        return lower(file, {"x": dims}, names)
    finally:
        order._left_out.clear()


class Loop:
    """A graph with one loop, for tests to change it.

    Attributes:
        model: The graph.
        loop: The loop.
        body: What it does in a step.
    """

    def __init__(self, path: Path, batch: int) -> None:
        self.model = lowered(path, [6, batch, 5])
        (self.loop,) = (node for node in self.model.graph if node.op_type == "Loop")
        self.body = self.loop.attributes["body"].as_graph()
        self.x = Case(batch=batch).feeds(6)["x"]

    def nodes(self, operator: str) -> list[ir.Node]:
        return [node for node in self.body if node.op_type == operator]

    @property
    def places(self) -> ir.Node:
        (node,) = self.nodes("ScatterElements")
        return node

    def new(self, array: np.ndarray) -> ir.Value:
        """Return a new initializer."""
        tensor = ir.tensor(array)
        value = ir.Value(name="new", shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.model.graph.register_initializer(value)
        return value

    def change(self, value: ir.Value, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Let an initializer be another one."""
        array = np.array(value.const_value.numpy())
        value.const_value = ir.tensor(change(array).astype(array.dtype))


@pytest.fixture(scope="module")
def files(save: Save) -> dict[str, Path]:
    return {kind: save(Case(batch=2), kind)[0] for kind in KINDS}


def another_activation(g: Loop) -> None:
    g.nodes("Tanh")[0].op_type = "Softsign"


def another_gate(g: Loop) -> None:
    g.nodes("Sigmoid")[1].op_type = "Softsign"


def two_gates_for_update(g: Loop) -> None:
    reset, update = (node.outputs[0] for node in g.nodes("Sigmoid"))
    user, index = update.uses()[0]
    user.replace_input_with(index, reset)


def one_gate_for_both(g: Loop) -> None:
    reset, update = (node.outputs[0] for node in g.nodes("Sigmoid"))
    reset.replace_all_uses_with(update)


def input_made_in_each_step(g: Loop) -> None:
    gathering = g.nodes("Gather")[0]
    node = negated(gathering.inputs[0])
    g.body.insert_before(gathering, node)
    gathering.replace_input_with(0, node.outputs[0])


def weights_times_two(g: Loop) -> None:
    g.nodes("Gemm")[2].attributes["alpha"] = ir.AttrFloat32("alpha", 2.0)


def one_step_less(g: Loop) -> None:
    (test,) = g.nodes("Less")
    g.change(test.inputs[1], lambda limit: limit - 1)


def steps_of_two(g: Loop) -> None:
    (test,) = g.nodes("Less")
    g.change(test.inputs[0].producer().inputs[1], lambda step: 2 * step)


def fewer_steps_at_most(g: Loop) -> None:
    g.change(g.loop.inputs[0], lambda _most: np.array(3))


def starts_at_one(g: Loop) -> None:
    g.change(g.loop.inputs[-2], lambda start: start + 1)


def never_starts(g: Loop) -> None:
    g.loop.replace_input_with(1, g.new(np.array(False)))


def adds_to_ones(g: Loop) -> None:
    g.change(g.loop.inputs[-1], np.ones_like)


def takes_the_larger(g: Loop) -> None:
    g.places.attributes["reduction"] = ir.AttrString("reduction", "max")


def other_rows(g: Loop) -> None:
    g.nodes("Gather")[0].replace_input_with(1, g.new(np.array([5])))


def counter_is_a_result(g: Loop) -> None:
    counter = g.loop.outputs[-2]
    g.model.graph.outputs.append(counter)


def weights_are_computed(g: Loop) -> None:
    gemm = g.nodes("Gemm")[0]
    node = negated(gemm.inputs[1])
    g.model.graph.insert_before(g.loop, node)
    gemm.replace_input_with(1, node.outputs[0])


def negated(value: ir.Value) -> ir.Node:
    """Return a node that is not in a graph yet."""
    node = ir.Node("", "Neg", [value], num_outputs=1, name="neg")
    node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = "negative", value.type, value.shape
    return node


MISSES = [
    another_activation, another_gate, two_gates_for_update, weights_times_two, one_step_less, steps_of_two,
    fewer_steps_at_most, starts_at_one, never_starts, adds_to_ones, takes_the_larger, other_rows, counter_is_a_result,
    weights_are_computed, input_made_in_each_step,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", MISSES, ids=lambda change: change.__name__)
def test_other_loops_are_left_alone(change: Callable[[Loop], None], kind: str, files: dict[str, Path]) -> None:
    g = Loop(files[kind], 2)
    change(g)
    assert not FuseGru()(g.model).modified
    assert "Loop" in operators(g.model)


def swapped_operands(g: Loop) -> None:
    for node in (*g.nodes("Add"), *g.nodes("Mul")):
        first, second = node.inputs
        node.replace_input_with(0, second)
        node.replace_input_with(1, first)


def all_states_are_a_result(g: Loop) -> None:
    g.model.graph.outputs.insert(0, g.loop.outputs[-1])


def later_states(g: Loop) -> None:
    (behind,) = (node for node, _ in g.loop.outputs[-1].uses())
    behind.replace_input_with(1, g.new(np.array([2])))
    behind.outputs[0].shape = ir.Shape([5, 2, 4])


def without_biases(g: Loop) -> None:
    for node in g.nodes("Gemm"):
        node.resize_inputs(2)


def a_first_state(g: Loop) -> None:
    g.change(g.loop.inputs[-1], lambda zeros: np.concatenate([zeros[:1] + 0.5, zeros[1:]]))


LIKE = [
    swapped_operands, all_states_are_a_result, later_states, without_biases, a_first_state, one_gate_for_both,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", LIKE, ids=lambda change: change.__name__)
def test_loops_that_differ_a_little_are_found(
    change: Callable[[Loop], None], kind: str, files: dict[str, Path]
) -> None:
    g = Loop(files[kind], 2)
    change(g)
    names = [output.name for output in g.model.graph.outputs]
    expected = run(g.model, g.x)
    assert FuseGru()(g.model).modified
    assert "GRU" in operators(g.model)
    assert "Loop" not in operators(g.model)
    assert [output.name for output in g.model.graph.outputs] == names
    np.testing.assert_allclose(run(g.model, g.x), expected, rtol=1e-5, atol=1e-5)
    assert not FuseGru()(g.model).modified


@pytest.mark.parametrize("kind", KINDS)
def test_old_weights_are_not_kept(kind: str, files: dict[str, Path]) -> None:
    file = read_model_file(files[kind])
    model = lower(file, {"x": [6, 2, 5]}, [output.name for output in file.spec.description.output])
    sizes = [value.const_value.size for value in model.graph.initializers.values()]
    assert sum(sizes) < 3 * 4 * (5 + 4 + 2) + 2 * 4 + 20
