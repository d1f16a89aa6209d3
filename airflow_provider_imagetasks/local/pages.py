"""The page that a person sees who opens the local service in a browser."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_imagetasks.local.records import TaskRecord

_SHOWN_PICTURES = 24

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Local image service</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; }}
td {{ padding: .2rem 1.5rem .2rem 0; }}
.pictures {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: 1rem; }}
figure {{ margin: 0; }}
figure img {{ width: 100%; border-radius: .5rem; display: block; }}
figcaption {{ font-size: .8rem; color: #666; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>Local image service</h1>
<p>This is a double of image-generation services, for trying and testing. It draws its own pictures from a hash of
the prompt; no image model is asked, and nothing is billed.</p>
<table>{dialects}</table>
<p><a href="/stats">What it has received</a></p>
<h2>Latest pictures</h2>
{pictures}
</body>
</html>
"""


def front_page(origin: str, prefixes: Mapping[str, str], newest: list[TaskRecord]) -> str:
    """Return the page as HTML.

    :param origin: scheme, host and port that the reader used.
    :param prefixes: dialect names with their paths.
    :param newest: the newest image tasks, newest first.
    """
    dialects = "".join(
        f"<tr><td>{html.escape(name)}</td><td><code>{html.escape(origin + prefix)}</code></td></tr>"
        for name, prefix in prefixes.items()
    )
    figures = [_figure(record, index) for record in newest if record.finished for index in _indexes(record)]
    shown = "".join(figures[:_SHOWN_PICTURES])
    pictures = f'<div class="pictures">{shown}</div>' if shown else "<p>None yet.</p>"
    return _PAGE.format(dialects=dialects, pictures=pictures)


def _indexes(record: TaskRecord) -> range:
    return range(record.image_count)


def _figure(record: TaskRecord, index: int) -> str:
    # A lone surrogate is legal in JSON, but not in the UTF-8 of a page.
    prompt = record.prompt.encode("utf-8", "replace").decode("utf-8")
    path = f"{record.id}/{index}"
    return (
        f'<figure><a href="/files/{path}.{record.media_format}">'
        f'<img src="/thumbnails/{path}.png" alt="" loading="lazy"></a>'
        f"<figcaption>{html.escape(prompt[:200])}</figcaption></figure>"
    )
