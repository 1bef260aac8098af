"""Store the weights of neural networks and ML programs in fewer bits."""

from contextlib import closing
from typing import Any

from windfall.model import Model
from windfall.quantization.calibration.samples import Calibration
from windfall.quantization.codecs import DEQUANTIZE, LutFunction
from windfall.quantization.networks import Step, layers, networks, parts
from windfall.quantization.output import Output, finish, store
from windfall.quantization.plans import FLOATS, Planned, check_granularity, layer_bits, program_weights_of
from windfall.quantization.programs.opsets import raise_version
from windfall.quantization.programs.opsets import upgrade as upgrade_program
from windfall.quantization.programs.quantizing import check_opset, needed_opset
from windfall.quantization.selection import Select
from windfall.quantization.settings import GROUP_SIZE, SMALLEST, Settings
from windfall.quantization.weight import stored, weight_error
from windfall.spec.modelfile import ModelFile
from windfall.spec.proto import Model_pb2


def quantize_weights(  # noqa: PLR0913  # those after the first are settings, given by name
    model: Model,
    bits: int = 8,
    mode: str = "linear",
    granularity: str | None = None,
    select: Select | None = None,
    function: LutFunction | None = None,
    *,
    group_size: int = GROUP_SIZE,
    requantize: bool = False,
    smallest: int = SMALLEST,
    upgrade: bool = False,
    calibration: Any = None,
) -> Model:
    """Store the weights of neural networks and ML programs in fewer bits; those in a pipeline too.

    Biases and other vectors stay as they are, and so do weights of few values, weights that would take more bytes than
    before, constants of whole numbers, which may be indices, and layers that the phone may train.

    Args:
        model: The model; it is not changed.
        bits: How many bits a weight gets: 1 to 8, or 16 for float16. A layer's float weights are all of one kind, so
            with 16 its biases become float16 too.
        mode: ``linear``: evenly from the least value to the greatest. ``linear_symmetric``: evenly around 0, 2 to 8
            bits. ``linear_lut``: the same as ``linear``, as a lookup table. ``kmeans``: the lookup table with the least
            squared error. ``custom_lut``: what ``function`` returns. ``dequantize``: back to float32, in ML programs to
            the type that is declared. ML programs hold 4 and 8 bits in the linear modes, 1, 2, 3, 4, 6 and 8 in tables;
            there ``linear`` has a range that 0 lies in.
        granularity: What has a scale, or a lookup table, of its own: ``per_tensor``, the whole weight, the default for
            tables; ``per_channel``, each output channel, the default for the linear modes; ``per_grouped_channel``,
            ``group_size`` output channels; ``per_block``, ``group_size`` values of a channel along the input channels.
            Neural networks have the first two in the linear modes, and the first for tables.
        select: Which layers: a name or a pattern such as ``"conv*"``, or several; a mapping from such to bits, or to
            None for layers to leave alone, where other layers get ``bits``; or a function that is given each
            ``Weight``, vectors too, and returns bits, True for ``bits``, or None.
        function: For ``custom_lut``: is given bits and a weight, returns a table of 2**bits numbers and the indices.
        group_size: See ``granularity``. A weight whose size it does not divide has a scale or table for each channel.
        requantize: Also take weights that are quantized already; what they stand for now is quantized anew.
        smallest: How many values a weight must have to be taken, unless ``select`` is a function.
        upgrade: Whether ML programs may be raised to the first opset that can hold such weights, which needs a later
            iOS: 16 for 8 bits and for one table of 1, 2, 4, 6 or 8 bits; 18 for all else.
        calibration: Samples for which the layers' outputs are to change least, instead of their weights: what
            ``windfall.compare`` takes, or a ``Calibration``, which is told which weights could be fitted. Biases of the
            layers change, too. 16 bits, granularities of blocks or groups of channels, and several tables for a weight
            are as without.

    Returns:
        A new model.

    Raises:
        UnsupportedError: The format or windfall does not have what is asked for, or ``select`` names no layer.
        FormatError: A weight is not finite, does not fit its layer or is quantized already, or ``function`` returned
            what is no table with indices.
        FeatureError: There are no samples to calibrate with, one does not fit the model, or it leads to values that are
            not finite.
    """
    given = Calibration.of(calibration)
    return quantized(
        model, Settings(bits, mode, granularity, select, function, requantize, smallest, group_size, upgrade, given)
    )


def quantized(model: Model, settings: Settings, step: Step = lambda: None) -> Model:
    """Return a model with weights stored as the settings say.

    Args:
        model: The model; it is not changed.
        settings: What is wanted.
        step: Called after each layer.
    """
    file = model._file
    spec = Model_pb2.Model()
    spec.CopyFrom(file.spec)  # weights that still lie in the file are not copied
    plan = _raised(file, spec, settings, _plan(file, spec, settings))
    out = Output(file, spec)
    with closing(out):
        if settings.calibration is not None:
            from windfall.quantization.calibration.session import Session  # it needs all that compiles a model

            out.session = Session(model, spec, plan, settings, out.weights)
        for old, (layer, bits) in zip(layers(file, file.spec), plan, strict=True):
            for before, weight, wanted in zip(old.weights, layer.weights, bits, strict=True):
                if wanted is not None:
                    store(file, before, weight, wanted, settings, out)
            if out.session is not None:
                out.session.finish()
            finish(layer, bits)
            step()
        return model._of_file(out.finish())


def count_layers(model: Model) -> int:
    """Return how many layers have weights."""
    return sum(1 for _ in layers(model._file, model._file.spec))


def _plan(file: ModelFile, spec: Any, settings: Settings) -> list[Planned]:
    """Decide on every weight before any is changed."""
    selection = settings.selection()
    if networks(file, spec) and settings.mode != DEQUANTIZE:
        check_granularity(file, settings)
    plan = [(layer, layer_bits(file, layer, settings, selection)) for layer in layers(file, spec)]
    selection.check_all_used(file.name)
    if not settings.requantize and settings.mode != DEQUANTIZE:
        _refuse_quantized(file, plan)
    return plan


def _raised(file: ModelFile, spec: Any, settings: Settings, plan: list[Planned]) -> list[Planned]:
    """Raise programs to the opset that their new weights need, where that is allowed.

    Raises:
        UnsupportedError: It is not allowed, or a program cannot be raised.
    """
    needs: dict[int, int] = {}
    for layer, bits in plan:
        for weight, wanted in zip(program_weights_of(layer.weights), bits, strict=False):
            if wanted is not None:
                if not settings.upgrade:
                    check_opset(weight, wanted, settings, file)
                program = id(layer.models[-1])
                needs[program] = max(needs.get(program, 0), needed_opset(weight, wanted, settings))
    for part in parts(file, spec):
        opset = needs.get(id(part.models[-1]), 0)
        if part.is_program and opset:
            upgrade_program(part.message, opset, file.name)
            raise_version(part.models, opset)
    if not settings.upgrade:
        return plan
    # A program that was raised has other messages.
    return [(layer, bits) for layer, (_, bits) in zip(layers(file, spec), plan, strict=True)]


def _refuse_quantized(file: ModelFile, plan: list[Planned]) -> None:
    found = []
    for layer, wanted in plan:
        for weight, bits in zip(layer.weights, wanted, strict=True):
            how = stored(file, weight)
            if bits is not None and how is not None and how.field not in FLOATS:
                found.append((weight, how.bits))
    if found:
        weight, bits = found[0]
        others = len(found) - 1
        more = f", as {'is' if others == 1 else 'are'} {others} other weight{'s'[: others > 1]}" if others else ""
        rule = f"is quantized to {bits} bits already{more}; give requantize=True, or start from the original"
        raise weight_error(weight, rule, file)
