"""Groups, even caps, and the target in running text."""

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.data.sequences import SPLITS
from utils.data.splits import EvenCap, assign_splits, group_near_duplicates, sketch, stratified_splits
from utils.data.tokenizer import load_tokenizer, special_frame, target_in_running_text
from utils.data.windows import draw_apart, label_by_token, windows_side_by_side


@pytest.mark.parametrize("seed", range(20))
def test_the_cap_takes_evenly_whatever_the_order_and_the_sizes(seed):
    random = np.random.default_rng(seed)
    sizes = random.integers(0, 60, 30)
    most = int(random.integers(1, sizes.sum() + 20))
    cap = EvenCap(most)
    for size in sizes:
        cap.add(list(range(size)))
    kept = [len(items) for items in cap.kept()]
    assert sum(kept) == min(most, sizes.sum())
    assert all(items == list(range(len(items))) for items in cap.kept())
    level = max(kept)
    assert all(count >= min(size, level - 1) for count, size in zip(kept, sizes, strict=True)), "one gave more than another"


SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def test_the_cap_by_hand():
    cap = EvenCap(most=3)
    for items in ([1, 2, 3, 4], [5], [6, 7]):
        cap.add(items)
    assert cap.kept() == [[1], [5], [6]]


def test_a_cap_below_the_number_of_documents_does_not_keep_the_first_ones():
    cap = EvenCap(most=50)
    for document in range(1000):
        cap.add([document])
    kept = [items[0] for items in cap.kept() if items]
    assert len(kept) == 50 and max(kept) > 500 and min(kept) < 500


@pytest.mark.parametrize(
    ("groups", "ratio", "sizes"),
    [(23, 0.8, (18, 2, 3)), (3, 0.8, (1, 1, 1)), (10, 0.5, (5, 2, 3)), (5, 0.99, (3, 1, 1)), (4, 0.01, (1, 1, 2))],
)
def test_every_split_gets_whole_groups(groups, ratio, sizes):
    names = [f"group{index}" for index in range(groups)] * 2
    found = assign_splits(names, ratio, np.random.default_rng(0))
    assert tuple(list(found.values()).count(split) for split in ("train", "val", "test")) == sizes
    assert set(found) == set(names)


def test_two_texts_are_too_few():
    with pytest.raises(UserError, match="2 independent"):
        assign_splits(["one", "other"], 0.8, np.random.default_rng(0))


def test_documents_that_share_text_are_one_group_and_others_are_not():
    random = np.random.default_rng(0)
    books = [random.integers(0, 50_000, 5000) for _ in range(6)]
    edition = np.concatenate([random.integers(0, 50_000, 300), books[2][500:4000]])  # a new preface, some chapters
    quoting = np.concatenate([random.integers(0, 50_000, 4900), books[3][:100]])
    documents = [*books, edition, quoting]
    names = [f"book{index}" for index in range(6)] + ["edition", "quoting"]
    found = group_near_duplicates(names, [sketch(tokens) for tokens in documents])
    assert found == [*names[:6], "book2", "quoting"]


def test_a_dozen_near_copies_are_one_group():
    random = np.random.default_rng(0)
    book = random.integers(0, 50_000, 20_000)
    copies = [book.copy() for _ in range(12)]
    for copy in copies:
        copy[random.integers(0, len(copy), 20)] = random.integers(0, 50_000, 20)
    other = random.integers(0, 50_000, 20_000)
    names = [f"copy{index}" for index in range(12)] + ["other"]
    found = group_near_duplicates(names, [sketch(tokens) for tokens in [*copies, other]])
    assert len(set(found[:12])) == 1 and found[12] == "other"


def test_drawn_positions_alternate_keep_apart_and_reach_the_whole_document():
    random = np.random.default_rng(0)
    labels = (random.random(20_000) < 0.05).astype(np.int8)
    positives, negatives = draw_apart(labels, 20, np.random.default_rng(1))
    assert abs(len(positives) - len(negatives)) <= 1 and len(positives) > 200
    assert (labels[positives] == 1).all() and (labels[negatives] == 0).all()
    everywhere = np.sort(positives + negatives)
    assert np.diff(everywhere).min() >= 20 and everywhere.min() >= 19
    assert everywhere.min() < 500 and everywhere.max() > 19_500


def test_tiles_cover_the_document_once_and_label_what_has_enough_context():
    tokens = np.arange(100)
    windows = windows_side_by_side(tokens, label_by_token(tokens, 7), 30, min_context=5)
    assert [(found.start, len(found.ids)) for found in windows] == [(0, 30), (30, 30), (60, 30), (90, 10)]
    assert np.array_equal(np.concatenate([found.ids for found in windows]), tokens)
    assert all((found.labels[:5] == -1).all() and (found.labels[5:] >= 0).all() for found in windows)
    assert windows[0].labels[7] == 1 and sum((found.labels == 1).sum() for found in windows) == 1


def test_a_sentencepiece_target_is_the_one_token_that_it_is_in_running_text(stories260K):
    tokenizer = load_tokenizer(str(stories260K))
    alone = tokenizer.backend_tokenizer.encode(" the", add_special_tokens=False).ids
    assert len(alone) == 2
    assert target_in_running_text(tokenizer, " the") == 265
    assert special_frame(tokenizer) == ([1], [])
    with pytest.raises(UserError, match=r"not one token in running text but 6: \['▁e', 'le', 'p', 'h', 'an', 't'\]"):
        target_in_running_text(tokenizer, " elephant")


def test_stratified_groups_stay_whole_and_every_column_gets_its_share():
    draw = np.random.default_rng(0)
    groups = draw.integers(0, 2000, 5000)
    labels = draw.random((5000, 4)) < [0.5, 0.1, 0.02, 0.004]
    amounts = np.concatenate([labels, ~labels], axis=1).astype(float)
    found = stratified_splits(groups, amounts, SHARES, np.random.default_rng(0))
    assert set(found) == set(groups.tolist())
    splits = np.array([found[group] for group in groups.tolist()])
    for column in amounts.T[[0, 1, 2, 4, 5, 6, 7]]:
        for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
            assert column[splits == split].sum() / column.sum() == pytest.approx(share, abs=0.015)
    assert all(amounts[splits == split, 3].any() for split in SPLITS)
    order = draw.permutation(5000)
    assert stratified_splits(groups[order], amounts[order], SHARES, np.random.default_rng(0)) == found


def test_three_groups_with_a_rare_label_go_to_three_splits():
    for seed in range(20):
        amounts = np.ones((40, 3))
        amounts[:, 0] = np.isin(np.arange(40), [3, 17, 31]) * 50.0
        found = stratified_splits(np.arange(40), amounts, SHARES, np.random.default_rng(seed))
        assert {found[group] for group in (3, 17, 31)} == set(SPLITS)
