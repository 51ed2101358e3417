"""Texts for sparse autoencoders: read until there are enough, cut side by side, split by group."""

import numpy as np
import pytest

from helpers import prose, write_jsonl
from utils.base.errors import UserError
from utils.data.preparation.settings import PlainTexts
from utils.data.tokenizer import encode_batch, load_tokenizer
from utils.sae.supply import texts as supply_texts
from utils.sae.supply.texts import Corpus, digest_of_files, held_out_groups, read_sequences


def corpus(path, num_tokens=10**6, context_length=15, held_out=0.1):
    return Corpus(PlainTexts(str(path), "text", "train", None), num_tokens, context_length, held_out)


@pytest.fixture
def written(tmp_path):
    """12 texts; the last is the first one, a little longer, and so of its group."""
    rows = [{"id": f"text {number}", "text": prose(number, 300)} for number in range(11)]
    rows.append({"id": "again", "text": rows[0]["text"] + " " + prose(99, 30)})
    return write_jsonl(tmp_path / "texts.jsonl", rows), rows


def ids_of(sequences, document):
    """The text tokens of a document, from its windows."""
    rows = np.flatnonzero(sequences.documents == document)
    assert sequences.starts[rows].tolist() == sorted(sequences.starts[rows])
    return [sequences.input_ids[row, 1 : sequences.lengths[row]].tolist() for row in rows]


def test_windows_tile_every_text_in_one_of_the_splits(written, tiny_tokenizer, tiny_model):
    path, rows = written
    splits = read_sequences(corpus(path), str(tiny_model), False)
    tokenizer = load_tokenizer(str(tiny_tokenizer))
    for number, ids in enumerate(encode_batch(tokenizer, [row["text"] for row in rows])):
        found = [ids_of(sequences, number) for sequences in splits.values()]
        assert not (found[0] and found[1])
        windows = found[0] or found[1]
        assert sum(windows, []) == ids[: len(ids) - (len(ids) % 16 == 1)].tolist()
        assert {len(window) for window in windows[:-1]} == {16}
    groups = [set(sequences.groups.tolist()) for sequences in splits.values()]
    assert not groups[0] & groups[1]
    assert all((sequences.labels == -1).all() and sequences.text_start == 1 for sequences in splits.values())
    whole = splits["train"].metadata["documents"]
    of = {whole[document]: split for split, one in splits.items() for document in one.documents}
    assert of["again"] == of["text 0"], "near copies stay together"


def test_reading_ends_with_tokens_enough(written, tiny_model, monkeypatch):
    monkeypatch.setattr(supply_texts, "HELD_OUT_TOKENS", 600)
    path, _ = written
    splits = read_sequences(corpus(path, 2000, held_out=0.05), str(tiny_model), False)
    train, held_out = (supply_texts.text_tokens(splits[name]) for name in ("train", "held_out"))
    assert 1900 < train <= 2000 and held_out >= 500
    assert len(splits["train"].metadata["documents"]) < 12


def test_little_text_leaves_most_of_it_to_train(written, tiny_model, capsys):
    splits = read_sequences(corpus(written[0]), str(tiny_model), False)
    train, held_out = (supply_texts.text_tokens(sequences) for sequences in splits.values())
    assert 0.1 < held_out / (train + held_out) < 0.35
    said = capsys.readouterr().out
    assert "note: the texts end before --num_tokens 1,000,000" in said and "fewer than 100,000 tokens are held out" in said


def test_a_group_is_never_cut():
    groups = ["a", "b", "c", "d"]
    for sizes in ([100, 100, 100, 100], [1000, 1, 1, 1], [1, 1000, 1000, 1000], [5, 5, 5, 10**6]):
        held = held_out_groups(groups, np.array(sizes), corpus("x", held_out=0.05))
        assert 0 < len(held) < 4 and sum(size for group, size in zip(groups, sizes, strict=True) if group in held) > 0


def test_one_text_cannot_be_split(tmp_path, tiny_model):
    path = write_jsonl(tmp_path / "one.jsonl", [{"text": prose(1, 100)}])
    with pytest.raises(UserError, match="holds 1 independent text, and at least 2 are needed"):
        read_sequences(corpus(path), str(tiny_model), False)


def test_texts_without_tokens(tmp_path, tiny_model):
    path = write_jsonl(tmp_path / "none.jsonl", [{"text": ""}, {"text": "a"}])
    with pytest.raises(UserError, match="holds no texts of 2 tokens"):
        read_sequences(corpus(path), str(tiny_model), False)


def test_the_digest_is_of_the_bytes(written):
    path, rows = written
    before = digest_of_files(str(path))
    write_jsonl(path, rows[1:])
    assert digest_of_files(str(path)) not in (before, None)
    assert digest_of_files("wikimedia/wikipedia") is None
