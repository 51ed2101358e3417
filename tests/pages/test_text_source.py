"""Which texts a page shows: what was asked for, else what the probes' data were prepared from."""

import pytest

from shown_page import probe_set
from utils.base.errors import UserError
from utils.pages.texts.source import GUTENBERG, TextRequest, TextSource, choose_source

PREPARED = {"dataset": "a/books", "text_column": "body", "language": "fr", "max_texts": 9}
SPLITS = {"train": ["1"], "test": ["2"]}


@pytest.mark.parametrize(
    "request_, expected",
    [
        (TextRequest(), TextSource("dataset", "a/books", "body", "fr", 9, True)),
        (TextRequest(dataset="a/books", language="de"), TextSource("dataset", "a/books", "body", "de", 9, True)),
        (TextRequest(dataset="other"), TextSource("dataset", "other", "text", "en", None, False)),
        (TextRequest(file="mine.txt"), TextSource("file", "mine.txt", "text")),
        (TextRequest(file="mine.jsonl", column="body"), TextSource("file", "mine.jsonl", "body")),
    ],
)
def test_a_text_is_what_was_asked_for_read_as_it_was_prepared(request_, expected):
    assert choose_source(request_, probe_set([0], source=PREPARED, texts=SPLITS)) == expected


def test_probes_that_do_not_say_their_source_show_gutenberg():
    assert choose_source(TextRequest(), probe_set([0])) == TextSource("dataset", GUTENBERG)


def test_annotated_probes_show_their_own_file_and_other_texts_plainly(tmp_path):
    path = tmp_path / "spans.jsonl"
    path.write_text("{}")
    probes = probe_set([0], task="spans", label_rule="tokens", source={"input": str(path)}, texts=SPLITS)
    own = TextSource("annotated", str(path), only_test=True)
    assert choose_source(TextRequest(), probes) == own
    same_file = f"{tmp_path}/../{tmp_path.name}/spans.jsonl"
    assert choose_source(TextRequest(dataset=same_file), probes) == own
    assert choose_source(TextRequest(file="mine.txt"), probes).kind == "file"
    assert choose_source(TextRequest(dataset="a/books"), probes) == TextSource("dataset", "a/books")
    with pytest.raises(UserError, match="does not say which file it was made from"):
        choose_source(TextRequest(), probe_set([0], task="spans", label_rule="tokens"))
