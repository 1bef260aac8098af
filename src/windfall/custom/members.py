"""What of the user's stands for a member of a pipeline: a function for one of Apple's, or a class of a custom model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from windfall.custom.flow import Call
from windfall.custom.models import CustomModel
from windfall.custom.parameters import read_parameters
from windfall.custom.placed import noted
from windfall.custom.values import returned, returned_by_name
from windfall.description import describe
from windfall.errors import FeatureError
from windfall.runtime.engine import EngineOptions

Values = Mapping[str, Any]


class Member(Protocol):
    """Stands for a member; it takes and gives values by the names of the member's inputs and outputs."""

    def run(self, given: Values) -> Values:
        """Return the outputs of one prediction.

        Raises:
            FeatureError: What the user's code returned does not fit.
            Exception: What it raises, with a note of the member.
        """
        ...

    def run_batch(self, batch: Sequence[Values]) -> list[Values]:
        """Return the outputs of several predictions; see ``run``."""
        ...


class ExtractorMember:
    """A member that a function stands for.

    Args:
        call: The member.
        function: Given the value of its only input, or a dictionary of several by name, it returns the value of the
            only output, or a dictionary of several by name.
        name: What messages call the file.
    """

    def __init__(self, call: Call, function: Callable[[Any], Any], name: str) -> None:
        self._outputs = list(call.file.spec.description.output)
        self._function = function
        self._who = f"the feature extractor for {title(call, name)}"

    def run(self, given: Values) -> Values:
        """See ``Member.run``."""
        with noted(self._who):
            result = self._function(next(iter(given.values())) if len(given) == 1 else given)
        return returned(self._outputs, result, self._who)

    def run_batch(self, batch: Sequence[Values]) -> list[Values]:
        """See ``Member.run_batch``; a function takes one at a time."""
        return [self.run(given) for given in batch]


class CustomMember:
    """A member that a class stands for.

    Args:
        call: The member, a ``customModel``.
        found: The class.
        options: What predictions are told.
        name: What messages call the file.

    Raises:
        FormatError: A parameter cannot be read.
        Exception: What the constructor raises, with a note of the member.
    """

    def __init__(self, call: Call, found: type[CustomModel], options: EngineOptions, name: str) -> None:
        self._outputs = list(call.file.spec.description.output)
        self._options = options
        self._who = f"{title(call, name)}, className {call.file.spec.customModel.className!r}"
        parameters = read_parameters(call.file.spec.customModel, self._who)
        description = describe(call.file)
        with noted(self._who):
            self._model = found(description, parameters)

    def run(self, given: Values) -> Values:
        """See ``Member.run``."""
        with noted(self._who):
            result = self._model.predict(given, self._options)
        return returned_by_name(self._outputs, result, self._who)

    def run_batch(self, batch: Sequence[Values]) -> list[Values]:
        """See ``Member.run_batch``."""
        with noted(self._who):
            results = self._model.predict_batch(batch, self._options)
        if not isinstance(results, list | tuple) or len(results) != len(batch):
            what = f"a list of {len(results)}" if isinstance(results, list | tuple) else type(results).__name__
            raise FeatureError(
                f"{self._who}: predict_batch returned {what}, must return a list of {len(batch)} dictionaries"
            )
        return [returned_by_name(self._outputs, result, self._who) for result in results]


def title(call: Call, name: str) -> str:
    """Return what messages call a member.

    Args:
        call: The member.
        name: What messages call the file.
    """
    return f"model {call.path!r} ({call.kind}) of {name}" if call.path else f"{call.kind} of {name}"
