"""One HTML file from a template, its style, its script and plain data."""

import base64
import hashlib
from pathlib import Path

from utils.base.files import atomic_write

HERE = Path(__file__).resolve().parent


def write_page(path, name, **values):
    """Render NAME.html with NAME.css, NAME.js and `values` (plain data) and write it to `path`, whole or not at all.

    This is the one boundary between data and HTML: Jinja2 escapes every value in text and attributes, `tojson` those
    inside <script>. The page's policy allows no request, and no script or style but its own two, by their hashes.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = ((HERE / f"{name}.{ending}").read_text(encoding="utf-8") for ending in ("css", "js"))
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {hash_of(style)}; script-src {hash_of(script)}"
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}  # a browser's JSON knows no NaN
    text = environment.get_template(f"{name}.html").render(style=style, script=script, policy=policy, **values)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "replace"))  # a file's name need not be text


def hash_of(source) -> str:
    """As a content security policy names an inline script or style."""
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def packed(array) -> str:
    """The bytes of an array, little-endian as browsers read them, in base64."""
    array = array.astype(array.dtype.newbyteorder("<"))
    return base64.b64encode(array.tobytes()).decode()
