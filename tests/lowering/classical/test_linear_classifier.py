import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.classical import array, model_spec, predict
from tests.lowering.classical.svm_support import labelled
from windfall.errors import LoweringError

WEIGHTS = [[2.0, -1.0], [0.5, 0.25], [-1.0, 3.0]]
OFFSET = [0.1, -0.7, 0.3]


def classifier(weights, offset, labels, transform="Logit", encoding="ReferenceClass", inputs=None):
    fields = {
        "weights": [{"value": list(row)} for row in weights],
        "offset": list(offset),
        "postEvaluationTransform": transform,
        "classEncoding": encoding,
        **(labelled(labels) if labels else {}),
    }
    word = "string" if labels and isinstance(labels[0], str) else "int64"
    outputs = {"label": word, "scores": f"{word} dictionary"}
    return model_spec(
        "glmClassifier", inputs or {"x": (2,)}, outputs, fields, predicted="label", probabilities="scores"
    )


def sums(x, rows):
    return np.array(WEIGHTS[:rows]) @ x + OFFSET[:rows]


def logistic(values):
    return 1 / (1 + np.exp(-np.asarray(values)))


X = np.array([0.7, -0.4])


@pytest.mark.parametrize("labels", [["no", "yes"], [7, -3]])
@pytest.mark.parametrize("encoding", ["ReferenceClass", "OneVsRest"])
@pytest.mark.parametrize(("transform", "inverse"), [
    ("Logit", lambda x: 1 / (1 + math.exp(-x))),
    ("Probit", lambda x: math.erfc(-x / math.sqrt(2)) / 2),
])  # fmt: skip
def test_two_labels_have_one_row_of_weights(labels, encoding, transform, inverse):
    spec = classifier(WEIGHTS[:1], OFFSET[:1], labels, transform, encoding)
    for x, chosen in ((X, 1), (-X, 0)):
        got = predict(spec, x=x)
        total = sums(x, 1)[0]
        assert got["label"] == labels[chosen]
        assert list(got["scores"]) == labels
        assert list(got["scores"].values()) == pytest.approx([inverse(-total), inverse(total)], rel=1e-13)


def test_the_first_of_several_labels_is_the_reference_and_has_no_weights():
    got = predict(classifier(WEIGHTS, OFFSET, ["a", "b", "c", "d"]), x=X)
    shares = np.exp([0, *sums(X, 3)])
    assert list(got["scores"].values()) == pytest.approx(shares / shares.sum(), rel=1e-14)
    assert got["label"] == "abcd"[int(np.argmax(shares))]


def test_one_against_the_rest_divides_by_the_total():
    got = predict(classifier(WEIGHTS, OFFSET, [4, 5, 6], encoding="OneVsRest"), x=X)
    shares = logistic(sums(X, 3))
    assert list(got["scores"].values()) == pytest.approx(shares / shares.sum(), rel=1e-14)
    assert got["label"] == [4, 5, 6][int(np.argmax(shares))]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.floats(-30, 30), min_size=2, max_size=2), min_size=1, max_size=4),
    st.sampled_from(["ReferenceClass", "OneVsRest"]),
)
def test_many_rows_at_once(rows, encoding):
    count = 3 if encoding == "OneVsRest" else 4
    model = windfall.load(classifier(WEIGHTS, OFFSET, list(range(count)), encoding=encoding))
    got = model.predict_batch({"x": np.array(rows)})
    totals = np.array([sums(row, 3) for row in rows])
    shares = logistic(totals) if encoding == "OneVsRest" else np.exp(np.column_stack([np.zeros(len(rows)), totals]))
    wanted = shares / shares.sum(axis=1, keepdims=True)
    scores = np.stack(list(got["scores"].values()), axis=1)
    np.testing.assert_allclose(scores, wanted, rtol=1e-12)
    best = scores[np.arange(len(rows)), got["label"]]
    np.testing.assert_allclose(best, wanted.max(axis=1), rtol=1e-12)


def test_no_rows():
    for labels, encoding in (([1, 2], "OneVsRest"), ([1, 2, 3], "OneVsRest"), ([1, 2, 3], "ReferenceClass")):
        rows = len(labels) - (encoding == "ReferenceClass" or len(labels) == 2)
        model = windfall.load(classifier(WEIGHTS[:rows], OFFSET[:rows], labels, encoding=encoding))
        assert model.predict_batch({"x": np.empty((0, 2))})["label"].shape == (0,)


@pytest.mark.parametrize("x", [-1e3, -50.0, 50.0, 1e3])
def test_labels_whose_probabilities_are_the_same_in_doubles_differ_by_their_sums(x):
    # sums of x, x + 1 and x - 1
    spec = classifier([[1.0], [1.0], [1.0]], [0, 1, -1], ["a", "b", "c"], encoding="OneVsRest", inputs={"x": (1,)})
    got = predict(spec, x=np.array([x]))
    assert got["label"] == "b"
    wanted = np.exp([0, 1, -1]) / np.exp([0, 1, -1]).sum() if x < 0 else [1 / 3] * 3
    assert list(got["scores"].values()) == pytest.approx(wanted, rel=1e-12)


def test_a_single_label_and_numbers_as_inputs():
    inputs = {"p": "int64", "q": array(1, dtype="FLOAT32")}
    got = predict(classifier(WEIGHTS[:1], OFFSET[:1], ["only"], encoding="OneVsRest", inputs=inputs), p=3, q=[0.5])
    assert got == {"label": "only", "scores": {"only": 1.0}}


# rng = np.random.default_rng(0); x = rng.normal(size=(40, 2)).round(1); y = (x @ [[1, -1, 0], [0, 1, -1]]).argmax(1)
# m = LogisticRegression(multi_class="ovr").fit(x, y); m.coef_, m.intercept_, m.predict_proba([[0.7, -0.4]])
def test_the_probabilities_of_scikit_learn():
    weights = [
        [2.2468551216473305, 0.18338295947504085],
        [-1.8951602959461284, 1.5822509829312557],
        [-0.7504237036225668, -2.088632290497329],
    ]
    offset = [-0.8526438274186783, -0.927276254474457, -2.02651289146918]
    wanted = [0.7618506767091794, 0.06130485983073978, 0.17684446346008084]
    got = predict(classifier(weights, offset, [0, 1, 2], encoding="OneVsRest"), x=X)
    assert list(got["scores"].values()) == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"labels": []}, "ClassLabels there are none, must be at least one"),
        ({"weights": [], "offset": []}, "weights is of length 0, must be 2, as the inputs have that many values"),
        ({"weights": [[1.0]] * 2}, "weights is of length 1, must be 2, as the inputs have that many values"),
        (
            {"weights": [[1.0, 2.0], [1.0]]},
            "weights is of length 1, 2, must be 2, as the inputs have that many values",
        ),
        ({"offset": [1.0]}, "offset is of length 1, must be 2, one for each row of weights"),
        ({"labels": [1, 2]}, "weights is 2 rows, must be 1 for 2 labels with ReferenceClass"),
        ({"labels": [1, 2], "encoding": "OneVsRest"}, "weights is 2 rows, must be 1 for 2 labels with OneVsRest"),
        ({"encoding": "OneVsRest"}, "weights is 2 rows, must be 3 for 3 labels with OneVsRest"),
        ({"labels": ["a"] * 9}, "weights is 2 rows, must be 8 for 9 labels with ReferenceClass"),
        (
            {"transform": "Probit"},
            "postEvaluationTransform is Probit, must be Logit for 3 labels, as Probit is for two",
        ),
        ({"transform": 2}, "postEvaluationTransform is 2, must be 0 or 1"),
        ({"encoding": 7}, "classEncoding is 7, must be 0 or 1"),
    ],
)
def test_damaged_models(changes, text):
    fields = {"weights": WEIGHTS[:2], "offset": OFFSET[:2], "labels": [1, 2, 3], **changes}
    with pytest.raises(LoweringError) as error:
        predict(classifier(**fields), x=X)
    assert str(error.value) == f"cannot lower the model (glmClassifier): {text}"
