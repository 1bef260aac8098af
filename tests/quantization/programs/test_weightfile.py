"""The new weight file, read before it is finished."""

from typing import Any

import numpy as np
import pytest

import windfall
from tests.quantization.programs.models import linear_spec
from windfall.quantization.programs.weightfile import UnfinishedFile, WeightFile
from windfall.spec.proto import MIL_pb2


def test_what_was_put_is_read_back_while_more_is_put() -> None:
    model = windfall.load(linear_spec(np.ones((4, 8), np.float32)))
    weights = WeightFile()
    file = UnfinishedFile(model._file, model.message, weights)
    rng = np.random.default_rng(0)
    put: list[tuple[Any, Any]] = []
    for data_type, array in (
        (MIL_pb2.UINT3, rng.integers(0, 8, 77).astype(np.uint8)),
        (MIL_pb2.INT4, rng.integers(-8, 8, 33).astype(np.int8)),
        (MIL_pb2.FLOAT16, rng.normal(size=50).astype(np.float16)),
        (MIL_pb2.FLOAT32, rng.normal(size=10).astype(np.float32)),
    ):
        value = MIL_pb2.Value()
        weights.put(value, array, data_type)
        put.append((value.blobFileValue, array))
        for place, expected in put:
            blob = file.with_spec(model.message, {}).blob(place.fileName, place.offset)
            np.testing.assert_array_equal(blob.read(), expected)
    with pytest.raises(windfall.FormatError, match=r"at 8: an offset must be a multiple of 64"):
        file.blob(put[0][0].fileName, 8)
    with pytest.raises(windfall.FormatError, match="came without its weight files"):
        file.blob("@model_path/weights/weight.bin", 64)
    weights.close()
