"""Reasoning chains: marked segments are found again in the original chain, and broken files are refused."""

import json
from pathlib import Path

import pytest

from helpers import part_of, spans_of
from utils.base.errors import UserError
from utils.data.readers.annotated import ALL_TARGETS, choose_targets
from utils.data.readers.chains import LABELS, read_chains

ORIGINAL = "Let me see.\n\nIt is 4. It is 4. Wait, no.  Hmm. It is 5, I guess. Done"
MARKED = (
    '["initializing"]Let me see.["end-section"]\n["deduction"] It is 4.["end-section"]["backtracking"] Wait, no.'
    '["end-section"]["backtracking"]\nHmm.["end-section]["deduction"]It is nine.["end-section"]'
    '["uncertainty-estimation"]It is 5,  I guess.'
)


def chain(annotated=MARKED, original=ORIGINAL, problem="2 + 2?", task="one"):
    return {"task_id": task, "problem": problem, "reasoning_chain": original, "annotated_chain": annotated}


def write_chains(path, chains) -> Path:
    path.write_text(json.dumps(chains), encoding="utf-8")
    return path


def test_segments_are_found_in_the_original_after_its_problem(tmp_path):
    found = read_chains(write_chains(tmp_path / "a.json", [chain()]), prompt=lambda problem: f"Q: {problem} A: ")
    (document,) = found.documents
    start = len("Q: 2 + 2? A: ")
    assert document.text == "Q: 2 + 2? A: " + ORIGINAL and document.meta["chain_start"] == start
    assert spans_of(document) == {
        ("Let me see.", "initializing"),
        ("It is 4.", "deduction"),
        ("Wait, no.  Hmm.", "backtracking"),
        ("It is 5, I guess.", "uncertainty-estimation"),
    }
    assert document.spans[1][0] == start + ORIGINAL.index("It is 4")  # the first of two, from the cursor
    unknown = [document.text[start:end] for start, end in document.unknown]
    assert unknown == ["Q: 2 + 2? A: ", "\n\n", " It is 4. ", " ", " Done"]
    counts = found.counts
    assert {name: counts[name] for name in ("segments", "unmatched_segments", "unclosed_segments", "broken_marks")} == {
        "segments": 6,
        "unmatched_segments": 1,
        "unclosed_segments": 1,
        "broken_marks": 1,
    }


def test_the_cursor_finds_the_second_of_two_equal_segments(tmp_path):
    marked = '["deduction"]It is 4.["end-section"]["backtracking"] It is 4.["end-section"]'
    (document,) = read_chains(write_chains(tmp_path / "a.json", [chain(marked)])).documents
    (first, _, one), (second, _, other) = document.spans
    assert (one, other) == ("deduction", "backtracking") and second - first == len("It is 4. ")


def test_chains_of_one_problem_are_one_group(tmp_path):
    chains = [
        chain(),
        chain(original=ORIGINAL + " Now.", problem="2  + 2?", task="two"),
        chain(task="copy"),
        chain(problem="else", original="It is 4. Now.", task="three"),
    ]
    found = read_chains(write_chains(tmp_path / "a.json", chains))
    assert [document.group for document in found.documents] == ["problem 1 (one)", "problem 1 (one)", "problem 3 (three)"]
    assert found.counts["duplicates_merged"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON (Expecting property name enclosed in double quotes: line 1"),
        ('{"a": 1}', "line 1: no 'problem' (found a)"),
        ("[]", "holds no chains"),
        ("[3]", "item 1: a JSON int"),
        ('[{"problem": "a"}]', "item 1: no 'reasoning_chain'"),
        (json.dumps([chain(), chain(original=None)]), "item 2: 'reasoning_chain' holds NoneType"),
        (json.dumps([chain("no marks")]), "no segment of any annotated_chain was found"),
        (json.dumps([chain('["deduction"]It is 4.["end-section"]')]), "one class only: every segment is 'deduction'"),
    ],
)
def test_a_broken_file_of_chains_is_told(content, message, tmp_path):
    path = tmp_path / "chains.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_chains(path)
    assert message in str(caught.value)


def test_the_chains_corpus(shared_data):
    """The counts are those of the published chains: 2.6 % of the text is backtracking, 77 characters on average."""
    found = read_chains(part_of(shared_data, "corpora/reasoning_chains") / "annotated_chains.json")
    counts = found.counts
    assert (counts["documents"], counts["groups"], counts["segments"]) == (700, 698, 15318)
    assert (counts["unmatched_segments"], counts["unclosed_segments"], counts["empty_segments"], counts["broken_marks"]) == (
        9,
        16,
        13,
        36,
    )
    assert set(choose_targets(found, ALL_TARGETS)) == set(LABELS)  # three labels more stand in one chain each
    lengths = [
        end - start for document in found.documents for start, end, label in document.spans if label == "backtracking"
    ]
    text = sum(len(document.text) - document.meta["chain_start"] for document in found.documents)
    assert round(sum(lengths) / len(lengths)) == 77 and round(sum(lengths) / text, 3) == 0.026
    for document in found.documents:  # every character is in one span or unknown, and none in both
        parts = sorted((start, end) for start, end, *_ in (*document.spans, *document.unknown))
        assert parts[0][0] == 0 and parts[-1][1] == len(document.text)
        assert all(end == start for (_, end), (start, _) in zip(parts, parts[1:], strict=False))
    with pytest.raises(UserError, match="'observation' is positive in 1 groups, 3 are needed"):
        choose_targets(found, ["observation"])
    with pytest.raises(UserError, match="did you mean 'backtracking'"):
        choose_targets(found, ["backtraking"])
