"""Values for classical models that are not what they should be."""

from typing import Any

import numpy as np
import pytest
from tests.classical import model_spec

import windfall
from windfall.errors import FeatureError

KINDS = {"s": "string sequence", "i": "int64 sequence", "m": "string dictionary", "k": "int64 dictionary"}
GOOD: dict[str, Any] = {"s": ["a"], "i": [1], "m": {"a": 1.0}, "k": {1: 1.0}}

# Python does not write so many digits.
HUGE = 10**5000


class OnlyLong:
    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("s", np.array("a"), "input 's' is array('a', dtype='<U1') (ndarray), must be a list"),
        ("i", 7, "input 'i' is 7 (int), must be a list"),
        (
            "i",
            [np.timedelta64(1, "s")],
            "has np.timedelta64(1,'s') (timedelta64), must have integers; convert it first",
        ),
        ("i", [2**70], "input 'i' has an integer that int64 cannot hold"),
        pytest.param("m", {HUGE: 1}, "input 'm' has <int> (int), must have text; convert it first", id="key"),
        pytest.param("m", HUGE, "input 'm' is <int> (int), must be a dictionary of numbers", id="value"),
        ("k", {np.timedelta64(1, "s"): 1}, "must have integers; convert it first"),
    ],
)
def test_values_that_do_not_fit(name: str, value: Any, text: str) -> None:
    model = windfall.load(model_spec("identity", KINDS, KINDS, {}))
    assert model.predict(GOOD) == GOOD
    with pytest.raises(FeatureError) as error:
        model.predict({**GOOD, name: value})
    assert str(error.value).endswith(text)


def test_what_only_has_a_length_is_no_list() -> None:
    model = windfall.load(model_spec("identity", KINDS, KINDS, {}))
    with pytest.raises(FeatureError, match=r"OnlyLong.*must be a list$"):
        model.predict({**GOOD, "s": OnlyLong()})
