"""How the target of a reshape follows from the shape of what is reshaped."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from windfall.shapes.allowed import Dims


class Follow(NamedTuple):
    """One size of a target.

    Attributes:
        size: What it was.
        axis: The axis of the input whose size it has; None if it has none's.
        is_rest: Whether it holds what the other sizes leave.
    """

    size: int
    axis: int | None = None
    is_rest: bool = False


def follow(before: Dims, now: Dims, target: Dims, *, eagerly: bool = False) -> list[Follow] | None:
    """Tell how a target follows from an input whose sizes change.

    Sizes that lie in a row and have the same product belong together. Of those a size that changes is either found
    again in the target, or a single one there holds it as a factor.

    >>> follow((1, 8, 6, 6), (1, 8, 9, 5), (1, 2, 4, 6, 6))
    [Follow(size=1, axis=None, is_rest=False), Follow(size=2, axis=None, is_rest=False), \
Follow(size=4, axis=None, is_rest=False), Follow(size=6, axis=2, is_rest=False), Follow(size=6, axis=3, is_rest=False)]

    Args:
        before: The sizes that the target was made for.
        now: Other sizes.
        target: The target.
        eagerly: Let sizes that do not change follow too, where it is clear what they hold.

    Returns:
        A rule for each size of the target; None where they do not say what it should be.
    """
    if math.prod(before) != math.prod(target) or 0 in before:
        return None
    rules = [Follow(size) for size in target]
    for sources, targets in _groups(before, target):
        wanted = [axis for axis in sources if eagerly or before[axis] != now[axis]]
        left = [axis for axis in _refind(before, rules, sources, targets, wanted) if before[axis] != now[axis]]
        if left and not _hold(before, rules, sources, targets, left):
            return None
    if eagerly:
        _rest_of(before, rules)
    rests = sum(rule.is_rest for rule in rules)
    return rules if rests <= 1 else None


def _rest_of(before: Dims, rules: list[Follow]) -> None:
    """Let the only size that holds several axes be what is left, if none is yet."""
    target = tuple(rule.size for rule in rules)
    joined = []
    for sources, targets in _groups(before, target):
        slots = [at for at in targets if target[at] != 1]
        if len(slots) == 1 and sum(before[axis] != 1 for axis in sources) > 1:
            joined += slots
    if len(joined) == 1 and not any(rule.is_rest for rule in rules):
        rules[joined[0]] = Follow(target[joined[0]], is_rest=True)


def _groups(before: Dims, target: Dims) -> Iterator[tuple[range, range]]:
    """Yield the axes of both that belong together."""
    i = j = 0
    while i < len(before) or j < len(target):
        first, second = i, j
        one = before[i] if i < len(before) else 1
        other = target[j] if j < len(target) else 1
        i, j = min(i + 1, len(before)), min(j + 1, len(target))
        while one != other:
            if one < other:
                one, i = one * before[i], i + 1
            else:
                other, j = other * target[j], j + 1
        yield range(first, i), range(second, j)


def _refind(before: Dims, rules: list[Follow], sources: range, targets: range, wanted: Sequence[int]) -> Iterator[int]:
    """Find axes again in the target, with as many values before them; yields those that are not."""
    target = tuple(rule.size for rule in rules)
    for axis in wanted:
        ahead = math.prod(before[sources.start : axis])
        same = [at for at in targets if target[at] == before[axis] and math.prod(target[targets.start : at]) == ahead]
        if same:
            rules[same[0]] = Follow(before[axis], axis)
        else:
            yield axis


def _hold(before: Dims, rules: list[Follow], sources: range, targets: range, left: Sequence[int]) -> bool:
    """Let a size of the target be what is left, if it is clear which."""
    target = tuple(rule.size for rule in rules)
    at = _holding(before, target, sources, targets, left)
    if at is None or rules[at].axis is not None:
        return False
    rules[at] = Follow(target[at], is_rest=True)
    return True


def _holding(before: Dims, target: Dims, sources: range, targets: range, left: Sequence[int]) -> int | None:
    """Return where a target holds some sizes of the input as factors: its only one, or that at the same end."""
    many = [axis for axis in sources if before[axis] != 1 or axis in left]
    slots = [at for at in targets if target[at] != 1]
    if not slots:
        return None
    factor = math.prod(before[axis] for axis in left)
    if len(slots) == 1:
        return slots[0]
    ends = [at for axis, at in ((many[0], slots[0]), (many[-1], slots[-1])) if list(left) == [axis]]
    return next((at for at in ends if target[at] % factor == 0), None)


def contradicts(before: Dims, now: Dims, target: Sequence[int]) -> bool:
    """Whether a target that takes any number of values holds the size of an axis that changes."""
    sizes = resolved(target, before) if -1 in target else None
    rules = None if sizes is None else follow(before, now, sizes)
    return any(rule.axis is not None and size > 0 for rule, size in zip(rules or (), target, strict=False))


def resolved(target: Sequence[int], before: Dims) -> Dims | None:
    """Return a target with numbers in the place of 0, the input's own size, and of -1, what is left.

    None where there is no such target.
    """
    if 0 in target and len(target) != len(before):
        return None
    sizes = [own if size == 0 else size for size, own in zip(target, [*before, *target[len(before) :]], strict=False)]
    rest = math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) > 1 or rest == 0 or math.prod(before) % rest:
        return None
    return tuple(math.prod(before) // rest if size == -1 else size for size in sizes)
