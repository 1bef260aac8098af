"""Devices, the structure of a model, and the plan for running it, as coremltools' classes.

The functions import coremltools: they are called by it alone.
"""

from typing import Any

from windfall.errors import UnsupportedError
from windfall.spec.proto import NEURAL_NETWORK_TYPES

_PIPELINES = ("pipeline", "pipelineClassifier", "pipelineRegressor")


class MLCPUComputeDeviceProxy:
    """The processor, on which everything runs."""


class MLGPUComputeDeviceProxy:
    """A graphics processor; none is ever listed."""


class MLNeuralEngineComputeDeviceProxy:
    """A Neural Engine; none is ever listed."""


class MLComputePlanProxy:
    """Says where each layer of a model runs: on the processor.

    Args:
        model_structure: An ``MLModelStructure`` of coremltools.
    """

    def __init__(self, model_structure: Any = None) -> None:
        self._model_structure = model_structure

    @property
    def model_structure(self) -> Any:
        """The structure of the model."""
        return self._model_structure

    def get_compute_device_usage_for_neuralnetwork_layer(self, _layer: Any) -> Any:
        """Return where a layer runs."""
        from coremltools.models.compute_plan import MLComputePlanDeviceUsage

        devices = cpu_devices()
        return MLComputePlanDeviceUsage(preferred_compute_device=devices[0], supported_compute_devices=devices)

    def get_compute_device_usage_for_mlprogram_operation(self, _operation: Any) -> None:
        """Return None, which says that it is not known: ML programs do not run yet."""

    def get_estimated_cost_for_mlprogram_operation(self, _operation: Any) -> None:
        """Return None, which says that it is not known: ML programs do not run yet."""


def cpu_devices() -> list[Any]:
    """Return the devices that there are, as ``MLComputeDevice``: the processor."""
    from coremltools.models.compute_device import MLCPUComputeDevice

    return [MLCPUComputeDevice(MLCPUComputeDeviceProxy())]


def model_structure(spec: Any, name: str) -> Any:
    """Return the structure of a model as coremltools' ``MLModelStructure``.

    Models of other types than neural networks and pipelines have one that is empty, as in Core ML.

    Args:
        spec: The ``Model`` message.
        name: What it is called, for messages.

    Raises:
        UnsupportedError: It is an ML program, or a pipeline with one in it.
    """
    from coremltools.models.compute_plan import MLModelStructure, MLModelStructurePipeline

    kind = spec.WhichOneof("Type")
    if kind == "mlProgram":
        raise UnsupportedError(
            f"{name} is of type mlProgram, whose structure is not told yet; see its operations with: windfall inspect"
        )
    network = _network_structure(getattr(spec, kind)) if kind in NEURAL_NETWORK_TYPES else None
    pipeline = None
    if kind in _PIPELINES:
        from windfall.description.parts import pipeline_members

        members = [(label, model_structure(model, label)) for label, model in pipeline_members(spec)]
        pipeline = MLModelStructurePipeline(sub_models=members)
    return MLModelStructure(neuralnetwork=network, program=None, pipeline=pipeline)


def _network_structure(network: Any) -> Any:
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
