import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.support import fill

import windfall
from windfall.errors import FormatError
from windfall.spec.proto import Model_pb2


def classifier(labels, count=None, label="label", probabilities="scores", source="", describe_source=False):
    """Return a classifier that gives its input as the probabilities."""
    spec = Model_pb2.Model(specificationVersion=1)
    feature = spec.description.input.add(name="x")
    fill(feature.type.multiArrayType, {"shape": [count or max(1, len(labels))], "dataType": "FLOAT32"})
    network = spec.neuralNetworkClassifier
    for index, (name, out) in enumerate((("x", "p"), ("p", "after"))):
        layer = network.layers.add(name=f"layer{index}", input=[name], output=[out])
        layer.activation.linear.alpha = 1 + index
        if not source:
            break
    network.labelProbabilityLayerName = source
    vector = network.int64ClassLabels.vector if labels and isinstance(labels[0], int) else None
    (network.stringClassLabels.vector if vector is None else vector).extend(labels)
    spec.description.predictedFeatureName = label
    spec.description.predictedProbabilitiesName = probabilities
    for name in filter(None, (label, probabilities)):
        spec.description.output.add(name=name).type.stringType.SetInParent()
    if describe_source:
        fill(spec.description.output.add(name="p"), {"type": {"multiArrayType": {"dataType": "FLOAT32"}}})
    return spec


@given(hnp.arrays(np.float32, st.integers(1, 6), elements=st.floats(0, 1, width=32), unique=True))
@settings(deadline=None, max_examples=25)
def test_the_label_has_the_highest_probability(x):
    strings = [f"label {i}" for i in range(x.size)]
    numbers = [10 * i - 5 for i in range(x.size)]
    for labels in (strings, numbers):
        got = windfall.load(classifier(labels)).predict({"x": x})
        assert got == {"label": labels[int(x.argmax())], "scores": dict(zip(labels, x.tolist(), strict=True))}


def test_of_equal_probabilities_the_first_counts():
    assert windfall.load(classifier(["a", "b", "c"])).predict({"x": [0.2, 0.4, 0.4]})["label"] == "b"


@pytest.mark.parametrize(("source", "factor"), [("", 1), ("p", 1), ("after", 2)])
def test_the_probabilities_are_the_value_that_the_classifier_names_or_the_last(source, factor):
    got = windfall.load(classifier(["a", "b"], source=source)).predict({"x": [0.25, 0.5]})
    assert got["scores"] == {"a": 0.25 * factor, "b": 0.5 * factor}


@pytest.mark.parametrize(
    ("label", "probabilities", "expected"),
    [
        ("kind", "how sure", {"kind": "b", "how sure": {"a": 0.25, "b": 0.5}}),
        ("kind", "", {"kind": "b"}),
        ("", "how sure", {"how sure": {"a": 0.25, "b": 0.5}}),
        ("kind", "p", {"kind": "b", "p": {"a": 0.25, "b": 0.5}}),
    ],
)
def test_results_have_their_declared_names(label, probabilities, expected):
    spec = classifier(["a", "b"], label=label, probabilities=probabilities)
    assert windfall.load(spec).predict({"x": [0.25, 0.5]}) == expected


def test_the_tensor_of_probabilities_may_be_an_output_as_well():
    got = windfall.load(classifier(["a", "b"], describe_source=True)).predict({"x": [0.25, 0.5]})
    assert got["label"] == "b"
    np.testing.assert_array_equal(got["p"].ravel(), [0.25, 0.5])


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (["label"], {"label": "b"}),
        (["scores", "label"], {"scores": {"a": 0.25, "b": 0.5}, "label": "b"}),
        (["scores"], {"scores": {"a": 0.25, "b": 0.5}}),
    ],
)
def test_outputs_may_name_the_label_and_the_dictionary(outputs, expected):
    got = windfall.load(classifier(["a", "b"])).predict({"x": [0.25, 0.5]}, outputs=outputs)
    assert got == expected
    assert list(got) == outputs


def test_outputs_may_name_the_tensor_of_probabilities():
    got = windfall.load(classifier(["a", "b"])).predict({"x": [0.25, 0.5]}, outputs=["p", "label"])
    np.testing.assert_array_equal(got["p"].ravel(), [0.25, 0.5])
    assert got["label"] == "b"


@pytest.mark.parametrize(("labels", "count"), [(["a", "b"], 3), (["a", "b", "c"], 2), ([1, 2, 3], 1)])
def test_there_must_be_a_probability_for_each_label(labels, count):
    with pytest.raises(FormatError) as error:
        windfall.load(classifier(labels, count)).predict({"x": np.zeros(count)})
    assert str(error.value) == (
        f"the classifier gives {count} probabilities ('p'), must give one for each of its {len(labels)} labels"
    )


def test_a_classifier_must_have_labels():
    with pytest.raises(FormatError) as error:
        windfall.load(classifier([])).predict({"x": [1.0]})
    assert str(error.value) == (
        "the classifier the model has no class labels, must have stringClassLabels or int64ClassLabels"
    )


def test_a_classifier_must_have_layers():
    spec = classifier(["a"])
    del spec.neuralNetworkClassifier.layers[:]
    with pytest.raises(FormatError) as error:
        windfall.load(spec).predict({"x": [1.0]})
    assert str(error.value) == "the classifier has no layers, must have one that gives the probabilities"


def test_the_named_probabilities_must_exist():
    with pytest.raises(FormatError) as error:
        windfall.load(classifier(["a"], source="nothing")).predict({"x": [1.0]})
    assert str(error.value) == (
        "the model has no value 'nothing', which is asked for as an output; values are 'x', 'p', 'after'"
    )
