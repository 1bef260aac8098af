"""Weight files and packed values, against coremltools' own reader and writer where they are at hand."""

import importlib.util
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windfall.errors import FormatError, UnsupportedError, WindfallError
from windfall.spec.blobfile import BlobWriter, decode_bytes
from windfall.spec.blobfolder import BlobFile, BlobFolder
from windfall.spec.openfile import open_file
from windfall.spec.packing import encode_bytes
from windfall.spec.proto import MIL_pb2

# The type, NumPy's type for it, its name in coremltools' reader and writer, and its range.
TYPES = {
    "FLOAT16": (np.float16, "fp16", None),
    "FLOAT32": (np.float32, "float", None),
    "INT8": (np.int8, "int8", (-128, 127)),
    "UINT8": (np.uint8, "uint8", (0, 255)),
    "INT16": (np.int16, "int16", (-(2**15), 2**15 - 1)),
    "UINT16": (np.uint16, "uint16", (0, 2**16 - 1)),
    "INT32": (np.int32, "int32", (-(2**31), 2**31 - 1)),
    "UINT32": (np.uint32, "uint32", (0, 2**32 - 1)),
    "INT4": (np.int8, "int4", (-8, 7)),
    "UINT1": (np.uint8, "uint1", (0, 1)),
    "UINT2": (np.uint8, "uint2", (0, 3)),
    "UINT3": (np.uint8, "uint3", (0, 7)),
    "UINT4": (np.uint8, "uint4", (0, 15)),
    "UINT6": (np.uint8, "uint6", (0, 63)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("blobs")


def number(name):
    return getattr(MIL_pb2, name)


def native(name):
    """Return a native module of coremltools, without the rest of it, which takes seconds to import."""
    full_name = f"coremltools.{name}"
    package = importlib.util.find_spec("coremltools")
    found = [path for folder in package.submodule_search_locations for path in Path(folder).glob(f"{name}*.so")]
    if not found:
        pytest.skip(f"coremltools has no {name} on this system")
    if full_name not in sys.modules:  # it cannot be loaded twice, so coremltools is to find it there
        spec = importlib.util.spec_from_file_location(full_name, found[0])
        sys.modules[full_name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full_name])
    return sys.modules[full_name]


def values_of(name, count, seed=0):
    dtype, _, ends = TYPES[name]
    random = np.random.default_rng(seed)
    if ends is None:
        return random.normal(size=count).astype(dtype)
    return random.integers(ends[0], ends[1], count, endpoint=True).astype(dtype)


def blob_file(path):
    return BlobFile(open_file(path, "m.mlpackage", path.name), f"{path.name} of m.mlpackage")


def write(path, *blobs):
    path.unlink(missing_ok=True)
    with BlobWriter(path) as writer:
        return [writer.append(values, number(name)) for name, values in blobs]


@given(st.sampled_from(sorted(TYPES)), st.integers(0, 70), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_values_come_back_as_they_were(name, count, seed):
    values = values_of(name, count, seed)
    data = encode_bytes(values, number(name))
    for source in (data.tobytes(), data, data.view(np.int8)):
        back = decode_bytes(source, number(name), count)
        np.testing.assert_array_equal(back, values)
        assert back.dtype == values.dtype


# Bits from the least significant on: 1, 2, 3 as uint3 are 001 010 011, so 0b11010001 and the upper bit of 3.
@pytest.mark.parametrize(
    ("name", "values", "data"),
    [
        ("UINT1", [1, 0, 1, 1, 0, 0, 0, 0, 1], b"\x0d\x01"),
        ("UINT2", [1, 2, 3, 0, 2], b"\x39\x02"),
        ("UINT3", [1, 2, 3], b"\xd1\x00"),
        ("UINT3", [7, 0, 4, 1, 6, 5, 2, 3], bytes([0x07 | 0b100 << 6 & 255, 0x03 | 0b110 << 4 & 255 | 128, 0x6A])),
        ("UINT4", [1, 2, 15], b"\x21\x0f"),
        ("UINT6", [1, 2, 63], b"\x81\xf0\x03"),
        ("INT4", [-8, 7, -1], b"\x78\x0f"),
    ],
)
def test_values_below_a_byte_are_packed_from_the_lowest_bit_on(name, values, data):
    expected = bit_stream(values, number(name))
    assert encode_bytes(np.array(values, TYPES[name][0]), number(name)).tobytes() == expected
    assert decode_bytes(expected, number(name), len(values)).tolist() == values
    if len(values) < 8 or name == "UINT1":
        assert expected == data


def bit_stream(values, data_type):
    bits = {MIL_pb2.UINT1: 1, MIL_pb2.UINT2: 2, MIL_pb2.UINT3: 3, MIL_pb2.UINT6: 6}.get(data_type, 4)
    total = sum((value % 2**bits) << (bits * index) for index, value in enumerate(values))
    return total.to_bytes((len(values) * bits + 7) // 8, "little")


def test_bfloat16_becomes_float32():
    data = np.array([0x3F80, 0xC049, 0x7F80, 0x0001], "<u2").tobytes()
    expected = np.array([1.0, -3.140625, np.inf, 2.0**-133], np.float32)
    values = decode_bytes(data, MIL_pb2.BFLOAT16, 4)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("name", "data", "count", "text"),
    [
        ("FLOAT16", bytes(5), 3, "has 5 bytes, must have 6 for 3 values of type FLOAT16"),
        ("UINT3", bytes(2), 6, "has 2 bytes, must have 3 for 6 values of type UINT3"),
        ("UINT1", bytes(2), 8, "has 2 bytes, must have 1 for 8 values of type UINT1"),
        ("STRING", bytes(2), 2, "has values of type STRING, which are not stored as bytes"),
        ("BOOL", bytes(2), 2, "has values of type BOOL, which are not stored as bytes"),
    ],
)
def test_bytes_that_do_not_fit(name, data, count, text):
    with pytest.raises(FormatError) as error:
        decode_bytes(data, number(name), count)
    assert str(error.value) == text


def test_floats_of_eight_bits_are_not_read():
    with pytest.raises(UnsupportedError) as error:
        decode_bytes(b"a", MIL_pb2.FLOAT8E5M2, 1)
    assert str(error.value) == "has values of type FLOAT8E5M2, which windfall cannot read"
    with pytest.raises(FormatError, match="has values of type 77, which"):
        decode_bytes(b"a", 77, 1)


@pytest.mark.parametrize("name", sorted(TYPES))
@pytest.mark.parametrize("count", [1, 7, 8, 29, 200])
def test_coremltools_reads_what_is_written_and_the_other_way_round(tmp_path, name, count):
    storage = native("libmilstoragepython")
    other, here = (values_of(n, c) for n, c in (("FLOAT16", 33), (name, count)))
    ours, theirs = tmp_path / "ours.bin", tmp_path / "theirs.bin"
    offsets = write(ours, ("FLOAT16", other), (name, here))
    writer = storage._BlobStorageWriter(str(theirs))
    raw = here.view(np.uint16) if name == "FLOAT16" else here
    method = TYPES[name][1]
    assert [writer.write_fp16_data(other.view(np.uint16)), getattr(writer, f"write_{method}_data")(raw)] == offsets
    del writer
    assert ours.read_bytes() == theirs.read_bytes()

    reader = storage._BlobStorageReader(str(ours))
    np.testing.assert_array_equal(getattr(reader, f"read_{method}_data")(offsets[1]), raw)
    blob = blob_file(theirs).blob(offsets[1])
    assert (blob.data_type, blob.count) == (number(name), count)
    np.testing.assert_array_equal(blob.read(), here)


def test_a_blob_tells_where_its_bytes_are(folder):
    path = folder / "place.bin"
    values = np.arange(5, dtype=np.float32)
    (offset,) = write(path, ("FLOAT32", values))
    blob = blob_file(path).blob(offset)
    place = blob.place
    assert (place.path, place.offset, place.length, blob.size) == (path.resolve(), 128, 20, 20)
    assert path.read_bytes()[place.offset :][: place.length] == values.tobytes()


def test_raw_bytes_are_written_as_they_are(folder):
    path = folder / "raw.bin"
    path.unlink(missing_ok=True)
    with BlobWriter(path) as writer:
        offsets = [
            writer.append(b"\xff\x07", MIL_pb2.UINT1, 11),
            writer.append(b"", MIL_pb2.INT8),
            writer.append(b"\x80\x3f", MIL_pb2.BFLOAT16),
        ]
    file = blob_file(path)
    assert [file.blob(offset).read().tolist() for offset in offsets] == [[1] * 11, [], [1.0]]


@pytest.mark.parametrize(
    ("values", "name", "text"),
    [
        (np.zeros(1), "FLOAT32", "cannot store values of type float64 as FLOAT32"),
        (np.zeros(1, np.float32), "BFLOAT16", "cannot store values of type float32 as BFLOAT16"),
        (np.zeros(1), "FLOAT64", "weight files have no values of type FLOAT64"),
        (np.array([0, 8], np.int8), "INT4", "INT4 holds -8 to 7, not 0 to 8"),
        (np.array([0, 64], np.uint8), "UINT6", "UINT6 holds 0 to 63, not 0 to 64"),
        (bytes(3), "FLOAT16", "3 bytes do not hold 1 values of type FLOAT16"),
    ],
)
def test_values_that_cannot_be_written(tmp_path, values, name, text):
    with BlobWriter(tmp_path / "w.bin") as writer, pytest.raises(WindfallError) as error:
        writer.append(values, number(name))
    assert str(error.value) == text


def metadata(sentinel=0xDEADBEEF, data_type=1, size=4, offset=128, padding=0):
    return struct.pack("<IIQQQ32x", sentinel, data_type, size, offset, padding)


@pytest.mark.parametrize(
    ("fields", "at", "rule"),
    [
        ({}, 65, "an offset must be a multiple of 64"),
        ({}, 0, "an offset must lie after the header and inside the file's 192 bytes"),
        ({}, 192, "an offset must lie after the header and inside the file's 192 bytes"),
        ({}, 2**64 - 64, "an offset must lie after the header and inside the file's 192 bytes"),
        ({}, 128, "its sentinel is 0x0, must be 0xDEADBEEF"),
        ({"sentinel": 0xDEADBEE0}, 64, "its sentinel is 0xDEADBEE0, must be 0xDEADBEEF"),
        ({"data_type": 0}, 64, "its data type is 0, must be 1 to 17"),
        ({"data_type": 18}, 64, "its data type is 18, must be 1 to 17"),
        ({"offset": 130}, 64, "its data is at 130, must be at a multiple of 64"),
        ({"offset": 0}, 64, "its data of 4 bytes at 0 must lie inside the file's 192 bytes"),
        ({"size": 66}, 64, "its data of 66 bytes at 128 must lie inside the file's 192 bytes"),
        (
            {"size": 2**64 - 2, "offset": 2**64 - 64},
            64,
            f"its data of {2**64 - 2} bytes at {2**64 - 64} must lie inside the file's 192 bytes",
        ),
        ({"size": 3}, 64, "its data has 24 bits, must have a multiple of 16 for values of type FLOAT16"),
        ({"data_type": 8, "padding": 8}, 64, "its padding is 8 bits, must be below 8"),
        (
            {"data_type": 11, "padding": 3},
            64,
            "its data has 29 bits, must have a multiple of 4 for values of type UINT4",
        ),
        (
            {"data_type": 12, "size": 1, "padding": 0},
            64,
            "its data has 8 bits, must have a multiple of 3 for values of type UINT3",
        ),
        (
            {"data_type": 9, "size": 0, "padding": 1},
            64,
            "its data has -1 bits, must have a multiple of 1 for values of type UINT1",
        ),
    ],
)
def test_damaged_blobs(tmp_path, fields, at, rule):
    path = tmp_path / "weight.bin"
    path.write_bytes(struct.pack("<II56x", 1, 2) + metadata(**fields) + bytes(64))
    with pytest.raises(FormatError) as error:
        blob_file(path).blob(at)
    assert str(error.value) == f"weight.bin of m.mlpackage at {at}: {rule}; download or convert it again"


def test_the_padding_of_whole_bytes_may_be_anything(tmp_path):
    path = tmp_path / "weight.bin"
    path.write_bytes(struct.pack("<II56x", 1, 2) + metadata(padding=2**63) + bytes(64))
    assert blob_file(path).blob(64).count == 2


@pytest.mark.parametrize(
    ("content", "version"), [(b"", None), (bytes(63), None), (bytes(64), 0), (struct.pack("<II56x", 0, 1), 1)]
)
def test_files_that_are_no_weight_files(tmp_path, content, version):
    path = tmp_path / "weight.bin"
    path.write_bytes(content)
    with pytest.raises(FormatError) as error:
        blob_file(path)
    assert str(error.value) == (
        f"weight.bin of m.mlpackage is no weight file: its version is {version}, must be 2; "
        "download or convert it again"
    )


def test_blobs_may_share_all_of_their_bytes_or_none(tmp_path):
    path = tmp_path / "weight.bin"
    # Four descriptions; the data of the last two: the same as that of the first, and a part of it.
    parts = [metadata(offset=320, size=128), metadata(offset=320, size=128), metadata(offset=384), metadata(offset=64)]
    path.write_bytes(struct.pack("<II56x", 4, 2) + b"".join(parts) + bytes(128))
    file = blob_file(path)
    assert file.blob(64).count == file.blob(128).count == 64
    assert file.blob(64).count == 64
    for at, start in ((192, 384), (256, 64)):
        with pytest.raises(FormatError) as error:
            file.blob(at)
        assert str(error.value) == (
            f"weight.bin of m.mlpackage at {at}: its bytes {start} to {start + 4} overlap those of another; "
            "download or convert it again"
        )


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=12))
@settings(deadline=None, max_examples=60)
def test_overlaps_are_found_as_by_comparing_all_pairs(folder, ranges):
    path = folder / "overlap.bin"
    write(path)
    file, kept = blob_file(path), []
    for start, length in ranges:
        end = start + length
        overlaps = any(length and (s, e) != (start, end) and s < end and start < e for s, e in kept)
        if overlaps:
            with pytest.raises(FormatError):
                file._claim(start, end, 0)
        else:
            file._claim(start, end, 0)
            if length:
                kept.append((start, end))


@given(st.binary(min_size=0, max_size=6), st.integers(0, 191))
@settings(deadline=None, max_examples=40)
def test_damage_anywhere_gives_a_result_or_an_error(folder, damage, at):
    path = folder / "damaged.bin"
    (offset,) = write(path, ("UINT3", np.arange(8, dtype=np.uint8)))
    data = path.read_bytes()
    path.write_bytes(data[:at] + damage + data[at + len(damage) + len(damage) % 2 :])
    try:
        blob = blob_file(path).blob(offset)
        assert blob.read().shape == (blob.count,)
    except WindfallError:
        pass


def test_only_the_weight_that_is_asked_for_is_read(tmp_path):
    path = tmp_path / "weights" / "weight.bin"
    path.parent.mkdir()
    (offset,) = write(path, ("FLOAT16", np.ones(4, np.float16)))
    with path.open("r+b") as file:  # a file with a hole of 8 TB: reading or copying it would never end
        file.truncate(2**43)
    blob = BlobFolder(tmp_path.resolve(), path.parent.resolve(), "m.mlpackage").blob(
        "@model_path/weights/weight.bin", offset
    )
    assert blob.read().tolist() == [1, 1, 1, 1]
