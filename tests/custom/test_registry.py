"""What classes are registered as, and what is never looked up."""

import builtins
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.custom.layers import LAYERS, MODELS, Doubled, EncodedDoubled, network, only_these
from windfall.custom import registry
from windfall.custom.registry import use_entry_point
from windfall.errors import UnsupportedError

X = np.ones((2, 3), np.float32)
HERE = "tests.custom"


@pytest.fixture(autouse=True)
def _nothing_else() -> Any:
    with only_these(LAYERS, {}), only_these(MODELS, {}):
        yield


class Nothing(windfall.CustomModel):
    def predict(self, inputs: Any, options: Any) -> Any:
        return {}


def test_a_decorator_registers_for_every_model() -> None:
    model = windfall.load(network(("Mine", ["x"], ["y"])))
    assert not model.description.runnable
    assert windfall.custom_layer("Mine")(Doubled) is Doubled
    assert windfall.custom_model("Mine")(Nothing) is Nothing
    # What is registered after a model was loaded counts too.
    np.testing.assert_array_equal(model.predict({"x": X})["y"], X * 2)


def test_what_a_model_is_loaded_with_comes_first() -> None:
    windfall.custom_layer("Mine")(Doubled)
    found = type("Negated", (Doubled,), {"evaluate": lambda self, inputs: [-inputs[0]]})
    model = windfall.load(network(("Mine", ["x"], ["y"])), custom_layers={"Mine": found})
    np.testing.assert_array_equal(model.predict({"x": X})["y"], -X)


def test_two_classes_of_one_name_are_refused() -> None:
    windfall.custom_layer("Mine")(Doubled)
    with pytest.raises(UnsupportedError) as error:
        windfall.custom_layer("Mine")(EncodedDoubled)
    assert str(error.value) == (
        "the custom layer 'Mine' is registered already, by tests.custom.layers.Doubled; use another name, or choose a "
        "class for one model: windfall.load(..., custom_layers={'Mine': CLASS})"
    )
    windfall.custom_layer("Mine")(Doubled)


def test_a_class_that_is_defined_again_takes_its_own_place() -> None:
    def define(factor: int) -> None:
        @windfall.custom_layer("Mine")
        class Mine(Doubled):
            def evaluate(self, inputs: Any) -> Any:
                return [inputs[0] * np.float32(factor)]

    define(2)
    define(5)
    result = windfall.load(network(("Mine", ["x"], ["y"]))).predict({"x": X})["y"]
    np.testing.assert_array_equal(result, X * 5)


@pytest.mark.parametrize(
    ("register", "name", "found", "text"),
    [
        (
            windfall.custom_layer, "", Doubled,
            "the name of a custom layer is '', must be the className that models have",
        ),
        (windfall.custom_layer, 3, Doubled, "the name of a custom layer is 3, must be the className that models have"),
        (
            windfall.custom_layer, "Mine", Nothing,
            ("the custom layer 'Mine' is <class 'tests.custom.test_registry.No..., must be a class derived from "
            "windfall.CustomLayer"),
        ),
        (
            windfall.custom_layer, "Mine", len,
            "the custom layer 'Mine' is <built-in function len>, must be a class derived from windfall.CustomLayer",
        ),
        (
            windfall.custom_layer, "Mine", windfall.CustomLayer,
            ("the custom layer 'Mine' is CustomLayer, which has no evaluate; must have encode, or both evaluate and "
            "output_shapes"),
        ),
        (
            windfall.custom_layer, "Mine", type("Half", (windfall.CustomLayer,), {"evaluate": len}),
            ("the custom layer 'Mine' is Half, which has no output_shapes; must have encode, or both evaluate and "
            "output_shapes"),
        ),
        (
            windfall.custom_model, "Mine", Doubled,
            ("the custom model 'Mine' is <class 'tests.custom.layers.Doubled'>, must be a class derived from "
            "windfall.CustomModel"),
        ),
        (
            windfall.custom_model, "Mine", windfall.CustomModel,
            "the custom model 'Mine' is CustomModel, which has no predict; must have one",
        ),
    ],
)  # fmt: skip
def test_what_is_no_such_class_is_refused(register: Any, name: Any, found: Any, text: str) -> None:
    with pytest.raises(UnsupportedError) as error:
        register(name)(found)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("package", "custom_layers is 'package', must be a mapping from names to classes, or a list of packages"),
        (3, "custom_layers is 3, must be a mapping from names to classes, or a list of packages"),
        (
            ["no-such-package"],
            (
                "custom_layers has 'no-such-package', which is no installed package with entry points of the group "
                "windfall.custom_layers; install it, or give a mapping from names to classes"
            ),
        ),
        (
            {"Mine": 3},
            "the custom layer 'Mine' is 3, must be a class derived from windfall.CustomLayer",
        ),
    ],
)
def test_what_load_does_not_take(given: Any, text: str) -> None:
    with pytest.raises(UnsupportedError) as error:
        windfall.load(network(("Mine", ["x"], ["y"])), custom_layers=given)
    assert str(error.value) == text


def package(folder: Path, name: str, *lines: str, module: str = "horses") -> None:
    """Install a package by hand: its metadata, and a module with a layer."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(lines))
    (folder / f"{module}.py").write_text(
        "import windfall\n"
        "class Tripled(windfall.CustomLayer):\n"
        "    def encode(self, graph, inputs):\n"
        "        return graph.op('Mul', inputs[0], graph.constant(__import__('numpy').float32(3)))\n"
        "class Counts(windfall.CustomModel):\n"
        "    def predict(self, inputs, options):\n"
        "        return {'n': len(inputs['text'])}\n"
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    package(
        tmp_path, "Fast_Horses",
        "[windfall.custom_layers]", "Horse = horses:Tripled", "Broken = horses:windfall",
        "[windfall.custom_models]", "Counts = horses:Counts",
    )  # fmt: skip
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("horses", None)


def test_a_package_is_imported_when_it_is_named_and_not_before(installed: Path) -> None:
    spec = network(("Horse", ["x"], ["y"]))
    with pytest.raises(UnsupportedError, match="custom layer 'Horse'"):
        windfall.load(spec).predict({"x": X})
    assert "horses" not in sys.modules
    (installed / "Fast_Horses-1.0.dist-info/entry_points.txt").write_text(
        "[windfall.custom_layers]\nHorse = horses:Tripled"
    )
    model = windfall.load(spec, custom_layers=["fast-horses"])
    assert "horses" in sys.modules
    np.testing.assert_array_equal(model.predict({"x": X})["y"], X * 3)


def test_an_entry_point_is_registered_by_its_name(installed: Path) -> None:
    use_entry_point("Horse")
    windfall.custom.use_entry_point("Counts", package="fast.horses")
    np.testing.assert_array_equal(windfall.load(network(("Horse", ["x"], ["y"]))).predict({"x": X})["y"], X * 3)
    spec = windfall.custom.make_model("Counts", inputs={"text": str}, outputs={"n": int})
    assert windfall.load(spec).predict({"text": "abc"}) == {"n": 3}


def test_entry_points_that_are_of_no_use(installed: Path) -> None:
    with pytest.raises(UnsupportedError) as error:
        use_entry_point("Cow")
    assert str(error.value) == (
        "'Cow' is no entry point of an installed package in the group windfall.custom_layers or "
        "windfall.custom_models; install the package, or register a class of your own"
    )
    with pytest.raises(UnsupportedError, match="'Horse' is no entry point of the installed package 'cows'"):
        use_entry_point("Horse", package="cows")
    with pytest.raises(UnsupportedError) as error:
        use_entry_point("Broken")
    assert str(error.value).startswith("the custom layer 'Broken' is <module 'windfall' from")
    with pytest.raises(UnsupportedError, match="the custom layer 'Broken' is"):
        windfall.load(network(("Horse", ["x"], ["y"])), custom_layers=["Fast-Horses"])


def test_two_packages_that_offer_one_name(installed: Path) -> None:
    package(installed, "slow_horses", "[windfall.custom_layers]", "Horse = slow:Tripled", module="slow")
    with pytest.raises(UnsupportedError) as error:
        use_entry_point("Horse")
    assert str(error.value) == (
        "'Horse' is offered by the packages Fast_Horses, slow_horses; choose one: "
        "use_entry_point('Horse', package='Fast_Horses')"
    )
    use_entry_point("Horse", package="slow-horses")
    assert LAYERS.classes["Horse"].__module__ == "slow"
    del sys.modules["slow"]


HOSTILE = [
    "os.system",
    "subprocess:Popen",
    "../../evil.py",
    "/etc/passwd",
    "builtins.eval",
    "tests.custom.layers.Doubled",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_looked_up_by_a_name_in_a_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the name, loading, describing and predicting import and open the same, and look through no packages."""
    asked = _asked_for(name, tmp_path, monkeypatch)
    assert str(tmp_path / "model.mlmodel") in asked
    assert asked == _asked_for("Harmless", tmp_path, monkeypatch)


def _asked_for(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is imported and opened for a layer and for a model of a class name."""
    layer = network(("Mine", ["x"], ["y"]))
    layer.neuralNetwork.layers[0].custom.className = name
    model = windfall.custom.make_model(name, inputs={"x": str}, outputs={"y": str})
    found: list[str] = []
    for spec, inputs in ((layer, {"x": X}), (model, {"x": "a"})):
        path = windfall.load(spec).save(folder / "model.mlmodel")
        _fail(windfall.load(path), name, inputs)  # imports what is needed the first time
        with monkeypatch.context() as patch:
            found += _watch(patch, lambda path=path, inputs=inputs: _fail(windfall.load(path), name, inputs))
    return found


def _fail(model: windfall.Model, name: str, inputs: Any) -> None:
    assert [(one.name, one.registered) for one in model.description.dependencies] == [(name, False)]
    assert "Dependencies" in str(model.description)
    with pytest.raises(UnsupportedError, match="needs classes of yours") as error:
        model.predict(inputs)
    assert repr(name) in str(error.value)


def _watch(patch: pytest.MonkeyPatch, run: Callable[[], None]) -> list[str]:
    """Return what is imported and opened; fail where packages are looked through."""
    asked: list[str] = []

    def noted(real: Any) -> Any:
        return lambda name, *rest, **named: asked.append(str(name)) or real(name, *rest, **named)

    def refused(*_: Any) -> Any:
        raise AssertionError("packages were looked through")

    for place, function in ((builtins, "__import__"), (importlib, "import_module"), (builtins, "open"), (Path, "open"),
                            (importlib.util, "find_spec"), (os, "system"), (os, "open")):  # fmt: skip
        patch.setattr(place, function, noted(getattr(place, function)))
    patch.setattr(registry.Registry, "points", refused)
    run()
    return asked
