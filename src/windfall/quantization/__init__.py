"""Weights in fewer bits: what neural networks allow, 16 and 8 to 1."""

from windfall.quantization.calibration.samples import Calibration
from windfall.quantization.quantize import quantize_weights
from windfall.quantization.report import LayerChange, QuantizationReport, quantization_report
from windfall.quantization.weight import Weight

__all__ = ["Calibration", "LayerChange", "QuantizationReport", "Weight", "quantization_report", "quantize_weights"]
