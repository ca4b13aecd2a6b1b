"""How the book is built."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from zeroproof import __version__

project = "ZeroProof"
author = "the ZeroProof maintainers"
copyright = "the ZeroProof maintainers, MIT licence"
version = release = __version__

extensions = [
    "docs.book",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 72
add_module_names = False
napoleon_use_rtype = False
# Types of other libraries, which a build without network cannot link.
nitpick_ignore_regex = [
    ("py:.*", r"(torch|nn|jaxtyping|tqdm|collections|argparse|pathlib|os)\b.*"),
    ("py:class", r"Tensor|Bool|Float|Int8|Shaped"),
]

html_theme = "furo"
html_title = "ZeroProof"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_favicon = "_static/bottom.svg"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"
