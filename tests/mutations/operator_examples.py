"""Arguments that fit the operators with the strictest rules."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.programs import Input, Output, Typed
from windfall.spec.proto import MIL_pb2


def _numbers(*shape: int) -> Any:
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


_PICTURE = Input(_numbers(1, 2, 4, 4))
_MATRIX = Input(_numbers(2, 3))
_POOL = {"x": _PICTURE, "kernel_sizes": [2, 2], "strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 0, 0],
         "ceil_mode": np.bool_(True)}  # fmt: skip
_CONV = {"x": _PICTURE, "weight": _numbers(2, 2, 3, 3), "bias": _numbers(2), "strides": [1, 2], "pad_type": "custom",
         "pad": [1, 1, 0, 1], "dilations": [1, 1], "groups": 1}  # fmt: skip
_RECURRENT = {"x": Input(_numbers(3, 1, 2)), "initial_h": Input(_numbers(1, 2)), "output_sequence": np.bool_(True),
              "direction": "forward"}  # fmt: skip
_RESIZING = {"x": _PICTURE, "sampling_mode": "DEFAULT"}
_SAMPLING = {"x": _PICTURE, "sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": np.float32(0),
             "coordinates_mode": "normalized_minus_one_to_one", "align_corners": np.bool_(True)}  # fmt: skip
_SCATTER = {"data": _MATRIX, "axis": 0, "mode": "add", "validate_indices": np.bool_(False)}
_SLICE = {"x": _MATRIX, "begin": Input(np.int32([0, 1])), "end": Input(np.int32([2, 3])), "stride": [1, 1],
          "begin_mask": np.array([False, True]), "end_mask": np.array([False, False]),
          "squeeze_mask": np.array([False, False])}  # fmt: skip
_BLOCKS = {"x": Input(_numbers(4, 2, 4, 4)), "block_shape": [2, 2]}
_TRUTH = Input(np.array([[True, False, True], [False, True, True]]))
_BYTES = Input(np.int8([[1, -2], [3, 4]]))
_INDICES = Input(np.int32([0, 1]))
_SPARSE = {"indices_mask": Typed(b"\x0b", MIL_pb2.UINT1, (4,)), "lut": _numbers(1, 4, 1)}

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "affine": {**_SAMPLING, "transform_matrix": Input(_numbers(1, 6)), "output_height": 3, "output_width": 3},
    "avg_pool": {**_POOL, "exclude_padding_from_average": np.bool_(True)},
    "band_part": {"x": _MATRIX, "lower": 1, "upper": 0},
    "batch_norm": {"x": _PICTURE, "mean": _numbers(2), "variance": _numbers(2), "gamma": _numbers(2)},
    "batch_to_space": {**_BLOCKS, "crops": np.int32([[0, 1], [1, 0]])},
    "concat": {"values": [_MATRIX, _MATRIX], "axis": 1, "interleave": np.bool_(True)},
    "constexpr_affine_dequantize": {"quantized_data": np.int8([[1, 2]]), "zero_point": np.int8([0]), "axis": 0,
                                    "scale": np.float32([2])},
    "constexpr_blockwise_shift_scale": {"data": np.int8([[1, 2], [3, 4]]), "scale": _numbers(2, 1),
                                        "offset": np.int8([[1], [2]])},
    "constexpr_cast": {"source_val": np.float16([1, 2]), "output_dtype": "fp32"},
    "constexpr_lut_to_dense": {"indices": Typed(b"\x1b", MIL_pb2.UINT2, (2, 2)), "lut": _numbers(1, 1, 4, 1)},
    "constexpr_lut_to_sparse": {**_SPARSE, "indices_nonzero_data": Typed(b"\x1b", MIL_pb2.UINT2, (3,))},
    "constexpr_sparse_blockwise_shift_scale": {"data_mask": Typed(b"\x0b", MIL_pb2.UINT1, (4,)),
                                               "nonzero_data": np.int8([1, 2, 3]), "scale": _numbers(2),
                                               "offset": np.int8([1, 2])},
    "constexpr_sparse_to_dense": {"nonzero_data": _numbers(3), "mask": Typed(b"\x0b", MIL_pb2.UINT1, (4,))},
    "conv": _CONV,
    "conv_transpose": {**_CONV, "output_shape": [1, 2, 4, 8]},
    "crop": {"x": _PICTURE, "crop_height": [1, 0], "crop_width": [0, 1]},
    "crop_resize": {"x": _PICTURE, "roi": Input(_numbers(2, 1, 4, 1, 1)), "target_height": 2, "target_width": 3},
    "cumsum": {"x": _MATRIX, "axis": 1, "exclusive": np.bool_(True), "reverse": np.bool_(False)},
    "dequantize": {"input_": _BYTES, "scale": np.float32([1, 2]), "zero_point": np.int8([0, 1]), "axis": 0},
    "depth_to_space": {"x": Input(_numbers(1, 4, 2, 2)), "block_size": 2},
    "einsum": {"values": [Input(_numbers(1, 2, 1, 3)), Input(_numbers(1, 3, 1, 2))], "equation": "nchw,nwhu->nchu"},
    "expand_dims": {"x": _MATRIX, "axes": [0, -1]},
    "fill": {"shape": Input(np.int32([2, 3])), "value": np.float32(1)},
    "gather": {"x": _MATRIX, "indices": _INDICES, "axis": 1, "batch_dims": 0},
    "gather_along_axis": {"x": _MATRIX, "indices": Input(np.int32([[0, 1, 0]])), "axis": 0},
    "gather_nd": {"x": _MATRIX, "indices": Input(np.int32([[0, 1]])), "batch_dims": 0},
    "gru": {**_RECURRENT, "weight_ih": _numbers(6, 2), "weight_hh": _numbers(6, 2), "bias": _numbers(6)},
    "instance_norm": {"x": _PICTURE, "gamma": _numbers(2), "beta": _numbers(2), "epsilon": np.float32(1e-3)},
    "l2_pool": _POOL,
    "layer_norm": {"x": _MATRIX, "axes": [1], "gamma": _numbers(3), "beta": _numbers(3)},
    "linear": {"x": _MATRIX, "weight": _numbers(4, 3), "bias": _numbers(4)},
    "list_gather": {"ls": _MATRIX, "indices": _INDICES},
    "list_read": {"ls": _MATRIX, "index": Input(np.int32(1))},
    "list_scatter": {"ls": _MATRIX, "indices": _INDICES, "value": _MATRIX},
    "list_write": {"ls": _MATRIX, "index": Input(np.int32(1)), "value": Input(_numbers(3))},
    "local_response_norm": {"x": _PICTURE, "size": 3},
    "lstm": {**_RECURRENT, "initial_h": Input(_numbers(1, 2)), "initial_c": Input(_numbers(1, 2)),
             "weight_ih": _numbers(8, 2), "weight_hh": _numbers(8, 2), "bias": _numbers(8)},
    "logical_and": {"x": _TRUTH, "y": _TRUTH},
    "logical_not": {"x": _TRUTH},
    "logical_or": {"x": _TRUTH, "y": _TRUTH},
    "logical_xor": {"x": _TRUTH, "y": _TRUTH},
    "make_list": {"init_length": Input(np.int32(2)), "elem_shape": np.int32(3), "dtype": "fp32"},
    "matmul": {"x": _MATRIX, "y": Input(_numbers(2, 3)), "transpose_y": np.bool_(True)},
    "max_pool": _POOL,
    "non_maximum_suppression": {"boxes": Input(_numbers(1, 3, 4)), "scores": Input(_numbers(1, 3, 2)), "max_boxes": 2,
                                "iou_threshold": np.float32(0.5), "score_threshold": np.float32(0)},
    "one_hot": {"indices": _INDICES, "one_hot_vector_size": Input(np.int32(3)), "axis": -1},
    "pad": {"x": _MATRIX, "pad": Input(np.int32([0, 1, 1, 0])), "mode": "constant", "constant_val": np.float32(0)},
    "pixel_shuffle": {"x": Input(_numbers(1, 4, 2, 2)), "upscale_factor": 2},
    "pixel_unshuffle": {"x": _PICTURE, "downscale_factor": 2},
    "prelu": {"x": _PICTURE, "alpha": _numbers(2)},
    "quantize": {"input_": _MATRIX, "scale": np.float32([1, 2]), "zero_point": np.int8([0, 1]), "axis": 0,
                 "output_dtype": "int8"},
    "random_bernoulli": {"shape": Input(np.int32([2, 3])), "prob": np.float32(0.5), "seed": 1},
    "random_categorical": {"x": _MATRIX, "mode": "logits", "size": 2, "seed": 1},
    "random_normal": {"shape": Input(np.int32([2, 3])), "mean": np.float32(0.5), "stddev": np.float32(1), "seed": 1},
    "random_uniform": {"shape": Input(np.int32([2, 3])), "low": np.float32(0), "high": np.float32(1), "seed": 1},
    "range_1d": {"start": Input(np.int32(0)), "end": Input(np.int32(5)), "step": Input(np.int32(2))},
    "resample": {**_SAMPLING, "coordinates": Input(_numbers(1, 3, 3, 2))},
    "reshape": {"x": _MATRIX, "shape": Input(np.int32([3, -1]))},
    "reshape_like": {"x": _MATRIX, "ref_tensors": [Input(_numbers(3, 2))], "begins": [0], "ends": [2],
                     "end_masks": [np.bool_(False)]},
    "resize": {"x": _PICTURE, "shape": Input(np.int32([3, 5])), "resized_dims": 2, "interpolation_mode": "LINEAR"},
    "resize_bilinear": {**_RESIZING, "target_size_height": 3, "target_size_width": 5},
    "resize_nearest_neighbor": {"x": _PICTURE, "target_size_height": 3, "target_size_width": 5},
    "reverse_sequence": {"x": _MATRIX, "lengths": Input(np.int32([1, 2])), "seq_axis": 1, "batch_axis": 0},
    "rnn": {**_RECURRENT, "weight_ih": _numbers(2, 2), "weight_hh": _numbers(2, 2), "bias": _numbers(2)},
    "scaled_dot_product_attention": {"query": Input(_numbers(1, 2, 3)), "key": Input(_numbers(1, 2, 3)),
                                     "value": Input(_numbers(1, 2, 3))},
    "scatter": {**_SCATTER, "indices": _INDICES, "updates": _MATRIX},
    "scatter_along_axis": {**_SCATTER, "indices": Input(np.int32([[0, 1, 0]])), "updates": Input(_numbers(1, 3))},
    "scatter_nd": {"data": _MATRIX, "indices": Input(np.int32([[0, 1]])), "updates": Input(_numbers(1)), "mode": "add"},
    "select": {"cond": _TRUTH, "a": _MATRIX, "b": _MATRIX},
    "slice_by_index": _SLICE,
    "slice_by_size": {"x": _MATRIX, "begin": Input(np.int32([0, 1])), "size": Input(np.int32([2, -1]))},
    "slice_update": {**_SLICE, "update": Input(_numbers(2, 3))},
    "sliding_windows": {"x": _MATRIX, "axis": 1, "size": 2, "stride": 1},
    "softplus_parametric": {"x": _PICTURE, "alpha": _numbers(2), "beta": _numbers(2)},
    "space_to_batch": {**_BLOCKS, "paddings": np.int32([[1, 1], [0, 2]])},
    "space_to_depth": {"x": _PICTURE, "block_size": 2},
    "split": {"x": _MATRIX, "axis": 1, "split_sizes": [1, 2]},
    "squeeze": {"x": Input(_numbers(1, 2, 1)), "axes": [0, 2]},
    "tile": {"x": _MATRIX, "reps": Input(np.int32([2, 3]))},
    "topk": {"x": _MATRIX, "k": 2, "axis": 1, "ascending": np.bool_(True), "sort": np.bool_(True)},
    "transpose": {"x": _MATRIX, "perm": [1, 0]},
    "upsample_bilinear": {"x": _PICTURE, "scale_factor_height": np.float32(2), "scale_factor_width": np.float32(1.5)},
    "upsample_nearest_neighbor": {"x": _PICTURE, "scale_factor_height": 2, "scale_factor_width": 3},
}  # fmt: skip
"""Arguments for some operators; those that are left out have defaults."""

OLDER_EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "constexpr_lut_to_dense": {"indices": np.uint8([0x1B]), "lut": _numbers(4), "shape": np.int32([2, 2])},
    "constexpr_sparse_to_dense": {"nonzero_data": _numbers(3), "mask": np.uint8([0x0B]), "shape": np.int32([2, 2])},
}
"""Arguments in the form of iOS 16, for operators that have others since iOS 18."""

COUNTS: Mapping[str, int] = {
    "constexpr_lut_to_sparse": 2, "constexpr_sparse_blockwise_shift_scale": 2, "gru": 2, "lstm": 3,
    "non_maximum_suppression": 4, "rnn": 2, "split": 2, "topk": 2,
}  # fmt: skip
"""How many outputs an operator has, where it is not 1."""

DECLARED: Mapping[str, Output] = {
    "cast": Output(np.float32, [None, None]),
    "gather_nd": Output(np.float32, [None]),
    "one_hot": Output(np.int32, [None, None]),
    "random_bernoulli": Output(np.float32, [None, None]),
    "random_categorical": Output(np.float32, [None, None]),
    "range_1d": Output(np.int32, [None]),
}
"""The outputs that must be declared, since the arguments do not say what they are."""

_ACTIVATIONS = ("relu", "tanh", "sigmoid", "hard_sigmoid", "linear")
WORDS: Mapping[str, Sequence[str]] = {
    "activation": _ACTIVATIONS,
    "box_coordinate_mode": ("CORNERS_HEIGHT_FIRST", "CENTER_SIZE_WIDTH_FIRST"),
    "cell_activation": _ACTIVATIONS,
    "coordinates_mode": ("unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one"),
    "direction": ("forward", "reverse", "bidirectional"),
    "dtype": ("fp32", "fp16", "int32", "bool", "int8", "uint8", "string"),
    "equation": ("bnqd,bnkd->bnqk", "ij,jk->ik", "abc,cd->abd", "->", "i,i"),
    "interpolation_mode": ("LINEAR", "NEAREST_NEIGHBOR"),
    "mode": ("constant", "reflect", "replicate", "add", "update", "sub", "div", "max", "min", "mul", "EXACT",
             "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION", "logits", "probs"),
    "output_dtype": ("fp32", "fp16", "int8", "uint8"),
    "output_indices_dtype": ("int32", "uint16"),
    "pad_type": ("valid", "same", "same_lower", "custom"),
    "padding_mode": ("constant", "border", "reflection", "symmetric"),
    "recurrent_activation": _ACTIVATIONS,
    "sampling_mode": ("DEFAULT", "ALIGN_CORNERS", "STRICT_ALIGN_CORNERS", "OFFSET_CORNERS", "bilinear", "nearest"),
}  # fmt: skip
"""Words that parameters of a name take."""
