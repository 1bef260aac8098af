import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.classical import array, model_spec, optional, predict
from windfall.errors import EngineError, FeatureError, FormatError

# Base item, shift, and what it is similar to.
TABLE = [(0, 0.0, [(1, 0.5), (2, 0.25)]), (1, 0.5, [(0, 0.5), (3, 1.0)]), (3, 0.0, [(1, 1.0), (2, -0.5)])]
NAMES = ["ant", "bee", "cat", "dog", "eel"]
PARAMETERS = {
    "itemInputFeatureName": "items",
    "numRecommendationsInputFeatureName": "k",
    "itemRestrictionInputFeatureName": "only",
    "itemExclusionInputFeatureName": "without",
    "recommendedItemListOutputFeatureName": "best",
    "recommendedItemScoreOutputFeatureName": "scores",
}


def spec_of(table=TABLE, ids=NAMES, items="dictionary", lists="sequence", outputs=None, **fields):
    key = "string" if ids and isinstance(ids[0], str) else "int64"
    ids_field = {"itemStringIds": {"vector": ids}} if key == "string" else {"itemInt64Ids": {"vector": ids or []}}
    similar = [
        {
            "itemId": base,
            "itemScoreAdjustment": shift,
            "similarItemList": [{"itemId": item, "similarityScore": score} for item, score in listed],
        }
        for base, shift, listed in table
    ]
    kinds = {"dictionary": f"{key} dictionary", "sequence": f"{key} sequence", "array": array(2, dtype="INT32")}
    inputs = {
        "items": kinds[items],
        "k": optional("int64"),
        "only": optional(kinds[lists]),
        "without": optional(kinds[lists]),
    }
    outputs = outputs or {"best": f"{key} sequence", "scores": f"{key} dictionary"}
    given_fields = {"itemItemSimilarities": similar, **(ids_field if ids else {}), **PARAMETERS, **fields}
    used = {given_fields[field] for field in list(PARAMETERS)[:4]}
    inputs = {name: kind for name, kind in inputs.items() if name in used}
    return model_spec("itemSimilarityRecommender", inputs, outputs, given_fields)


def expected(table, count, items, k=None, only=None, without=None):
    """Score as the proto comment says: the sum over given items i of sim(k, i) * (score of i - shift of k)."""
    shifts = {base: shift for base, shift, _ in table}
    scores = np.zeros(count)
    for base, _, listed in table:
        for item, similarity in listed:
            for given_item, score in items:
                if given_item == base:
                    scores[item] += similarity * (score - shifts.get(item, 0))
    without = [item for item, _ in items] if without is None else without
    allowed = [item for item in range(count) if item not in without and (only is None or item in only)]
    ranked = sorted(allowed, key=lambda item: (-scores[item], item))[:k]
    return ranked, {item: scores[item] for item in ranked}


def test_scores_by_hand():
    got = predict(spec_of(), items={"ant": 2.0, "dog": 1.0})
    # bee: 0.5 * (2 - 0.5) + 1 * (1 - 0.5); cat: 0.25 * 2 - 0.5 * 1; eel has no similar item
    assert got == {"best": ["bee", "cat", "eel"], "scores": {"bee": 1.25, "cat": 0.0, "eel": 0.0}}
    assert list(got["scores"]) == got["best"]


def test_number_restriction_and_exclusion():
    model = windfall.load(spec_of())
    items = {"ant": 2.0, "dog": 1.0}
    assert model.predict({"items": items, "k": 1})["best"] == ["bee"]
    assert model.predict({"items": items, "k": 0}) == {"best": [], "scores": {}}
    assert model.predict({"items": items, "k": 99})["best"] == ["bee", "cat", "eel"]
    assert model.predict({"items": items, "only": ["eel", "cat", "ant", "fly"]})["best"] == ["cat", "eel"]
    assert model.predict({"items": items, "without": ["bee", "fly"]})["best"] == ["ant", "cat", "dog", "eel"]
    assert model.predict({"items": items, "without": []})["best"] == ["bee", "ant", "cat", "dog", "eel"]
    assert model.predict({"items": items, "only": []})["best"] == []
    assert model.predict({"items": items, "only": ["dog", "bee"], "without": ["bee"]})["best"] == ["dog"]


def test_items_that_the_model_does_not_know_and_none_at_all():
    assert predict(spec_of(), items={"fly": 9.0, "ant": 2.0}) == predict(spec_of(), items={"ant": 2.0})
    assert predict(spec_of(), items={}) == {"best": NAMES, "scores": dict.fromkeys(NAMES, 0.0)}


def test_sequences_and_arrays_count_each_item_as_1():
    table = [(0, 0.0, [(1, 0.5), (2, 0.25)]), (3, 0.0, [(1, 1.0), (2, -0.5)])]
    best = {"best": [1, 4, 2], "scores": {1: 1.5, 4: 0.0, 2: -0.25}}
    numbers = spec_of(table, [0, 1, 2, 3, 4], items="sequence")
    assert predict(numbers, items=[0, 3]) == best
    arrays = spec_of(table, [0, 1, 2, 3, 4], items="array", lists="array", itemExclusionInputFeatureName="",
                     itemRestrictionInputFeatureName="")  # fmt: skip
    assert predict(arrays, items=[0, 3]) == best
    assert predict(numbers, items=[0, 0, -1, 77])["scores"] == {1: 1.0, 2: 0.5, 3: 0.0, 4: 0.0}


def test_arrays_as_restriction_and_exclusion():
    spec = spec_of(ids=[10, 20, 30, 40, 50], lists="array")
    got = windfall.load(spec).predict({"items": {10: 2.0, 40: 1.0}, "only": [30, 20], "without": [20, 99]})
    assert got == {"best": [30], "scores": {30: 0.0}}


def test_integer_identifiers_and_none():
    got = predict(spec_of(ids=[-5, 2**40, 7, 8, 9]), items={-5: 2.0, 8: 1.0})
    assert got == {"best": [2**40, 7, 9], "scores": {2**40: 1.25, 7: 0.0, 9: 0.0}}
    # Without identifiers items are numbered up to the largest that occurs.
    assert predict(spec_of(ids=None), items={0: 2.0, 3: 1.0}) == {"best": [1, 2], "scores": {1: 1.25, 2: 0.0}}


def test_one_output_and_an_input_without_a_name():
    spec = spec_of(
        outputs={"scores": "string dictionary"}, recommendedItemListOutputFeatureName="", itemInputFeatureName="",
        numRecommendationsInputFeatureName="", itemRestrictionInputFeatureName="", itemExclusionInputFeatureName="",
    )  # fmt: skip
    spec.description.input.add(name="given").type.dictionaryType.stringKeyType.SetInParent()
    assert predict(spec, given={"ant": 2.0, "dog": 1.0}) == {"scores": {"bee": 1.25, "cat": 0.0, "eel": 0.0}}


def test_no_similarities_at_all():
    assert predict(spec_of(table=[]), items={"bee": 1.0})["scores"] == {"ant": 0, "cat": 0, "dog": 0, "eel": 0}


def test_many_rows_at_once():
    rows = [
        {"items": {"ant": 2.0, "dog": 1.0}, "k": 2},
        {"items": {}, "k": None, "only": ["eel"]},
        {"items": {"bee": -1.0}, "k": 0},
        {"items": {"bee": -1.0, "fly": 1.0}, "without": ["cat"], "only": None},
    ]
    model = windfall.load(spec_of())
    got = model.predict_batch(rows)
    assert got == [model.predict({name: value for name, value in row.items() if value is not None}) for row in rows]
    assert [row["best"] for row in got] == [["bee", "cat"], ["eel"], [], ["bee", "eel", "ant", "dog"]]
    assert model.predict_batch({"items": []}) == {"best": [], "scores": []}


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_as_the_formula_has_it(data):
    count = data.draw(st.integers(1, 6))
    item, score = st.integers(0, count - 1), st.integers(-4, 4).map(float)
    table = [
        (base, data.draw(score), data.draw(st.lists(st.tuples(item, score), max_size=4)))
        for base in data.draw(st.lists(item, unique=True))
    ]
    model = windfall.load(spec_of(table, ids=list(range(count))))
    rows = data.draw(
        st.lists(
            st.fixed_dictionaries(
                {"items": st.dictionaries(item, score)},
                optional={"k": st.integers(0, 7), "only": st.lists(item), "without": st.lists(item)},
            ),
            max_size=4,
        )
    )
    for row, got in zip(rows, model.predict_batch(rows), strict=True):
        best, scores = expected(table, count, list(row["items"].items()), row.get("k"), row.get("only"),
                                row.get("without"))  # fmt: skip
        assert got == {"best": best, "scores": scores}


# Errors


def test_a_negative_number_of_recommendations():
    with pytest.raises(EngineError) as error:
        predict(spec_of(), items={}, k=-1)
    assert str(error.value) == (
        "'itemSimilarityRecommender' has a number of recommendations below 0, must be at least 0"
    )


def test_items_of_another_type():
    with pytest.raises(FeatureError, match=r"^input 'items' has 'a' \(str\), must have integers; convert it first$"):
        predict(spec_of(ids=[0, 1, 2, 3]), items={"a": 1.0})


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"ids": ["a", "b", "c"]},
            "itemStringIds is 3 identifiers, must be at least 4, as there is an item of number 3",
        ),
        (
            {"ids": ["a", "b", "a", "a"]},
            "itemStringIds is 4 identifiers, must differ, but 2 of them are there before",
        ),
        ({"ids": None, "table": [(2**63, 0.0, [])]}, f"itemId is {2**63}, must be below 4,194,304"),
        ({"ids": None, "table": [(0, 0.0, [(2**22, 1.0)])]}, "itemId is 4194304, must be below 4,194,304"),
        ({"itemInt64Ids": {"vector": [1]}}, "itemStringIds and itemInt64Ids are both given, must be one of them"),
        ({"itemInputFeatureName": "z"}, "input is 'z', must be one of ['k', 'only', 'without']"),
        ({"itemInputFeatureName": "k"}, ("input is 'k', has the type int64Type, must have dictionaryType or "
                                        "sequenceType or multiArrayType")),
        ({"itemExclusionInputFeatureName": "items"}, ("input is 'items', has the type dictionaryType, must have "
                                                     "sequenceType or multiArrayType")),
        ({"numRecommendationsInputFeatureName": "only"}, ("input is 'only', has the type sequenceType, must have "
                                                         "int64Type")),
        ({"recommendedItemListOutputFeatureName": "z"},
         "output is 'best', is none of those that the model gives: ['z', 'scores']"),
        ({"outputs": {"best": "int64 sequence"}}, "output is 'best', must be a sequence with stringType"),
        ({"outputs": {"scores": "string sequence"}}, "output is 'scores', must be a dictionary with stringKeyType"),
    ],
)  # fmt: skip
def test_damaged_models(fields, text):
    with pytest.raises(FormatError) as error:
        windfall.load(spec_of(**fields)).compiled  # noqa: B018
    assert str(error.value) == f"cannot lower the model (itemSimilarityRecommender): {text}"


def test_items_whose_type_is_not_that_of_the_identifiers():
    spec = spec_of()
    spec.description.input[0].type.dictionaryType.int64KeyType.SetInParent()
    with pytest.raises(FormatError, match=r"input is 'items', must have texts, as the model's items have$"):
        windfall.load(spec).compiled  # noqa: B018
