"""Weights in fewer bits, fitted to what a model computes for samples."""

from windfall.quantization.calibration.samples import CALIBRATED, Calibration

__all__ = ["CALIBRATED", "Calibration"]
