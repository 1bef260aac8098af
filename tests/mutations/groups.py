"""The table of all groups of mutations."""

from collections.abc import Mapping

from tests.mutations import classical, networks, operators, packages, programs, texts
from tests.mutations.harness import Group

GROUPS: Mapping[str, Group] = {
    **networks.GROUPS,
    **programs.GROUPS,
    **operators.GROUPS,
    **packages.GROUPS,
    **texts.GROUPS,
    **classical.GROUPS,
}
"""The mutations of each kind, by a name."""
