"""A YAML file of sections or of flags -> steps in its order, with the line of every key for the errors.

Nothing is guessed from a value: it stays the text that was written, so `1e-3`, `010`, `2024-01-01` and `no` (Norwegian)
reach the script as they stand. Only an unquoted `true` or `false` is a switch.
"""

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from utils.base.errors import UsageError

PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "seq", "map")}
EXAMPLE = "see configs/demo.yaml"
MOST_BYTES = 200_000  # of a file: what is read within seconds
MOST_KEYS = 1000  # of a section
LONGEST_VALUE = 100_000  # characters: Linux takes some 130,000 bytes as one word of a command line
MOST_CHARACTERS = 10_000_000  # of all values: aliases can say the same again and again


class YamlNode(Protocol):
    """A node of PyYAML's, which is imported only when there is a file to read.

    id: "scalar", "sequence" or "mapping"; value: the text, the nodes, or the pairs of nodes
    """

    id: str
    tag: str
    value: Any
    start_mark: Any


@dataclass(frozen=True)
class Step:
    """A section. `name`: all of its heading, such as "train_probe current", None where the file has no sections; `script`:
    the first word of it; `values`: {flag without dashes: text, True or False}; `lines`: {flag: line in the file}; `line`: of
    the heading.
    """

    name: str | None
    script: str
    values: dict[str, str | bool | tuple[str, ...]]
    lines: dict[str, int]
    line: int | None


def fault(path: str | Path, message: str, line: int | str | None = None, section: str | None = None) -> UsageError:
    """A UsageError that says where: 'configs/demo.yaml, line 7, section train_probe: ...'."""
    place = [str(path), f"line {line}" if line else "", f"section {section}" if section else ""]
    return UsageError(f"{', '.join(part for part in place if part)}: {message}")


def nearest(name: str, names: Sequence[str], otherwise: str = "there are") -> str:
    """The end of an error about an unknown name: the one that was meant, else all that there are."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"{otherwise} {', '.join(names)}"


def read_experiment(path: str | Path) -> list[Step]:
    """Raises UsageError where the file is not a mapping of sections to flags; names of scripts and flags are not known
    here, so they are not checked.
    """
    steps, characters = [], 0
    for name, (key, node) in sections_of(path, read_mapping(path)).items():
        steps.append(Step(name, name.split()[0], *flags_of(path, name, node), line_of(key)))
        characters += sum(len("".join(value)) for value in steps[-1].values.values() if not isinstance(value, bool))
        if characters > MOST_CHARACTERS:
            raise fault(path, f"its values are more than {MOST_CHARACTERS:,} characters; write fewer aliases", line_of(key))
    return steps


def read_mapping(path: str | Path) -> YamlNode:
    """The node of the whole file, a mapping of at least one key."""
    root = node_tree(path, read_text(path))
    if root is None or root.id == "mapping" and not root.value:
        raise fault(
            path, f"the file has no section and no flag; write a section for each step, headed by its script ({EXAMPLE})"
        )
    if root.id != "mapping":
        raise fault(
            path, f"the file holds {kind_of(root)}, not sections headed by the names of scripts; {EXAMPLE}", line_of(root)
        )
    refuse_tag(path, root)
    return root


def sections_of(path: str | Path, root: YamlNode) -> dict:
    """{heading: (its node, the node under it)}"""
    found = {}
    for key, node in root.value:
        name = " ".join(scalar_text(path, key, "a section's name").split())
        if not name:
            raise fault(path, "a section has an empty name; write the script's name", line_of(key))
        if name in found:
            raise fault(
                path,
                f"section {name!r} is there twice, first in line {line_of(found[name][0])}; to run a script "
                f"twice give each section a label, such as {name.split()[0]!r} and '{name.split()[0]} again'",
                line_of(key),
            )
        found[name] = key, node
    return found


def read_text(path: str | Path) -> str:
    path = Path(path)
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise fault(path, f"the file is larger than {MOST_BYTES:,} bytes; give a YAML file such as configs/demo.yaml")
        return content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise fault(path, "the file does not exist; give a YAML file such as configs/demo.yaml") from error
    except OSError as error:
        raise fault(path, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise fault(path, f"the file is not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from error


def node_tree(path: str | Path, text: str) -> YamlNode | None:
    """The tree of YAML nodes; no object is ever made from them."""
    import yaml

    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark, begun = error.problem_mark or error.context_mark, error.context_mark
        context = f"{error.context} from line {begun.line + 1}" if error.context and begun else error.context
        reason = ", ".join(part for part in (context, error.problem) if part)
        raise fault(
            path,
            f"broken YAML, {reason}; indent with spaces, and quote text that holds ': ', '#' or quotes",
            mark and f"{mark.line + 1}, column {mark.column + 1}",
        ) from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise fault(path, f"broken YAML, the character {chr(error.character)!r} is not allowed; delete it", line) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise fault(path, f"broken YAML ({type(error).__name__}); {EXAMPLE}") from error


def flags_of(
    path: str | Path, section: str | None, node: YamlNode, may_be_empty: Collection[str] = ()
) -> tuple[dict, dict[str, int]]:
    """({flag: value}, {flag: line}) of one section, as in a Step; a key of `may_be_empty` that has no value is left out."""
    if is_nothing(node):
        return {}, {}
    if node.id != "mapping":
        raise fault(path, f"it holds {kind_of(node)}; write its flags as lines of 'flag: value'", line_of(node), section)
    refuse_tag(path, node, section)
    if len(node.value) > MOST_KEYS:
        raise fault(
            path, f"it holds {len(node.value):,} keys, no script has more than {MOST_KEYS:,} flags", line_of(node), section
        )
    values, lines = {}, {}
    for key, value in node.value:
        name = scalar_text(path, key, "a key", section).removeprefix("--").replace("-", "_")
        if name in lines:
            raise fault(path, f"key {name!r} is there twice, first in line {lines[name]}; delete one", line_of(key), section)
        lines[name] = line_of(key)
        if not (name in may_be_empty and is_nothing(value)):
            values[name] = value_of(path, section, name, value)
    return values, lines


def value_of(path: str | Path, section: str | None, key: str, node: YamlNode) -> str | bool | tuple[str, ...]:
    refuse_tag(path, node, section)
    if is_nothing(node):
        raise fault(
            path,
            f"key {key!r} has no value; give it one, write true for a flag that stands alone, or delete the line",
            line_of(node),
            section,
        )
    if node.id == "mapping":
        raise fault(
            path,
            f"key {key!r} holds keys of its own; a value is a text, a number, true, false or a list",
            line_of(node),
            section,
        )
    if node.id == "sequence":
        if not node.value or any(is_nothing(item) for item in node.value):
            raise fault(
                path,
                f"key {key!r}: the list is empty or has an empty item; fill it or delete the line",
                line_of(node),
                section,
            )
        refuse_length(path, section, key, sum(len(item.value) + 1 for item in node.value if item.id == "scalar"), node)
        return tuple(scalar_text(path, item, f"an item of {key!r}", section) for item in node.value)
    refuse_length(path, section, key, len(node.value), node)
    text = scalar_text(path, node, f"the value of {key!r}", section)
    if node.tag.endswith(":bool") and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text


def refuse_length(path: str | Path, section: str | None, key: str, length: int, node: YamlNode) -> None:
    """Before anything looks at each character: aliases can make it gigabytes."""
    if length > LONGEST_VALUE:
        raise fault(
            path,
            f"key {key!r}: the value is longer than {LONGEST_VALUE:,} characters; no command line can hold it",
            line_of(node),
            section,
        )


def scalar_text(path: str | Path, node: YamlNode, what: str, section: str | None = None) -> str:
    """What a scalar says, as it was written."""
    if node.id != "scalar":
        raise fault(path, f"{what} is {kind_of(node)}; write a plain text or number", line_of(node), section)
    if node.tag == "tag:yaml.org,2002:merge":
        raise fault(
            path,
            "'<<' takes over the keys of another section, which is not supported; write them out",
            line_of(node),
            section,
        )
    refuse_tag(path, node, section)
    if re.search("[\0\ud800-\udfff]", node.value):
        raise fault(path, f"{what} holds a character that no command line can: {node.value!r}", line_of(node), section)
    return node.value


def refuse_tag(path: str | Path, node: YamlNode, section: str | None = None) -> None:
    """A tag such as !!python/name asks the reader to make an object."""
    if node.tag not in PLAIN:
        raise fault(path, f"the tag {node.tag!r} is not understood; delete it", line_of(node), section)


def is_nothing(node: YamlNode) -> bool:
    """`key:` and `key: null`, not `key: ""`."""
    return node.id == "scalar" and node.tag == "tag:yaml.org,2002:null"


def kind_of(node: YamlNode) -> str:
    return {"sequence": "a list", "mapping": "a mapping"}.get(node.id, f"the text {node.value[:40]!r}")


def line_of(node: YamlNode) -> int:
    return node.start_mark.line + 1
