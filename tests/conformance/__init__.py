"""coremltools' own test suite, run on windfall: see ``plugin.py``."""
