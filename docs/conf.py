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
exclude_patterns = ["_build", "learning"]  # whose tables a page of the guide includes
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# What scikit-learn makes of each estimator, with references to its own book.
autodoc_default_options = {
    "exclude-members": "set_fit_request, set_predict_interval_request, "
    "set_predict_probability_request, set_score_request"
}
maximum_signature_line_length = 72
add_module_names = False
napoleon_use_rtype = False
# Types of other libraries, which a build without network cannot link.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(torch|nn|jaxtyping|tqdm|collections|inspect|contextlib|random|argparse|pathlib|os)\b.*",
    ),
    ("py:.*", r"(typing_extensions|numpy|np|sklearn|NDArray|Array)\b.*"),
    (
        "py:class",
        r"Tensor|Bool|Float|Int8|Shaped|Targets|Row|zeroproof\.utils\.checks\.(Call|Kind)",
    ),
]

# One dark red for what leads on, a warm ground for what is quoted, a colour a kind of evidence.
LIGHT = {
    "color-brand-primary": "#7b2233",
    "color-brand-content": "#7b2233",
    "color-brand-visited": "#5f3a52",
    "color-api-name": "#7b2233",
    "color-api-pre-name": "#7b2233",
    "color-sidebar-background": "#faf8f5",
    "color-sidebar-search-background": "#faf8f5",
    "color-table-header-background": "#faf6f0",
    "color-sidebar-background-border": "#e8e2d9",
    "rule": "#7b2233",
    "box": "#faf6f0",
    "proved": "#1d5c3a",
    "exhaustive": "#14506e",
    "sampled": "#5a4a12",
}
DARK = {
    "color-brand-primary": "#f0a8b4",
    "color-brand-content": "#f0a8b4",
    "color-brand-visited": "#d3b3cf",
    "color-api-name": "#f0a8b4",
    "color-api-pre-name": "#f0a8b4",
    "color-sidebar-background": "#1a1817",
    "color-sidebar-search-background": "#1a1817",
    "color-table-header-background": "#221e1c",
    "color-sidebar-background-border": "#35302d",
    "rule": "#c9697b",
    "box": "#221e1c",
    "proved": "#8fd6ae",
    "exhaustive": "#8ecbea",
    "sampled": "#e3cf86",
}

html_theme = "furo"
html_title = "ZeroProof"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_favicon = "_static/bottom.svg"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": LIGHT,
    "dark_css_variables": DARK,
    "navigation_with_keys": True,
}
pygments_style = "friendly"
pygments_dark_style = "monokai"
