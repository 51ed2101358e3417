"""Near copies come into one group: against plain set arithmetic and by hand, and what must not be joined."""

import random
from collections import defaultdict

import pytest

from utils.data.preparation.near_copies import (
    FEWEST_WORDS,
    group_near_copies,
    keys_of,
    near_copies,
    one_word_apart,
    share_half,
    shared_keys,
)
from utils.data.readers.annotated import Annotated, Collection, join_by_keys
from utils.data.splits import BOILERPLATE


def documents(texts, splits=None, problems=None):
    return [
        Annotated(
            text,
            f"row {index}",
            f"row {index}",
            split=splits[index] if splits else None,
            meta={"chain_start": 0, "problem": problems[index]} if problems else {},
        )
        for index, text in enumerate(texts)
    ]


def groups(texts, splits=None, problems=None):
    """The group of each text after near copies were joined, and the collection."""
    made = documents(texts, splits, problems)
    found = group_near_copies(Collection(made, [], {"groups": len(made)}))
    return [document.group for document in found.documents], found


SENTENCE = "The bullets whistled past the old house."


@pytest.mark.parametrize(
    "other",
    [
        "The arrows whistled past the old house.",  # one changed
        "The bullets whistled past the house!",  # one left out
        "The bullets all whistled past the old house.",  # one put in
        "the bullets past whistled the old house",  # one moved
    ],
)
def test_texts_one_word_apart_are_one_group_and_counted(other):
    found, collection = groups([SENTENCE, "An altogether different sentence stands here.", other])
    assert found == ["row 0", "row 1", "row 0"]
    assert (collection.counts["groups"], collection.counts["texts_grouped_as_near_copies"]) == (2, 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SENTENCE, "The arrows whistled past the new house."),  # two words
        ("David Akers", "David Bowie"),  # names
        ("John reads books", "Mary reads books"),
    ],
)
def test_texts_further_apart_and_short_ones_are_not(one, other):
    found, collection = groups([one, other])
    assert found == ["row 0", "row 1"] and "texts_grouped_as_near_copies" not in collection.counts


def test_what_a_template_says_is_no_copy_though_each_sentence_has_one_a_word_away():
    places = [(town, land) for town in range(40) for land in (town % 7, (town + 3) % 7)]
    found, _ = groups([f"The city of Town{town} is in Land{land}." for town, land in places])
    assert len(set(found)) == len(places)
    few = groups([f"The city of Town{town} is in Land{land}." for town, land in places[:4]])[0]
    assert len(set(few)) < 4, "the negative control: four such sentences are no template"


def test_long_texts_that_share_a_stretch_are_one_group():
    draw = random.Random(0)
    long = [[f"w{draw.randrange(5000)}" for _ in range(400)] for _ in range(4)]
    long[2][100:300] = long[0][100:300]
    long[3][:20] = long[1][:20]  # a proverb is no edition
    assert groups([" ".join(words) for words in long])[0] == ["row 0", "row 1", "row 0", "row 3"]


def test_problems_that_share_half_of_their_trigrams_against_set_arithmetic():
    draw = random.Random(1)
    texts = [" ".join(draw.choice("abc") for _ in range(draw.randrange(0, 12))) for _ in range(150)]

    def trigrams(text):
        words = text.split()
        return {tuple(words[place : place + 3]) for place in range(len(words) - 2)}

    expected = {
        (one, other)
        for other in range(150)
        for one in range(other)
        if (shared := len(trigrams(texts[one]) & trigrams(texts[other])))
        and 2 * shared >= min(len(trigrams(texts[one])), len(trigrams(texts[other])))
    }
    assert set(share_half(texts)) == expected and 100 < len(expected) < 150 * 149 / 4
    assert share_half([]) == share_half(["", "a b"]) == []


def test_chains_of_nearly_the_same_problem_are_one_group_and_other_texts_are_not_joined_by_theirs():
    problems = ["what is the sum of two and three", "what is the sum of two and nine", "name a river in France please", ""]
    chains = ["So I add.", "Now let me see.", "Rivers flow.", "Nothing is asked."]
    assert groups(chains, problems=problems)[0] == ["row 0", "row 0", "row 2", "row 3"]
    assert groups(chains)[0] == ["row 0", "row 1", "row 2", "row 3"]


def test_near_copies_across_published_splits_stay_and_are_warned_of():
    texts = [SENTENCE, SENTENCE.replace("old", "new"), SENTENCE.replace("past", "by"), "Nothing like the others at all."]
    found, collection = groups(texts, splits=["train", "test", "train", "test"])
    assert found == ["row 0", "row 1", "row 0", "row 3"]
    assert [document.split for document in collection.documents] == ["train", "test", "train", "test"]
    assert collection.counts["near_copies_across_splits"] == 3
    assert collection.notes[-1].startswith("WARNING: 3 texts") and "2 of train, 1 of test" in collection.notes[-1]
    assert groups(texts, splits=["train"] * 4)[1].notes == ()


def test_pairs_are_the_same_in_any_order():
    texts = [SENTENCE, "Rain fell all day long.", SENTENCE.replace("old", "new"), "Rain fell all night long."]
    sizes = []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 0, 3, 1]):
        first = join_by_keys(near_copies(documents([texts[index] for index in order])))
        sizes.append({frozenset(order[row] for row in range(4) if first[row] == one) for one in first})
    assert sizes[0] == sizes[1] == sizes[2] == {frozenset({0, 2}), frozenset({1, 3})}
    assert not list(one_word_apart([["one", "two", "three"]] * 2))


def test_the_keys_of_all_texts_at_once_are_those_of_each_text_by_itself():
    draw = random.Random(0)
    for _ in range(200):
        letters = "abcd"[: draw.randint(1, 4)]
        words = [draw.choices(letters, k=draw.randint(0, 9)) for _ in range(draw.randint(0, 40))]
        plain = defaultdict(list)
        for index, own in enumerate(words):
            if len(own) >= FEWEST_WORDS:
                for key in {tuple(own), *(tuple(own[:place] + own[place + 1 :]) for place in range(len(own)))}:
                    plain[key].append(index)
        wanted = sorted(those for those in plain.values() if 1 < len(those) <= BOILERPLATE)
        assert sorted(shared_keys(*keys_of(words)).values()) == wanted
