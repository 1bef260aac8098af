"""A program as coremltools converts it."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np


def save_converted(folder: Path, opset: int, dtype: Any) -> Path:
    """Convert two convolutions, a transposed one, and two products, and save them as a package.

    Args:
        folder: Where it is saved.
        opset: 6 for iOS 16, 8 for iOS 18.
        dtype: The type that it computes in.
    """
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools
        from coremltools.converters.mil import Builder as mb  # noqa: N813  # what everybody calls it

        rng = np.random.default_rng(0)

        def array(*shape: int) -> Any:
            return rng.normal(size=shape).astype(np.float32) / np.sqrt(np.prod(shape[1:]))

        target = {6: coremltools.target.iOS16, 8: coremltools.target.iOS18}[opset]

        @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4, 8, 8))], opset_version=target)  # type: ignore[untyped-decorator]
        def program(x: Any) -> Any:
            first = mb.relu(x=mb.conv(x=x, weight=array(16, 4, 3, 3), bias=array(16), pad_type="same", name="first"))
            second = mb.conv(x=first, weight=array(12, 8, 3, 3), groups=2, strides=[2, 2], name="second")
            up = mb.conv_transpose(x=mb.relu(x=second), weight=array(12, 10, 2, 2), strides=[2, 2], name="up")
            rows = mb.linear(x=mb.reshape(x=up, shape=[10, 36]), weight=array(24, 36), bias=array(24), name="rows")
            return mb.matmul(x=mb.relu(x=rows), y=array(24, 20), name="fc")

        precision = {np.float32: coremltools.precision.FLOAT32, np.float16: coremltools.precision.FLOAT16}[dtype]
        model = coremltools.convert(
            program, convert_to="mlprogram", minimum_deployment_target=target, compute_precision=precision,
            skip_model_load=True,
        )  # fmt: skip
        path = folder / "model.mlpackage"
        model.save(str(path))
    logging.disable(logging.NOTSET)
    return path
