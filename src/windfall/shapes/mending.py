"""Rewrite what holds numbers that follow from the default size, so that it follows other sizes too.

Only layers that stand in the way are rewritten: those that refuse a size, or that give the one which refuses something
that does not change with the size. At the default size nothing changes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from windfall.shapes import networks, programs
from windfall.shapes.allowed import Dims
from windfall.shapes.following import contradicts
from windfall.shapes.probing import Probe, Prober, Refusal, Sizes
from windfall.spec.modelfile import ModelFile
from windfall.spec.networks import network_of
from windfall.spec.programs import block_of

_MOST_REWRITES = 1000


class Rewrite(NamedTuple):
    """A layer that was rewritten.

    Attributes:
        layer: Its name.
        type: What it was.
        change: What it is now.
    """

    layer: str
    type: str
    change: str

    def __str__(self) -> str:
        return f"{self.layer} ({self.type}): {self.change}"


class Mended(NamedTuple):
    """What became of a model.

    Attributes:
        probes: What happens at each of the sizes now.
        rewrites: The layers that were rewritten.
        reasons: Why others that stand in the way were not.
    """

    probes: tuple[Probe, ...]
    rewrites: tuple[Rewrite, ...]
    reasons: tuple[str, ...]


class Part(Protocol):
    """A layer or an operation, for both kinds of model."""

    name: str
    type: str
    inputs: list[str]
    outputs: list[str]

    @property
    def source(self) -> str:
        """The name of the input that it may follow; empty if there is none."""

    @property
    def target(self) -> list[int]:
        """The constant that it reshapes to; empty if it does not."""

    def rewrite(self, before: Dims, now: Dims) -> str | None:
        """Let it follow its input; returns what it is now, or None where there is no exact way."""

    def undo(self) -> None:
        """Take that back."""


def mend(before: Prober, file: ModelFile, wanted: Sequence[Sizes]) -> Mended:
    """Rewrite layers until a model takes some sizes, or nothing helps any more.

    Args:
        before: The model with its old default sizes.
        file: The same model with its new ones; its message is changed.
        wanted: The sizes that it is to take.
    """
    mender = _Mender(before, file, wanted)
    rewrites: list[Rewrite] = []
    for _ in range(_MOST_REWRITES):
        done = mender.step()
        if done is None:
            break
        rewrites.append(done)
    return Mended(mender.probes(), tuple(dict.fromkeys(rewrites)), tuple(mender.reasons))


class _Mender:
    """Rewrites one part after the other.

    Attributes:
        reasons: Why parts were not rewritten.
    """

    def __init__(self, before: Prober, file: ModelFile, wanted: Sequence[Sizes]) -> None:
        self._before = before
        self._file = file
        self._wanted = wanted
        self._prober = Prober(file, before.function)
        self.reasons: list[str] = []

    def probes(self) -> tuple[Probe, ...]:
        """Return what happens at each of the sizes; the first one tells of a target that contradicts them."""
        probes = tuple(map(self._prober.at, self._wanted))
        part = next(self._contradictions(), None) if all(probe.refusal is None for probe in probes) else None
        if part is None:
            return probes
        rule = f"its target {part.target} holds a size of the input, and there is no exact way to let it follow"
        return (*probes[:-1], probes[-1]._replace(refusal=Refusal(part.name, part.type, rule)))

    def step(self) -> Rewrite | None:
        """Rewrite the nearest part that brings the model further; None if none does."""
        self._prober = Prober(self._file, self._before.function)
        refused = next((probe for probe in map(self._prober.at, self._wanted) if _is_refused(probe)), None)
        if refused is not None:
            return self._towards(refused)
        changed = ((part, self._rewrite(part)) for part in self._contradictions())
        return next((Rewrite(part.name, part.type, change) for part, change in changed if change is not None), None)

    def _towards(self, refused: Probe) -> Rewrite | None:
        assert refused.refusal is not None
        parts = _parts(self._before, self._file)
        place = {part.name: index for index, part in enumerate(parts)}
        for part in _upwards(parts, refused.refusal):
            change = self._rewrite(part)
            if change is None:
                continue
            after = Prober(self._file, self._before.function).at(refused.sizes).refusal
            further = after is None or place.get(after.layer, -1) > place.get(refused.refusal.layer, -1)
            # The layer may get another shape by this, and need a rewrite itself for that.
            if further or (after is not None and after.layer == refused.refusal.layer and after != refused.refusal):
                return Rewrite(part.name, part.type, change)
            part.undo()
        self._blame(parts, refused.refusal)
        return None

    def _blame(self, parts: Sequence[Part], refusal: Refusal) -> None:
        fixed = programs.FIXED if self._before.is_program else networks.FIXED
        culprit = next((part for part in _upwards(parts, refusal) if part.type in fixed), None)
        if culprit is not None and culprit.name != refusal.layer:
            self.reasons.append(f"layer {culprit.name!r} ({culprit.type}) before it has a size of its own")

    def _rewrite(self, part: Part) -> str | None:
        shapes = self._shapes(part)
        return None if shapes is None else part.rewrite(*shapes)

    def _contradictions(self) -> Iterator[Part]:
        """Yield parts whose target takes any number of values, but holds one of the sizes that change."""
        for part in _parts(self._before, self._file):
            shapes = self._shapes(part) if -1 in part.target else None
            if shapes is not None and contradicts(*shapes, part.target):
                yield part

    def _shapes(self, part: Part) -> tuple[Dims, Dims] | None:
        """Return the shape of what a part follows, and one in which all sizes differ that ever do.

        None where it is not known for some axis of an input that changes.
        """
        shape = known(self._before.at({}), part.source)
        if shape is None:
            return None
        merged, missing = list(shape), set().union(*map(self._changes, self._wanted))
        for sizes in self._wanted:
            changes = self._changes(sizes) & missing
            other = known(self._prober.at(sizes), part.source) if changes else None
            if other is not None and len(other) == len(merged):
                merged = [new if new != old else now for old, new, now in zip(shape, other, merged, strict=True)]
                missing -= changes
        return None if missing else (shape, tuple(merged))

    def _changes(self, sizes: Sizes) -> set[tuple[str, int]]:
        """Return the axes that are not as in the model with its old default sizes."""
        defaults = self._before.defaults()
        full = {**self._prober.defaults(), **sizes}
        pairs = ((name, zip(dims, defaults[name], strict=True)) for name, dims in full.items())
        return {(name, axis) for name, both in pairs for axis, (one, other) in enumerate(both) if one != other}


def known(probe: Probe, name: str) -> Dims | None:
    """Return a value's shape in a probe if all of it is known."""
    shape = probe.shapes.get(name)
    if shape is None or any(size is None for size in shape):
        return None
    return tuple(size for size in shape if size is not None)


def _is_refused(probe: Probe) -> bool:
    return probe.refusal is not None and not probe.refusal.is_size


def _parts(before: Prober, file: ModelFile) -> list[Part]:
    if before.is_program:
        block, opset = block_of(file, before.function)
        return list(programs.parts(file, block, int(opset.removeprefix("CoreML"))))
    return list(networks.parts(file.spec, network_of(file.spec)))


def _upwards(parts: Sequence[Part], refusal: Refusal) -> Iterator[Part]:
    """Yield the part that refuses, then those that it depends on, the nearest first."""
    makers: Mapping[str, Part] = {name: part for part in parts for name in part.outputs}
    waiting = [part for part in parts if part.name == refusal.layer]
    seen: set[int] = set()
    while waiting:
        part = waiting.pop(0)
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting.extend(makers[name] for name in part.inputs if name in makers)
