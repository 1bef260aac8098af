"""How long a prediction takes that writes one row of a state, for states of several lengths.

A language model keeps the keys and values of all tokens in its states, and each token adds a row. If a prediction
copied the state, tokens would become slower the longer the text may be. Each length is measured in place, as windfall
does it, and with a copy, in turns.

    python benchmarks/states.py [--rounds 200]
"""

import argparse
import statistics
import time

import numpy as np

import windfall
from windfall.spec.proto import FeatureTypes_pb2, MIL_pb2, Model_pb2

LENGTHS = (1024, 4096, 16384, 65536)
HEADS, WIDTH = 8, 64


def tensor(value_type, data_type, dims):
    """Let a ``ValueType`` message be a tensor."""
    value_type.tensorType.dataType = data_type
    value_type.tensorType.rank = len(dims)
    for size in dims:
        value_type.tensorType.dimensions.add().constant.size = size


def add(block, operator, output="", dims=(), data_type=MIL_pb2.FLOAT32, **arguments):
    """Add an operation; an argument is the name of a value, several, or a list of numbers."""
    operation = block.operations.add(type=operator)
    for name, values in arguments.items():
        bindings = operation.inputs[name.rstrip("_")].arguments
        if isinstance(values, list):
            value = bindings.add().value
            is_bool = isinstance(values[0], bool)
            tensor(value.type, MIL_pb2.BOOL if is_bool else MIL_pb2.INT32, (len(values),))
            target = value.immediateValue.tensor
            (target.bools if is_bool else target.ints).values.extend(values)
        else:
            for value in values.split():
                bindings.add(name=value)
    if output:
        tensor(operation.outputs.add(name=output).type, data_type, dims)


def model(length):
    """Return a model that writes a row of a cache [1, HEADS, length, WIDTH], and sums up the first 16."""
    spec = Model_pb2.Model(specificationVersion=9)
    function = spec.mlProgram.functions["main"]
    function.opset = "CoreML8"
    block = function.block_specializations["CoreML8"]
    cache, row = (1, HEADS, length, WIDTH), (1, HEADS, 1, WIDTH)
    for name, data_type, dims in (("row", MIL_pb2.FLOAT32, row), ("place", MIL_pb2.INT32, (4,))):
        tensor(function.inputs.add(name=name).type, data_type, dims)
        array = spec.description.input.add(name=name).type.multiArrayType
        array.shape.extend(dims)
        array.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
    tensor(function.inputs.add(name="cache").type.stateType.wrappedType, MIL_pb2.FLOAT16, cache)
    state = spec.description.state.add(name="cache").type.stateType.arrayType
    state.shape.extend(cache)
    state.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT16
    half = {"data_type": MIL_pb2.FLOAT16}
    add(block, "read_state", "old", cache, **half, input_="cache")
    add(block, "add", "end", (4,), MIL_pb2.INT32, x="place", y=[1, HEADS, 1, WIDTH])
    add(block, "slice_update", "new", cache, **half, x="old", update="row", begin="place", end="end")
    add(block, "write_state", input_="cache", data="new")
    window = [1, HEADS, 16, WIDTH]
    add(block, "slice_by_size", "seen", window, **half, x="new", begin=[0, 0, 0, 0], size=window)
    add(block, "reduce_sum", "sum", (1,), **half, x="seen", axes=[1, 2, 3])
    block.outputs.append("sum")
    spec.description.output.add(name="sum").type.multiArrayType.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
    return windfall.load(spec, threads=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    print(f"{'rows':>8}{'state':>12}{'in place':>12}{'copied':>12}{'ratio':>8}")
    for length in LENGTHS:
        models = [model(length) for _ in range(2)]
        models[1].compiled.program._in_place = frozenset()
        states = [one.make_state() for one in models]
        seconds = [[], []]
        for turn in range(rounds):
            feeds = {"row": np.ones((1, HEADS, 1, WIDTH), np.float32), "place": np.int32([0, 0, turn % length, 0])}
            for which in (0, 1):
                start = time.perf_counter()
                models[which].predict(feeds, states[which])
                seconds[which].append(time.perf_counter() - start)
        place, copied = (statistics.median(times) * 1e3 for times in seconds)
        size = states[0].buffers["cache"].nbytes / 1e6
        print(f"{length:8d}{size:9.1f} MB{place:9.3f} ms{copied:9.3f} ms{copied / place:8.1f}")


if __name__ == "__main__":
    main()
