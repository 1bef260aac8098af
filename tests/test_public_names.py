import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import windfall

MODULES = [
    module.name for module in pkgutil.walk_packages(windfall.__path__, "windfall.") if "__main__" not in module.name
]


def test_every_public_name_is_exported():
    public = {
        name for name in vars(windfall) if not name.startswith("_") and not inspect.ismodule(vars(windfall)[name])
    }
    tools = {"import_module", "TYPE_CHECKING"}
    assert public - tools <= set(windfall.__all__)
    assert sorted(windfall.__all__) == windfall.__all__


@pytest.mark.parametrize("name", windfall.__all__)
def test_every_exported_name_exists_and_is_documented(name):
    thing = getattr(windfall, name)
    if not isinstance(thing, str):
        assert inspect.getdoc(thing), name
        assert thing.__doc__, name


@pytest.mark.parametrize("name", [name for name in windfall.__all__ if inspect.isclass(getattr(windfall, name))])
def test_every_public_member_is_documented(name):
    members = {
        key: value
        for key, value in vars(getattr(windfall, name)).items()
        if not key.startswith("_") and (callable(value) or isinstance(value, property) or hasattr(value, "func"))
    }
    assert [key for key, value in members.items() if not inspect.getdoc(value)] == []


def test_every_exception_is_exported_and_a_windfall_error():
    from windfall import errors

    for name, error in vars(errors).items():
        if inspect.isclass(error):
            assert name in windfall.__all__
            assert issubclass(error, windfall.WindfallError)
            assert name in errors.__doc__


@pytest.mark.parametrize("module", MODULES)
def test_every_module_is_documented_and_its_all_is_true(module):
    loaded = importlib.import_module(module)
    assert loaded.__doc__
    for name in getattr(loaded, "__all__", ()):
        assert hasattr(loaded, name), name


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError) as error:
        windfall.nothing  # noqa: B018  # the access is the test
    assert str(error.value) == "module 'windfall' has no attribute 'nothing'"


def test_importing_windfall_imports_nothing_large():
    code = (
        "import sys, windfall; "
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'coremltools', 'torch', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  # fixed
    assert done.stdout.strip() == "[]"


def test_loading_does_not_import_coremltools_or_torch(tmp_path):
    code = (
        "import sys, windfall\n"
        "try: windfall.load('missing.mlmodel')\n"
        "except windfall.FormatError: pass\n"
        "print([m for m in ('coremltools', 'torch', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  # fixed
    assert done.stdout.strip() == "[]"
