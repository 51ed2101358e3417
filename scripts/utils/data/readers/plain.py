"""Plain texts: a Hub dataset, a local folder in the same layout, or .txt, .jsonl and .parquet files."""

import glob
import json
import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from utils.base.errors import UserError
from utils.base.hub import loading
from utils.base.paths import require_path
from utils.data.readers.document import Document, require_whole_characters

ENDINGS = (".txt", ".jsonl", ".parquet")
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


def read_texts(source: str, column: str = "text", split: str = "en", limit: int | None = None) -> Iterator[Document]:
    """Yield the documents of `source`, at most `limit`, without Project Gutenberg's header and footer."""
    paths = local_files(source)
    rows = read_files(paths, column) if paths else stream_dataset(source, column, split)
    for name, text in islice(rows, limit):
        yield Document(without_licence(text), name, group=name)


def read_text_file(path: str | Path, column: str = "text") -> Iterator[Document]:
    """Yield the documents of one local file. Whatever its ending, what is not .jsonl or .parquet is plain text."""
    require_text_file(path)
    for name, text in read_files([Path(path)], column):
        yield Document(without_licence(text), name, group=name)


def require_text_file(path: str | Path) -> None:
    """Raise UserError where --text_file is not a file."""
    if not os.path.isfile(path):
        problem = "is a folder; give a file" if os.path.isdir(path) else "does not exist; check the path"
        raise UserError(f"--text_file {path} {problem}")


def without_licence(text: str) -> str:
    """Cut Project Gutenberg's header and footer off a book; any other text stays as it is."""
    if start := LICENCE_START.search(text):
        text = text[start.end() :]
    if end := LICENCE_END.search(text):
        text = text[: end.start()]
    return text


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


def read_files(paths: list[Path], column: str) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each text of these files; names are paths below the folder that all of them share."""
    readers = {".txt": read_txt, ".jsonl": read_jsonl, ".parquet": read_parquet}
    common = Path(os.path.commonpath([path.parent for path in paths]))  # one/text.txt and other/text.txt are two texts
    for path in paths:
        require_path(path, "file", "give files that you may read")
        try:
            yield from readers.get(path.suffix, read_txt)(path, path.relative_to(common).as_posix(), column)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start}; "
                "convert it (iconv -t UTF-8)"
            ) from error
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}; give files that you may read") from error


def read_txt(path: Path, name: str, _column: str) -> Iterator[tuple[str, str]]:
    """Yield the whole file as one text."""
    yield name, path.read_bytes().decode("utf-8-sig")


def read_jsonl(path: Path, name: str, column: str) -> Iterator[tuple[str, str]]:
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
            yield row_name(row, f"{name}:{number}"), row_text(row, column, f"{path}, line {number}")


def read_parquet(path: Path, name: str, column: str) -> Iterator[tuple[str, str]]:
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
        for batch in file.iter_batches(batch_size=1, columns=[name for name in ("id", column) if name in names]):
            for row in batch.to_pylist():
                number += 1
                yield row_name(row, f"{name}:{number}"), row_text(row, column, f"{path}, row {number}")
    except (pyarrow.ArrowException, OSError) as error:
        if getattr(error, "errno", None):  # the system's word, not pyarrow's
            raise
        raise UserError(f"{path} is damaged or not a parquet file: {error}; download or make it again") from error


def stream_dataset(name: str, column: str, split: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of a Hub dataset, or of a folder laid out like one, streamed: nothing is fetched that is not read."""
    with loading("dataset", name, "--dataset"):
        import datasets

        if Path(name).expanduser().exists() and not Path(name).is_dir():
            raise UserError(f"--dataset {name}: neither a folder nor a text file")
        try:
            rows = iter(datasets.load_dataset(name, split=split, streaming=True))
            first = next(rows, None)
        except FileNotFoundError as error:
            if "data files found" not in str(error):
                raise
            raise UserError(f"--dataset {name} holds no {', '.join(ENDINGS)} files; choose another") from error
        except ValueError as error:
            if "Bad split" not in str(error) and "Unknown split" not in str(error):
                raise
            known = datasets.get_dataset_split_names(name)
            raise UserError(
                f"--language {split}: dataset {name} has no such split; it has {', '.join(map(str, known))}"
            ) from error
    number = 0
    while first is not None:
        number += 1
        yield row_name(first, f"{split}:{number}"), row_text(first, column, f"--dataset {name}, row {number}")
        with loading("dataset", name, "--dataset"):
            first = next(rows, None)


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
