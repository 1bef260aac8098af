"""What a user of coremltools does with windfall installed; run as a script, it prints what came out as JSON.

A process of its own: importing coremltools takes seconds, warns, and what ``install`` changes is one for a process.
The first argument says whether coremltools is imported ``before`` or ``after`` windfall is installed.
"""

import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

import windfall.interop.coremltools

X = np.array([-1.0, 2.0, 3.0])
BATCH = [{"x": X}, {"x": 2 * X}]


def main(order):
    warnings.simplefilter("ignore")
    found = {"imported by windfall": "coremltools" in sys.modules}
    if order == "before":
        import coremltools
    before = snapshot() if order == "before" else None
    windfall.interop.coremltools.install()
    windfall.interop.coremltools.install()
    found["installed"] = windfall.interop.coremltools.installed()
    import coremltools

    found |= predictions(coremltools) | programs(coremltools) | queries(coremltools) | refusals(coremltools)
    found["others see a Mac"] = coremltools.models.utils._is_macos() or coremltools._deps._IS_MACOS
    windfall.interop.coremltools.uninstall()
    windfall.interop.coremltools.uninstall()
    found["still installed"] = windfall.interop.coremltools.installed()
    found["as before"] = before is None or before == snapshot()
    found["left behind"] = [name for name, value in snapshot().items() if "windfall" in value]
    found["finders"] = [repr(finder) for finder in sys.meta_path if "windfall" in repr(finder)]
    found["after uninstall"] = text(lambda: coremltools.models.MLModel(network().spec).predict({"x": X}))
    windfall.interop.coremltools.install()
    found["installed again"] = numbers(coremltools.models.MLModel(network().spec).predict({"x": X}))
    sys.stdout.write(json.dumps(found))


def snapshot():
    """Return everything in coremltools' modules that ``install`` could change."""
    return {
        f"{name}.{key}": repr(value) + str(getattr(value, "__module__", ""))
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0] == "coremltools"
        for key, value in vars(module).items()
        if key.endswith("Proxy") or key in ("libcoremlpython", "_is_macos", "_macos_version")
    }


def network(**options):
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    builder = NeuralNetworkBuilder([("x", datatypes.Array(3))], [("y", datatypes.Array(3))], **options)
    builder.add_activation("relu", "RELU", "x", "y")
    return builder


def predictions(coremltools):
    from coremltools.models import CompiledMLModel, MLModel
    from coremltools.models.utils import compile_model

    spec = network().spec
    model = MLModel(spec)
    compiled = compile_model(spec)
    moved = Path(tempfile.mkdtemp()) / "moved.mlmodelc"
    compile_model(spec, str(moved))
    asset = coremltools.models.model.MLModelAsset
    hints = {"reshapeFrequency": coremltools.ReshapeFrequency.Frequent}
    found = {
        "predict": numbers(model.predict({"x": X})),
        "batch": [numbers(result) for result in model.predict(BATCH)],
        "durations": model.load_duration_in_nano_seconds > 0 < model.last_predict_duration_in_nano_seconds,
        "hints": numbers(MLModel(spec, optimization_hints=hints).predict({"x": X})),
        "compiled": numbers(CompiledMLModel(compiled).predict({"x": X})),
        "compiled batch": [numbers(result) for result in CompiledMLModel(compiled).predict(BATCH)],
        "compiled elsewhere": numbers(CompiledMLModel(str(moved)).predict({"x": X})),
        "compiled path": numbers(CompiledMLModel(model.get_compiled_model_path()).predict({"x": X})),
        "asset": numbers(CompiledMLModel.from_asset(asset.from_path(compiled)).predict({"x": X})),
        "asset in memory": numbers(
            CompiledMLModel.from_asset(asset.from_memory(spec.SerializeToString())).predict({"x": X})
        ),
    }
    shutil.rmtree(moved.parent)
    return found


def programs(coremltools):
    """Return what an ML program with weights and a state gives: total += x * weights."""
    from coremltools.converters.mil import Builder
    from coremltools.models.compute_plan import MLComputePlan

    weights = np.arange(1, 31, dtype=np.float32)
    kept = Builder.StateTensorSpec((30,), dtype=coremltools.converters.mil.mil.types.fp16)
    specs = [Builder.TensorSpec((30,), dtype=coremltools.converters.mil.mil.types.fp16), kept]

    @Builder.program(input_specs=specs, opset_version=coremltools.target.iOS18)
    def program(x, total):
        product = Builder.mul(x=x, y=weights.astype(np.float16))
        return Builder.coreml_update_state(state=total, value=Builder.add(x=Builder.read_state(input=total), y=product))

    model = coremltools.convert(program, minimum_deployment_target=coremltools.target.iOS18)
    x, state = {"x": np.full(30, 2.0)}, model.make_state()
    plan = MLComputePlan.load_from_path(model.get_compiled_model_path())
    operations = plan.model_structure.program.functions["main"].block.operations
    costs = {o.operator_name: plan.get_estimated_cost_for_mlprogram_operation(o) for o in operations}
    results = [next(iter(model.predict(x, state).values())) for _ in range(3)]
    state.write_state("total", np.zeros(30))
    blobs = {"weights/weight.bin": (Path(model.weights_dir) / "weight.bin").read_bytes()}
    asset = coremltools.models.model.MLModelAsset.from_memory(model.get_spec().SerializeToString(), blobs)
    compiled = coremltools.models.CompiledMLModel.from_asset(asset)
    return {
        "state": [(result / weights).tolist() == [2.0 * step] * 30 for step, result in enumerate(results, 1)],
        "state is written": [state.read_state("total").tolist() == [0] * 30, str(state.read_state("total").dtype)],
        "no such state": text(lambda: state.read_state("sum")),
        "costs": {name: cost and cost.weight for name, cost in costs.items()},
        "program's devices": [plan.get_compute_device_usage_for_mlprogram_operation(o) is not None for o in operations]
        == [o.operator_name != "const" for o in operations],
        "program in memory": next(iter(compiled.predict(x, compiled.make_state()).values())).tolist(),
    }


def queries(coremltools):
    from coremltools.models.compute_plan import MLComputePlan, MLModelStructure

    compiled = coremltools.models.utils.compile_model(network().spec)
    plan = MLComputePlan.load_from_path(compiled)
    layer = plan.model_structure.neuralnetwork.layers[0]
    usage = plan.get_compute_device_usage_for_neuralnetwork_layer(layer)
    spec = network(disable_rank5_shape_mapping=False).spec
    spec.specificationVersion = 7
    pipeline = coremltools.proto.Model_pb2.Model(specificationVersion=4)
    pipeline.pipeline.names.append("first")
    pipeline.pipeline.models.add().CopyFrom(spec)
    members = MLModelStructure.load_from_path(coremltools.models.utils.compile_model(pipeline)).pipeline.sub_models
    saved = Path(compiled) / "saved.mlmodel"
    coremltools.models.utils.save_spec(spec, str(saved), auto_set_specification_version=True)
    return {
        "devices": [type(device).__name__ for device in coremltools.models.MLModel.get_available_compute_devices()],
        "layer": [layer.name, layer.type, layer.input_names, layer.output_names],
        "same structure": MLModelStructure.load_from_path(compiled) == plan.model_structure,
        "members": [[name, member.neuralnetwork.layers[0].name] for name, member in members],
        "runs on": [type(usage.preferred_compute_device).__name__, len(usage.supported_compute_devices)],
        "saved version": coremltools.models.utils.load_spec(str(saved)).specificationVersion,
    }


def refusals(coremltools):
    from coremltools.models import MLModel

    spec = network().spec
    custom = network().spec
    custom.neuralNetwork.layers[0].custom.className = "Sparkle"
    program = coremltools.proto.Model_pb2.Model(specificationVersion=8)
    block = program.mlProgram.functions["main"].block_specializations["CoreML7"]
    block.operations.add(type="warp").outputs.add(name="w")
    compiled = coremltools.models.utils.compile_model(program)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        refused = MLModel(custom)
    return {
        "warning": [str(warning.message) for warning in caught if warning.category is RuntimeWarning],
        "custom layer": text(lambda: refused.predict({"x": X})),
        "missing input": text(lambda: MLModel(spec).predict({})),
        "state of none": text(lambda: MLModel(spec).make_state()),
        "program": text(lambda: coremltools.models.CompiledMLModel(compiled)),
    }


def numbers(result):
    return {name: value.tolist() for name, value in result.items()}


def text(function):
    """Return the error that a function raises."""
    try:
        return f"no error: {function()}"
    except Exception as error:  # noqa: BLE001  # coremltools raises Exception itself
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main(sys.argv[1])
