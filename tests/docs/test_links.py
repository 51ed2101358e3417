"""Links between the documents lead somewhere, and a long page begins with its contents."""

import re

import pytest

from helpers import ROOT

PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "demo").rglob("*.md")})
LONG = 6_000  # characters: from here on a page has a table of contents


def name_of(page):
    return str(page.relative_to(ROOT))


def prose(page):
    """The page without its code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchor(heading):
    """As GitHub makes it: "3. What's `next`?" -> "3-whats-next"."""
    text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page):
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", target):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT) and file.exists(), f"{name_of(page)}: {target} is not there"
        assert not heading or heading in anchors(file), f"{name_of(page)}: {target} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_long_page_begins_with_its_contents(page):
    if len(page.read_text(encoding="utf-8")) < LONG:
        return
    headings = re.findall(r"^## (.*)$", prose(page), re.MULTILINE)
    before = prose(page).split("\n## ")[0]
    missing = [heading for heading in headings if f"(#{anchor(heading)})" not in before]
    assert headings and not missing, f"{name_of(page)} does not list {missing} at its beginning"


def test_every_page_can_be_reached_from_the_readme_or_usage():
    linked = {
        (page.parent / target).resolve()
        for page in (ROOT / "README.md", ROOT / "USAGE.md")
        for target in re.findall(r"\]\(([^)#\s]+)", prose(page))
    }
    assert {page.resolve() for page in PAGES if page.parent != ROOT / "demo/model"} <= {
        *linked,
        (ROOT / "README.md").resolve(),
    }
