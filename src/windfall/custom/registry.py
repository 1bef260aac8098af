"""The classes that stand for custom layers and custom models, by the class names that models have.

A name in a model is a key into these tables and nothing else: it is never looked up as a module, a path or a package.
What is in the tables the user has put there: with a decorator, with an argument of ``load``, or from an installed
package that was named.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from windfall.custom.layers import CustomLayer, check_layer_class
from windfall.custom.models import CustomModel, check_model_class
from windfall.errors import UnsupportedError
from windfall.text import brief

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_Class = TypeVar("_Class", bound=type)
Given = Mapping[str, type] | Iterable[str]
"""Classes by their names, or the names of installed packages that offer some."""


class Registry:
    """The classes for one kind of component.

    Args:
        kind: ``custom layer`` or ``custom model``.
        group: The group of entry points in which packages offer them.
        argument: The argument of ``load`` that takes them.
        check: Raises an error for what is no such class, given it and what messages call it.
    """

    def __init__(self, kind: str, group: str, argument: str, check: Callable[[Any, str], None]) -> None:
        self.kind = kind
        self.group = group
        self.argument = argument
        self.check = check
        self.classes: dict[str, type] = {}

    def add(self, name: str, found: Any) -> None:
        """Register a class for every model that is loaded.

        The same class may come again, changed, as when a cell of a notebook runs twice: the last one counts.

        Raises:
            UnsupportedError: The name is no text, or taken by another class; or it is no such class.
        """
        if not isinstance(name, str) or not name:
            raise UnsupportedError(
                f"the name of a {self.kind} is {brief(name)}, must be the className that models have"
            )
        self.check(found, f"the {self.kind} {name!r}")
        other = self.classes.get(name)
        if other is not None and _place(other) != _place(found):
            raise UnsupportedError(
                f"the {self.kind} {name!r} is registered already, by {_place(other)}; use another name, or choose a "
                f"class for one model: windfall.load(..., {self.argument}={{{name!r}: CLASS}})"
            )
        self.classes[name] = found

    def given(self, given: "Given | None") -> dict[str, type]:
        """Return the classes that one model is loaded with.

        Raises:
            UnsupportedError: They are neither a mapping nor names of packages, or one is no such class.
        """
        if given is None:
            return {}
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise UnsupportedError(
                f"{self.argument} is {brief(given)}, must be a mapping from names to classes, or a list of packages"
            )
        if not isinstance(given, Mapping):
            return {point.name: self.loaded(point) for package in given for point in self._offered(package)}
        for name, found in given.items():
            self.check(found, f"the {self.kind} {name!r}")
        return dict(given)

    def _offered(self, package: Any) -> "list[EntryPoint]":
        points = [point for point in self.points() if _same_package(point, package)]
        if not points:
            raise UnsupportedError(
                f"{self.argument} has {brief(package)}, which is no installed package with entry points of the group "
                f"{self.group}; install it, or give a mapping from names to classes"
            )
        return points

    def points(self) -> "Iterable[EntryPoint]":
        """Return the entry points of all installed packages; nothing is imported."""
        from importlib.metadata import entry_points

        return entry_points(group=self.group)

    def loaded(self, point: "EntryPoint") -> type:
        """Import the class that an entry point names; only for those that the user has asked for."""
        found = point.load()
        self.check(found, f"the {self.kind} {point.name!r}")
        return found  # type: ignore[no-any-return]  # checked to be a class


def _place(found: type) -> str:
    return f"{found.__module__}.{found.__qualname__}"


def _same_package(point: "EntryPoint", package: Any) -> bool:
    return point.dist is not None and _normal(point.dist.name) == _normal(str(package))


def _normal(package: str) -> str:
    """Return the name of a package in the form in which equal ones are the same."""
    return re.sub(r"[-_.]+", "-", package).lower()


LAYERS = Registry("custom layer", "windfall.custom_layers", "custom_layers", check_layer_class)
MODELS = Registry("custom model", "windfall.custom_models", "custom_models", check_model_class)


def custom_layer(name: str) -> Callable[[_Class], _Class]:
    """Register a class, one of ``CustomLayer``, for the layers of a class name, in every model.

    Args:
        name: The ``className`` that models have.

    Raises:
        UnsupportedError: The name is taken by another class, or the class lacks a method that it must have.
    """
    return _decorator(LAYERS, name)


def custom_model(name: str) -> Callable[[_Class], _Class]:
    """Register a class, one of ``CustomModel``, for the models of a class name, alone and in pipelines.

    Args:
        name: The ``className`` that models have.

    Raises:
        UnsupportedError: The name is taken by another class, or the class lacks a method that it must have.
    """
    return _decorator(MODELS, name)


def _decorator(registry: Registry, name: str) -> Callable[[_Class], _Class]:
    def register(found: _Class) -> _Class:
        registry.add(name, found)
        return found

    return register


def use_entry_point(name: str, package: str | None = None) -> None:
    """Register the class that an installed package offers under a name; this imports that package.

    A package offers classes as entry points of the groups ``windfall.custom_layers`` and ``windfall.custom_models``,
    whose names are the class names in models.

    Args:
        name: The class name.
        package: The package, where several offer one.

    Raises:
        UnsupportedError: No package offers one, or several do.
    """
    found = [(registry, point) for registry in (LAYERS, MODELS) for point in registry.points()
             if point.name == name and (package is None or _same_package(point, package))]  # fmt: skip
    packages = sorted({point.dist.name for _, point in found if point.dist is not None})
    if not found:
        place = "an installed package" if package is None else f"the installed package {package!r}"
        raise UnsupportedError(
            f"{brief(name)} is no entry point of {place} in the group {LAYERS.group} or {MODELS.group}; "
            "install the package, or register a class of your own"
        )
    if len(packages) > 1:
        raise UnsupportedError(
            f"{brief(name)} is offered by the packages {', '.join(packages)}; choose one: "
            f"use_entry_point({name!r}, package={packages[0]!r})"
        )
    for registry, point in found:
        registry.add(name, registry.loaded(point))


class Classes:
    """The classes that one model may use: those that it is loaded with, then those registered for all.

    Args:
        layers: The ``custom_layers`` of ``load``.
        models: The ``custom_models`` of ``load``.

    Raises:
        UnsupportedError: They are not what ``load`` takes.
    """

    def __init__(self, layers: Given | None = None, models: Given | None = None) -> None:
        self._layers = LAYERS.given(layers)
        self._models = MODELS.given(models)

    def layer(self, name: str) -> "type[CustomLayer] | None":
        """Return the class for the layers of a class name, None if there is none."""
        return self._layers.get(name) or LAYERS.classes.get(name)

    def model(self, name: str) -> "type[CustomModel] | None":
        """Return the class for the models of a class name, None if there is none."""
        return self._models.get(name) or MODELS.classes.get(name)
