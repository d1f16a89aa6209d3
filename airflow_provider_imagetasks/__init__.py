"""Airflow provider for image-generation services that work by task: submit, wait, download.

Importing the package imports neither Airflow nor an HTTP library, so that the protocol (``tasks``,
``exceptions``, ``services``) can be used and tested without them.
"""

from __future__ import annotations

__version__ = "0.2.0"
