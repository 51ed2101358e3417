"""One table, whichever way it is given: forms, delimiters, headers, broken quotation marks, and labels that are missing."""

import gzip
import io
import json
import math
import re
import zipfile

import pandas as pd
import pytest

from helpers import part_of, write_jsonl
from utils.base.errors import UserError
from utils.data.readers.spans import read_spans
from utils.data.readers.table.expressions import Expression
from utils.data.readers.table.label_values import from_words, hint
from utils.data.readers.tables import read_table

CSV = 'text,label\n"one, two",0\nNA,1\n"say ""so""",1\n"two\nlines",0\n'
TRUTH = {"one, two": 0, "NA": 1, 'say "so"': 1, "two\nlines": 0}


def labels_of(collection):
    return {document.text: document.labels["label"] for document in collection.documents}


def parquet(rows):
    buffer = io.BytesIO()
    pd.DataFrame(rows).to_parquet(buffer)
    return buffer.getvalue()


ROWS = [{"text": text, "label": label} for text, label in TRUTH.items()]
FORMS = {
    "a.csv": CSV.encode(),
    "with a byte order mark.csv": b"\xef\xbb\xbf" + CSV.encode(),
    "crlf.csv": CSV.replace("\n", "\r\n").encode(),
    "of an old Mac.csv": CSV.replace("\n", "\r").encode(),
    "semicolons.csv": CSV.replace(",0\n", ";0\n").replace(",1\n", ";1\n").replace("text,", "text;").encode(),
    "excel.csv": b"sep=;\r\n" + CSV.replace(",0\n", ";0\n").replace(",1\n", ";1\n").replace("text,", "text;").encode(),
    "comments.csv": b"# made by x\n# on a Friday, late\n" + CSV.encode(),
    "trailing delimiters.csv": CSV.replace(",0\n", ",0,\n").replace(",1\n", ",1,\n").encode(),
    "a.tsv": CSV.replace(",0\n", "\t0\n").replace(",1\n", "\t1\n").replace("text,", "text\t").encode(),
    "A.TSV": CSV.replace(",0\n", "\t0\n").replace(",1\n", "\t1\n").replace("text,", "text\t").encode(),
    "tabs.csv": CSV.replace(",0\n", "\t0\n").replace(",1\n", "\t1\n").replace("text,", "text\t").encode(),
    "no ending": CSV.encode(),
    "a.csv.gz": gzip.compress(CSV.encode()),
    "packed.csv": gzip.compress(CSV.encode()),
    "a.jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    "a.json": json.dumps(ROWS, indent=1).encode(),
    "a list.jsonl": json.dumps(ROWS).encode(),
    "a.parquet": parquet(ROWS),
    "lost its ending": parquet(ROWS),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_table_is_the_same_in_every_form_and_in_a_folder(name, tmp_path):
    path = tmp_path / "folder" / name
    path.parent.mkdir()
    path.write_bytes(FORMS[name])
    lines = "\r\n" if name == "crlf.csv" else "\n"  # an old Mac's are not told from a cell's own
    expected = {text.replace("\n", lines): label for text, label in TRUTH.items()}
    assert labels_of(read_table(path)) == expected
    if "." in name:
        assert labels_of(read_table(path.parent)) == expected


def workbook():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
    return buffer.getvalue()


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.csv", CSV)
    return buffer.getvalue()


@pytest.mark.parametrize("read", [read_table, read_spans])
@pytest.mark.parametrize(
    "content, message",
    [
        (workbook(), "an Excel workbook; save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "an Excel workbook; save the sheet as CSV"),
        (archive(), "a zip archive; unpack it"),
        (CSV.encode("utf-16"), "text in UTF-16, which is not UTF-8; convert it (iconv -f UTF-16 -t UTF-8)"),
        (b"<!DOCTYPE html><table>", "an HTML page"),
        (b"\x80\x04\x95junk", "a Python pickle, which could run code"),
        (b"SQLite format 3\x00junk", "an SQLite database"),
        (gzip.compress(CSV.encode())[:-9], "cannot be unpacked (.gz: "),
        (b"PAR1junk", "is damaged or not a parquet file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "bytes",  # some of them hold the time
)
def test_a_form_that_is_not_read_is_refused_by_its_name(content, message, read, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(path)
    assert message in str(caught.value) and "a.csv" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"text,label,label\na,1,0\n", "the header names 'label' twice"),
        (b"text,label\na,1\nb\0,0\n", "line 3: holds a NUL byte"),
        (CSV.encode("utf-16-le"), "holds a NUL byte and is no text (UTF-16?)"),
        (
            b'text,label\na,1\nb,0\n"c,1\nd,0\n',
            "line 4: is no CSV table: a quotation mark that begins there is never closed",
        ),
        (b"text,label\na,1\nb\rc,0\n", "line 3: a carriage return stands inside a row"),
        (b"te\rxt,label\na,1\n", "line 1: a carriage return stands inside a row"),
        (b"text\na\nb\n", "no label column 'label'; it has text"),
        (b"txt;lbl\na;1\n", "no text column 'text' (did you mean 'txt'?); it has txt, lbl"),
        (b"# x\ntxt,lbl\na,1\n", "it has txt, lbl"),
        (b"text,label\n", "no row of"),
    ],
)
def test_a_table_that_cannot_be_read_is_told(content, message, tmp_path):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_table(tmp_path / "a.csv")
    assert message in str(caught.value)


def test_rows_that_a_quotation_mark_swallows_are_counted_and_named(tmp_path):
    path = tmp_path / "a.csv"
    lines = ["text,label", "a,0", '"b,1', "c,0", '"d,1', '"two', 'lines",1', "e,0", '"f" x,1', '"g', 'h" i,0', "j,1"]
    path.write_text("\n".join(lines) + "\n")
    found = read_table(path)
    assert labels_of(found) == {"a": 0, "two\nlines": 1, "e": 0, "f x": 1, "j": 1}
    assert [document.name for document in found.documents] == [f"label:{row}" for row in (2, 4, 5, 6, 8)]
    counts = found.counts["sets"]["label"]
    assert (counts["rows_with_broken_quotes"], counts["lines_lost_in_them"]) == (2, 5)
    assert "swallows rows: lines 3 to 5, 10 to 11; 5 lines are left out" in found.notes[0]
    path.write_text("\n".join(lines[:2] + lines[5:9]) + "\n")  # the negative control
    assert not read_table(path).notes and "rows_with_broken_quotes" not in read_table(path).counts["sets"]["label"]


def test_tabs_with_bare_quotation_marks_are_rows_of_their_own(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"Go, he said\t0\nNo\t1\n"Wait\t1\n')
    assert labels_of(read_table(path)) == {'"Go, he said': 0, "No": 1, '"Wait': 1}


# Labels


@pytest.mark.parametrize(
    "labels, expression, expected",
    [
        (["0", "1", "NaN", "1"], "col == '1'", [0, 1, None, 1]),
        (["0", "1", "NaN", "1"], "col == 1", [0, 1, None, 1]),
        (["0", "1", "null", ""], "col", [0, 1, None, None]),
        (["0", "1", "None", "NA"], "col", [0, 1, None, None]),
        (["none", "toxic", "NA", "None"], "col == 'toxic'", [0, 1, 0, 0]),  # among words they may be classes
        (["ham", "spam", "nan", "<NA>"], "col == 'spam'", [0, 1, None, None]),
        (["ham", "spam", "nan", "ham"], "col == 'nan'", [0, 0, 1, 0]),
        (["True", "False", "None", "true"], "col", [1, 0, None, 1]),
        (["no", "yes", "n/a", "yes"], "col == 'yes'", [0, 1, None, 1]),
        ([0, 1, None, math.nan], "col", [0, 1, None, None]),
        ([True, 1, False, 0], "col", [1, 1, 0, 0]),
        ([5, 1, None, 2], "col >= 4", [1, 0, None, 0]),
        ([5, 1, None, 2], "col.isna()", [0, 0, 1, 0]),
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_missing_labels_stay_missing(labels, expression, expected, form, tmp_path):
    path = tmp_path / f"a.{form}"
    rows = [{"text": f"t{number}", "label": label} for number, label in enumerate(labels)]
    if form == "csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        write_jsonl(path, rows)
    found = read_table(path, label_expression=expression)
    assert labels_of(found) == {f"t{number}": label for number, label in enumerate(expected) if label is not None}
    assert found.counts["sets"]["label"]["missing_labels"] == expected.count(None)


def test_every_value_is_told_with_its_count(tmp_path):
    labels = ["spam"] * 3 + ["ham"] * 2 + ["Spam", "?", None]
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": f"t{row}", "label": label} for row, label in enumerate(labels)])
    found = read_table(path, label_expression="col == 'spam'")
    assert found.notes == ("label: rows that count as 1: 'spam' (3); as 0: 'ham' (2), 'Spam' (1), '?' (1)",)
    many = write_jsonl(tmp_path / "b.jsonl", [{"text": f"t{row}", "label": row} for row in range(100)])
    (note,) = read_table(many, label_expression="col > 90").notes
    assert "71 other values (71)" in note and "as 1: 91 (1), 92 (1)" in note


@pytest.mark.parametrize(
    "labels, positive",
    [
        (["yes", "no"], "yes"),
        (["no", "yes"], "yes"),
        (["0", "1", "x"], "1"),
        (["negative", "positive"], "positive"),
        (["not_toxic", "toxic"], "toxic"),
        (["ham", 'it\'s "$pam"!'], 'it\'s "$pam"!'),
        (["ham", "back\\slash `x`"], "back\\slash `x`"),
        (["none", "a" * 90], "a" * 90),
        ([1, 2], 2),
        ([-1, 1], 1),
        ([0, 1, math.inf], 1),
        ([0.25, 0.75], 0.75),
    ],
)
def test_a_hint_that_is_pasted_works_and_does_not_turn_the_labels_round(labels, positive, tmp_path):
    import shlex

    rows = [{"text": f"t{number}", "label": label} for number, label in enumerate(labels * 3)]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(UserError) as caught:
        read_table(path)
    pasted = shlex.split(str(caught.value).split("; ", 1)[1])
    found = labels_of(read_table(path, label_expression=pasted[pasted.index("--label_expression") + 1]))
    assert found == {row["text"]: int(row["label"] == positive) for row in rows}


def test_a_column_that_no_expression_can_name_gets_no_hint():
    assert hint([[1, 2], [3]], True) == "choose a column of numbers or short texts with --label_column"
    column = pd.Series([1, 2, 3])
    assert from_words(column, Expression("col == 1")) is column


# The cases that once went wrong


@pytest.fixture
def cases(shared_data):
    return part_of(shared_data, "cases/data")


def test_the_cases_of_tables(cases):
    truth = {f"{document.text}": document.labels["label"] for document in read_table(cases / "x.csv.gz").documents}
    assert len(truth) == 24
    for name in ("comments.csv", "semicolon.csv", "x.tsv", "x.jsonl", "x.parquet"):
        assert labels_of(read_table(cases / name)) == truth, name
    assert labels_of(read_table(cases / "text_NA.csv")) == labels_of(read_table(cases / "folder_text_NA"))
    assert {"NA", "None", "null", "nan"} < set(labels_of(read_table(cases / "text_NA.csv")))
    quotes = read_table(cases / "unbalanced_quotes.csv")
    assert len(quotes.documents) == 21 and "lines 6 to 8" in quotes.notes[0]
    raw = [line.rsplit(",", 1) for line in (cases / "label_nan.csv").read_text().splitlines()[1:]]
    expected = {text.strip('"'): int(label) for text, label in raw if label in "01"}
    for expression in ("col == '1'", "col == 1", "col"):
        found = read_table(cases / "label_nan.csv", label_expression=expression)
        assert labels_of(found) == expected and found.counts["sets"]["label"]["missing_labels"] == 25
    assert re.search(
        r"as 1: '1' \(25\); as 0: '0' \(50\)", read_table(cases / "label_nan.csv", label_expression="col == '1'").notes[0]
    )


def test_the_cases_of_spans(cases):
    for name in ("prodigy.jsonl", "doccano_label.jsonl", "json_list.jsonl"):
        found = read_spans(cases / name)
        assert len(found.documents) == 12 and found.targets == ["LOC"]
        assert {document.text[start:end] for document in found.documents for start, end, _ in document.spans} == {"Paris"}
