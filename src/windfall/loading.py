"""Load a model."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from windfall.custom.registry import Classes
from windfall.model import Model
from windfall.runtime.engine import checked_options
from windfall.spec.modelfile import from_spec, read_model_file

if TYPE_CHECKING:
    from windfall.custom.extractors import Function
    from windfall.custom.linked import Folders, LinkedFolders
    from windfall.custom.registry import Given


def load(  # noqa: PLR0913  # keywords, each for itself
    model: str | os.PathLike[str] | Any,
    *,
    compute_units: str = "all",
    threads: int | None = None,
    engine: str = "auto",
    device: str | None = None,
    strict: bool = False,
    function: str = "",
    feature_extractor: "Function | Mapping[str, Function] | None" = None,
    linked_models: "Folders | None" = None,
    weights: str = "expanded",
    custom_layers: "Given | None" = None,
    custom_models: "Given | None" = None,
    arithmetic: str = "float32",
    calibration: Any = None,
) -> Model:
    """Load a Core ML model.

    The file is parsed and checked at once; the model is compiled on its first prediction.

    Args:
        model: The path of an ``.mlmodel``, ``.mlpackage`` or ``.mlmodelc``, or a ``Model`` protobuf message (what
            coremltools calls a spec).
        compute_units: The devices that may be used: ``all``, ``cpu_only``, ``cpu_and_gpu`` or ``cpu_and_ne``.
        threads: How many threads one prediction may use; None for all cores.
        engine: What computes: ``onnxruntime``; ``openvino``, for what it takes; or ``auto``, the faster of the two. It
            is found by timing both when a model of some size is first compiled, and remembered.
        device: The device to compute on, by its name: ``cpu``, ``cuda``, ``tensorrt``, ``directml``, ``coreml-gpu``,
            ``coreml-ne``, ``openvino-gpu`` or ``openvino-npu``; or ``gpu`` or ``ne``, any of a kind. None for the best
            that ``compute_units`` allows. What the device has not runs on the processor.
        strict: Whether it is an error that the device is not there; else a ``DeviceWarning`` says so, and the processor
            runs the model.
        function: The function of an ML program to run; its own default where none is named.
        feature_extractor: What stands for models that are part of Apple's systems, such as ``visionFeaturePrint``:
            a function, or a mapping to functions from types or from names of members. A function is given the value of
            the member's input, and returns that of its output; several are dictionaries by name.
        linked_models: The folder, or folders, in which models may lie that this one links to; none by default.
        custom_layers: Classes for custom layers, besides those registered with ``windfall.custom_layer``: a mapping
            from class names in the model, or a list of installed packages that offer some.
        custom_models: The same for custom models.
        weights: How quantized weights are held in memory: ``expanded``, as float32, which is mostly fastest; or
            ``compressed``, as they are stored, to be expanded layer by layer in each prediction, or multiplied by as
            they are. The results are the same but for the rounding of float32.
        arithmetic: ``float32``; or ``int8``, in which convolutions and matrix products multiply numbers of 8 bits.
            Those that the results need in float32 stay so. The file is not changed.
        calibration: For ``int8``: samples of what the model will be given, as ``windfall.compare`` takes them.

    Raises:
        FormatError: The file, or one that it links to, is missing, is no Core ML model or is damaged.
        UnsupportedError: An argument has a value that windfall does not know, or that is of no use to the model; or
            the device is not there, and ``strict`` is set.

    Warns:
        DeviceWarning: The device is not there.
    """
    options = checked_options(threads, compute_units, weights, engine=engine, device=device, strict=strict)
    int8 = None
    if arithmetic != "float32" or calibration is not None:
        from windfall.quantization.activations.arithmetic import checked_arithmetic

        int8 = checked_arithmetic(arithmetic, calibration, weights)
    is_path = isinstance(model, str | os.PathLike)
    file = read_model_file(model) if is_path else from_spec(model)
    links = None if linked_models is None else _linked_folders(linked_models)
    classes = Classes(custom_layers, custom_models)
    loaded = Model(file, options, engine, function, links, classes)
    if int8 is not None:
        from windfall.quantization.activations.arithmetic import check_one_graph

        check_one_graph(loaded)
        loaded._int8 = int8
    if feature_extractor is None and not loaded._has_custom_models():
        return loaded
    from windfall.custom.staged import StagedModel

    return StagedModel(file, options, engine, function, links, classes, given=feature_extractor)


def _linked_folders(folders: "Folders") -> "LinkedFolders":
    from windfall.custom.linked import LinkedFolders

    return LinkedFolders(folders)
