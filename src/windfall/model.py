"""A model: describe it, run it, save it."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, overload

from windfall.compiled import CompiledModel
from windfall.custom.customs import Customs
from windfall.custom.registry import Classes
from windfall.errors import FeatureError, FormatError
from windfall.features.binders import BINDERS
from windfall.features.binding import Binder
from windfall.flexible import Flexible, compile_listed, most_programs
from windfall.runtime.cache import CompileCache, cache_folder, entry_key
from windfall.runtime.devices import CPU, choose_device
from windfall.runtime.engine import EngineOptions, EngineProgram, Program, engine_named
from windfall.runtime.processor import largest_weight
from windfall.runtime.profiling import profile_program
from windfall.runtime.serialized import Origin, SerializedModel
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import has_custom_layers
from windfall.spec.package import SUFFIX as PACKAGE_SUFFIX
from windfall.spec.package import write_package
from windfall.spec.pipelines import all_members, is_closed
from windfall.spec.rowforms import MANY
from windfall.spec.writing import write_file
from windfall.state import State

if TYPE_CHECKING:
    import onnx_ir as ir

    from windfall.custom.linked import LinkedFolders
    from windfall.description import ModelDescription
    from windfall.lowering import InputShapes
    from windfall.quantization.activations.arithmetic import Int8
    from windfall.streams.programs import Batching

Key = tuple[tuple[tuple[str, tuple[int | str, ...]], ...], tuple[str, ...] | None]
"""The shapes and the outputs that a program is for."""


class Model:
    """A Core ML model. Made by ``windfall.load``; may be used from many threads at once."""

    def __init__(
        self,
        file: ModelFile,
        options: EngineOptions,
        engine: str,
        function: str = "",
        links: "LinkedFolders | None" = None,
        classes: Classes | None = None,
    ) -> None:
        self._file = file
        self._links = links
        self._classes = classes or Classes()
        self._function = function
        self._options = options
        self._engine = engine
        self._programs: OrderedDict[Key, CompiledModel] = OrderedDict()
        self._compile_seconds = 0.0
        self._flexible = Flexible()
        self._int8: Int8 | None = None
        self._lock = threading.Lock()
        if links is not None:  # a file that is missing is to show now
            _ = self._opened
        if function:  # a wrong name too
            _ = self._binder

    @cached_property
    def description(self) -> "ModelDescription":
        """What the model takes and gives, who made it, what it weighs; prints as a table."""
        from windfall.description import describe  # predictions do without it

        with self._customs.at_work():
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

    def compile_sizes(self) -> list[CompiledModel]:
        """Compile the model for all sizes that its inputs list, ahead of the first prediction of each.

        Returns:
            One program, where it serves all sizes, those of ranges too; else one for each size that is listed, and for
            a range the one of the default size. No more of them stay in memory than ``WINDFALL_PROGRAMS`` says.

        Raises:
            UnsupportedError: Some layers cannot be run; the error names all of them.
            FormatError: A layer breaks a rule of the specification.
        """
        return list(compile_listed(self))

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
        compiled = self._flexible.compiled(self, feeds, wanted)
        tensors = compiled.program.run(feeds, self._binder.checked_state(state))
        return self._binder.results(compiled.outputs, tensors, wanted)

    @overload
    def predict_batch(self, inputs: Mapping[str, Any]) -> dict[str, Any]: ...

    @overload
    def predict_batch(
        self, inputs: Sequence[Any], *, streams: int | None = ..., on_error: str = ..., fit: str = ...
    ) -> list[Any]: ...

    @overload
    def predict_batch(
        self, inputs: Iterable[Any], *, streams: int | None = ..., on_error: str = ..., fit: str = ...
    ) -> dict[str, Any] | list[Any] | Iterator[Any]: ...

    def predict_batch(
        self, inputs: Any, *, streams: int | None = None, on_error: str = "raise", fit: str = "centerCrop"
    ) -> dict[str, Any] | list[Any] | Iterator[Any]:
        """Run the model for many inputs, side by side; classical models and pipelines of them compute all at once.

        Args:
            inputs: Either a table: for each input a list or an array with a value for each prediction, arrays stacked
                along a new first axis; a data frame is one, too. Or a list, a generator or another iterable with the
                inputs of each prediction, as for ``predict``; for a model of one image input with Pillow images of any
                size or paths of pictures, too.
            streams: How many predictions of a network or an ML program run at once, with one thread each; 1 for one at
                a time with all threads. None for what is fastest: it is measured on the first of a longer batch.
            on_error: What becomes of an input that fails: ``raise`` its error, behind the results of those before;
                ``return`` the error in its place; or ``skip`` it.
            fit: How Pillow images that are not in a dictionary, and files, are brought to the model's size:
                ``centerCrop``, ``scaleFit`` or ``scaleFill``.

        Returns:
            For a table, a table: an array for each output, its first axis the predictions; a classifier's
            probabilities as a dictionary with an array for each label; lists of pictures, of other dictionaries and of
            sequences. For a list, a list with what ``predict`` returns for each. For another iterable, an iterator
            over that: inputs are asked for a few ahead, so that there may be any number of them, in the thread that
            asks for results. Its ``close`` ends the batch early.

        Raises:
            FeatureError: The columns of a table differ in length, a value does not fit its description, or the model
                keeps states.
            UnsupportedError: The model has parts that cannot be run; the error names all of them.
            FormatError: A part of the model breaks a rule of the specification.
        """
        from windfall.batches import predict_batch  # what is not needed for one prediction starts sooner without it
        from windfall.streams.settings import Settings

        return predict_batch(self, inputs, Settings(streams, on_error, fit))

    @cached_property
    def _batching(self) -> "Batching":
        from windfall.streams.programs import Batching  # as above

        return Batching()

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

    def _predict_rows(self, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what ``predict`` returns for each row, where the graph takes one at a time."""
        if not has_custom_layers(self._opened.spec):
            return [self.predict(row) for row in rows]
        from windfall.custom.batches import predict_rows

        return predict_rows(self, rows)

    def _of_file(self, file: ModelFile) -> "Model":
        """Return a model with the same options and functions of the user's, of another file; nothing is compiled."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        for name in dir(type(self)):
            if isinstance(getattr(type(self), name), cached_property):
                vars(other).pop(name, None)
        other._file = file
        other._programs = OrderedDict()
        other._flexible = Flexible()
        other._int8 = None if self._int8 is None else self._int8.anew()
        other._lock = threading.Lock()
        return other

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled or copied; give the path, and load it where it is needed")

    def __repr__(self) -> str:
        return f"<windfall.Model {self._file.name!r}, {self._file.spec.WhichOneof('Type')}>"

    @cached_property
    def _binder(self) -> Binder:
        kind = self._opened.spec.WhichOneof("Type")
        if kind not in BINDERS:
            from windfall.lowering.gaps import refuse, unsupported

            refuse(self._file.name, list(unsupported(self._opened.spec)))
        return BINDERS[kind](self._opened, self._function)

    @cached_property
    def _opened(self) -> ModelFile:
        """What is computed: the model, with those that it links to and that are packed into it in their places."""
        if not is_closed(self._file.spec):
            return self._file
        from windfall.custom.opening import opened

        return opened(self._file, self._links)

    @cached_property
    def _customs(self) -> Customs:
        """Its custom components."""
        return Customs(self._classes)

    def _has_custom_models(self) -> bool:
        """Whether a class of the user's is to stand for it, or for a member."""
        try:
            return any(member.WhichOneof("Type") == "customModel" for member in all_members(self._opened.spec))
        except FormatError:  # of a model packed into it, which a prediction will be told
            return False

    def _provided(self, _path: str, _kind: str) -> bool:
        """Tell whether a function of the user's stands for a member; see ``windfall.custom``."""
        return False

    def _compiled(self, shapes: "InputShapes", outputs: tuple[str, ...] | None) -> CompiledModel:
        """Return the program for some shapes and outputs; the least recently used is dropped where there are many."""
        self._customs.refuse_to_wait(self._file.name)
        key = (tuple(shapes.items()), outputs)
        with self._lock:
            if key not in self._programs:
                start = time.perf_counter()
                self._keep(key, self._compile(shapes, outputs))
                self._compile_seconds = time.perf_counter() - start
            self._programs.move_to_end(key)
            return self._programs[key]

    def _keep(self, key: Key, compiled: CompiledModel) -> None:
        """Keep a program, in the place of the one that was not used for longest; the lock must be held."""
        self._programs[key] = compiled
        if len(self._programs) > most_programs():
            self._programs.popitem(last=False)

    def _drop(self, key: Key) -> None:
        """Forget a program."""
        with self._lock:
            self._programs.pop(key, None)

    def _compile(self, shapes: "InputShapes", outputs: tuple[str, ...] | None) -> CompiledModel:
        names = list(self._binder.sources if outputs is None else self._binder.sources_of(outputs))
        # What is made for many rows is run from several threads at once, each with some of the rows.
        is_stream = any(MANY in dims for dims in shapes.values())
        options = replace(self._options, threads=1) if is_stream else self._options
        program = self._program_of(shapes, names, options)
        if self._binder.serves_all(shapes):
            assert isinstance(program, EngineProgram), program
            program = self._flexible.guarded(self, program, outputs)
        # This model itself would keep the program, and the program the model, until garbage is collected.
        twin = self._of_file(self._file)
        twin._int8 = self._int8
        return CompiledModel(
            names,
            program,
            lambda: twin._lower(shapes, names),
            lambda made, runs: profile_program(
                made, twin._file.name, lambda: twin._serialize(shapes, names), options, runs
            ),
        )

    def _program_of(self, shapes: "InputShapes", names: list[str], options: EngineOptions) -> Program:
        engine = engine_named(self._engine)
        if not has_custom_layers(self._opened.spec):
            graph = self._serialize(shapes, names)
            if not self._binder.serves_all(shapes):
                return engine.compile(graph, options)
            default = partial(self._serialize, self._binder.default_shapes(), names)
            return self._flexible.compile(engine, graph, default, options)
        from windfall.custom.missing import refuse_missing
        from windfall.custom.program import compile_parts
        from windfall.lowering.gaps import unsupported

        with self._customs.at_work():
            refuse_missing(self._file.name, self._opened.spec, unsupported(self._opened.spec))
        return compile_parts(self._lower(shapes, names), self._customs, engine, options)

    def _serialize(self, shapes: "InputShapes", names: list[str]) -> SerializedModel:
        """Return the graph for an engine: from the cache on disk, or lowered now."""
        file = self._opened
        # What the user's code gives may be another graph next time.
        folder = None if has_custom_layers(file.spec) else cache_folder()
        settings = (self._function, self._options.weights, largest_weight(), self._on_processor)
        parts: tuple[object, ...] = (tuple(shapes.items()), names, *settings)
        if self._int8 is not None and folder is not None and file.folder is not None:
            parts = (*parts, self._int8.key(self))
        key = None if folder is None else entry_key(file, parts)
        if folder is None or key is None or file.folder is None:
            return self._lower_and_serialize(shapes, names)
        cache = CompileCache(folder)
        found = cache.get(key, file.folder)
        if found is None:
            source = str(file.path and file.path.absolute())
            found = replace(self._lower_and_serialize(shapes, names), origin=Origin(key, source))
            cache.put(key, found, source)
        return found

    def _lower_and_serialize(self, shapes: "InputShapes", names: list[str]) -> SerializedModel:
        from windfall.runtime.serialize import serialize

        return serialize(self._lower(shapes, names))

    def _lower(self, shapes: "InputShapes", names: list[str]) -> "ir.Model":
        graph = self._lower_float(shapes, names)
        if self._int8 is not None:
            self._int8.quantize(self, graph, names)
        return graph

    def _lower_float(self, shapes: "InputShapes", names: list[str]) -> "ir.Model":
        # Imported only where a model is not in the cache: lowering needs all of onnx.
        from windfall.lowering import lower

        with self._customs.at_work():
            is_compressed = self._options.weights == "compressed"
            # Arithmetic in 8 bits has weights of its own, and is not for attention as one operator.
            is_whole = self._int8 is None
            kept = {"compressed": is_compressed, "whole": is_whole, "attention": is_whole and self._on_processor}
            return lower(self._opened, shapes, names, self._function, **kept)

    @property
    def _on_processor(self) -> bool:
        return choose_device(self._options.compute_units, self._options.device, self._engine) is CPU
