"""What axe-core finds wrong with a page, and the contrast of two colours as WCAG 2 defines it."""

import re

SCHEMES = ("light", "dark")
WIDE, NARROW = (1280, 800), (390, 844)  # of a window, in pixels


def opened(chromium, path, scheme, size=WIDE):
    """Open a page, light or dark, past its own policy: what tests look with must run in it."""
    context = chromium.new_context(
        bypass_csp=True, color_scheme=scheme, viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(path.as_uri())
    if page.locator("#chart").count():
        page.wait_for_selector(".main-svg")
    for picture in page.locator(".picture").all():  # they are drawn when they come near
        picture.scroll_into_view_if_needed()
        picture.locator(".main-svg").first.wait_for()
    page.evaluate("scrollTo(0, 0)")
    return page


def findings(page, axe) -> list[str]:
    """List the serious and critical findings: the rule, what it says, and the first elements that break it."""
    page.add_script_tag(content=axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{one['id']}: {one['help']}: "
        + "; ".join(f"{node['target']} {node['failureSummary']}" for node in one["nodes"][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def rgb(colour) -> tuple[float, ...]:
    """Read a colour as a browser or a table of colours writes it: '#0072b2', 'rgb(0, 114, 178)'."""
    if colour.startswith("#"):
        return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return tuple(float(part) for part in re.findall(r"[\d.]+", colour)[:3])


def luminance(colour) -> float:
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
