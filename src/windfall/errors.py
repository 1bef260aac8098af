"""Every exception that windfall raises.

::

    WindfallError
    +-- FormatError        a file is not a model, is damaged, or breaks a rule of the format
    |   +-- LoweringError  a layer's parameters break a rule of the specification
    +-- UnsupportedError   a valid model asks for what windfall has not
    +-- FeatureError       a value given to ``predict``, or by a function of the user's, does not fit the description
    +-- EngineError        the engine failed to compile or to run the graph
    +-- FetchError         a model cannot be downloaded, or is not what it should be

Each message is one line: the thing, the value, the rule and the way out.
"""


class WindfallError(Exception):
    """Base of all errors a user of windfall should expect."""


class FormatError(WindfallError):
    """A file is not a Core ML model, is damaged, or breaks a rule of the format."""


class LoweringError(FormatError):
    """A layer's parameters break a rule of the specification, so it has no meaning that could be computed."""


class UnsupportedError(WindfallError):
    """A valid model asks for something that windfall does not have."""


class FeatureError(WindfallError):
    """A value given to ``predict``, or returned by a function of the user's, does not fit the model's description."""


class EngineError(WindfallError):
    """The engine failed to compile or to run a graph."""


class FetchError(WindfallError):
    """A model cannot be downloaded, is not the one that its checksum names, or cannot be kept."""
