"""Read the order of the house from its sources: rooms, files, imports, namespaces. Nothing is imported or run.

Every check takes the folder `scripts` (or a planted one) and returns complaints, one line each: file:line, what is wrong,
what to do. An empty list means that all is well. Only the standard library is used.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ENTRY = re.compile(r" {4}([\w.]+)(?: {2,}(\S.*))?")  # "    errors     one line for the user" in a room's docstring
MOST_NAMES = 13  # about ten names are what a reader takes in at one level
APART = [{"pages", "sweep"}]  # rooms that must not know each other, whatever their order
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


# Sources


def modules(folder) -> list[Path]:
    return sorted(path for path in Path(folder).rglob("*.py") if "__pycache__" not in path.parts)


def rooms(utils) -> list[Path]:
    """Every folder of sources below `utils`, and `utils` itself, from the outside in."""
    return sorted({path.parent for path in modules(utils)})


def lines_of(path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def tree_of(path) -> ast.Module:
    return nodes_of(path)[0]


def nodes_of(path) -> list[ast.AST]:
    """Every node of a file's syntax tree, the whole module first."""
    return parsed(path.read_text(encoding="utf-8"), str(path))


@cache
def parsed(text, name):
    return list(ast.walk(ast.parse(text, filename=name)))


def parameters_of(function) -> list[ast.arg]:
    """All parameters but self and cls; *rest and **options are not among them."""
    taken = function.args
    return [one for one in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs) if one.arg not in ("self", "cls")]


def functions_of(path) -> Iterator[ast.FunctionDef]:
    return (node for node in nodes_of(path) if isinstance(node, FUNCTION))


def room_of(path, utils) -> str:
    """'probes' of utils/probes/logistic/rows.py, '' of utils/__init__.py."""
    return (path.relative_to(utils).with_suffix("").parts[:-1] or ("",))[0]


# Imports


def imported(path, scripts) -> Iterator[tuple[int, str, Path | None]]:
    """(line, dotted name, file or folder of `scripts` that it names; None outside it) of every import.

    Imports inside functions count too, and those by name. `from utils.base import files` names utils/base/files.py.
    """
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and last_name(node.func) in ("import_module", "__import__", "run_module"):
            names = [one.value for one in node.args[:1] if isinstance(one, ast.Constant)]
        else:
            continue
        for name in names:
            yield node.lineno, name, file_of(name, scripts)


def file_of(name, scripts) -> Path | None:
    """The file that a dotted name stands for, or the one that defines its last part."""
    for parts in (name.split("."), name.split(".")[:-1]):
        place = Path(scripts).joinpath(*parts)
        if parts and place.with_suffix(".py").is_file():
            return place.with_suffix(".py")
        if parts and place.is_dir():
            return place / "__init__.py"
    return None


def arrows(scripts) -> Iterator[tuple[Path, int, str, Path]]:
    """(importing file, line, dotted name, imported file) of every import between two files of utils.

    utils/__init__.py is left out as an importer: it is the door for notebooks, which opens every room when asked.
    """
    utils = Path(scripts) / "utils"
    for path in modules(utils):
        for line, name, target in imported(path, scripts):
            if target is not None and target.is_relative_to(utils) and path != utils / "__init__.py":
                yield path, line, name, target


def relative_imports(scripts) -> list[str]:
    return [
        f"{path.relative_to(scripts)}:{node.lineno} imports relatively; write the whole name, utils.ROOM.FILE"
        for path in modules(scripts)
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom) and node.level
    ]


def imported_scripts(scripts) -> list[str]:
    """A script is imported by nobody: what two of them need belongs into a room."""
    names = {path.stem for path in Path(scripts).glob("*.py")}
    return [
        f"{path.relative_to(scripts)}:{line} imports the script {name}; move what both need into a room of utils"
        for path in modules(scripts)
        for line, name, _ in imported(path, scripts)
        if name.partition(".")[0] in names
    ]


def upward_imports(scripts) -> list[str]:
    """Imports against the order of the innermost docstring that lists both files, or the folders that they stand in."""
    wrong = []
    for path, line, name, target in arrows(scripts):
        where = f"{path.relative_to(scripts)}:{line} imports {name}"
        if target.name == "__init__.py":
            wrong.append(f"{where}, a room and no file; import from the file that defines it")
            continue
        folder = next(folder for folder in path.parents if target.is_relative_to(folder))
        ours, theirs = (file.relative_to(folder).with_suffix("").parts[0] for file in (path, target))
        order = listed(folder / "__init__.py")
        if not {ours, theirs} <= set(order):
            continue  # `unlisted` names it
        if order.index(theirs) >= order.index(ours):
            docstring = (folder / "__init__.py").relative_to(scripts)
            wrong.append(
                f"{where}, but {docstring} lists {theirs} after {ours}; move what is needed up, or the line in the list"
            )
    return wrong


def circles(scripts) -> list[str]:
    """Each circle of imports once, as the chain of its files."""
    edges = {}
    for path, line, _, target in arrows(scripts):
        edges.setdefault(path, {}).setdefault(target, line)
    found, done = [], set()

    def walk(path, chain):
        if path in chain:
            circle = chain[chain.index(path) :]
            shown = " -> ".join(f"{one.relative_to(scripts)}:{edges[one][after]}" for one, after in links(circle))
            found.append(f"{shown} -> {path.relative_to(scripts)}: a circle; move what both need into a file of its own")
        elif path not in done:
            for target in edges.get(path, ()):
                walk(target, [*chain, path])
            done.add(path)

    for path in edges:
        walk(path, [])
    return found


def links(circle):
    return zip(circle, [*circle[1:], circle[0]], strict=True)


def strangers_that_meet(scripts) -> list[str]:
    utils = Path(scripts) / "utils"
    return [
        f"{path.relative_to(scripts)}:{line} imports {name}; {' and '.join(sorted(pair))} must not know each other: "
        "move what both need into a room before them"
        for path, line, name, target in arrows(scripts)
        for pair in APART
        if {room_of(path, utils), room_of(target, utils)} == pair
    ]


# What the docstrings of rooms list


def listed(path) -> list[str]:
    """Names in the order in which an __init__ lists them, one a line."""
    return [match[1] for line in docstring_of(path).splitlines() if (match := ENTRY.fullmatch(line))]


def docstring_of(path) -> str:
    return (ast.get_docstring(tree_of(path), clean=False) if path.is_file() else "") or ""


def present(folder) -> list[str]:
    """Names of the files and sub-rooms of a room; templates and styles beside them by their whole names."""
    found = [path for path in folder.iterdir() if path.name not in ("__init__.py", "__pycache__")]
    return sorted(path.stem if path.suffix == ".py" else path.name for path in found)


def unlisted(scripts) -> list[str]:
    """Files that no list names, names that no file has, names listed twice or without what they know."""
    wrong = []
    for folder in rooms(Path(scripts) / "utils"):
        init = folder / "__init__.py"
        where, names, there = f"{init.relative_to(scripts)}:1", listed(init), present(folder)
        if not init.is_file():
            wrong.append(f"{where} is missing; write its docstring: what the room knows, then one line a file")
            continue
        missing = [name for name in there if "." not in name and name not in names]  # templates and styles may be listed
        if missing:
            wrong.append(
                f"{where} does not list {', '.join(missing)}; add '    NAME  what it knows' below all that it imports"
            )
        for name in dict.fromkeys(names):
            if name not in there:
                wrong.append(f"{where} lists {name}, which is not there; delete the line")
            elif names.count(name) > 1:
                wrong.append(f"{where} lists {name} {names.count(name)} times; keep one line")
        entries = [match for line in docstring_of(init).splitlines() if (match := ENTRY.fullmatch(line))]
        wrong += [
            f"{where} lists {entry[1]} without what it knows; add it after two spaces" for entry in entries if not entry[2]
        ]
    return wrong


def code_in_rooms(scripts) -> list[str]:
    """A room's __init__ is a docstring and nothing else. That of utils is also the door for notebooks."""
    utils = Path(scripts) / "utils"
    return [
        f"{path.relative_to(scripts)}:{node.lineno} holds code; keep the docstring only, and move the code into a file"
        for path in modules(utils)
        if path.name == "__init__.py" and path.parent != utils
        for node in tree_of(path).body[bool(docstring_of(path)) :]
    ]


def crowded_rooms(scripts, most=MOST_NAMES) -> list[str]:
    """Levels with more names than a reader takes in, templates and styles counted."""
    return [
        f"{folder.relative_to(scripts)}/__init__.py:1 stands over {len(names)} names, at most {most} belong at one level; "
        f"make a sub-room of some: {', '.join(names)}"
        for folder in rooms(Path(scripts) / "utils")
        if len(names := present(folder)) > most
    ]


# Namespaces of argparse


PARSED = {"arguments", "args", "namespace", "ns", "opts", "parsed"}  # what a parsed namespace is mostly called
PARSERS = ("parse", "parse_args", "parse_known_args")
NAMESPACES = ("Namespace", "SimpleNamespace")


def last_name(node) -> str:
    """'parse_args' of the expression `build_parser().parse_args`."""
    return ast.unparse(node).rpartition(".")[2]


def namespace_classes(path) -> set[str]:
    """Names of a file for argparse.Namespace and its like, also those that an import gave them."""
    imports = (node for node in nodes_of(path) if isinstance(node, ast.ImportFrom))
    return {*NAMESPACES} | {
        alias.asname or alias.name for node in imports for alias in node.names if alias.name in NAMESPACES
    }


def is_namespace(parameter, classes) -> bool:
    """Whether a parameter is annotated as a Namespace."""
    words = re.findall(r"\w+", ast.unparse(parameter.annotation)) if parameter.annotation else ()
    return not classes.isdisjoint(words)


def takes_namespace(function, classes) -> bool:
    """Whether a parameter has the name of a parsed namespace, or is annotated as one."""
    rest = [one for one in (function.args.vararg, function.args.kwarg) if one]
    return any(one.arg in PARSED or is_namespace(one, classes) for one in (*parameters_of(function), *rest))


def namespaces_taken(scripts) -> list[str]:
    """Functions of utils, outside the files that define flags and parse them, that take what argparse has parsed."""
    return [
        f"{path.relative_to(scripts)}:{node.lineno} {getattr(node, 'name', 'lambda')} takes a namespace; pass the values "
        "that it needs, or a frozen dataclass of them"
        for path in modules(Path(scripts) / "utils")
        if path.name != "flags.py" and path.parent.name != "cli"
        for classes in [namespace_classes(path)]
        for node in nodes_of(path)
        if isinstance(node, (*FUNCTION, ast.Lambda)) and takes_namespace(node, classes)
    ]


def namespaces_forged(scripts) -> list[str]:
    return [
        f"{path.relative_to(scripts)}:{node.lineno} forges a namespace; pass values, or a frozen dataclass"
        for path in modules(scripts)
        for classes in [namespace_classes(path)]
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and last_name(node.func) in classes
    ]


def namespaces_changed(scripts) -> list[str]:
    """Attributes that are set on a parsed namespace: after parsing it says what the user typed, and nothing else."""
    wrong = []
    for path in modules(scripts):
        names = namespaces_in(path)
        for node in nodes_of(path):
            held = None
            if isinstance(node, ast.Attribute):
                stored = isinstance(node.ctx, (ast.Store, ast.Del))
                held = node.value if stored or node.attr == "__dict__" and is_changed(node, path) else None
            elif isinstance(node, ast.Call) and last_name(node.func).strip("_") in ("setattr", "delattr"):
                own = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) != "object"
                held = node.func.value if own else next(iter(node.args), None)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "vars" and is_changed(node, path):
                held = next(iter(node.args), None)
            if held is not None and ast.unparse(held) in names:
                wrong.append(
                    f"{path.relative_to(scripts)}:{node.lineno} writes on the namespace {ast.unparse(held)}; "
                    "name a local variable, or make a frozen dataclass"
                )
    return wrong


def namespaces_in(path) -> set[str]:
    """Names that hold a parsed namespace: `arguments`, what is annotated so or made by parsing, other names of these."""
    names, classes = {"arguments"}, namespace_classes(path)
    for node in nodes_of(path):
        if isinstance(node, (*FUNCTION, ast.Lambda)):
            names |= {one.arg for one in parameters_of(node) if is_namespace(one, classes)}
        elif isinstance(node, (ast.Assign, ast.NamedExpr)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            calls = [call for call in ast.walk(node.value) if isinstance(call, ast.Call)]
            if ast.unparse(node.value) in names or any(last_name(call.func) in PARSERS for call in calls):
                names |= {leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)}
    return names


CHANGING = ("update", "setdefault", "pop", "popitem", "clear", "__setitem__", "__delitem__")


def is_changed(call, path) -> bool:
    """Whether vars(...) or __dict__ is written to: vars(x)["name"] = value, vars(x).update(...) and its like."""
    for node in nodes_of(path):
        if isinstance(node, ast.Subscript) and node.value is call and isinstance(node.ctx, (ast.Store, ast.Del)):
            return True
        if isinstance(node, ast.Attribute) and node.value is call and node.attr in CHANGING:
            return True
    return False


# Sizes, types and names, which counts.py adds up


def untyped_functions(scripts, room) -> list[str]:
    """Public functions, and methods of public classes, with a parameter that has no type."""
    wrong = []
    for path in modules(room):
        for node in tree_of(path).body:
            inside = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
            for function in inside:
                if isinstance(function, FUNCTION) and (not function.name.startswith("_") or function.name == "__init__"):
                    rest = [one for one in (function.args.vararg, function.args.kwarg) if one]
                    bare = [one.arg for one in (*parameters_of(function), *rest) if one.annotation is None]
                    if bare:
                        wrong.append(f"{path.relative_to(scripts)}:{function.lineno} {function.name}: {', '.join(bare)}")
    return wrong


def defined_names(path) -> set[str]:
    """Functions, classes and constants of a file's top level that other files may use."""
    names = set()
    for node in tree_of(path).body:
        if isinstance(node, (*FUNCTION, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)}
    return {name for name in names if not name.startswith("_")}


CHECKS = (
    unlisted,
    code_in_rooms,
    crowded_rooms,
    relative_imports,
    imported_scripts,
    upward_imports,
    circles,
    strangers_that_meet,
    namespaces_taken,
    namespaces_forged,
    namespaces_changed,
)
