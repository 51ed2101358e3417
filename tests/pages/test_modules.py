"""Modules -> one script: each once, after what it needs; what would go wrong is refused, and a browser takes the rest."""

import re

import pytest

from helpers import SCRIPTS
from utils.pages.html.modules import bundled

HTML = SCRIPTS / "utils" / "pages" / "html"
ENTRIES = sorted(path for folder in HTML.iterdir() if (path := folder / f"{folder.name}.js").is_file())


def written(folder, **modules):
    """Write NAME.js for each module; the path of `main`."""
    for name, source in modules.items():
        (folder / f"{name}.js").write_text(source, encoding="utf-8")
    return folder / "main.js"


def test_each_module_stands_once_after_what_it_imports(tmp_path, chromium):
    script = bundled(
        written(
            tmp_path,
            main='import {b} from "./b.js";\nimport {\n  c,\n  d\n} from "./c.js";\nimport "./a.js";\n'
            "log.push(`main ${b} ${c} ${d}`);\n",
            b='import {a} from "./a.js";\nexport const b = `b of ${a()}`;\nlog.push("b");\n',
            c='import {b} from "./b.js";\nexport const c = `c of ${b}`;\nexport class d {}\nlog.push("c");\n',
            a='log.push("a");\nexport function a() {\n  return "a";\n}\n',
        )
    )
    assert not re.search(r"^(import|export)", script, re.MULTILINE)
    page = chromium.new_page()
    found = page.evaluate(f"() => {{ window.log = []; {script} return log; }}")
    assert found == ["a", "b", "c", "main b of a c of b of a class d {}"]
    assert page.evaluate("() => [typeof a, typeof b]") == ["undefined", "undefined"], "the names are the page's own"
    page.close()


def test_names_of_a_module_are_its_own(tmp_path, chromium):
    script = bundled(
        written(
            tmp_path,
            main='import {b} from "./b.js";\nconst a = 1;\nfunction made() {\n  return a;\n}\nlog.push(b(), made());\n',
            b="const a = 2;\nasync function made() {}\nexport function b() {\n  return a;\n}\n",
        )
    )
    page = chromium.new_page()
    assert page.evaluate(f"() => {{ window.log = []; {script} return log; }}") == [2, 1]
    page.close()


def test_modules_are_strict(tmp_path, chromium):
    page = chromium.new_page()
    script = bundled(written(tmp_path, main="undeclared = 1;\n"))
    assert "ReferenceError" in page.evaluate(f"() => {{ try {{ (0, eval)({script!r}); }} catch (e) {{ return e.name; }} }}")
    page.close()


REFUSED = {
    "imports in a circle": (
        {"main": 'import {a} from "./a.js";\n', "a": 'import "./b.js";\n', "b": 'import "./a.js";\n'},
        r"a\.js imports itself through .*b\.js",
    ),
    "a name that is not exported": (
        {"main": 'import {b, d} from "./b.js";\n', "b": "export const b = 1, d = 2;\n"},
        r"main\.js imports d, which no line of .*b\.js exports first",
    ),
    "another name for what is imported": (
        {"main": 'import {b as c} from "./b.js";\n', "b": "export const b = 1;\n"},
        r"'import \{b as c\} from \"\./b\.js\";' is an import or export that is not understood",
    ),
    "all of a module under one name": (
        {"main": 'import * as b from "./b.js";\n', "b": "export const b = 1;\n"},
        r"'import \* as b .* is not understood",
    ),
    "what changes later": ({"main": "export let a = 1;\n"}, "'export let a = 1;' is an import or export"),
    "a default": ({"main": "export default 1;\n"}, "'export default 1;' is an import or export that is not understood"),
    "a list of exports": ({"main": "const a = 1;\nexport {a};\n"}, r"'export \{a\};' is an import or export"),
    "an import with a comment behind it": (
        {"main": 'import "./b.js"; // why\n', "b": ""},
        "is an import or export that is not understood",
    ),
}


@pytest.mark.parametrize("modules, words", REFUSED.values(), ids=REFUSED)
def test_what_would_go_wrong_is_refused(modules, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        bundled(written(tmp_path, **modules))


def test_a_module_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b\.js"):
        bundled(written(tmp_path, main='import "./b.js";\n'))


def test_every_page_has_an_entry():
    assert {"charts.js", "latents.js", "probes.js"} <= {path.name for path in ENTRIES}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda path: path.stem)
def test_browsers_parse_the_script_of_every_page(entry, chromium):
    """Also two constants of one name, which may stand second in a line, are errors only to a browser."""
    page = chromium.new_page()
    script = bundled(entry)
    parsed = "source => { try { new Function(source); } catch (e) { return `${e}`; } return ''; }"
    assert page.evaluate(parsed, script) == ""
    double = script.replace("(() => {", "(() => { const once = 1, twice = 1, once = 2;", 1)
    assert "SyntaxError" in page.evaluate(parsed, double)
    page.close()
