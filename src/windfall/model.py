"""Load a model, describe it, run it."""

import copy
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windfall.batches import predict_batch
from windfall.errors import FeatureError, FormatError
from windfall.features.binding import Binder
from windfall.features.networks import NetworkBinder
from windfall.features.programs import ProgramBinder
from windfall.features.rows import RowBinder
from windfall.runtime.cache import CompileCache, cache_folder, entry_key
from windfall.runtime.engine import EngineOptions, Program, checked_options, engine_named
from windfall.runtime.serialized import SerializedModel
from windfall.spec.modelfile import ModelFile, from_spec, read_model_file
from windfall.spec.package import SUFFIX as PACKAGE_SUFFIX
from windfall.spec.package import write_package
from windfall.spec.pipelines import CLASSICAL, PIPELINES, is_closed
from windfall.spec.proto import NEURAL_NETWORK_TYPES
from windfall.spec.rowforms import MANY
from windfall.spec.writing import write_file
from windfall.state import State

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from windfall.custom.extractors import Function
    from windfall.custom.linked import Folders, LinkedFolders
    from windfall.description import ModelDescription
    from windfall.lowering import InputShapes

_Shapes = tuple[tuple[str, tuple[int | str, ...]], ...]
_MOST_PROGRAMS = 8
_BINDERS: Mapping[str | None, Callable[[ModelFile, str], Binder]] = {
    **dict.fromkeys(NEURAL_NETWORK_TYPES, NetworkBinder),
    "mlProgram": ProgramBinder,
    **dict.fromkeys((*CLASSICAL, *PIPELINES), RowBinder),
}


def load(
    model: str | os.PathLike[str] | Any,
    *,
    compute_units: str = "all",
    threads: int | None = None,
    engine: str = "auto",
    function: str = "",
    feature_extractor: "Function | Mapping[str, Function] | None" = None,
    linked_models: "Folders | None" = None,
) -> "Model":
    """Load a Core ML model.

    The file is parsed and checked at once; the model is compiled on its first prediction.

    Args:
        model: The path of an ``.mlmodel``, ``.mlpackage`` or ``.mlmodelc``, or a ``Model`` protobuf message (what
            coremltools calls a spec).
        compute_units: The devices that may be used: ``all``, ``cpu_only``, ``cpu_and_gpu`` or ``cpu_and_ne``.
        threads: How many threads one prediction may use; None for all cores.
        engine: What computes: ``auto`` or ``onnxruntime``.
        function: The function of an ML program to run; its own default where none is named.
        feature_extractor: What stands for models that are part of Apple's systems, such as ``visionFeaturePrint``:
            a function, or a mapping to functions from types or from names of members. A function is given the value of
            the member's input, and returns that of its output; several are dictionaries by name.
        linked_models: The folder, or folders, in which models may lie that this one links to; none by default.

    Raises:
        FormatError: The file, or one that it links to, is missing, is no Core ML model or is damaged.
        UnsupportedError: An argument has a value that windfall does not know, or that is of no use to the model.
    """
    options = checked_options(threads, compute_units)
    engine_named(engine)
    is_path = isinstance(model, str | os.PathLike)
    file = read_model_file(model) if is_path else from_spec(model)
    links = None if linked_models is None else _linked_folders(linked_models)
    if feature_extractor is None:
        return Model(file, options, engine, function, links)
    from windfall.custom.staged import StagedModel

    return StagedModel(file, options, engine, function, links, feature_extractor)


def _linked_folders(folders: "Folders") -> "LinkedFolders":
    from windfall.custom.linked import LinkedFolders

    return LinkedFolders(folders)


class CompiledModel:
    """A model compiled for one set of input shapes and outputs.

    Attributes:
        outputs: The names of the values that it computes.
        program: What runs it.
    """

    def __init__(self, outputs: list[str], program: Program, lower: "Callable[[], ir.Model]") -> None:
        self.outputs = outputs
        self.program = program
        self._lower = lower

    @cached_property
    def graph(self) -> "ir.Model":
        """The graph after all rewrites; made anew when it is first asked for, as a program does without it."""
        return self._lower()

    @property
    def onnx(self) -> "onnx.ModelProto":
        """The ONNX model, complete with its weights."""
        from onnx_ir import to_proto

        return to_proto(self.graph)


class Model:
    """A Core ML model. Made by ``windfall.load``; may be used from many threads at once."""

    def __init__(
        self,
        file: ModelFile,
        options: EngineOptions,
        engine: str,
        function: str = "",
        links: "LinkedFolders | None" = None,
    ) -> None:
        self._file = file
        self._links = links
        self._function = function
        self._options = options
        self._engine = engine
        self._programs: OrderedDict[tuple[_Shapes, tuple[str, ...] | None], CompiledModel] = OrderedDict()
        self._lock = threading.Lock()
        if links is not None:  # a file that is missing is to show now
            _ = self._opened
        if function:  # a wrong name too
            _ = self._binder

    @cached_property
    def description(self) -> "ModelDescription":
        """What the model takes and gives, who made it, what it weighs; prints as a table."""
        from windfall.description import describe  # predictions do without it

        return describe(self._file, lambda: self._opened, self._provided)

    @property
    def spec(self) -> Any:
        """A copy of the model as a ``Model`` protobuf message, complete with its weights."""
        return self._file.full_spec()

    @property
    def message(self) -> Any:
        """The model's own ``Model`` message, not to be changed; large weights of an ``.mlmodel`` are not in it."""
        return self._file.spec

    @property
    def suffix(self) -> str:
        """What the name of a file that ``save`` writes must end in: ``.mlmodel`` or ``.mlpackage``."""
        return PACKAGE_SUFFIX if self._file.is_package else ".mlmodel"

    @property
    def compiled(self) -> CompiledModel:
        """The model compiled for its default input shapes and outputs.

        Raises:
            UnsupportedError: Some layers cannot be run; the error names all of them.
            FormatError: A layer breaks a rule of the specification.
        """
        return self._compiled(self._binder.default_shapes(), None)

    @property
    def state_names(self) -> list[str]:
        """The names of the states that the model keeps from one prediction to the next.

        Raises:
            UnsupportedError: The model is of a type that cannot be run.
        """
        return list(self._binder.states)

    def make_state(self) -> State:
        """Return a new state of zeros for a sequence of predictions.

        Raises:
            FeatureError: The model keeps no states.
            UnsupportedError: The model is of a type that cannot be run.
        """
        states = self._binder.states
        if not states:
            raise FeatureError(f"{self._file.name} keeps no states; predict without one")
        return State({name: dims for name, (dims, _) in states.items()}, {name: dt for name, (_, dt) in states.items()})

    def predict(
        self, inputs: Mapping[str, Any], state: State | None = None, *, outputs: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Run the model once.

        Args:
            inputs: A value for each input: Pillow images; NumPy arrays, nested lists, numbers, torch tensors.
            state: What ``make_state`` gave, for a model that keeps states; it is read, and written anew.
            outputs: Names of the values to return: outputs, or inner values by their names in the model.
                All outputs of the description by default.

        Returns:
            A value for each output: Pillow images, NumPy arrays; a classifier's label, and its probabilities as a
            dictionary. Inner values are float32 arrays of the shape they have inside.

        Raises:
            FeatureError: An input is missing, unknown, or does not fit its description.
            UnsupportedError: The model has parts that cannot be run; the error names all of them.
            FormatError: A part of the model breaks a rule of the specification.
        """
        feeds = self._binder.feeds(inputs)
        wanted = None if outputs is None else self._binder.checked_outputs(outputs)
        compiled = self._compiled(self._binder.graph_shapes(feeds), wanted)
        tensors = compiled.program.run(feeds, self._binder.checked_state(state))
        return self._binder.results(compiled.outputs, tensors, wanted)

    def predict_batch(
        self, inputs: Mapping[str, Any] | Iterable[Mapping[str, Any]]
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Run the model for many inputs; classical models and pipelines of them compute all at once.

        Args:
            inputs: Either a table: for each input a list or an array with a value for each prediction, arrays stacked
                along a new first axis; a data frame is one, too. Or the inputs of each prediction, as for ``predict``.

        Returns:
            For a table, a table: an array for each output, its first axis the predictions; a classifier's
            probabilities as a dictionary with an array for each label; lists of pictures, of other dictionaries and of
            sequences. Else a list with what ``predict`` returns for each.

        Raises:
            FeatureError: The columns of a table differ in length, or a value does not fit its description.
            UnsupportedError: The model has parts that cannot be run; the error names all of them.
            FormatError: A part of the model breaks a rule of the specification.
        """
        return predict_batch(self, inputs)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model to a file or a package; it appears there whole or not at all.

        Args:
            path: Ends in ``.mlpackage`` for a package, which any model may become; else it is an ``.mlmodel`` file.

        Raises:
            FormatError: The model has weight files, which only a package can hold; or it has changed on disk.
            WindfallError: It cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() == PACKAGE_SUFFIX:
            return write_package(self._file, path)
        if self._file.is_package:
            raise FormatError(f"{self._file.name} has weight files; save it to a path that ends in {PACKAGE_SUFFIX}")
        return write_file(path, self._file.serialized())

    def _of_file(self, file: ModelFile) -> "Model":
        """Return a model with the same options and functions of the user's, of another file; nothing is compiled."""
        other = copy.copy(self)
        for name in dir(type(self)):
            if isinstance(getattr(type(self), name), cached_property):
                vars(other).pop(name, None)
        other._file = file
        other._programs = OrderedDict()
        other._lock = threading.Lock()
        return other

    def __repr__(self) -> str:
        return f"<windfall.Model {self._file.name!r}, {self._file.spec.WhichOneof('Type')}>"

    @cached_property
    def _binder(self) -> Binder:
        kind = self._opened.spec.WhichOneof("Type")
        if kind not in _BINDERS:
            from windfall.lowering.gaps import refuse, unsupported

            refuse(self._file.name, list(unsupported(self._opened.spec)))
        return _BINDERS[kind](self._opened, self._function)

    @cached_property
    def _opened(self) -> ModelFile:
        """What is computed: the model, with those that it links to and that are packed into it in their places."""
        if not is_closed(self._file.spec):
            return self._file
        from windfall.custom.opening import opened

        return opened(self._file, self._links)

    def _provided(self, _path: str, _kind: str) -> bool:
        """Tell whether a function of the user's stands for a member; see ``windfall.custom``."""
        return False

    def _compiled(self, shapes: "InputShapes", outputs: tuple[str, ...] | None) -> CompiledModel:
        """Return the program for some shapes and outputs; the least recently used is dropped where there are many."""
        key = (tuple(shapes.items()), outputs)
        with self._lock:
            if key not in self._programs:
                self._programs[key] = self._compile(shapes, outputs)
                if len(self._programs) > _MOST_PROGRAMS:
                    self._programs.popitem(last=False)
            self._programs.move_to_end(key)
            return self._programs[key]

    def _compile(self, shapes: "InputShapes", outputs: tuple[str, ...] | None) -> CompiledModel:
        names = list(self._binder.sources if outputs is None else self._binder.sources_of(outputs))
        serialized = self._serialize(shapes, names)
        # What is made for many rows is run from several threads at once, each with some of the rows.
        is_stream = any(MANY in dims for dims in shapes.values())
        options = replace(self._options, threads=1) if is_stream else self._options
        program = engine_named(self._engine).compile(serialized, options)
        return CompiledModel(names, program, lambda: self._lower(shapes, names))

    def _serialize(self, shapes: "InputShapes", names: list[str]) -> SerializedModel:
        """Return the graph for an engine: from the cache on disk, or lowered now."""
        folder = cache_folder()
        file = self._opened
        key = None if folder is None else entry_key(file, (tuple(shapes.items()), names, self._function))
        if folder is None or key is None or file.folder is None:
            return self._lower_and_serialize(shapes, names)
        cache = CompileCache(folder)
        found = cache.get(key, file.folder)
        if found is None:
            found = self._lower_and_serialize(shapes, names)
            cache.put(key, found)
        return found

    def _lower_and_serialize(self, shapes: "InputShapes", names: list[str]) -> SerializedModel:
        from windfall.runtime.serialize import serialize

        return serialize(self._lower(shapes, names))

    def _lower(self, shapes: "InputShapes", names: list[str]) -> "ir.Model":
        # Imported only where a model is not in the cache: lowering needs all of onnx.
        from windfall.lowering import lower

        return lower(self._opened, shapes, names, self._function)
