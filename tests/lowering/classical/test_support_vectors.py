import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.classical import array, described, predict
from tests.lowering.classical.svm_support import (
    classifier,
    decisions,
    dense,
    labelled,
    machine,
    probabilities,
    regressor,
    sparse,
    votes,
)
from tests.support import fill
from windfall.errors import LoweringError

RBF = {"rbfKernel": {"gamma": 0.4}}
KERNELS = (
    RBF,
    {"linearKernel": {}},
    {"polyKernel": {"gamma": 0.5, "c": 1.0, "degree": 2}},
    {"sigmoidKernel": {"gamma": 0.2, "c": 0.1}},
)


def random_machine(count, seed=0, kernel=RBF, prob=True, *, largest=4, labels=(), store=dense):
    """Return the fields of a classifier, and what ``decisions`` takes of it."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, largest, count).tolist()
    sizes[0] += 1
    vectors = rng.normal(size=(sum(sizes), 3)).round(1)
    alpha = rng.normal(size=(count - 1, sum(sizes))) * 2
    pairs = count * (count - 1) // 2
    rho = rng.normal(size=pairs) / 2
    ab = (rng.normal(size=pairs) * 2 - 1, rng.normal(size=pairs)) if prob else ((), ())
    fields = machine(kernel, vectors, sizes, alpha, rho, ab, labels=labels, store=store)
    return fields, (kernel, vectors, sizes, alpha, rho), ab


def table(fields, rows):
    got = windfall.load(classifier(fields, np.shape(rows)[1])).predict_batch({"x": np.asarray(rows, np.float64)})
    return got["label"], np.stack(list(got["scores"].values()), axis=1)


ROWS = np.random.default_rng(5).normal(size=(9, 3))


# 2: a closed form; 8 and 9: joined and separate coefficients; 16 and 17: a sweep unrolled and as a loop
@pytest.mark.parametrize("count", [2, 3, 5, 8, 9, 16, 17])
@pytest.mark.parametrize("prob", [False, True])
def test_votes_and_probabilities_by_the_number_of_classes(count, prob):
    fields, parts, ab = random_machine(count, prob=prob)
    labels, scores = table(fields, ROWS)
    found = [decisions(*parts, row) for row in ROWS]
    wanted = [probabilities(one, *ab, count) if prob else np.divide(votes(one, count), len(one)) for one in found]
    np.testing.assert_allclose(scores, wanted, rtol=1e-9)
    np.testing.assert_array_equal(labels, np.argmax(wanted, axis=1))
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-14)


@pytest.mark.parametrize("store", [dense, sparse])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: next(iter(kernel)))
@pytest.mark.parametrize("count", [3, 10])
def test_kernels_of_classifiers(kernel, store, count):
    fields, parts, ab = random_machine(count, 3, kernel, store=store)
    wanted = [probabilities(decisions(*parts, row), *ab, count) for row in ROWS]
    np.testing.assert_allclose(table(fields, ROWS)[1], wanted, rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(0, 10**6), st.sampled_from(KERNELS), st.booleans())
def test_random_machines(count, seed, kernel, prob):
    fields, parts, ab = random_machine(count, seed, kernel, prob, largest=3)
    rows = np.random.default_rng(seed).normal(size=(3, 3)) * 3
    labels, scores = table(fields, rows)
    found = [decisions(*parts, row) for row in rows]
    wanted = [probabilities(one, *ab, count) if prob else np.divide(votes(one, count), len(one)) for one in found]
    np.testing.assert_allclose(scores, wanted, rtol=1e-8, atol=1e-12)
    chosen = [one[label] for one, label in zip(wanted, labels, strict=True)]
    np.testing.assert_allclose(chosen, np.max(wanted, axis=1), rtol=1e-8)


@pytest.mark.parametrize("count", [3, 17])
def test_rows_are_computed_as_if_each_were_alone(count):
    fields, _, _ = random_machine(count, 11)
    rows = np.concatenate([ROWS, ROWS * 5])
    model = windfall.load(classifier(fields, 3))
    together = model.predict_batch({"x": rows})
    for index, row in enumerate(rows):
        alone = model.predict({"x": row})
        assert alone["label"] == together["label"][index]
        np.testing.assert_allclose(
            list(alone["scores"].values()), [column[index] for column in together["scores"].values()], rtol=1e-13
        )


@pytest.mark.parametrize(("count", "prob"), [(2, False), (2, True), (3, False), (3, True), (17, True)])
def test_no_rows(count, prob):
    labels, scores = table(random_machine(count, prob=prob)[0], np.empty((0, 3)))
    assert labels.shape == (0,)
    assert scores.shape == (0, count)


def test_a_tie_of_votes_goes_to_the_first_label():
    # 0 beats 1, 1 beats 2, 2 beats 0; 3 loses to all
    fields = machine(RBF, np.empty((0, 1)), [0] * 4, np.empty((3, 0)), [-1, 1, -1, -1, -1, -1], labels=list("dcba"))
    got = predict(classifier(fields, 1), x=np.zeros(1))
    assert got == {"label": "d", "scores": {"d": 2 / 6, "c": 2 / 6, "b": 2 / 6, "a": 0.0}}


def test_a_decision_of_zero_is_a_vote_for_the_second_label():
    fields = machine({"linearKernel": {}}, [[1.0]], [1, 0], [[1.0]], [0.5], labels=[7, -3])
    assert predict(classifier(fields, 1), x=np.array([0.5])) == {"label": -3, "scores": {7: 0.0, -3: 1.0}}
    assert predict(classifier(fields, 1), x=np.array([0.75])) == {"label": 7, "scores": {7: 1.0, -3: 0.0}}


@pytest.mark.parametrize("count", [2, 3])
def test_probabilities_of_pairs_stay_within_the_bounds_of_libsvm(count):
    pairs = count * (count - 1) // 2
    ab = [-1e6] * pairs, [0.0] * pairs
    fields = machine({"linearKernel": {}}, [[1.0]], [1] + [0] * (count - 1), [[1.0]] * (count - 1), [0] * pairs, ab)
    labels, scores = table(fields, [[1.0], [-1.0], [1e300]])
    found = [decisions({"linearKernel": {}}, [[1.0]], [1] + [0] * (count - 1), [[1.0]] * (count - 1), [0] * pairs,
                       np.array([x])) for x in (1.0, -1.0, 1e300)]  # fmt: skip
    wanted = [probabilities(one, *ab, count) for one in found]
    np.testing.assert_allclose(scores, wanted, rtol=1e-8)
    assert labels.tolist() == [0, 1 if count == 2 else int(np.argmax(wanted[1])), 0]


def test_a_single_label():
    fields = machine(RBF, [[1.0]], [1], [], [], labels=["only"])
    assert predict(classifier(fields, 1), x=np.zeros(1)) == {"label": "only", "scores": {"only": 1.0}}
    assert table(fields, np.zeros((4, 1)))[0].tolist() == ["only"] * 4


# x = np.array([[i % 4, i * i % 7] for i in range(12)], float)
# m = SVC(gamma=0.5, probability=True, random_state=0, C=1).fit(x, np.arange(12) * 5 % 7 % 3)
# m.support_vectors_, m._dual_coef_, -m.intercept_, m.probA_, m.probB_, m.decision_function(T), m.predict_proba(T)
THREE = {
    "vectors": [[0, 0], [2, 4], [0, 2], [3, 0], [1, 4], [3, 2], [3, 2], [1, 4], [2, 2], [1, 1], [2, 1], [0, 1]],
    "sizes": [6, 3, 3],
    "alpha": [
        [0.15244393425321145, 0.30633949046115694, 0.2849912770727125, 0.2562252982129191, 1, 1,
         -1, -1, -1, -1, -1, -1],
        [1, 0.05665728424253093, 1, 0.4748981969261878, 0, 0.4684445188312814,
         0.605078709235575, 0.7358190524376662, 1, -0.49760455826442923, -1, -0.843293203408812],
    ],
    "rho": [-0.8238878245520446, -0.9060968588053467, -0.1893750842272618],
    "prob": (
        [1.8511503587699416, -0.384312507947354, -2.365114965295197],
        [-1.9447773204828294, -0.4480655342509821, -0.16114680410414509],
    ),
}  # fmt: skip
T = np.array([[1.0, -2.0], [2.5, 3.0], [0.0, 5.0]])


def test_the_probabilities_of_scikit_learn():
    labels, scores = table(machine({"rbfKernel": {"gamma": 0.5}}, **THREE), T)
    wanted = [
        [0.4745552001734029, 0.32719842202105853, 0.1982463778055384],
        [0.6203466597116454, 0.2572689090227582, 0.12238443126559645],
        [0.47993472876170745, 0.3636174847149819, 0.1564477865233109],
    ]
    np.testing.assert_allclose(scores, wanted, rtol=1e-13)
    assert labels.tolist() == [0, 0, 0]


def test_the_classes_of_scikit_learn():
    # m = SVC(kernel="poly", degree=2, gamma=0.5, coef0=1, C=0.01).fit(x, x[:, 0] > x[:, 1])
    # m.support_vectors_, m._dual_coef_, m.intercept_, m.decision_function(T)
    vectors = [[0, 0], [1, 1], [2, 4], [0, 1], [2, 2], [3, 2], [2, 1], [3, 0], [3, 2]]
    alpha = [0.01, 0.01, 0.008764845605700716, 0.0012351543942992853, 0.01, -0.01, -0.01, -0.01, -0.01]
    kernel = {"polyKernel": {"gamma": 0.5, "c": 1.0, "degree": 2}}
    fields = machine(kernel, vectors, [5, 4], [alpha], [-0.95833729], labels=["left", "right"])
    rows = np.array([*T, [3.0, -9.0], [4.0, 0.5]])
    got = windfall.load(classifier(fields, 2)).predict_batch({"x": rows})["label"].tolist()
    assert got[:3] == ["left"] * 3
    found = [decisions(kernel, vectors, [5, 4], [alpha], [-0.95833729], row)[0] for row in rows]
    np.testing.assert_allclose(found[:3], [0.928396674584323, 0.6533343230403803, 1.6740142517814727], atol=1e-8)
    assert got == ["left" if value > 0 else "right" for value in found]


def test_the_numbers_of_scikit_learn():
    # m = SVR(kernel="sigmoid", gamma=0.25, coef0=-1, epsilon=0.35).fit(x, np.arange(12) * 5 % 7 / 7)
    # m.support_vectors_, m._dual_coef_, -m.intercept_, m.predict(T)
    vectors = [[0, 0], [1, 1], [2, 4], [0, 2], [1, 4], [2, 1], [3, 0], [0, 1], [1, 4], [3, 2]]
    fields = {
        "kernel": {"sigmoidKernel": {"gamma": 0.25, "c": -1.0}},
        "coefficients": {"alpha": [-1.0, 1.0] * 5},
        "rho": -1.51014685,
        **dense(vectors),
    }
    got = windfall.load(regressor(fields, 2)).predict_batch({"x": T})["y"]
    np.testing.assert_allclose(got, [1.1596561442746274, 0.9117133458610603, 2.5803997554139704], atol=5e-9)


def test_a_label_alone_and_numbers_as_inputs():
    fields, parts, ab = random_machine(3, labels=["a", "b", "c"])
    spec = described({"p": "double", "q": "int64", "r": array(1)}, {"label": "string"}, predicted="label")
    fill(spec.supportVectorClassifier, fields)
    x = [0.5, 2.0, -1.0]
    wanted = probabilities(decisions(*parts, np.array(x)), *ab, 3)
    assert predict(spec, p=0.5, q=2, r=[-1.0]) == {"label": "abc"[int(np.argmax(wanted))]}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"labels": None}, "ClassLabels there are none, must be at least one"),
        ({"labels": []}, "ClassLabels there are none, must be at least one"),
        ({"labels": [1, 2]}, "rho is 3 numbers, must be 1, one for each pair of labels"),
        ({"rho": []}, "rho is 0 numbers, must be 3, one for each pair of labels"),
        ({"probA": [1.0] * 2}, "probA is 2 numbers, must be 3, one for each pair of labels"),
        ({"probA": []}, "probA is 0 numbers, must be 3, one for each pair of labels"),
        ({"probB": [1.0] * 4}, "probB is 4 numbers, must be 3, one for each pair of labels"),
        ({"probB": []}, "probB is 0 numbers, must be 3, one for each pair of labels"),
        (
            {"numberOfSupportVectorsPerClass": [6, 6]},
            "numberOfSupportVectorsPerClass is 2 numbers, must be 3, one for each label",
        ),
        (
            {"numberOfSupportVectorsPerClass": [14, -1, -1]},
            "numberOfSupportVectorsPerClass is -1, must be at least 0",
        ),
        (
            {"numberOfSupportVectorsPerClass": [6, 3, 4]},
            "numberOfSupportVectorsPerClass is 13 together, must be 12, the number of support vectors",
        ),
        (
            {"numberOfSupportVectorsPerClass": [2**31 - 1] * 3},
            "numberOfSupportVectorsPerClass is 6442450941 together, must be 12, the number of support vectors",
        ),
        ({"coefficients": []}, "coefficients is 0 numbers, must be 2, one for each label but one"),
        (
            {"coefficients": [{"alpha": [1.0] * 12}, {"alpha": [1.0] * 11}]},
            "alpha is 11 numbers, must be 12, one for each support vector",
        ),
        ({"kernel": {}}, "kernel is not set, must be one of linearKernel, rbfKernel, polyKernel, sigmoidKernel"),
        (
            {"denseSupportVectors": {"vectors": [{"values": [1.0]}] * 12}},
            "denseSupportVectors is of length 1, must be 2, as the inputs have that many values",
        ),
    ],
)
def test_damaged_machines(changes, text):
    fields = {**machine(RBF, **THREE), **{name: value for name, value in changes.items() if name != "labels"}}
    if "labels" in changes:
        del fields["int64ClassLabels"]
        fields |= {} if changes["labels"] is None else labelled(changes["labels"] or [0])
        fields |= {"int64ClassLabels": {}} if changes["labels"] == [] else {}
    with pytest.raises(LoweringError) as error:
        predict(classifier(fields, 2), x=np.zeros(2))
    assert str(error.value) == f"cannot lower the model (supportVectorClassifier): {text}"


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_vectors_that_are_not_finite_give_no_warning(kernel, value):
    """Warnings are errors in tests."""
    fields = {"kernel": kernel, "coefficients": {"alpha": [0.0, 1.0]}, "rho": 0.5, **dense([[value, 1.0], [0, 1]])}
    assert isinstance(predict(regressor(fields, 2), x=[0.0, 1.0])["y"], float)
