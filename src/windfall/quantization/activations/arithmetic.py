"""What ``windfall.load(..., arithmetic="int8")`` keeps: the samples, and how the graphs are quantized."""

from typing import TYPE_CHECKING, Any

from windfall.errors import FeatureError, UnsupportedError
from windfall.quantization.calibration.samples import Calibration
from windfall.runtime.cache import cache_folder, entry_key
from windfall.spec.networks import has_custom_layers

if TYPE_CHECKING:
    import onnx_ir as ir

    from windfall.model import Model
    from windfall.quantization.activations.calibrating import Feeds, Plan


class Int8:
    """Quantizes the graphs of a model for 8-bit arithmetic, calibrated once for each set of outputs.

    Values keep their names in the graphs for other sizes, so that what was found for the samples' serves all.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._feeds: list[Feeds] | None = None

    def quantize(self, model: "Model", graph: "ir.Model", names: list[str]) -> None:
        """Quantize a graph, in place.

        Args:
            model: The model.
            graph: Its graph in float32.
            names: The graph's outputs.
        """
        key = tuple(names)
        if key not in self._plans:
            self._plans[key] = self._kept_or_made(model, names)
        self._plans[key].apply(graph)

    def key(self, model: "Model") -> str:
        """Return what decides how graphs are quantized: the content of the samples, and the processor."""
        from windfall.quantization.activations.calibrating import digest
        from windfall.runtime.processor import largest_weight

        return f"int8 {largest_weight()} {digest(self._samples(model))}"

    def anew(self) -> "Int8":
        """Return the same for another model."""
        return Int8(self._calibration)

    def _kept_or_made(self, model: "Model", names: list[str]) -> "Plan":
        from windfall.quantization.activations.plans import keep_plan, kept_plan

        folder = cache_folder()
        options = model._options
        parts = ("plan", names, model._function, model._engine, options.compute_units, options.device, self.key(model))
        key = None if folder is None else entry_key(model._opened, parts)
        if folder is None or key is None:
            return self._plan(model, names)
        plan = kept_plan(folder, key)
        if plan is None:
            plan = self._plan(model, names)
            path = model._opened.path
            keep_plan(folder, key, plan, str(path and path.absolute()))
        return plan

    def _plan(self, model: "Model", names: list[str]) -> "Plan":
        from windfall.quantization.activations.calibrating import Trial
        from windfall.runtime.engine import engine_named
        from windfall.runtime.processor import largest_weight

        samples, labels = self._samples(model), model._binder.labels
        shapes = model._binder.graph_shapes(samples[0])
        return Trial(
            lower=lambda: model._lower_float(shapes, names),
            samples=samples,
            probabilities=[labels is not None and name == labels.source for name in names],
            engine=engine_named(model._engine),
            options=model._options,
            largest_weight=largest_weight(),
        ).plan()

    def _samples(self, model: "Model") -> "list[Feeds]":
        """Return the graph's inputs for each sample, which are read once."""
        if self._feeds is None:
            self._feeds = self._read(model)
        return self._feeds

    def _read(self, model: "Model") -> "list[Feeds]":
        # Comparing needs Pillow and more.
        from windfall.comparison.contenders import Contender
        from windfall.comparison.samples import samples_of

        contender = Contender(model, model._file.name)
        found: list[Feeds] = []
        for sample in samples_of(self._calibration.samples, None, self._calibration.fit):
            inputs = sample.read(contender)
            try:
                feeds = model._binder.feeds(inputs)
            except FeatureError as error:
                raise FeatureError(f"{sample.name} does not fit {contender.name}: {error}") from error
            if found and {k: v.shape for k, v in feeds.items()} != {k: v.shape for k, v in found[0].items()}:
                raise FeatureError(f"{sample.name} is of another size than the samples before, must be of the same")
            found.append(feeds)
        if not found:
            raise FeatureError("there are no samples to calibrate with, must be at least one")
        return found


ARITHMETIC = ("float32", "int8")


def checked_arithmetic(arithmetic: str, calibration: Any, weights: str) -> Int8 | None:
    """Check the arguments of ``load`` that concern arithmetic; None for float32.

    Raises:
        UnsupportedError: There is no such arithmetic, or another argument does not go with it.
        FeatureError: There are no samples.
    """
    if arithmetic not in ARITHMETIC:
        raise UnsupportedError(f"arithmetic is {arithmetic!r}, must be one of: {', '.join(ARITHMETIC)}")
    if arithmetic == "float32":
        if calibration is not None:
            raise UnsupportedError("calibration is for arithmetic='int8', must not be given for 'float32'")
        return None
    if weights != "expanded":
        raise UnsupportedError(f"weights is {weights!r}, must be 'expanded' for arithmetic='int8', which has its own")
    found = Calibration.of(calibration)
    if found is None:
        raise UnsupportedError(
            "arithmetic is 'int8' without calibration, must have samples: dictionaries of inputs, pictures, or a "
            "folder of pictures"
        )
    return Int8(found)


def check_one_graph(model: "Model") -> None:
    """Check that a model is one graph whose outputs depend on its inputs alone.

    Raises:
        UnsupportedError: It is not.
    """
    if model._has_custom_models() or has_custom_layers(model._opened.spec):
        raise UnsupportedError("arithmetic='int8' is not for models with custom layers or models; use 'float32'")
    if model._binder.states:
        raise UnsupportedError("arithmetic='int8' is not for models that keep states; use 'float32'")
