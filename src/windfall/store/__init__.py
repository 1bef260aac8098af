"""Models from the network, kept in a folder of the user's: see ``fetch``."""

from windfall.store.fetching import fetch, fetch_file

__all__ = ["fetch", "fetch_file"]
