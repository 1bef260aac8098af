"""The structure of a model as coremltools' classes.

The functions import coremltools: they are called by it alone.
"""

from collections.abc import Sequence
from typing import Any

from windfall.interop.coremltools.costs import relative_costs
from windfall.spec.pipelines import PIPELINES, pipeline_members
from windfall.spec.proto import NEURAL_NETWORK_TYPES


def model_structure(spec: Any) -> Any:
    """Return the structure of a model as coremltools' ``MLModelStructure``.

    Models of other types than neural networks, ML programs and pipelines have one that is empty, as in Core ML.

    Args:
        spec: The ``Model`` message.
    """
    from coremltools.models.compute_plan import MLModelStructure, MLModelStructurePipeline

    kind = spec.WhichOneof("Type")
    network = _network(getattr(spec, kind)) if kind in NEURAL_NETWORK_TYPES else None
    program = _program(spec.mlProgram) if kind == "mlProgram" else None
    pipeline = None
    if kind in PIPELINES:
        members = [(label, model_structure(model)) for label, model in pipeline_members(spec)]
        pipeline = MLModelStructurePipeline(sub_models=members)
    return MLModelStructure(neuralnetwork=network, program=program, pipeline=pipeline)


def _network(network: Any) -> Any:
    from coremltools.models.compute_plan import MLModelStructureNeuralNetwork, MLModelStructureNeuralNetworkLayer

    return MLModelStructureNeuralNetwork(
        layers=[
            MLModelStructureNeuralNetworkLayer(
                name=layer.name,
                type=layer.WhichOneof("layer") or "",
                input_names=list(layer.input),
                output_names=list(layer.output),
                __proxy__=None,
            )
            for layer in network.layers
        ]
    )


def _program(program: Any) -> Any:
    from coremltools.models.compute_plan import MLModelStructureProgram, MLModelStructureProgramFunction

    return MLModelStructureProgram(
        functions={
            name: MLModelStructureProgramFunction(
                inputs=_named(function.inputs),
                block=_block(function.block_specializations[function.opset], function.inputs),
            )
            for name, function in program.functions.items()
            if function.opset in function.block_specializations
        }
    )


def _block(block: Any, inputs: Sequence[Any]) -> Any:
    from coremltools.models.compute_plan import MLModelStructureProgramBlock

    costs = relative_costs(block.operations, inputs)
    return MLModelStructureProgramBlock(
        inputs=_named(block.inputs),
        operations=[_operation(operation, cost) for operation, cost in zip(block.operations, costs, strict=True)],
        output_names=list(block.outputs),
    )


def _operation(operation: Any, cost: float | None) -> Any:
    """Return the structure of an operation; its proxy is its share of the work."""
    from coremltools.models.compute_plan import MLModelStructureProgramArgument, MLModelStructureProgramOperation

    return MLModelStructureProgramOperation(
        inputs={
            name: MLModelStructureProgramArgument(bindings=[_binding(binding) for binding in argument.arguments])
            for name, argument in operation.inputs.items()
        },
        operator_name=operation.type,
        outputs=_named(operation.outputs),
        blocks=[_block(inner, inner.inputs) for inner in operation.blocks],
        __proxy__=cost,
    )


def _binding(binding: Any) -> Any:
    from coremltools.models.compute_plan import MLModelStructureProgramBinding, MLModelStructureProgramValue

    if binding.WhichOneof("binding") == "name":
        return MLModelStructureProgramBinding(name=binding.name, value=None)
    return MLModelStructureProgramBinding(name=None, value=MLModelStructureProgramValue())


def _named(values: Sequence[Any]) -> list[Any]:
    from coremltools.models.compute_plan import MLModelStructureProgramNamedValueType, MLModelStructureProgramValueType

    kind = MLModelStructureProgramValueType()
    return [MLModelStructureProgramNamedValueType(name=value.name, type=kind) for value in values]
