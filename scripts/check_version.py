"""Check that the version is the same in pyproject.toml, in the package and at the top of the changelog."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def versions() -> dict[str, str]:
    """Return the version that each file states."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        "pyproject.toml": project["version"],
        "src/windfall/__init__.py": _first(r'^__version__ = "(.+)"$', "src/windfall/__init__.py"),
        "CHANGELOG.md": _first(r"^## \[(.+?)\]", "CHANGELOG.md"),
    }


def _first(pattern: str, name: str) -> str:
    found = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "none"


if __name__ == "__main__":
    stated = versions()
    if len(set(stated.values())) > 1:
        sys.exit("the versions differ: " + ", ".join(f"{name} has {version}" for name, version in stated.items()))
