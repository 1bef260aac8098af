"""The lowest version that holds what is in a model."""

import numpy as np
import pytest

from tests.support import SPEC_LAYER_TYPES, fill, layer_spec
from windfall.interop.coremltools.versions import with_lowest_version
from windfall.spec.proto import FeatureTypes_pb2, Model_pb2, NeuralNetwork_pb2

ARRAY = FeatureTypes_pb2.ArrayFeatureType
IMAGE = FeatureTypes_pb2.ImageFeatureType
X = np.zeros(3, np.float32)


def lowest(spec, claimed=10):
    spec.specificationVersion = claimed
    return with_lowest_version(spec).specificationVersion


def network(layer_type="activation", **fields):
    return layer_spec(layer_type, X, rank5=True, **fields)


def described(**fields):
    spec = network()
    fill(spec.description.input[0].type, fields)
    return spec


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        (network(), 1),
        (network("custom"), 2),
        (network("innerProduct", weights={"float16Value": b"12"}), 2),
        (network("innerProduct", weights={"rawValue": b"12", "quantization": {"numberOfBits": 8}}), 3),
        (network("innerProduct", int8DynamicQuantize=True), 5),
        (network("resizeBilinear"), 3),
        (network("cropResize"), 3),
        (network("reorganizeData", mode="SPACE_TO_DEPTH"), 1),
        (network("reorganizeData", mode="PIXEL_SHUFFLE"), 5),
        (network("upsample"), 1),
        (network("upsample", linearUpsampleMode="ALIGN_CORNERS_TRUE"), 5),
        (network("upsample", fractionalScalingFactor=[1.5, 1.5]), 5),
        (network("concatND", interleave=True), 5),
        (network("sliceDynamic", squeezeMasks=[True]), 5),
        (layer_spec("activation", X), 4),
        (layer_spec("convolution", X, X, rank5=True), 4),
        (layer_spec("sliceDynamic", *[X] * 7, rank5=True), 5),
        (described(multiArrayType={"dataType": ARRAY.FLOAT16}), 7),
        (described(multiArrayType={"dataType": ARRAY.INT8}), 10),
        (described(multiArrayType={"shapeRange": {}}), 3),
        (described(multiArrayType={"floatDefaultValue": 1.0}), 5),
        (described(imageType={"colorSpace": IMAGE.RGB}), 1),
        (described(imageType={"colorSpace": IMAGE.GRAYSCALE_FLOAT16}), 7),
        (described(imageType={"imageSizeRange": {}}), 3),
        (described(sequenceType={"int64Type": {}}), 3),
        (described(stateType={}), 9),
    ],
)
def test_the_version_is_that_of_the_newest_part(spec, version):
    assert lowest(spec) == version


@pytest.mark.parametrize("layer_type", SPEC_LAYER_TYPES)
def test_no_layer_is_lowered_below_the_version_that_has_it(layer_type):
    field = NeuralNetwork_pb2.NeuralNetworkLayer.DESCRIPTOR.fields_by_name[layer_type]
    assert lowest(network(layer_type)) >= (5 if field.number >= 1450 else 4 if field.number >= 600 else 1)


def test_layers_inside_of_layers_count():
    spec = network("loop")
    inner = spec.neuralNetwork.layers[0].loop.bodyNetwork.layers.add(name="inner", input=["x0"], output=["z"])
    inner.softmax.SetInParent()
    assert lowest(spec) == 4
    inner.cumSum.SetInParent()
    assert lowest(spec) == 5


def test_the_version_is_never_raised():
    assert lowest(network("cumSum"), claimed=3) == 3


@pytest.mark.parametrize("claimed", [0, 11, 2000])
def test_a_version_that_is_none_starts_from_the_newest(claimed):
    assert lowest(network("cumSum"), claimed) == 5


@pytest.mark.parametrize(
    "kind", ["mlProgram", "customModel", "itemSimilarityRecommender", "kNearestNeighborsClassifier"]
)
def test_what_is_not_known_stays_as_it_is(kind):
    spec = network()
    getattr(spec, kind).SetInParent()
    assert lowest(spec, claimed=8) == 8


def test_updatable_models_functions_and_models_without_inputs():
    spec = network()
    spec.isUpdatable = True
    assert lowest(spec) == 4
    spec.description.defaultFunctionName = "main"
    assert lowest(spec) == 9
    assert lowest(layer_spec("loadConstant", rank5=True)) == 9


def test_a_pipeline_needs_what_its_members_need():
    spec = Model_pb2.Model()
    spec.description.input.add(name="x").type.doubleType.SetInParent()
    spec.pipeline.models.add().CopyFrom(network("cropResize"))
    spec.pipeline.models.add().CopyFrom(network())
    for member in spec.pipeline.models:
        member.specificationVersion = 5
    spec.specificationVersion = 5
    result = with_lowest_version(spec)
    assert result.specificationVersion == 3
    assert [member.specificationVersion for member in result.pipeline.models] == [3, 1]
