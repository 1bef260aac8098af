"""From classical models and pipelines to ONNX: trees, linear models, feature engineering, and graphs of all of them.

``models.py`` has the table of all types and lowers one model; each other module lowers some types. ``forms.py`` says
how values stand in the graph. Pipelines, and the networks and programs in them, are in ``../pipeline.py``.
"""
