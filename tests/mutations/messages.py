"""Messages and bytes, damaged at random."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

EXTREMES = (0, 1, 2, 3, 7, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -1, -2, -5, -(2**31),
            -(2**63))  # fmt: skip
FLOATS = (0.0, 1.0, -1.0, 0.5, 1e38, -1e38, 1e-45, float("inf"), float("-inf"), float("nan"))
SMALL = (0, 1, 1, 1, 2, 2, 3, 4, -1, -2)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, delete, insert, repeat or cut off some bytes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(out)) if out else 0
        length = rng.choice((1, 1, 4, 16))
        kind = rng.randrange(6)
        if kind == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[at] = rng.randrange(256)
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = rng.randbytes(length)
        elif kind == 4:
            out[at:at] = out[at : at + 64]
        elif rng.random() < 0.3:
            del out[at:]
    return bytes(out)


def mutate_message(message: Any, rng: random.Random, strings: Sequence[str]) -> None:
    """Change one to three fields of a message at any depth."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        mutate_field(rng.choice(list(messages(message))), rng, strings)


def messages(message: Any) -> Iterator[Any]:
    """Yield a message and all messages in it, those in maps included, in an order that is always the same."""
    if message.DESCRIPTOR.fields:
        yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for child in _children(field, value):
            yield from messages(child)


def _children(field: Any, value: Any) -> Sequence[Any]:
    if is_map(field):
        has_messages = field.message_type.fields_by_name["value"].message_type is not None
        return [value[key] for key in sorted(value)] if has_messages else []
    return value if field.is_repeated else [value]


def is_map(field: Any) -> bool:
    """Whether a field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def mutate_field(message: Any, rng: random.Random, strings: Sequence[str], numbers: Sequence[int] = EXTREMES) -> None:
    """Set a random field of a message to an extreme value, of the right type."""
    field = rng.choice(message.DESCRIPTOR.fields)
    if is_map(field):
        _mutate_map(getattr(message, field.name), field, rng, strings)
        return
    if field.message_type is not None:
        _mutate_children(message, field, rng)
        return
    values = values_of(field, rng, strings, numbers)
    if not field.is_repeated:
        setattr(message, field.name, values(getattr(message, field.name)))
        return
    items = getattr(message, field.name)
    kind = rng.randrange(4)
    if kind == 0 and len(items):
        items[rng.randrange(len(items))] = values(items[0])
    elif kind == 1 and len(items):
        del items[rng.randrange(len(items))]
    elif kind == 2:
        items.append(values(items[0] if len(items) else zero(field)))
    else:
        del items[:]


def _mutate_map(entries: Any, field: Any, rng: random.Random, strings: Sequence[str]) -> None:
    """Take an entry out of a map, give it another name, or put one in."""
    key_field, value_field = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    new = values_of(key_field, rng, strings, EXTREMES)(zero(key_field))
    if value_field.message_type is None:
        entries[new] = values_of(value_field, rng, strings, EXTREMES)(zero(value_field))
        return
    old = rng.choice(sorted(entries)) if entries else new
    kind = rng.randrange(4)
    if kind == 0:
        entries[new].Clear()
    elif kind < 3:
        entries[new].CopyFrom(entries[old])
    if kind > 1 and new != old:
        del entries[old]


def _mutate_children(message: Any, field: Any, rng: random.Random) -> None:
    if rng.random() < 0.3:
        message.ClearField(field.name)
    elif field.is_repeated:
        children = getattr(message, field.name)
        if len(children) and rng.random() < 0.7:
            children.append(rng.choice(children))
        else:
            children.add()
    else:
        getattr(message, field.name).SetInParent()


def zero(field: Any) -> Any:
    """Return the default of a field that is no message."""
    kinds = {field.CPPTYPE_STRING: b"" if field.type == field.TYPE_BYTES else "", field.CPPTYPE_BOOL: False}
    return kinds.get(field.cpp_type, 0)


def values_of(field: Any, rng: random.Random, strings: Sequence[str], numbers: Sequence[int]) -> Callable[[Any], Any]:
    """Return a function from a field's old value to a new one."""
    if field.type == field.TYPE_BYTES:
        return lambda old: rng.choice((b"", old[:-1], old + b"\xff", bytes(5000), b"\x80" * 10))
    if field.cpp_type == field.CPPTYPE_STRING:
        return lambda old: rng.choice(("", "\n", "a" * 5000, "é\0", *strings))
    if field.cpp_type == field.CPPTYPE_BOOL:
        return lambda old: not old
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return lambda old: rng.choice((*FLOATS, old * 2))
    if field.cpp_type == field.CPPTYPE_ENUM:
        return lambda old: rng.choice((*(value.number for value in field.enum_type.values), 99))
    bits = 64 if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) else 32
    unsigned = field.cpp_type in (field.CPPTYPE_UINT64, field.CPPTYPE_UINT32)
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    allowed = [number for number in numbers if low <= number <= high]
    return lambda old: rng.choice((*allowed, max(low, min(high, old + 1)), max(low, min(high, old - 1))))


def fill_at_random(message: Any, rng: random.Random, depth: int = 0) -> None:
    """Set about half of a message's fields to small values; a weight gets some of the lengths that are often right."""
    if message.DESCRIPTOR.name == "WeightParams":
        message.floatValue.extend([0.5] * rng.choice((1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 36)))
        return
    for field in message.DESCRIPTOR.fields:
        if is_map(field) or rng.random() < 0.4 or (field.message_type is not None and depth > 3):
            continue
        if field.message_type is None:
            values = values_of(field, rng, ["x0", "y0"], SMALL)
            if field.is_repeated:
                getattr(message, field.name).extend(values(zero(field)) for _ in range(rng.choice((1, 2, 2, 3, 4))))
            else:
                setattr(message, field.name, values(zero(field)))
        elif field.is_repeated:
            for _ in range(rng.choice((1, 2, 2, 3))):
                fill_at_random(getattr(message, field.name).add(), rng, depth + 1)
        else:
            getattr(message, field.name).SetInParent()
            fill_at_random(getattr(message, field.name), rng, depth + 1)
