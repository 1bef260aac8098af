"""Models of which parts are functions or classes of the user's."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from windfall.custom.batches import chunks
from windfall.custom.extractors import Extractors, Function
from windfall.custom.flow import Call
from windfall.custom.linked import LinkedFolders
from windfall.custom.members import CustomMember, ExtractorMember, Member
from windfall.custom.missing import refuse_missing
from windfall.custom.registry import Classes
from windfall.custom.stages import StagedProgram
from windfall.errors import UnsupportedError
from windfall.features.rows import RowBinder
from windfall.model import Model
from windfall.runtime.engine import EngineOptions
from windfall.spec.modelfile import ModelFile
from windfall.spec.pipelines import pipeline_members
from windfall.state import State

if TYPE_CHECKING:
    from windfall.compiled import CompiledModel


class StagedBinder(RowBinder):
    """Checks what goes in, and asked for, as for a pipeline; code of the user's takes one row at a time."""

    def __init__(self, file: ModelFile, function: str = "") -> None:
        super().__init__(file, function)
        self.single = True


class StagedModel(Model):
    """A model that runs in stages: graphs, and code of the user's between them. Made by ``windfall.load``."""

    def __init__(  # what a Model has, and the functions
        self,
        file: ModelFile,
        options: EngineOptions,
        engine: str,
        function: str,
        links: LinkedFolders | None,
        classes: Classes,
        *,
        given: Function | Mapping[str, Function] | None = None,
    ) -> None:
        super().__init__(file, options, engine, function, links, classes)
        self._extractors = None if given is None else Extractors(given, self._opened.spec, file.name)

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
            FeatureError: Code of the user's returned what does not fit, or as there.
            Exception: What code of the user's raises, with a note of the member that it stands for.
        """
        program, binder = self._ready(), self._binder
        binder.feeds(inputs)
        binder.checked_state(state)
        names = list(binder.outputs) if outputs is None else list(binder.checked_outputs(outputs))
        return program.run(inputs, names)

    def _predict_rows(self, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        program, binder = self._ready(), self._binder
        results = []
        for part in chunks(rows):
            for row in part:
                binder.feeds(row)
            results += program.run_batch(part, list(binder.outputs))
        return results

    def _ready(self) -> StagedProgram:
        self._customs.refuse_to_wait(self._file.name)
        with self._lock:  # objects of the user's classes are made once
            return self._program

    def _provided(self, path: str, kind: str) -> bool:
        if kind == "customModel":
            return all(map(self._classes.model, _class_names(self._opened.spec, path)))
        return self._extractors is not None and self._extractors.provided(path, kind)

    def _member(self, call: Call) -> Member | None:
        """Return what stands for a member, None if nothing of the user's does."""
        name = self._file.name
        if call.kind == "customModel":
            found = self._classes.model(call.file.spec.customModel.className)
            return None if found is None else CustomMember(call, found, self._options, name)
        function = None if self._extractors is None else self._extractors.function(call.path, call.kind)
        return None if function is None else ExtractorMember(call, function, name)

    @cached_property
    def _binder(self) -> StagedBinder:
        return StagedBinder(self._opened, self._function)

    @cached_property
    def _program(self) -> StagedProgram:
        from windfall.lowering.gaps import refuse, unsupported

        with self._customs.at_work():
            gaps = list(unsupported(self._opened.spec, provided=self._provided))
            refuse_missing(self._file.name, self._opened.spec, gaps)
            refuse(self._file.name, gaps)
            return StagedProgram(self._opened, self._member, self._part)

    def _part(self, file: ModelFile) -> Model:
        return Model(file, self._options, self._engine, classes=self._classes)

    def _refuse_compiled(self) -> NoReturn:
        raise UnsupportedError(
            f"{self._file.name} is not one graph, since code of yours stands for parts of it; compiled is for "
            "models without"
        )


def _class_names(spec: Any, path: str) -> list[str]:
    """Return the class names of the custom models at a path, which several members may have."""
    if not path:
        return [spec.customModel.className] if spec.HasField("customModel") else []
    found = []
    for name, member in pipeline_members(spec):
        if path == name or path.startswith(f"{name}/"):
            found += _class_names(member, path[len(name) + 1 :])
    return found
