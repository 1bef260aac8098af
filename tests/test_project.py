"""The project around the code: versions, dependencies, public names, start-up."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from scripts import check_version

import windfall

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
IMPORT_NAMES = {"pillow": "PIL", "protobuf": "google", "onnx-ir": "onnx_ir"}


def requirements(name: str) -> dict[str, str]:
    """Return the pins of a requirements file: the version by the package's name."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [line.partition("==") for line in lines if line and not line.startswith("#")]
    assert all(equals for _, equals, _ in pins), f"{name} has a line that pins no version"
    return {package: version for package, _, version in pins}


OPTIONAL = {"pyarrow"}
"""What is imported only where the user has it."""


def dependencies() -> dict[str, str]:
    """Return the oldest release of each runtime dependency that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in project["dependencies"]]
    return {match[1]: match[2] for match in found if match}


def test_the_version_is_the_same_everywhere() -> None:
    assert set(check_version.versions().values()) == {windfall.__version__}


@pytest.mark.parametrize("name", windfall.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert name == "__version__" or getattr(windfall, name).__doc__


def test_every_library_that_the_code_imports_is_a_dependency() -> None:
    declared = {IMPORT_NAMES.get(name, name) for name in dependencies()} | OPTIONAL
    assert imported() <= declared | set(sys.stdlib_module_names) | {"windfall"}


def imported() -> set[str]:
    """Return the top-level packages that the code imports anywhere."""
    nodes = [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("name", ["develop", "constraints", "oldest"])
def test_requirements_are_pinned(name: str) -> None:
    assert requirements(f"requirements/{name}.txt")


def test_the_conformance_tests_are_pinned() -> None:
    assert requirements("tests/conformance/requirements.txt")["coremltools"] == dependencies()["coremltools"]


def test_what_ci_calls_oldest_is_what_pyproject_allows() -> None:
    def numbers(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    oldest, allowed = requirements("requirements/oldest.txt"), dependencies()
    assert oldest.keys() == allowed.keys() == requirements("requirements/constraints.txt").keys()
    for name, version in allowed.items():
        assert numbers(oldest[name])[: len(numbers(version))] == numbers(version), name


def test_importing_windfall_loads_no_large_library() -> None:
    assert loaded("import windfall") == set()


def test_loading_a_model_imports_neither_coremltools_nor_torch() -> None:
    assert loaded("import windfall.model") <= {"numpy", "onnx"}


def loaded(statement: str) -> set[str]:
    """Return the large libraries that a statement loads in a new process."""
    large = {"coremltools", "numpy", "onnx", "scipy", "sympy", "torch"}
    code = f"{statement}\nimport sys\nprint(*({large} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  # our own code
    return set(result.stdout.split())


def test_every_target_of_the_makefile_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    assert re.findall(r"^([a-z-]+):.*## .+$", makefile, re.MULTILINE) == phony[1].split()
