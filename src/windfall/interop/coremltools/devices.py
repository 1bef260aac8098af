"""Devices, and the plan for running a model on them, as coremltools' classes.

The functions import coremltools: they are called by it alone.
"""

from typing import Any


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
        return _usage()

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> Any:
        """Return where an operation runs, None for a constant, which does not run."""
        return None if operation.__proxy__ is None else _usage()

    def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> Any:
        """Return an operation's share of the work of its block, None for a constant."""
        from coremltools.models.compute_plan import MLComputePlanCost

        return None if operation.__proxy__ is None else MLComputePlanCost(weight=operation.__proxy__)


def _usage() -> Any:
    from coremltools.models.compute_plan import MLComputePlanDeviceUsage

    devices = cpu_devices()
    return MLComputePlanDeviceUsage(preferred_compute_device=devices[0], supported_compute_devices=devices)


def cpu_devices() -> list[Any]:
    """Return the devices that there are, as ``MLComputeDevice``: the processor."""
    from coremltools.models.compute_device import MLCPUComputeDevice

    return [MLCPUComputeDevice(MLCPUComputeDeviceProxy())]
