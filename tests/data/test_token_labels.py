"""What each token of an annotated document is: examples worked by hand, and a plain reading of the rule over random ones."""

import numpy as np
import pytest

from utils.data.readers.annotated import Annotated, complement
from utils.data.token_labels import label_onsets, label_tokens, label_whole, label_within
from utils.data.tokenizer import load_tokenizer


def document(spans=(), unknown=(), **labels):
    return Annotated("", "made", "made", tuple(sorted(spans)), tuple(unknown), labels)


def offsets(*pairs):
    return np.array(pairs, dtype=np.int64).reshape(-1, 2).T


def every_third(count):
    """Offsets of tokens of three characters each, without gaps."""
    return offsets(*((3 * token, 3 * token + 3) for token in range(count)))


def listed(labels):
    assert labels.dtype == np.int8
    return labels.tolist()


def test_a_token_across_two_adjacent_spans_belongs_to_both_and_begins_the_second():
    made, (starts, ends) = document([(0, 4, "calm"), (4, 9, "doubt")]), every_third(4)  # token 1 is [3, 6), 3 is behind
    assert listed(label_tokens(made, starts, ends, "calm")) == [1, 1, 0, 0]
    assert listed(label_tokens(made, starts, ends, "doubt")) == [0, 1, 1, 0]
    assert listed(label_onsets(made, starts, ends, "doubt", "onsets")) == [0, 1, -1, -1]
    assert listed(label_onsets(made, starts, ends, "calm", "onsets")) == [1, 0, -1, -1], "token 1 ends it and begins another"
    assert listed(label_onsets(made, starts, ends, "calm", "all")) == [1, 0, 0, 0]


def test_a_token_that_begins_two_spans_is_positive_for_both():
    made, (starts, ends) = document([(0, 1, "calm"), (1, 5, "doubt")]), every_third(2)
    for target in ("calm", "doubt"):
        assert listed(label_onsets(made, starts, ends, target, "onsets"))[0] == 1


def test_spans_touch_tokens_only_where_characters_are_shared():
    made, (starts, ends) = document([(3, 6, "doubt")]), offsets((0, 3), (3, 6), (6, 9))
    assert listed(label_tokens(made, starts, ends, "doubt")) == [0, 1, 0]
    made = document([(2, 7, "doubt")])
    assert listed(label_tokens(made, starts, ends, "doubt")) == [1, 1, 1]
    assert listed(label_onsets(made, starts, ends, "doubt", "onsets")) == [1, -1, -1]


def test_targets_that_overlap_are_each_judged_by_themselves():
    made, (starts, ends) = document([(0, 9, "outer"), (3, 6, "inner")]), every_third(4)
    assert listed(label_tokens(made, starts, ends, "outer")) == [1, 1, 1, 0]
    assert listed(label_tokens(made, starts, ends, "inner")) == [0, 1, 0, 0]
    assert listed(label_onsets(made, starts, ends, "outer", "onsets")) == [1, 0, -1, -1]


def test_unknown_text_is_no_negative_and_a_span_that_a_token_also_touches_decides():
    made, (starts, ends) = document([(4, 6, "doubt"), (12, 15, "calm")], [(0, 4), (6, 8), (9, 12), (15, 16)]), every_third(7)
    assert listed(label_tokens(made, starts, ends, "doubt")) == [-1, 1, -1, -1, 0, -1, 0]
    assert listed(label_tokens(made, starts, ends, "calm")) == [-1, 0, -1, -1, 1, -1, 0]
    assert listed(label_onsets(made, starts, ends, "doubt", "all")) == [-1, 1, -1, -1, 0, -1, 0]
    assert listed(label_onsets(made, starts, ends, "doubt", "onsets")) == [-1, 1, -1, -1, 0, -1, -1]


def test_within_looks_ahead_of_the_token_and_unknown_text_ahead_leaves_it_open():
    starts, ends = every_third(8)
    made = document([(12, 18, "doubt")])  # begins at token 4, ends with token 5
    assert listed(label_within(made, starts, ends, "doubt", 2)) == [0, 0, 1, 1, 0, 0, 0, 0]
    assert listed(label_within(made, starts, ends, "doubt", 100)) == [1, 1, 1, 1, 0, 0, 0, 0]
    assert listed(label_within(made, starts, ends, "calm", 2)) == [0] * 8
    made = document([(12, 18, "doubt")], [(9, 12), (21, 24)])  # tokens 3 and 7
    assert listed(label_within(made, starts, ends, "doubt", 1)) == [0, 0, -1, -1, 0, 0, -1, -1]
    assert listed(label_within(made, starts, ends, "doubt", 2)) == [0, -1, 1, -1, 0, -1, -1, -1]


def test_the_label_of_a_text_is_on_its_last_token():
    made = document(good=1, long=0)
    assert listed(label_whole(made, 3, "good")) == [-1, -1, 1]
    assert listed(label_whole(made, 3, "long")) == [-1, -1, 0]
    assert listed(label_whole(made, 3, "other")) == [-1, -1, -1]
    assert listed(label_whole(made, 0, "good")) == []


def test_every_part_of_a_character_cut_into_several_tokens_is_labelled_and_the_first_begins_it(tiny_tokenizer):
    text = "he saw 🙂 the"
    encoding = load_tokenizer(str(tiny_tokenizer)).backend_tokenizer.encode(text, add_special_tokens=False)
    starts, ends = offsets(*encoding.offsets)
    parts = np.flatnonzero((starts <= 7) & (ends == 8))
    assert len(parts) >= 3, "the tokenizer keeps the character whole: another is needed here"
    made = document([(7, 8, "face")])
    assert np.flatnonzero(label_tokens(made, starts, ends, "face") == 1).tolist() == parts.tolist()
    assert np.flatnonzero(label_onsets(made, starts, ends, "face", "all") == 1).tolist() == parts[:1].tolist()
    assert np.flatnonzero(label_within(made, starts, ends, "face", 1) == 1).tolist() == [parts[0] - 1]


def test_offsets_that_run_backwards_are_refused():
    with pytest.raises(ValueError, match="backwards"):
        label_tokens(document([(0, 2, "doubt")]), *offsets((3, 4), (0, 2)), "doubt")


# ---- the rule as it reads, token by token


def overlap(token, interval):
    return token[0] < interval[1] and token[1] > interval[0]


def plain_tokens(made, tokens, target):
    def label(token):
        if any(overlap(token, span) for span in made.spans if span[2] == target):
            return 1
        if any(overlap(token, span) for span in made.spans):
            return 0
        return -1 if any(overlap(token, gap) for gap in made.unknown) else 0

    return [label(token) for token in tokens]


def begins(made, tokens, wanted):
    firsts = [
        next((number for number, token in enumerate(tokens) if overlap(token, span)), None)
        for span in made.spans
        if wanted(span[2])
    ]
    return {number for number in firsts if number is not None}


def plain_onsets(made, tokens, target, negatives):
    known = plain_tokens(made, tokens, target)
    own, others = begins(made, tokens, lambda label: label == target), begins(made, tokens, lambda label: label != target)
    return [
        1 if number in own else 0 if number in others or negatives == "all" and known[number] >= 0 else -1
        for number in range(len(tokens))
    ]


def plain_within(made, tokens, target, count):
    known, own = plain_tokens(made, tokens, target), begins(made, tokens, lambda label: label == target)
    labels = []
    for number, truth in enumerate(known):
        ahead = range(number + 1, min(number + 1 + count, len(tokens)))
        labels.append(-1 if truth < 0 else 1 if own & set(ahead) else -1 if any(known[other] < 0 for other in ahead) else 0)
    return labels


def random_document(random):
    """Spans of one label lie apart or touch, those of two may overlap; some of what is left is unknown."""
    length = int(random.integers(1, 60))
    spans = []
    for label in ("a", "b", "c")[: random.integers(0, 4)]:
        edges = np.unique(random.integers(0, length + 1, size=2 * random.integers(0, 4)))
        spans += [(int(start), int(end), label) for start, end in zip(edges[::2], edges[1::2], strict=False)]
    unknown = [gap for gap in complement(spans, 0, length) if random.random() < 0.5]
    return document(spans, unknown), length


def random_offsets(random, length):
    """Tokens of 1 to 5 characters; some characters are several tokens, some lie between tokens, some tokens hold none."""
    pairs, reached = [], 0
    while reached < length:
        end = min(reached + int(random.integers(1, 6)), length)
        kind = random.random()
        if kind < 0.1:
            pairs.append((reached, reached))
        elif kind < 0.3:
            pairs += [(reached, reached + 1)] * int(random.integers(2, 5))
            end = reached + 1
        else:
            pairs.append((reached, end))
        reached = end + (random.random() < 0.2)
    return pairs


def test_random_documents_are_labelled_as_the_rule_reads():
    random, seen = np.random.default_rng(0), {"tokens": [], "onsets": [], "within": []}
    for _ in range(600):
        made, length = random_document(random)
        pairs = random_offsets(random, length)
        starts, ends = offsets(*pairs)
        count = int(random.integers(1, 9))
        for target in ("a", "b"):
            for kind, ours, plain in (
                ("tokens", label_tokens(made, starts, ends, target), plain_tokens(made, pairs, target)),
                ("onsets", label_onsets(made, starts, ends, target, "onsets"), plain_onsets(made, pairs, target, "")),
                ("onsets", label_onsets(made, starts, ends, target, "all"), plain_onsets(made, pairs, target, "all")),
                ("within", label_within(made, starts, ends, target, count), plain_within(made, pairs, target, count)),
            ):
                assert listed(ours) == plain, (kind, made, pairs, target, count)
                seen[kind] += plain
    for kind, labels in seen.items():
        assert min(labels.count(label) for label in (-1, 0, 1)) > 500, f"{kind}: hardly ever one of the three labels"
