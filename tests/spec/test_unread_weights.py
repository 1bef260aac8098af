"""A package is opened and described without its weight files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from tests.programs import Name, Output, add_operation, new_program, set_type

from windfall.spec.blobfile import BlobWriter
from windfall.spec.package import write_package_files
from windfall.spec.proto import MIL_pb2

WEIGHT = Path("Data/com.apple.CoreML/weights/weight.bin")
NAME = "@model_path/weights/weight.bin"
SIZE = 2**30
SCRIPT = """
import json, sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)

import windfall

def names():
    return sorted({path.replace("\\\\", "/").rpartition("/")[2] for path in opened if "m.mlpackage" in path})

model = windfall.load(sys.argv[1])
found = {"loaded": names(), "parameters": model.description.parameters, "text": str(model.description)}
found |= {"described": names(), "layers": len(model.description.layers)}
model._file.blob(sys.argv[2], 64)
found["read"] = names()
print(json.dumps(found))
"""


def large_package(folder: Path) -> Path:
    """Return a package with a weight file of a gigabyte, nearly all of which is a hole."""
    spec, _, block = new_program()
    constant = add_operation(block, "const", {"w": Output(np.float32, (SIZE // 4096, 1024))})
    set_type(constant.attributes["val"].type, MIL_pb2.FLOAT32, (SIZE // 4096, 1024))
    constant.attributes["val"].blobFileValue.fileName = NAME
    constant.attributes["val"].blobFileValue.offset = 64
    add_operation(block, "linear", {"y": Output(np.float32, (1, 1024))}, x=Name("x"), weight=Name("w"))
    path = write_package_files(folder / "m.mlpackage", spec, {})
    with BlobWriter(path / WEIGHT) as writer:
        writer.append(np.zeros(600, np.float32), MIL_pb2.FLOAT32)
    os.truncate(path / WEIGHT, SIZE)
    return path


def test_a_weight_file_is_not_even_opened(tmp_path: Path) -> None:
    path = large_package(tmp_path)
    arguments = [sys.executable, "-c", SCRIPT, str(path), NAME]
    found = json.loads(subprocess.run(arguments, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603  # our own
    assert found["loaded"] == found["described"] == ["Manifest.json", "model.mlmodel"]
    assert found["read"] == ["Manifest.json", "model.mlmodel", "weight.bin"]
    assert (found["parameters"], found["layers"]) == (SIZE // 4, 2)
    assert "1.1 GB" in found["text"]
