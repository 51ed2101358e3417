"""The splits that a file, a folder or a dataset publishes: what they are called, and which of them are used as what."""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from utils.base.errors import UsageError, UserError
from utils.data.readers.annotated import ALL_TARGETS, Annotated
from utils.data.readers.forms import ENDINGS_OF, UNPACKED, rows_of_file

SPLIT_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel", "development", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
KEPT_FIRST = ("test", "val", "train", None)  # a text that stands in several splits belongs to the first of these
SPLIT_COLUMN = "split"
OTHER_COLUMNS = ("splits", "set", "subset", "partition")  # believed where each value is a usual word
IGNORED = "none"  # as the name of the column: texts are dealt out, whatever the input says of splits
SHARD = re.compile(r"-\d+(-of-\d+)?$")  # what follows the name of a file of several


@dataclass(frozen=True)
class SplitChoice:
    """What the user says of published splits.

    column  the column or key that names each row's split; IGNORED: splits are not read, those of a folder neither
    wanted  ALL_TARGETS, or those that are used, as ["train", "holdout=test"]; rows of others are left out
    """

    column: str = SPLIT_COLUMN
    wanted: str | tuple[str, ...] = ALL_TARGETS

    @property
    def ignored(self) -> bool:
        return self.column == IGNORED

    def roles(self) -> dict[str, str | None]:
        """Return {name as published, in small letters: train, val, test, or None where its name does not say which}.

        Raises UsageError for a role that is none of them.
        """
        result = {}
        for item in () if self.wanted == ALL_TARGETS else self.wanted:
            name, _, role = (canonical(part) for part in (item.rpartition("=") if "=" in item else (item, "", "")))
            if role and role not in SPLIT_OF:
                raise UsageError(f"--splits {item}: {role!r} is none of train, val, test")
            result[name] = SPLIT_OF.get(role or name)
        return result


@dataclass(frozen=True)
class UsedSplits:
    """Which published splits are used as what: {name, in small letters: train, val or test}, or None: texts are dealt out.

    used      the names that are used, in small letters; None: all, nothing is published
    left_out  {name: rows} of the others
    notes     what is to be said of it
    """

    split_of: Mapping[str, str] | None
    used: frozenset[str] | None
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def keeps(self, name: str | None) -> bool:
        """Is a row of this split used?"""
        return self.used is None or name is not None and canonical(name) in self.used

    def split(self, name: str | None) -> str | None:
        """Return train, val or test for the name that a row has; None where texts are dealt out."""
        return None if self.split_of is None or name is None else self.split_of[canonical(name)]

    @property
    def counts(self) -> dict[str, int]:
        """Count the rows that are left out; empty where there are none."""
        return {"rows_of_other_splits": number} if (number := sum(self.left_out.values())) else {}


@dataclass(frozen=True)
class SourceRow:
    """One row of an annotated file or of a folder of them.

    name   for a row without an id; where: the beginning of an error message; place: its line or, in a folder, its name
    split  as it is published, or None
    """

    name: str
    where: str
    place: str
    values: dict
    split: str | None


def rows_of_input(path: str | Path, choice: SplitChoice) -> tuple[list[SourceRow], list[str]]:
    """Read the rows of a file, or of all files of a folder, with their published splits. Returns what was left out too."""
    folder = Path(path).is_dir()
    files, notes = files_of_folder(path) if folder else ({Path(path): None}, [])
    rows = []
    for file, split in files.items():
        name = file.relative_to(path).as_posix() if folder else file.name
        for number, where, values in rows_of_file(file):
            place = f"{name}:{number}" if folder else f"line {number}"
            rows.append(SourceRow(f"{name}:{number}", where, place, values, None if choice.ignored else split))
    keys = dict.fromkeys(key for row in rows for key in row.values)
    if choice.column not in (SPLIT_COLUMN, IGNORED, *keys):
        raise UserError(f"--split_column {choice.column}: no row of {path} has it; name the key that holds the splits")
    if choice.ignored or any(files.values()):
        return rows, notes
    column = column_of_splits(keys, lambda key: (row.values.get(key) for row in rows), choice.column)
    rows = [replace(row, split=split_value(row.values.get(column))) for row in rows]
    return rows, notes + about_column(column, choice.column, keys)


def split_key(names: Iterable[str], column: str) -> str:
    """Return the key that holds splits: `column`, or where that is the usual one and not there, the same in capitals."""
    if column != SPLIT_COLUMN or column in names:
        return column
    return next((name for name in names if canonical(str(name)) == SPLIT_COLUMN), column)


def column_of_splits(names: Iterable[str], values_of: Callable[[str], Iterable], column: str) -> str:
    """Return the key that holds splits, as `split_key` does, or one of another usual name whose values are usual words."""
    names = list(names)
    found = split_key(names, column)
    if found in names or column != SPLIT_COLUMN:
        return found
    for name in names:
        words = {canonical(word) for value in values_of(name) if (word := split_value(value))} if usual(name) else ()
        if words and words <= set(SPLIT_OF):
            return name
    return found


def usual(name: object) -> bool:
    """Are splits often published under this name?"""
    return canonical(str(name)) in (SPLIT_COLUMN, *OTHER_COLUMNS)


def about_column(column: str, asked: str, names: Iterable[str]) -> list[str]:
    """Say where the splits stand, if that is not the column that was asked for."""
    if column == asked or column not in names:
        return []
    return [f"splits are those of {column!r}; --split_column {IGNORED} deals all texts out"]


def canonical(name: str) -> str:
    return name.strip().casefold()


def split_value(value: object) -> str | None:
    """Return what a cell or key says of a row's split; None where it is empty."""
    if value is None or value != value or not str(value).strip():
        return None
    return str(value).strip()


def use_splits(names: Sequence[str | None], choice: SplitChoice, source: str | Path) -> UsedSplits:
    """Decide which of the splits of these rows are used as what. names: the split of each row, as published.

    One split alone divides nothing: its texts are dealt out, which is said. Raises UserError for names that nobody
    understands, with a remedy that works, and for rows without a split among others.
    """
    counts = Counter(name for name in names if name is not None)
    if choice.ignored or not counts:
        if choice.wanted != ALL_TARGETS:
            reason = (
                "the splits are not read" if choice.ignored else f"the input has no splits, nor a column {choice.column!r}"
            )
            raise UserError(f"--splits {','.join(choice.wanted)}: {reason}; leave one out")
        return UsedSplits(None, None, {})
    roles, without = choice.roles(), sum(name is None for name in names)
    known = {canonical(name): SPLIT_OF.get(canonical(name)) for name in counts}
    if unknown := [name for name in roles if name not in known]:
        raise UserError(f"--splits {unknown[0]}: there is no such split in {source}; it has {with_counts(counts)}")
    if without and not roles:
        raise UserError(
            f"--input {source}: {without} of {len(names)} rows have no split; give all rows one, take those that have one "
            f"with --splits {as_flag_value(counts)} or deal all out with --split_column {IGNORED}"
        )
    roles = roles or known
    left_out = {name: number for name, number in counts.items() if canonical(name) not in roles}
    left_out |= {"no split": without} if without else {}
    notes = [f"left out by --splits: {with_counts(left_out)}"] if left_out else []
    used = Counter({name: number for name, number in counts.items() if canonical(name) in roles})
    if len({canonical(name) for name in used} if None in roles.values() else set(roles.values())) == 1:
        notes.append(f"the only split is {with_counts(used)}: its texts are dealt out to train, val and test")
        return UsedSplits(None, frozenset(roles), left_out, tuple(notes))
    require_known(used, roles, source)
    return UsedSplits({name: role for name, role in roles.items() if role}, frozenset(roles), left_out, tuple(notes))


def require_known(counts: Mapping[str, int], roles: Mapping[str, str | None], source: str | Path) -> None:
    """Raise UserError for names of splits that do not say whether they are train, val or test."""
    unknown = [name for name in counts if roles[canonical(name)] is None]
    if not unknown:
        return
    known = [name for name in counts if name not in unknown]
    there = {roles[canonical(name)] for name in known}
    lacking = [role for role in ("train", "test", "val") if role not in there]
    guesses = [f"{name}={role}" for name, role in zip_longest(unknown, lacking[: len(unknown)], fillvalue="train")]
    remedies = [f"say what each is, as in --splits {as_flag_value([*known, *guesses])}"]
    if known:
        remedies.append(f"leave {'it' if len(unknown) == 1 else 'them'} out with --splits {as_flag_value(known)}")
    raise UserError(
        f"--input {source} has the splits {with_counts(counts)}; {', '.join(map(repr, unknown))} may be train, val or test: "
        f"{' or '.join(remedies)} or deal all texts out with --split_column {IGNORED}"
    )


def as_flag_value(names: Iterable[str]) -> str:
    """Write names as they are given on a command line."""
    return shlex.quote(",".join(names))


def with_counts(counts: Mapping[str, int]) -> str:
    """{"train": 16, "test": 4} -> "train (16 rows), test (4 rows)" """
    return ", ".join(f"{name} ({number:,} {'row' if number == 1 else 'rows'})" for name, number in counts.items())


def check_groups(documents: Iterable[Annotated], source: str | Path, remedy: str) -> None:
    """Raise UserError where a group stands in two of the published splits. remedy: what else would group the texts."""
    split_of = {}
    for document in documents:
        other = split_of.setdefault(document.group, document.split)
        if other != document.split:
            raise UserError(
                f"--input {source}: {document.group} stands in {other} and in {document.split}; {remedy}, or deal the texts "
                f"out anew with --split_column {IGNORED}"
            )


def files_of_folder(folder: str | Path) -> tuple[dict[Path, str | None], list[str]]:
    """Return {file: name of its split, or None} of a folder's tables, of their most frequent form, and what was left out.

    A split is named by a usual word in the file's name, or in that of the folder around it; a file without one beside
    others that have one is a split of its own name. No word at all: nothing is published.
    """
    found = [path for path in sorted(Path(folder).rglob("*")) if form_of_name(path) and not hidden(path.relative_to(folder))]
    if not found:
        raise UserError(f"--input {folder} holds no {', '.join(ENDINGS_OF)} files; give a table or a folder of them")
    forms = Counter(form_of_name(path) for path in found)
    form = forms.most_common(1)[0][0]
    files = [path for path in found if form_of_name(path) == form]
    require_all_splits(folder, found, files)
    notes = [
        f"left out: {forms[other]:,} {other} {'file' if forms[other] == 1 else 'files'}" for other in forms if other != form
    ]
    words = {path: split_word(path.relative_to(folder)) for path in files}
    if not any(words.values()):
        return dict.fromkeys(files), notes
    return {path: word or SHARD.sub("", stem(path)) for path, word in words.items()}, notes


def require_all_splits(folder: str | Path, found: Iterable[Path], files: Iterable[Path]) -> None:
    """Raise UserError where a split is published in another form than the files that are read."""
    there = {split_word(path.relative_to(folder)) for path in files}
    for path in found:
        word = split_word(path.relative_to(folder))
        if word and word not in there:
            raise UserError(
                f"--input {folder}: {path.name} is of another form than {next(iter(files)).name}, so its split {word} would "
                "be left out; bring all files into one form, or give one of them alone"
            )


def form_of_name(path: Path) -> str | None:
    """Return the form that a file's ending says, whatever packs it."""
    ending = path.name.removeprefix(stem(path)).split(".")
    return ENDINGS_OF.get(f".{ending[1].lower()}") if len(ending) > 1 and path.is_file() else None


def stem(path: Path) -> str:
    """Return a file's name without the endings of its form and of what packs it: "sst.dev.csv.gz" -> "sst.dev"."""
    if path.suffix.lower() in UNPACKED:
        path = path.with_suffix("")
    return path.stem if path.suffix.lower() in ENDINGS_OF else path.name


def hidden(path: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.parts)


def split_word(path: Path) -> str | None:
    """Return the one usual word in the name of a file, or of a folder above it: "sst_dev-00000-of-00001.csv" -> "dev"."""
    for part in (stem(path), *reversed(path.parts[:-1])):
        words = {word for word in re.split(r"[^a-z]+", part.casefold()) if word in SPLIT_OF}
        if words:
            return words.pop() if len(words) == 1 else None
    return None
