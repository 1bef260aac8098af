"""Many predictions of one model at once: items are read, computed and put out side by side, and come in their order.

``flow.py`` runs a function over items in threads, a bounded number at a time. ``items.py`` turns an item into what
``predict`` takes. ``ways.py`` lists how a model can be run, and finds the fastest by measuring. ``stacking.py`` tells
whether a graph takes several items along an axis. ``running.py`` brings them together. ``parts.py`` is for what takes
many items at once.
"""

from windfall.streams.running import stream
from windfall.streams.settings import ON_ERROR, Settings

__all__ = ["ON_ERROR", "Settings", "stream"]
