"""Render one HTML page from a template, its style, its script and plain data."""

import base64
import hashlib
from pathlib import Path

from utils.base.files import atomic_write
from utils.pages.html.modules import bundled

HERE = Path(__file__).resolve().parent
# what a page may load: its own style and script, by their hashes, ...
SELF_CONTAINED = "style-src {style}; script-src {script}"
# ... or also plotly.min.js next to it; Plotly sets styles of its own, and saves pictures through blobs
WITH_PLOTLY = "style-src 'unsafe-inline'; img-src data: blob:; script-src 'self' file: {script}"


def render(template, sources, **values) -> str:
    """Render FOLDER/NAME.html, a template, with FOLDER's style and script and `values`, which are plain data.

    This is the one boundary between data and HTML: Jinja2 escapes every value in text and attributes, `tojson` those
    inside <script>. The page's policy allows no request and no script but those of `sources`, SELF_CONTAINED or WITH_PLOTLY.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}  # a browser's JSON knows no NaN
    folder = (HERE / template).parent
    looks = (HERE / "frame" / "frame.css", folder / f"{folder.name}.css")
    style, script = "".join(look.read_text(encoding="utf-8") for look in looks), bundled(folder / f"{folder.name}.js")
    allowed = sources.format(style=policy_hash(style), script=policy_hash(script))
    policy = f"default-src 'none'; base-uri 'none'; form-action 'none'; {allowed}"
    return environment.get_template(f"{template}.html").render(style=style, script=script, policy=policy, **values)


def write_page(path, name, **values):
    """Write NAME/NAME.html with its style and script and `values` to `path`, whole or not at all; it needs no other file."""
    text = render(f"{name}/{name}", SELF_CONTAINED, **values)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "replace"))  # a file's name need not be text


def policy_hash(source) -> str:
    """Hash an inline script or style as a content security policy names it."""
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def packed(array) -> str:
    """Encode the bytes of an array in base64, little-endian as browsers read them."""
    array = array.astype(array.dtype.newbyteorder("<"))
    return base64.b64encode(array.tobytes()).decode()
