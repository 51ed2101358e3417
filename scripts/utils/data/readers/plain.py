"""Plain texts: a Hub dataset, a local folder in the same layout, or .txt, .jsonl and .parquet files."""

import codecs
import glob
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from utils.base.errors import UserError
from utils.base.hub import loading
from utils.base.paths import require_path
from utils.data.readers.document import Document, require_whole_characters
from utils.data.readers.published import IGNORED, split_key, split_value

ENDINGS = (".txt", ".jsonl", ".parquet")
LONGEST_PART = 2**25  # characters: what a machine holds a few times over; a longer .txt is several texts of one group
BLOCK = 2**20  # bytes
# Project Gutenberg frames each book with its licence; these lines part it from the book, in their forms since the 1990s.
LICENCE_START = re.compile(
    r"\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG EBOOK.{0,500}?\*\*\*|"
    r"\*END\*? ?THE SMALL PRINT!.{0,200}?\*END\*|\*END THE SMALL PRINT![^\n]*",
    re.DOTALL,
)
LICENCE_END = re.compile(
    r"\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG EBOOK|"
    r"^End of (?:the |this )?Project Gutenberg(?:'s|’s)?\b",
    re.MULTILINE | re.IGNORECASE,
)


class Row(NamedTuple):
    """A text, or one part of it, counted from 1, and its split as published; goes_on: another part follows."""

    name: str
    text: str
    split: str | None = None
    part: int = 1
    goes_on: bool = False


def read_texts(
    source: str,
    column: str = "text",
    split: str = "en",
    limit: int | None = None,
    split_column: str = "split",
    config: str | None = None,
) -> Iterator[Document]:
    """Yield the documents of `source`, at most `limit`, without Project Gutenberg's header and footer.

    split, config: of a dataset; split_column: the key or column that publishes the split of each row.
    """
    paths = local_files(source)
    if paths and config is not None:
        raise UserError(f"--dataset_config {config}: {source} are text files, which have no configurations; leave it out")
    rows = read_files(paths, column, split_column) if paths else stream_dataset(source, column, split, split_column, config)
    yield from as_documents(rows, limit)


def read_text_file(path: str | Path, column: str = "text") -> Iterator[Document]:
    """Yield the documents of one local file. Whatever its ending, what is not .jsonl or .parquet is plain text."""
    require_text_file(path)
    yield from as_documents(read_files([Path(path)], column, IGNORED))


def as_documents(rows: Iterable[Row], limit: int | None = None) -> Iterator[Document]:
    """Yield a document for each row, until `limit` texts have come to their end. Parts of one text are a group."""
    texts = 0
    for row in rows:
        name = row.name if row.part == 1 else f"{row.name} (part {row.part})"
        yield Document(row.text, name, group=row.name, split=row.split)
        texts += not row.goes_on
        if texts == limit:
            return


def require_text_file(path: str | Path) -> None:
    """Raise UserError where --text_file is not a file."""
    if not os.path.isfile(path):
        problem = "is a folder; give a file" if os.path.isdir(path) else "does not exist; check the path"
        raise UserError(f"--text_file {path} {problem}")


def licence_free(parts: Iterable[str]) -> Iterator[str]:
    """Cut Project Gutenberg's header and footer off a book that comes in parts; any other text stays as it is."""
    for number, part in enumerate(parts):
        if number == 0 and (start := LICENCE_START.search(part)):
            part = part[start.end() :]
        if end := LICENCE_END.search(part):
            yield part[: end.start()]
            return
        yield part


def without_licence(text: str) -> str:
    """Cut the header and footer off a book that is whole."""
    return next(licence_free([text]))


def local_files(source: str) -> list[Path]:
    """List the text files that `source` names: one file, a glob pattern, or a folder of them. [] for a dataset."""
    path = Path(source).expanduser()
    if path.is_dir():
        card = path / "README.md"
        if card.exists() and "data_files:" in card.read_text(encoding="utf-8", errors="replace"):
            return []
        return sorted(file for file in path.iterdir() if file.suffix in ENDINGS)
    if path.suffix in ENDINGS:
        found = [path] if path.is_file() else sorted(Path(file) for file in glob.glob(str(path), recursive=True))
        if not found:
            raise UserError(f"--dataset {source}: there is no such file; check the path")
        return found
    if path.is_file():
        raise UserError(
            f"--dataset {source}: cannot read {path.suffix or 'such'} files; give .txt, .jsonl, "
            ".parquet, a folder or a Hub dataset"
        )
    return []


def read_files(paths: list[Path], column: str, split_column: str) -> Iterator[Row]:
    """Yield the texts of these files; names are paths below the folder that all of them share."""
    readers = {".txt": read_txt, ".jsonl": read_jsonl, ".parquet": read_parquet}
    common = Path(os.path.commonpath([path.parent for path in paths]))  # one/text.txt and other/text.txt are two texts
    for path in paths:
        require_path(path, "file", "give files that you may read")
        try:
            yield from readers.get(path.suffix, read_txt)(path, path.relative_to(common).as_posix(), column, split_column)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}; give files that you may read") from error


def read_txt(path: Path, name: str, _column: str, _split_column: str) -> Iterator[Row]:
    """Yield the whole file as one text, or in parts where it is longer than LONGEST_PART."""
    number, part = 0, ""
    for following in licence_free(text_parts(path)):
        if number:
            yield Row(name, part, None, number, goes_on=True)
        number, part = number + 1, following
    yield Row(name, part, None, number)


def text_parts(path: Path) -> Iterator[str]:
    """Yield a file's text in parts of at most LONGEST_PART characters that end with a paragraph, else a line or a word."""
    decoder, blocks, length, read, block = codecs.getincrementaldecoder("utf-8-sig")(), [], 0, 0, b"-"
    with open(path, "rb") as file:
        while block:
            block = file.read(BLOCK)
            read += len(block)
            try:
                blocks.append(decoder.decode(block, final=not block))
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at offset "
                    f"{read - len(error.object) + error.start}; convert it (iconv -t UTF-8)"
                ) from error
            if "\0" in blocks[-1]:
                raise UserError(f"{path} holds a NUL byte and is no text (UTF-16?); convert it (iconv -t UTF-8)")
            length += len(blocks[-1])
            if length > LONGEST_PART:
                text = "".join(blocks)
                ends = (text.rfind(sign, 0, LONGEST_PART) + len(sign) for sign in ("\n\n", "\n", " "))
                end = next((end for end in ends if end > LONGEST_PART // 2), LONGEST_PART)
                yield text[:end]
                blocks, length = [text[end:]], len(text) - end
    yield "".join(blocks)


def read_jsonl(path: Path, name: str, column: str, split_column: str) -> Iterator[Row]:
    """Yield one text a line."""
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}, line {number}: not UTF-8 (byte {error.object[error.start]:#04x}); convert it (iconv -t UTF-8)"
                ) from error
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number}: not JSON ({error}); one JSON object a line") from error
            text = without_licence(row_text(row, column, f"{path}, line {number}"))
            yield Row(row_name(row, f"{name}:{number}"), text, split_value(row.get(split_key(row, split_column))))


def read_parquet(path: Path, name: str, column: str, split_column: str) -> Iterator[Row]:
    """Yield one text a row, a row at a time."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
        if column not in names:
            raise UserError(
                f"{path} has no column {column!r}; its columns are {', '.join(names)}: choose one with --text_column"
            )
        number = 0
        split_column = split_key(names, split_column)
        wanted = [one for one in dict.fromkeys(("id", column, split_column)) if one in names]
        for batch in file.iter_batches(batch_size=1, columns=wanted):
            for row in batch.to_pylist():
                number += 1
                text = without_licence(row_text(row, column, f"{path}, row {number}"))
                yield Row(row_name(row, f"{name}:{number}"), text, split_value(row.get(split_column)))
    except (pyarrow.ArrowException, OSError) as error:
        if getattr(error, "errno", None):  # the system's word, not pyarrow's
            raise
        raise UserError(f"{path} is damaged or not a parquet file: {error}; download or make it again") from error


def stream_dataset(name: str, column: str, split: str, split_column: str, config: str | None = None) -> Iterator[Row]:
    """Yield the texts of a Hub dataset, or of a folder laid out like one, streamed: nothing is fetched that is not read.

    config: one of its configurations, such as 20231101.en of wikimedia/wikipedia
    """
    with loading("dataset", name, "--dataset"):
        import datasets

        if Path(name).expanduser().exists() and not Path(name).is_dir():
            raise UserError(f"--dataset {name}: neither a folder nor a text file")
        try:
            rows = iter(datasets.load_dataset(name, config, split=split, streaming=True))
            first = next(rows, None)
        except FileNotFoundError as error:
            if "data files found" not in str(error):
                raise
            raise UserError(f"--dataset {name} holds no {', '.join(ENDINGS)} files; choose another") from error
        except ValueError as error:
            if "BuilderConfig" in str(error) or "Config name is missing" in str(error):
                raise UserError(wrong_config(name, config, datasets.get_dataset_config_names(name))) from error
            if "Bad split" not in str(error) and "Unknown split" not in str(error):
                raise
            known = datasets.get_dataset_split_names(name, config)
            raise UserError(
                f"--language {split}: dataset {name} has no such split; it has {', '.join(map(str, known))}"
            ) from error
    number = 0
    while first is not None:
        number += 1
        text = without_licence(row_text(first, column, f"--dataset {name}, row {number}"))
        yield Row(row_name(first, f"{split}:{number}"), text, split_value(first.get(split_key(first, split_column))))
        with loading("dataset", name, "--dataset"):
            first = next(rows, None)


def wrong_config(name: str, config: str | None, known: Sequence[str]) -> str:
    """Say that a dataset has no such configuration, or that one must be named, and which there are."""
    there = f"{', '.join(known[:20])}{', ...' if len(known) > 20 else ''}"
    if config is None:
        return f"--dataset {name} has {len(known)} configurations; choose one with --dataset_config: {there}"
    return f"--dataset_config {config}: dataset {name} has no such configuration; it has {there}"


def row_name(row: object, otherwise: str) -> str:
    """Return the row's own id, or `otherwise` where it has none."""
    return str(row["id"]) if isinstance(row, dict) and row.get("id") is not None else otherwise


def row_text(row: object, column: str, where: str) -> str:
    """Return the text in one column of a row. The UserError says where the row stands."""
    if not isinstance(row, dict) or column not in row:
        columns = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise UserError(f"{where}: no column {column!r} (found {columns}); choose one with --text_column")
    if not isinstance(row[column], str):
        raise UserError(
            f"{where}: column {column!r} holds {type(row[column]).__name__}, not text; choose another with --text_column"
        )
    require_whole_characters(row[column], where)
    return row[column]
