"""Settings of Sphinx; `make docs` builds the site."""

from __future__ import annotations

import os
import tempfile

# The API pages import Airflow, which would write into the home folder.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-docs-")

from airflow_provider_imagetasks import __version__

project = "airflow-provider-imagetasks"
author = "The airflow-provider-imagetasks developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"Image tasks for Airflow {__version__}"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_logo = html_favicon = "integration-logos/imagetasks.svg"

# Headings can be linked to like on GitHub, where these pages are read as well.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
# What is not ours is not documented here, and there is no network to look elsewhere; these of ours are no API.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!airflow_provider_imagetasks\.).*"),
    (
        r"py:.*",
        r"airflow_provider_imagetasks\.(observability\.lineage|transports|polling\.poller|services\.wire\.Result).*",
    ),
]
