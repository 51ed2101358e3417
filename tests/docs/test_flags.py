"""docs/flags.md is what docs/make_flags.py makes of the parsers of today."""

import importlib.util
import re

import pytest

from helpers import ROOT, SCRIPTS

PATH = ROOT / "docs/make_flags.py"
STORED = (ROOT / "docs/flags.md").read_text(encoding="utf-8")
NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py"))


@pytest.fixture(scope="module")
def make_flags():
    spec = importlib.util.spec_from_file_location("make_flags", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_of_all_scripts(make_flags):
    assert sorted(make_flags.SCRIPTS) == NAMES


def test_the_page_is_what_the_parsers_say(make_flags):
    assert make_flags.page() == STORED, "docs/flags.md is old; make it again: python docs/make_flags.py"


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_has_a_row_with_a_meaning_and_its_default(name, make_flags):
    rows = dict(re.findall(r"^\| `(?:--)?(\w+)`[^|]* \| (.*?) \| .{10,} \|$", make_flags.section(name), re.MULTILINE))
    actions = importlib.import_module(name).build_parser()._actions
    flags = {(action.option_strings or [action.dest])[0].removeprefix("--"): action for action in actions}
    assert set(rows) == set(flags) - {"-h"}
    for flag, default in rows.items():
        if isinstance(flags[flag].default, (int, float, str)) and flags[flag].default is not False and flags[flag].default:
            assert type(flags[flag].default)(default.strip("`'")) == flags[flag].default, flag
