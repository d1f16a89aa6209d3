"""Every link inside the repository leads to a file, and to a heading of it, as they are read at GitHub."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.page_links import FENCED, PAGES, ROOT, links, target


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and Sphinx make them."""
    text = FENCED.sub("", page.read_text())
    titles = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    lost = []
    for link in links(page):
        led_to = target(page, link)
        if led_to is None:
            continue
        path, anchor = led_to
        if not path.exists() or (anchor and anchor not in anchors(path)):
            lost.append(link)

    assert lost == []


def test_links_to_others_are_encrypted() -> None:
    assert {link for page in PAGES for link in links(page) if link.startswith("http:")} == set()


def test_every_page_is_led_to() -> None:
    led_to = {found[0] for page in PAGES for link in links(page) if (found := target(page, link))}
    alone = {ROOT / "docs" / "index.md", ROOT / "README.md", *(ROOT / "docs" / "api").glob("*.md")}

    assert {page for page in PAGES if page not in led_to} - alone <= {ROOT / "docs" / "changes.md"}


def test_the_readme_reads_the_same_at_the_package_index_where_no_file_lies_beside_it() -> None:
    readme = ROOT / "README.md"

    assert [link for link in links(readme) if not link.startswith("https://")] == []
    assert len([link for link in links(readme) if target(readme, link)]) > 20
