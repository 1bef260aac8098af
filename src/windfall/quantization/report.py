"""What quantizing did to each layer: its bytes, and how far its weights moved."""

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from windfall.description.weights import stored_weights
from windfall.errors import FormatError
from windfall.model import Model
from windfall.quantization.calibration.samples import CALIBRATED, Calibration
from windfall.quantization.networks import Layer, Step, layers
from windfall.quantization.weight import stored, values_of
from windfall.text import bytes_text, safe

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class LayerChange:
    """One layer before and after.

    Attributes:
        layer: Its name, behind those of what it lies in.
        type: A member of the specification's ``oneof layer``.
        values: How many numbers its weights have.
        bytes_before: What they took, scales and tables with them.
        bytes_after: What they take now.
        bits: How many bits a number takes on average now, scales and tables with it.
        snr: The signal-to-noise ratio of the weights in decibels: the sum of their squares over that of what changed.
            None where nothing changed.
        calibration: Whether its weights were fitted to samples: ``calibrated``, or why some of them were not; "" where
            there was no calibration.
    """

    layer: str
    type: str
    values: int
    bytes_before: int
    bytes_after: int
    bits: float
    snr: float | None
    calibration: str = ""


@dataclass(frozen=True)
class QuantizationReport:
    """What quantizing did to a model.

    Attributes:
        layers: Its layers with weights, in the model's order.
        size_before: The size of the model's file in bytes.
        size_after: The same of the new one.
    """

    layers: tuple[LayerChange, ...]
    size_before: int
    size_after: int

    @property
    def total(self) -> LayerChange:
        """All layers as one, without a signal-to-noise ratio."""
        values = sum(layer.values for layer in self.layers)
        after = sum(layer.bytes_after for layer in self.layers)
        before = sum(layer.bytes_before for layer in self.layers)
        return LayerChange("", "", values, before, after, _bits(after, values), None)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary for JSON."""
        total = asdict(self.total)
        sums = {name: total[name] for name in ("values", "bytes_before", "bytes_after", "bits")}
        sizes = {"size_before": self.size_before, "size_after": self.size_after}
        return {**sizes, **sums, "layers": [asdict(layer) for layer in self.layers]}


def quantization_report(
    before: Model, after: Model, step: Step = lambda: None, calibration: Calibration | None = None
) -> QuantizationReport:
    """Compare the weights of a model with those of what ``quantize_weights`` made of it.

    Args:
        before: The model.
        after: The same with other weights.
        step: Called after each layer.
        calibration: What the weights were fitted to.

    Raises:
        FormatError: They are not the same layers with weights of the same shapes.
    """
    first, second = (list(layers(model._file, model._file.spec)) for model in (before, after))
    if [_shapes(layer) for layer in first] != [_shapes(layer) for layer in second]:
        raise FormatError(
            f"{after._file.name} does not have the layers of {before._file.name}, must differ in weights alone"
        )
    changes = []
    for old, new in zip(first, second, strict=True):
        change = _change(before, after, old, new)
        changes.append(change if calibration is None else replace(change, calibration=calibration.outcome(old.path)))
        step()
    return QuantizationReport(tuple(changes), before._file.size, after._file.size)


def _shapes(layer: Layer) -> tuple[object, ...]:
    return layer.path, tuple((weight.field, weight.shape) for weight in layer.weights)


def _change(before: Model, after: Model, old: Layer, new: Layer) -> LayerChange:
    before_size, after_size = _size(before, old), _size(after, new)
    values = sum(weight.size for weight in new.weights)
    bits = _bits(after_size, values)
    return LayerChange(old.path, old.type, values, before_size, after_size, bits, _snr(before, after, old, new))


def _size(model: Model, layer: Layer) -> int:
    if layer.is_program:
        return sum(how.size for weight in layer.weights if (how := stored(model._file, weight)) is not None)
    return sum(weight.size for weight in stored_weights(model._file, layer.message, nested=False))


def _bits(size: int, values: int) -> float:
    return size * 8 / values if values else 0.0


def _snr(before: Model, after: Model, old: Layer, new: Layer) -> float | None:
    signal = noise = 0.0
    for first, second in zip(old.weights, new.weights, strict=True):
        was = values_of(before._file, first).reshape(-1)
        error = np.subtract(values_of(after._file, second).reshape(-1), was)
        signal += _energy(was)
        noise += _energy(error)
    if noise == 0 or signal == 0 or not math.isfinite(signal + noise):
        return None
    return 10 * math.log10(signal / noise)


def _energy(values: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    return float(np.einsum("i,i->", values, values, dtype=np.float64))


def report_table(report: QuantizationReport) -> "Table":
    """Return a report as a table to print; layers of which nothing changed are left out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    changed = [layer for layer in report.layers if layer.bytes_after != layer.bytes_before or layer.snr is not None]
    total = report.total
    table.add_column("Layer", f"{len(changed)} of {len(report.layers)} layers", overflow="fold")
    for header, footer in (
        ("Values", f"{total.values:,}"),
        ("Before", bytes_text(total.bytes_before)),
        ("After", bytes_text(total.bytes_after)),
        ("Bits", f"{total.bits:.2f}"),
        ("SNR", ""),
    ):
        table.add_column(header, footer, justify="right", no_wrap=True)
    is_calibrated = any(layer.calibration for layer in changed)
    if is_calibrated:
        table.add_column("Calibrated", overflow="fold")
    for layer in changed:
        snr = "exact" if layer.snr is None else f"{layer.snr:.1f} dB"
        sizes = bytes_text(layer.bytes_before), bytes_text(layer.bytes_after)
        fitted = [{CALIBRATED: "yes"}.get(layer.calibration, layer.calibration)] if is_calibrated else []
        table.add_row(Text(safe(layer.layer)), f"{layer.values:,}", *sizes, f"{layer.bits:.2f}", snr, *fitted)
    return table
