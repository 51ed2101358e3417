"""The order of the house: rooms and files import one way, no namespace travels, and each check finds what it looks for."""

import ast
import os
import re
import shutil
import subprocess
import sys

import pytest

import counts
import house
from helpers import ROOT, SCRIPTS, environment

MODULES = house.modules(SCRIPTS)
# The house as it stands


@pytest.mark.parametrize("check", house.CHECKS, ids=lambda check: check.__name__)
def test_nothing_is_wrong_with(check):
    wrong = check(SCRIPTS)
    assert not wrong, "\n".join(wrong)


def test_the_walk_finds_the_files_and_their_imports():
    """Nothing is wrong in an empty folder either."""
    assert len(MODULES) > 60
    assert len(list(house.arrows(SCRIPTS))) > 200
    assert house.listed(SCRIPTS / "utils" / "__init__.py")[:2] == ["base", "data"]


def test_no_link_is_kept():
    """One that is committed leads nowhere on another machine, or to a place that tells of this one."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("no checkout: what is kept is not known")
    listed = subprocess.run(["git", "ls-files", "--stage"], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert "100644" in listed and not [line for line in listed.splitlines() if line.startswith("120000")]


def test_the_counts_are_within_their_bounds(capsys):
    status = counts.main([])
    assert status == 0, capsys.readouterr().out


def test_every_reason_is_one_for_names_that_are_still_shared():
    assert set(counts.REASONS) <= set(counts.shared_names(SCRIPTS / "utils"))


# The checks, on a planted house


SOUND = {
    "show.py": "def main(argv=None):\n    arguments = parse(argv)\n    draw(arguments.width)\n",
    "utils/__init__.py": (
        '"""Rooms.\n\n    base     what all use\n    sweep     what is trained\n    pages     what is shown\n"""\n'
        "from importlib import import_module\n"
    ),
    "utils/base/__init__.py": (
        '"""Know files.\n\n    names     what it is called\n    cli       what is typed\n    files     how to write\n"""\n'
    ),
    "utils/base/names.py": "NAME = 1\n\n\ndef name_of(path: str, *rest: str) -> str:\n    return path\n",
    "utils/base/files.py": "from utils.base.cli.flags import add\nfrom utils.base.names import NAME\n",
    "utils/base/cli/__init__.py": '"""Know flags.\n\n    flags     each flag\n"""\n',
    "utils/base/cli/flags.py": "def add(arguments: Namespace):\n    from utils.base.names import NAME\n",
    "utils/sweep/__init__.py": '"""Know sweeps.\n\n    sweep     one sweep\n"""\n',
    "utils/sweep/sweep.py": "import os\n\nimport utils.base.files\n",
    "utils/pages/__init__.py": '"""Know pages.\n\n    page     one page\n\nWords behind the list.\n"""\n',
    "utils/pages/page.py": "from utils.base import files\n\n\ndef draw(width):\n    pass\n",
    "utils/pages/page.css": "body {}\n",
}


def planted(folder, **changes):
    """The sound house in `folder`, with changed files (path: new text, or None to leave it out)."""
    for path, text in {**SOUND, **changes}.items():
        if text is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    return folder


def complaints(scripts):
    """{name of the check: its complaints}, of the checks that complain."""
    return {check.__name__: wrong for check in house.CHECKS if (wrong := check(scripts))}


def test_a_sound_house_has_no_complaint(tmp_path):
    assert complaints(planted(tmp_path)) == {}
    assert [number for _, number, _, _ in counts.counts(tmp_path)] == [3, 0, 0, 0, 3, 7, 0, 0]


BASE = "utils/base/__init__.py"
PLANTED = {
    "a room that comes later": (
        {"utils/base/names.py": "import os\nfrom utils.pages.page import draw\n", "utils/pages/page.py": ""},
        {
            "upward_imports": (
                "utils/base/names.py:2 imports utils.pages.page.draw",
                "utils/__init__.py lists pages after base",
            )
        },
    ),
    "a file that comes later": (
        {"utils/base/names.py": "def name_of():\n    from utils.base import files\n", "utils/base/files.py": ""},
        {
            "upward_imports": ("utils/base/names.py:2 imports utils.base.files", BASE, "lists files after names"),
        },
    ),
    "a file of a sub-room that imports a later file of the room": (
        {"utils/base/cli/flags.py": "import utils.base.files\n", "utils/base/files.py": ""},
        {"upward_imports": ("utils/base/cli/flags.py:1 imports utils.base.files", BASE, "lists files after cli")},
    ),
    "a room instead of its file": (
        {"utils/pages/page.py": "from utils.base import NAME\n"},
        {"upward_imports": ("utils/pages/page.py:1 imports utils.base.NAME, a room and no file",)},
    ),
    "the door for notebooks, from inside": (
        {"utils/pages/page.py": "from utils import draw\n"},
        {"upward_imports": ("utils/pages/page.py:1 imports utils.draw, a room and no file",)},
    ),
    "a circle of three": (
        {
            "utils/base/names.py": "from utils.base.files import write\n",
            "utils/base/files.py": "\nfrom utils.base.cli import flags\n",
        },
        {
            "circles": (
                "utils/base/cli/flags.py:2 -> utils/base/names.py:1 -> utils/base/files.py:2 -> utils/base/cli/flags.py: ",
            ),
            "upward_imports": ("utils/base/names.py:1",),
        },
    ),
    "pages that know the sweep": (
        {"utils/pages/page.py": "from utils.sweep import sweep\n"},
        {"strangers_that_meet": ("utils/pages/page.py:1 imports utils.sweep.sweep; pages and sweep must not know",)},
    ),
    "a script that is imported": (
        {"utils/pages/page.py": "import show\n"},
        {"imported_scripts": ("utils/pages/page.py:1 imports the script show",)},
    ),
    "a relative import": (
        {"utils/base/files.py": "from .names import NAME\n"},
        {"relative_imports": ("utils/base/files.py:1 imports relatively",)},
    ),
    "a file that no list names": (
        {"utils/base/progress.py": ""},
        {"unlisted": (f"{BASE}:1 does not list progress; add '    NAME  what",)},
    ),
    "a room that no list names": (
        {"utils/sae/__init__.py": '"""Know more."""\n'},
        {"unlisted": ("utils/__init__.py:1 does not list sae",)},
    ),
    "a list of a file that is gone": (
        {"utils/sweep/sweep.py": None},
        {"unlisted": ("utils/sweep/__init__.py:1 lists sweep, which is not there",)},
    ),
    "a file that is listed twice": (
        {"utils/sweep/__init__.py": '"""Know.\n\n    sweep  one\n    sweep  two\n"""\n'},
        {"unlisted": ("utils/sweep/__init__.py:1 lists sweep 2 times",)},
    ),
    "a file that is listed without what it knows": (
        {"utils/sweep/__init__.py": '"""Know.\n\n    sweep\n"""\n'},
        {"unlisted": ("utils/sweep/__init__.py:1 lists sweep without what it knows",)},
    ),
    "a room without a docstring": (
        {"utils/sweep/__init__.py": None},
        {"unlisted": ("utils/sweep/__init__.py:1 is missing",)},
    ),
    "code in a room": (
        {"utils/sweep/__init__.py": SOUND["utils/sweep/__init__.py"] + "MOST = 1\n"},
        {"code_in_rooms": ("utils/sweep/__init__.py:5 holds code",)},
    ),
    "too many files": (
        {
            BASE: '"""Know.\n\n    names  one\n    cli  two\n    files  three\n'
            + "".join(f"    f{number}  one more\n" for number in range(11))
            + '"""\n',
            **{f"utils/base/f{number}.py": "" for number in range(11)},
        },
        {"crowded_rooms": (f"{BASE}:1 stands over 14 names, at most 13", "cli, f0, f1")},
    ),
    "a parameter called arguments": (
        {"utils/pages/page.py": "def draw(width, arguments):\n    pass\n"},
        {"namespaces_taken": ("utils/pages/page.py:1 draw takes a namespace",)},
    ),
    "a namespace by another name": (
        {"utils/pages/page.py": "class Page:\n    def draw(self, *, flags: argparse.Namespace | None):\n        pass\n"},
        {"namespaces_taken": ("utils/pages/page.py:2 draw takes a namespace",)},
    ),
    **{
        f"a namespace that is taken: {parameters}": (
            {"utils/pages/page.py": f"from argparse import Namespace as N\n\n\ndef draw({parameters}):\n    pass\n"},
            {"namespaces_taken": ("utils/pages/page.py:4 draw takes a namespace",)},
        )
        for parameters in ("*arguments", "**arguments", "args", "ns", "flags: N")
    },
    "a namespace that is forged under another name": (
        {"utils/pages/page.py": "from types import SimpleNamespace as Flags\nFLAGS = Flags(width=1)\n"},
        {"namespaces_forged": ("utils/pages/page.py:2 forges a namespace",)},
    ),
    "an import by name": (
        {
            "utils/base/names.py": "import importlib\nimportlib.import_module('utils.pages.page')\n",
            "utils/pages/page.py": "",
        },
        {"upward_imports": ("utils/base/names.py:2 imports utils.pages.page",)},
    ),
    "a lambda of a namespace": (
        {"utils/pages/page.py": "WIDTH = lambda arguments: arguments.width\n"},
        {"namespaces_taken": ("utils/pages/page.py:1 lambda takes a namespace",)},
    ),
    "a forged namespace": (
        {"utils/pages/page.py": "import types\nFLAGS = types.SimpleNamespace(width=1)\n"},
        {"namespaces_forged": ("utils/pages/page.py:2 forges a namespace",)},
    ),
    "a namespace that is forged in a script": (
        {"show.py": "from argparse import Namespace\nFLAGS = Namespace()\n"},
        {"namespaces_forged": ("show.py:2 forges a namespace",)},
    ),
    **{
        f"a namespace that is changed: {change}": (
            {"utils/base/cli/flags.py": f"def add(arguments):\n    {change}\n"},
            {"namespaces_changed": ("utils/base/cli/flags.py:2 writes on the namespace arguments",)},
        )
        for change in (
            "arguments.width = 1",
            "arguments.width += 1",
            "arguments.width: int = 1",
            "arguments.width, other = 1, 2",
            "del arguments.width",
            "setattr(arguments, name, 1)",
            "vars(arguments)[name] = 1",
            "vars(arguments).update(width=1)",
            "vars(arguments).__setitem__('width', 1)",
            "arguments.__dict__['width'] = 1",
            "object.__setattr__(arguments, 'width', 1)",
            "arguments.__setattr__('width', 1)",
        )
    },
    **{
        f"a namespace that is changed under another name: {parsed}": (
            {"show.py": f"def main(argv=None):\n    {parsed}\n    flags.width = 1\n"},
            {"namespaces_changed": ("show.py:3 writes on the namespace flags",)},
        )
        for parsed in (
            "flags = build_parser().parse_args(argv)",
            "flags = checked(build_parser().parse_args(argv))",
            "flags, rest = build_parser().parse_known_args(argv)",
            "print(flags := parse(argv))",
            "flags = arguments",
        )
    },
}


@pytest.mark.parametrize("what", PLANTED)
def test_planted_and_found(tmp_path, what):
    changes, expected = PLANTED[what]
    found = complaints(planted(tmp_path, **changes))
    assert set(found) == set(expected), found
    for check, needles in expected.items():
        assert len(found[check]) == 1, found[check]
        assert not [needle for needle in needles if needle not in found[check][0]], found[check]


LONG = "def f():\n" + "    x = 1\n" * 50
COUNTED = {
    "lines of the longest function": ("utils/pages/page.py", LONG, "utils/pages/page.py:1 f: 51"),
    "lines of the longest file": ("utils/pages/page.py", "X = 1\n" * 301, "utils/pages/page.py: 301"),
    "functions with more than 7 parameters": (
        "utils/pages/page.py",
        "class Page:\n    def draw(self, a, b, c, d, /, e, f, *, g, h):\n        pass\n",
        "utils/pages/page.py:2 draw has 8",
    ),
    "public functions without parameter types": (
        "utils/base/names.py",
        "class Name:\n    def __init__(self, path):\n        pass\n\n    def _hidden(self, x):\n        pass\n",
        "utils/base/names.py:2 __init__: path",
    ),
    "of these without a reason": ("utils/pages/page.py", "NAME: int = 2\n_NAME = 3\n", "NAME: rename one"),
}


@pytest.mark.parametrize("title", COUNTED)
def test_a_count_that_is_broken_is_told_with_its_place(tmp_path, capsys, title):
    path, text, needle = COUNTED[title]
    assert counts.main(["--scripts", str(planted(tmp_path, **{path: text}))]) == 1
    lines = capsys.readouterr().out.splitlines()
    broken = [number for number, line in enumerate(lines) if line.endswith("BROKEN")]
    assert len(broken) == 1 and lines[broken[0]].startswith(title), lines
    assert lines[broken[0] + 1].strip().startswith(needle)


def test_the_counts_need_the_standard_library_only():
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); import counts", ROOT / "tests"],
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")


# What else is true of every source


@pytest.mark.slow
def test_importing_any_module_prints_writes_and_changes_nothing(tmp_path):
    names = [
        str(path.relative_to(SCRIPTS).with_suffix("")).replace(os.sep, ".").removesuffix(".__init__") for path in MODULES
    ]
    watch = (
        "import importlib, json, os, signal, sys\n"
        "before = dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), os.getcwd()\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "after = dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), os.getcwd()\n"
        "changed = {k for k in {**before[0], **after[0]} if before[0].get(k) != after[0].get(k)}\n"
        "ours = {k for k in changed if not k.startswith(('KMP_', 'OMP_', 'TORCH', 'CUDA'))}\n"
        "sys.exit(0 if not ours and before[1:] == after[1:] else f'changed: {ours}')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", watch],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=120,
        env=environment({"PYTHONPATH": str(SCRIPTS)}),
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


FLAG_OF_CODE = re.compile(r"^False$|\btrust_remote_code$")  # the user's own flag, handed on


def dangers(tree):
    """(line, what) of everything that could run code out of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("eval", "exec", "pickle.load", "pickle.loads", "joblib.load", "os.system", "yaml.load"):
                yield node.lineno, called
            for keyword in node.keywords:
                value = ast.unparse(keyword.value)
                if (
                    (keyword.arg, value)
                    in (
                        ("weights_only", "False"),
                        ("allow_pickle", "True"),
                        ("shell", "True"),
                    )
                    or keyword.arg == "trust_remote_code"
                    and not FLAG_OF_CODE.search(value)
                ):
                    yield node.lineno, f"{keyword.arg}={value}"
            given = [keyword.arg for keyword in node.keywords]
            if re.search(r"Auto\w+\.from_(pretrained|config)$", called) and "trust_remote_code" not in given:
                yield node.lineno, f"{called} without trust_remote_code"
            if called == "torch.load" and "weights_only" not in given:
                yield node.lineno, "torch.load without weights_only"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from ((node.lineno, name) for name in names if name in ("pickle", "dill", "joblib", "marshal", "shelve"))


def test_nothing_in_the_scripts_can_run_code_out_of_a_file():
    files = [*MODULES, *house.modules(ROOT / "bench"), *house.modules(ROOT / "demo")]
    found = [f"{path.relative_to(ROOT)}:{line}: {what}" for path in files for line, what in dangers(house.tree_of(path))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(path, weights_only=False)",
        "torch.load(path)",
        "eval(text)",
        "pickle.load(file)",
        "import pickle",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "transformers.AutoTokenizer.from_pretrained(name)",
        "AutoModel.from_config(config, trust_remote_code=not asked)",
        "from pickle import load",
        "numpy.load(p, allow_pickle=True)",
    ],
)
def test_the_search_for_dangers_finds_each_of_them(text):
    assert len(list(dangers(ast.parse(text)))) == 1


def test_no_line_of_the_suite_names_a_place_on_one_machine():
    places = re.compile(r"/(?:home|Users|root|work|tmp)/")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if places.search(line)
    ]
    assert not found
