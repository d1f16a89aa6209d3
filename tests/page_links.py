"""The links of a page, and the file of this repository that each leads to, also by a published address."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
SITE, REPOSITORY = URLS["Documentation"], URLS["Source"]
PUBLISHED_FILES = tuple(
    f"{address}{ref}/main/"
    for address, ref in (
        (REPOSITORY, "/blob"),
        (REPOSITORY, "/tree"),
        (REPOSITORY.replace("https://github.com/", "https://raw.githubusercontent.com/"), ""),
    )
)
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
INLINE = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(r"\]\[([^\]]+)\]")
DEFINED = re.compile(r"^\[([^\]]+)\]: (\S+)$", re.MULTILINE)
FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)


def links(page: Path) -> Iterator[str]:
    """Yield where each link and picture of a page leads, as it stands there."""
    text = FENCED.sub("", page.read_text())
    defined = dict(DEFINED.findall(text))
    yield from INLINE.findall(text)
    named = NAMED.findall(text)
    for name in named:
        yield defined.get(name, f"[{name}], which is not defined")
    yield from (f"[{name}], which nothing leads to" for name in defined if name not in named)


def target(page: Path, link: str) -> tuple[Path, str] | None:
    """Return the file of this repository that a link leads to, and the anchor in it; None where it leads elsewhere."""
    link, _, anchor = link.partition("#")
    if link.startswith(SITE):
        path = link.removeprefix(SITE)
        return ROOT / "docs" / (f"{path}index.md" if path.endswith("/") or not path else path[:-5] + ".md"), anchor
    for published in PUBLISHED_FILES:
        if link.startswith(published):
            return ROOT / link.removeprefix(published), anchor
    if re.match(r"[a-z]+:", link):
        return None
    return (page.parent / link).resolve() if link else page, anchor
