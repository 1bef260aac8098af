"""Models of which parts are functions of the user's."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from windfall.custom.extractors import Extractors, Function
from windfall.custom.linked import LinkedFolders
from windfall.custom.stages import StagedProgram
from windfall.errors import UnsupportedError
from windfall.features.rows import RowBinder
from windfall.model import Model
from windfall.runtime.engine import EngineOptions
from windfall.spec.modelfile import ModelFile
from windfall.state import State

if TYPE_CHECKING:
    from windfall.model import CompiledModel


class StagedBinder(RowBinder):
    """Checks what goes in, and asked for, as for a pipeline; functions of the user's take one row at a time."""

    def __init__(self, file: ModelFile, function: str = "") -> None:
        super().__init__(file, function)
        self.single = True


class StagedModel(Model):
    """A model that runs in stages: graphs, and functions of the user's between them. Made by ``windfall.load``."""

    def __init__(  # what a Model has, and the functions
        self,
        file: ModelFile,
        options: EngineOptions,
        engine: str,
        function: str,
        links: LinkedFolders | None,
        given: Function | Mapping[str, Function],
    ) -> None:
        super().__init__(file, options, engine, function, links)
        self._extractors = Extractors(given, self._opened.spec, file.name)

    @property
    def compiled(self) -> "CompiledModel":
        """Not for such a model, which is several graphs or none.

        Raises:
            UnsupportedError: Always.
        """
        self._refuse_compiled()

    def predict(
        self, inputs: Mapping[str, Any], state: State | None = None, *, outputs: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Run the model once; see ``Model.predict``.

        Raises:
            FeatureError: A function of the user's returned what does not fit, or as there.
            Exception: What a function of the user's raises, with a note of the member that it stands for.
        """
        program, binder = self._program, self._binder
        binder.feeds(inputs)
        binder.checked_state(state)
        names = list(binder.outputs) if outputs is None else list(binder.checked_outputs(outputs))
        return program.run(inputs, names)

    def _provided(self, path: str, kind: str) -> bool:
        return self._extractors.provided(path, kind)

    @cached_property
    def _binder(self) -> StagedBinder:
        return StagedBinder(self._opened, self._function)

    @cached_property
    def _program(self) -> StagedProgram:
        from windfall.lowering.gaps import refuse, unsupported

        refuse(self._file.name, list(unsupported(self._opened.spec, provided=self._provided)))
        return StagedProgram(self._opened, self._extractors.function, self._part)

    def _part(self, file: ModelFile) -> Model:
        return Model(file, self._options, self._engine)

    def _refuse_compiled(self) -> NoReturn:
        raise UnsupportedError(
            f"{self._file.name} is not one graph, since functions of yours stand for parts of it; compiled is for "
            "models without"
        )
