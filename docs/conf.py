"""How the documentation is built: see https://www.sphinx-doc.org/en/master/usage/configuration.html."""

import windfall

project = "windfall"
author = "The windfall authors"
copyright = author  # noqa: A001  # Sphinx's name
release = version = windfall.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"windfall {release}"
