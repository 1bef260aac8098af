"""Put linked and packed models into the places where a model names them.

Source: ``LinkedModel`` in LinkedModel.proto, ``SerializedModel`` in Model.proto.
"""

from collections.abc import Callable, Mapping

from google.protobuf.message import DecodeError

from windfall.custom.linked import LinkedFolders, check_fits
from windfall.custom.packed import unpack
from windfall.errors import FormatError
from windfall.spec.modelfile import ModelFile
from windfall.spec.openfile import AGAIN
from windfall.spec.pipelines import DEEPEST, is_closed, models_of, pipeline_members
from windfall.spec.proto import Model_pb2

MOST_LINKS = 100
"""So many files a model may link to, those that they link to among them."""


def opened(file: ModelFile, links: LinkedFolders | None) -> ModelFile:
    """Return a model with those that it links to, and those packed into it, in their places.

    What is private to Apple's tools stays as it is, and so do links where no folder is allowed.

    Args:
        file: The model.
        links: Where linked models may lie.

    Raises:
        FormatError: A linked model is not there or does not fit, packed bytes cannot be read, or models lie too deep
            in each other.
    """
    try:
        return _Opening(links).model(file, 0)
    except (DecodeError, RecursionError) as error:  # of a copy: messages lie too deep in each other
        raise FormatError(f"{file.name} cannot be opened: its models lie too deep in each other; {AGAIN}") from error


class _Opening:
    def __init__(self, links: LinkedFolders | None) -> None:
        self._links = links
        self._count = 0

    def model(self, file: ModelFile, depth: int) -> ModelFile:
        """Return a model with nothing in it that can be opened."""
        if not is_closed(file.spec):
            return file
        if depth > DEEPEST:
            raise FormatError(f"{file.name}: models lie in, or are linked from, more than {DEEPEST} others; {AGAIN}")
        return _OPENINGS.get(file.spec.WhichOneof("Type"), _Opening.pipeline)(self, file, depth)

    def linked(self, file: ModelFile, depth: int) -> ModelFile:
        if self._links is None:
            return file
        self._count += 1
        if self._count > MOST_LINKS:
            raise FormatError(f"{file.name}: a model links to more than {MOST_LINKS} others; {AGAIN}")
        found = self._links.find(file)
        check_fits(file, found)
        return self.model(found, depth + 1)

    def packed(self, file: ModelFile, depth: int) -> ModelFile:
        found = unpack(file)
        return file if found is None else self.model(found, depth + 1)

    def pipeline(self, file: ModelFile, depth: int) -> ModelFile:
        replaced: dict[int, ModelFile] = {}
        for index, (name, spec) in enumerate(pipeline_members(file.spec)):
            member = file.member(name, spec, index)
            found = self.model(member, depth + 1)
            if found is not member:
                replaced[index] = found
        if not replaced:
            return file
        spec = Model_pb2.Model()
        spec.CopyFrom(file.spec)
        for index, found in replaced.items():
            models_of(spec)[index].CopyFrom(found.spec)
        return file.with_spec(spec, replaced)


_OPENINGS: Mapping[str | None, Callable[[_Opening, ModelFile, int], ModelFile]] = {
    "linkedModel": _Opening.linked,
    "serializedModel": _Opening.packed,
}
"""How a model that is no pipeline is opened, by its type."""
