"""Say what failed in the words of the model: ONNX Runtime's messages name nodes, and places in its own sources.

A node is named after what it was lowered from: ``<layer>.<operator>``, with ``~1``, ``~2`` .. behind it where a layer
has several. A layer of a network and an operation of an ML program are shown alike, by their names.
"""

import re

from windfall.graph.limits import ITERATIONS_MARK
from windfall.graph.rules import CHECKS, MARK

_MOST_SHOWN = 300

# Names in these messages are a stranger's: no pattern may take more than linear time on any text.
_CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_WHILE_RUNNING = "Non-zero status code returned while running "
_NODE = re.compile(r"(\S+) node\. Name:'(.*)", re.DOTALL)
_TOO_OFTEN = re.compile(rf"(.*){re.escape(ITERATIONS_MARK)}(\d+)(?:~\d+)?", re.DOTALL)
_CHECK = re.compile(rf"(?:.*\.)?{MARK}(\w+)(?:~\d+)?", re.DOTALL)
_COMPILING = (
    re.compile(r"Node \((?P<name>.*?)\) Op \((?P<operator>\w+)\) (?:\[\w+\] )?", re.DOTALL),
    re.compile(
        r'(?:This is an invalid model\. )?In Node, \("(?P<name>.*?)", (?P<operator>\w+), ".*?, Error ', re.DOTALL
    ),
)
# A file and line of ONNX Runtime's sources and a function: its name alone, or with all types.
_PLACES = (
    re.compile(r"(?:[A-Za-z]:)?[^\s/:]+\.\w{1,3}:\d+ \S+ "),
    re.compile(r"(?=[^\s:]*/)[^\s:]+:\d+ [^()]*(?:\(\))?\((?:[^()]|\([^()]*\))*\)(?: const)?(?: \[[^\]]*\])? "),
)
_OPENVINO_PLACE = re.compile(r"(?:Exception|Check '[^'\n]*' failed) (?:from|at) \S+:\d+:?")
_CHECKED = re.compile(r"Check '[^']*' failed(?: at \S+)?:?")
_SHAPE = re.compile(r"\{([-\d,]*)\}")
_WORD = re.compile(r"[A-Z][a-z]*\b(?! [A-Z])")


def run_error(error: Exception) -> str:
    """Return the message for a prediction that failed."""
    # A node with graphs inside says first that it failed itself: the last one named is the one that did.
    before, _, message = str(error).rpartition("' Status Message: ")
    node = _NODE.match(before.rpartition(_WHILE_RUNNING)[2])
    if node is None:
        return f"ONNX Runtime failed: {_reason(error, str(error))}"
    operator, name = node.groups()
    too_often = _TOO_OFTEN.fullmatch(name)
    if operator == "Gather" and too_often is not None:
        return (
            f"the loop layer {_one_line(too_often[1])!r} has run {int(too_often[2]):,} times without end, the most "
            "that a loop may run; check its conditionNetwork, or the input that gives the number"
        )
    check = _CHECK.fullmatch(name)
    if operator == "Gather" and check is not None and check[1] in CHECKS:
        return f"{_source(name)} {CHECKS[check[1]]}"
    reason = _reason(error, message, f"{operator} op: ")
    return f"{_shown(name, operator)} failed at run time: {reason}; check the sizes and values of the inputs"


def compile_error(error: Exception) -> str:
    """Return the message for a graph that could not be compiled."""
    text = _CODE.split(str(error))[-1]
    found = next((found for pattern in _COMPILING if (found := pattern.match(text))), None)
    if found is None:
        return f"ONNX Runtime cannot compile the model: {_reason(error, text)}"
    reason = _reason(error, text[found.end() :])
    return f"ONNX Runtime cannot compile {_shown(found['name'], found['operator'])}: {reason}; check its parameters"


def openvino_reason(error: Exception) -> str:
    """Return what an exception of OpenVINO says, without where in its sources it says so, on one line."""
    text = _one_line(_OPENVINO_PLACE.sub(" ", str(error)))
    text = _CHECKED.sub("", text).strip(" .:")
    if not text:
        return f"no reason is given ({type(error).__name__})"
    text = text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."
    return text[0].lower() + text[1:] if _WORD.match(text) else text


def _shown(name: str, operator: str) -> str:
    return f"{_source(name)} ({operator})"


def _source(name: str) -> str:
    source = layer_of(name)
    return repr(source) if source else "a node of the graph"


def layer_of(name: str) -> str:
    """Return the layer or operation that a node was lowered from; empty if the name does not tell.

    >>> layer_of("conv1.Conv"), layer_of("a.b.Reshape~2"), layer_of("relu1_nchwc"), layer_of("Transpose_token_7")
    ('conv1', 'a.b', 'relu1', '')
    """
    # ONNX Runtime adds to the names of nodes that it makes of others.
    name = re.sub(r"_token_\d+$", "", _one_line(name).removeprefix("fused "))
    output = name.removesuffix("_nchwc")
    if output == name:
        return name.rpartition(".")[0]
    # A convolution of blocks of channels is named after its output, a blob or <layer>.<operator>:<number>.
    return re.sub(r"\.[^.]*:\d+$", "", output)


def _reason(error: Exception, text: str, heading: str = "") -> str:
    """Return what a message of ONNX Runtime says, without its heading and where in the sources it says so."""
    text = _CODE.split(_one_line(text))[-1].removeprefix("Exception during initialization: ")
    found = next((found for pattern in _PLACES if (found := pattern.match(text))), None)
    text = text[found.end() :] if found else text
    # A condition of the source stands before the sentence, or alone.
    text = text.rpartition(" was false. ")[2].removeprefix(heading).rstrip(".!")
    if not text or "onnxruntime::" in text:
        return f"no reason is given ({type(error).__name__})"
    text = _SHAPE.sub(lambda shape: f"[{', '.join(shape[1].split(','))}]", text)
    text = text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."
    return text[0].lower() + text[1:] if _WORD.match(text) else text


def _one_line(text: str) -> str:
    return " ".join(text.split())
