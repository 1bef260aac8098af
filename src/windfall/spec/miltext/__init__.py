"""ML programs as text: the form that Apple's compiler gives them in ``model.mil``."""

from windfall.spec.miltext.parser import parse_program
from windfall.spec.miltext.writer import write_program

__all__ = ["parse_program", "write_program"]
