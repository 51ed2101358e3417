"""Texts for sparse autoencoders: read until there are enough, cut side by side, split by group."""

from collections import Counter

import numpy as np
import pytest

from helpers import prose, write_jsonl
from utils.base.errors import UserError
from utils.data.preparation.settings import PlainTexts
from utils.data.tokenizer import encode_batch, load_tokenizer
from utils.sae.supply import dealing
from utils.sae.supply import texts as supply_texts
from utils.sae.supply.dealing import Corpus, dealt_groups
from utils.sae.supply.texts import digest_of_files, read_sequences
from utils.sae.supply.windows import even_part


def corpus(path, num_tokens=10**6, context_length=15, held_out=0.1):
    return Corpus(PlainTexts(str(path), "text", "train", None), num_tokens, context_length, held_out)


@pytest.fixture
def written(tmp_path):
    """12 texts; the last is the first one, a little longer, and so of its group."""
    rows = [{"id": f"text {number}", "text": prose(number, 300)} for number in range(11)]
    rows.append({"id": "again", "text": rows[0]["text"] + " " + prose(99, 30)})
    return write_jsonl(tmp_path / "texts.jsonl", rows), rows


def windows_by_start(sequences, document):
    """{where it starts: its text tokens} of the windows of a document."""
    rows = np.flatnonzero(sequences.documents == document)
    starts = sequences.starts[rows].tolist()
    assert starts == sorted(set(starts))
    return {
        start: sequences.input_ids[row, 1 : sequences.lengths[row]].tolist() for start, row in zip(starts, rows, strict=True)
    }


def test_windows_tile_every_text(written, tiny_tokenizer, tiny_model):
    path, rows = written
    splits = read_sequences(corpus(path), str(tiny_model), False)
    tokenizer = load_tokenizer(str(tiny_tokenizer))
    for number, ids in enumerate(encode_batch(tokenizer, [row["text"] for row in rows])):
        found = {name: windows for name, one in splits.items() if (windows := windows_by_start(one, number))}
        tiles = {start: ids[start : start + 16].tolist() for start in range(0, len(ids) - 1, 16)}
        ((split, windows),) = found.items()  # the last window of a split is cut short where there are tokens enough
        assert all(tiles[start][: len(window)] == window for start, window in windows.items())
        assert split != "train" or windows == tiles
    assert list(splits) == ["train", "held_out", "validation"] and all(map(len, splits.values()))
    assert all((sequences.labels == -1).all() and sequences.text_start == 1 for sequences in splits.values())
    whole = splits["train"].metadata["documents"]
    of = {name: {whole[document] for document in one.documents} for name, one in splits.items()}
    assert not of["held_out"] & (of["train"] | of["validation"]) and not of["train"] & of["validation"]
    assert all(("again" in names) == ("text 0" in names) for names in of.values()), "near copies stay together"


def test_reading_ends_with_tokens_enough(tmp_path, tiny_model, monkeypatch):
    monkeypatch.setattr(dealing, "HELD_OUT_TOKENS", 600)
    path = write_jsonl(tmp_path / "many.jsonl", [{"text": prose(number, 60)} for number in range(200)])
    splits = read_sequences(corpus(path, 2000, held_out=0.05), str(tiny_model), False)
    train, validation, held_out = (supply_texts.text_tokens(splits[name]) for name in supply_texts.SPLITS_OF_TEXTS)
    assert 1900 < train <= 2000 and held_out >= 550 and 250 <= validation < held_out
    assert len(splits["train"].metadata["documents"]) < 60


def test_little_text_leaves_most_of_it_to_train(written, tiny_model, capsys):
    splits = read_sequences(corpus(written[0]), str(tiny_model), False)
    counts = {name: supply_texts.text_tokens(sequences) for name, sequences in splits.items()}
    assert 0.1 < counts["held_out"] / sum(counts.values()) < 0.35
    said = capsys.readouterr().out
    assert (
        "note: these are fewer tokens than --num_tokens 1,000,000" in said
        and "fewer than 100,000 tokens are held out" in said
    )


def test_a_group_is_never_cut_and_every_split_has_one():
    groups = ["a", "b", "c", "d"]
    for sizes in ([100, 100, 100, 100], [1000, 1, 1, 1], [1, 1000, 1000, 1000], [5, 5, 5, 10**6]):
        split_of, _ = dealt_groups(groups, [np.zeros(size, dtype=int) for size in sizes], corpus("x", held_out=0.05))
        assert sorted(split_of.values()) == ["held_out", "validation"] or len(set(split_of.values())) == 2
        assert len(split_of) < 4 and (sizes.count(max(sizes)) > 1 or groups[sizes.index(max(sizes))] not in split_of)


@pytest.mark.parametrize(("num_tokens", "part"), [(5 * 10**5, 6), (8 * 10**5, 6), (10**6, 5), (3 * 10**6, 5)])
def test_of_few_long_texts_a_third_is_held_out_if_it_can_be_spared_else_a_quarter(num_tokens, part):
    groups = [f"book {number}" for number in range(20)]
    split_of, tokens = dealt_groups(groups, [np.zeros(10**5, dtype=int)] * 20, corpus("x", num_tokens, held_out=0.05))
    assert Counter(split_of.values()) == {"held_out": part, "validation": part}
    assert tokens == {"held_out": max(10**5, round(num_tokens / 19)), "validation": max(10**5, round(num_tokens / 19)) // 2}


def test_of_deals_that_leave_enough_to_train_on_one_is_taken():
    """Six of 20 texts are long: a third can be spared in those deals alone that leave most of these to train on."""
    sizes = [10**6 + number for number in range(6)] + [2 * 10**5] * 14
    for num_tokens, part in ((6 * 10**6, 6), (7_500_000, 5)):
        groups = [f"book {number}" for number in range(20)]
        split_of, _ = dealt_groups(
            groups, [np.zeros(size, dtype=int) for size in sizes], corpus("x", num_tokens, held_out=0.01)
        )
        assert set(Counter(split_of.values()).values()) == {part}
        left = sum(size for name, size in zip(groups, sizes, strict=True) if name not in split_of)
        assert part == 5 or left >= num_tokens


@pytest.mark.parametrize(
    "sizes", [[10**6] + [2000] * 22, [10**6, 9 * 10**5] + [2000] * 5, [100 * 2**power for power in range(12)]]
)
def test_short_texts_are_not_all_held_out(sizes):
    """However few tokens they have: thresholds are set by other texts than one, and trained on is more than the largest."""
    groups = [f"book {number}" for number in range(len(sizes))]
    for num_tokens in (1000, 10**6):
        ids = [np.zeros(size, dtype=int) for size in sizes]
        split_of, _ = dealt_groups(groups, ids, corpus("x", num_tokens, held_out=0.05))
        counts = Counter(split_of.values())
        assert max(counts.values()) <= 0.4 * len(sizes) and min(counts.values()) >= len(sizes) // 4
        assert len(sizes) - counts.total() >= 2


def unlike_texts(odd=6, plain=17, tokens=3000):
    """Token ids of texts that are mixtures of two vocabularies, of which `odd` texts have more of the second; its shares."""
    random = np.random.default_rng(3)
    shares = np.concatenate([random.uniform(0.5, 0.9, odd), random.uniform(0, 0.2, plain)])
    return [np.where(random.random(tokens) < share, 100, 0) + random.integers(0, 100, tokens) for share in shares], shares


def test_unlikeness_is_the_chi_square_distance_of_the_splits():
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.ones(12), size=8)
    shares[:, 3] = 0  # a token of the largest group alone
    shares /= shares.sum(1, keepdims=True)
    given = random.integers(10, 100, 8)
    deal = {"held_out": [1, 4, 6], "validation": [0, 7]}
    mean = (given[:, None] * shares).sum(0) / given.sum()
    of = {split: (given[places, None] * shares[places]).sum(0) / given[places].sum() for split, places in deal.items()}

    def distance(one, other):
        return sum((a - b) ** 2 / m for a, b, m in zip(one, other, mean, strict=True) if m)

    expected = sum(distance(one, mean) for one in of.values()) + distance(of["held_out"], of["validation"])
    assert dealing.unlikeness(deal, dealing.token_products(shares, given), given) == pytest.approx(expected, rel=1e-12)


def test_both_splits_are_like_all_texts(monkeypatch):
    monkeypatch.setattr(dealing, "HELD_OUT_TOKENS", 10_000)
    ids, shares = unlike_texts()
    share_of = {f"text {number}": share for number, share in enumerate(shares)}

    def means():
        split_of, _ = dealt_groups(list(share_of), ids, corpus("x", 30_000, held_out=0.05))
        assert Counter(split_of.values()) == {"held_out": 5, "validation": 5}
        return [
            np.mean([share_of[name] for name in split_of if split_of[name] == split]) for split in set(split_of.values())
        ]

    assert np.abs(np.subtract(means(), shares.mean())).max() < 0.02
    monkeypatch.setattr(dealing, "TRIED_DEALS", 1)
    found = []
    for seed in range(20):
        monkeypatch.setattr(dealing, "DEALT_BY", seed)
        found.append(np.abs(np.subtract(means(), shares.mean())).max())
    assert np.median(found) > 0.08  # a deal that nobody chose


def test_long_texts_do_not_stand_for_all(tmp_path, tiny_model, monkeypatch):
    monkeypatch.setattr(dealing, "HELD_OUT_TOKENS", 600)
    rows = [{"text": prose(number, 5000 if number < 3 else 300)} for number in range(40)]
    splits = read_sequences(corpus(write_jsonl(tmp_path / "long.jsonl", rows), 3000), str(tiny_model), False)
    for sequences in splits.values():
        counts = np.bincount(sequences.documents.repeat(sequences.lengths - 1))
        assert (counts > 0).sum() >= 5 and counts.max() <= 1.2 * np.median(counts[counts > 0])


@pytest.mark.parametrize(
    ("sizes", "wanted"), [([10, 2, 10], 12), ([5], 3), ([7, 7, 7], 100), ([1, 9, 40, 3], 30), ([4, 4], 8)]
)
def test_texts_give_evenly(sizes, wanted):
    part, all_of_them = even_part(np.array(sizes), wanted), sum(sizes)
    given = [min(size, part) for size in sizes]
    assert min(wanted, all_of_them) <= sum(given) < wanted + len(sizes)
    assert all(size <= part or taken == part for size, taken in zip(sizes, given, strict=True))


def test_a_long_text_gives_windows_from_all_over_it(tmp_path, tiny_model, monkeypatch):
    monkeypatch.setattr(dealing, "HELD_OUT_TOKENS", 600)
    rows = [{"text": prose(number, 2000)} for number in range(20)]
    splits = read_sequences(corpus(write_jsonl(tmp_path / "long.jsonl", rows), 3000), str(tiny_model), False)
    for sequences in splits.values():
        for document in np.unique(sequences.documents):
            starts = np.sort(sequences.starts[sequences.documents == document])
            gaps = np.diff(starts)
            assert starts[-1] > 900 and (len(gaps) < 2 or gaps.max() <= 2.1 * gaps.min())


def test_few_tokens_are_of_many_texts(tmp_path, tiny_model, monkeypatch):
    monkeypatch.setattr(dealing, "HELD_OUT_TOKENS", 600)
    rows = [{"text": prose(number, 1000)} for number in range(30)]
    splits = read_sequences(corpus(write_jsonl(tmp_path / "long.jsonl", rows), 500), str(tiny_model), False)
    assert len(np.unique(splits["held_out"].groups)) == 6
    assert len(np.setdiff1d(splits["validation"].groups, splits["train"].groups)) >= 5


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_texts_cannot_be_split(count, tmp_path, tiny_model):
    path = write_jsonl(tmp_path / "few.jsonl", [{"text": prose(number, 100)} for number in range(count)])
    with pytest.raises(UserError, match=f"holds {count} independent text.s., and at least 3 are needed"):
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
