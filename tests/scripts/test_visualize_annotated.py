"""The page of span and chain probes: the truth of every token against the characters of the annotated file."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

from helpers import assert_one_line_error, assert_success, call, make_model, make_tokenizer, part_of, prose, write_jsonl
from shown_page import Page
from utils.base.files import WriteTogether
from utils.saved.probe_files import load_probe, save_probe

ATTACK = "</script><img src=x onerror=alert(1)>"


def train(folder, task, source, model, *more, train=()):
    """Folder of probes on `source`, trained for a moment."""
    assert_success(
        call(
            "prepare_data",
            "--task",
            task,
            "--input",
            source,
            "--model_name",
            model,
            "--context_length",
            128,
            "--output_dir",
            folder / "data",
            *more,
        )
    )
    assert_success(
        call(
            "train_probe",
            "--train_data",
            folder / "data" / "train.pth",
            "--epochs",
            1,
            "--max_train_tokens",
            400,
            "--no_wandb",
            "--output_dir",
            folder / "models",
            "--results_dir",
            folder / "results",
            *train,
        )
    )
    return folder / "models"


def show(probe_dir, folder, *more):
    output = folder / "page.html"
    result = assert_success(call("visualize_probe", "--probe_dir", probe_dir, "--output", output, *more))
    return Page(output), result


def changed(probe_dir, folder, **changes):
    """Copies of the probes whose metadata say something else, with the file of their texts."""
    folder.mkdir()
    for path in probe_dir.glob("texts_*.json"):
        shutil.copy(path, folder)
    for path in probe_dir.glob("probe_*.pth"):
        probe = load_probe(path)
        with WriteTogether() as files:
            save_probe(files, folder / path.name, probe["state_dict"], {**probe["metadata"], **changes})
    return folder


def headings(page):
    return [text["name"] for text in page.data["texts"]]


def offsets_of(model, text):
    """(ids, [(start, end), ...]) by transformers' own call, not the project's."""
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(model)(text, add_special_tokens=False, return_offsets_mapping=True)
    return found["input_ids"], found["offset_mapping"]


def of_split(probe_dir, split):
    """The names of its documents in the data beside the probes."""
    data = torch.load(probe_dir.parent / "data" / f"{split}.pth", weights_only=True)
    return {data["metadata"]["documents"][index] for index in data["documents"].unique()}


# Spans


@pytest.fixture(scope="module")
def needles(tmp_path_factory, shared_data, stories260K):
    """(the file: 8 rows of each split, half of them with a needle; its probes)"""
    folder = tmp_path_factory.mktemp("needles")
    rows = [
        json.loads(line)
        for line in (part_of(shared_data, "corpora/needles") / "needles_v1.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    short = [row for row in rows if row["length_bucket"] == 400]
    chosen = [
        row
        for split in ("test", "train", "val")
        for present in (True, False)
        for row in [row for row in short if (row["split"], row["needle_present"]) == (split, present)][:4]
    ]
    source = write_jsonl(folder / "needles.jsonl", chosen)
    return source, train(folder, "spans", source, stories260K, train=("--layer_sweep", "0,4"))


def test_every_token_of_the_test_texts_is_judged_by_the_characters_of_the_file(needles, stories260K, tmp_path):
    source, probe_dir = needles
    rows = [row for row in map(json.loads, source.read_text(encoding="utf-8").splitlines()) if row["split"] == "test"]
    page, result = show(probe_dir, tmp_path, "--num_tokens", 100_000)
    assert sorted(headings(page)) == [row["id"] for row in sorted(rows, key=lambda row: row["id"])]
    rows = [next(row for row in rows if row["id"] == name) for name in headings(page)]
    assert all(row["needle_present"] for row in rows[:4]) and not any(row["needle_present"] for row in rows[4:])
    assert {text["note"] for text in page.data["texts"]} == {"of the test split"}
    expected, shown = [], []
    for row in rows:
        start, end = row["needle_char_span"] or (0, 0)
        ids, offsets = offsets_of(stories260K, row["text"])
        expected += [int(any(start <= at < end for at in range(*pair))) for pair in offsets]
        shown += ids
    assert page.truth.tolist() == expected and 4 < sum(expected) < len(expected) / 10
    assert page.targets == [truth == 1 for truth in expected]
    assert '<h1 id="heading">Is this token inside “needle”?</h1>' in page.source
    assert f"{len(shown):,} tokens, {sum(expected)} of them positive" in page.source
    assert f"note: {source}: {len(rows)} texts with {len(shown):,} tokens, fewer than --num_tokens" in result.stdout


def test_the_colour_is_that_of_the_tokens_own_state(needles, stories260K, tmp_path):
    from transformers import AutoModelForCausalLM

    source, probe_dir = needles
    row = next(row for row in map(json.loads, source.read_text(encoding="utf-8").splitlines()) if row["split"] == "test")
    page, _ = show(probe_dir, tmp_path, "--num_tokens", 300)
    ids, _ = offsets_of(stories260K, row["text"])
    model = AutoModelForCausalLM.from_pretrained(stories260K, dtype=torch.float32).eval()
    with torch.inference_mode():
        states = model(input_ids=torch.tensor([[1, *ids[:300]]]), output_hidden_states=True).hidden_states[1][0, 1:]
    probe = load_probe(probe_dir / "probe_layer0_current.pth")["state_dict"]
    assert page.names == ["layer0", "layer4"] and page.logits.shape == (2, 300)
    np.testing.assert_allclose(page.logits[0], (states @ probe["weight"] + probe["bias"]).numpy(), atol=2e-4)


def test_a_text_file_is_shown_without_truth(needles, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text(f"{prose(5, 60)} {ATTACK} {{{{ 7 * 7 }}}}", encoding="utf-8")
    page, result = show(needles[1], tmp_path, "--text_file", path)
    assert set(page.truth.tolist()) == {-1} and not any(page.targets)
    assert "their truth unknown" in page.source and "note: 1 of 1 texts: not among the probes" in result.stdout
    assert "img" not in page.tags and "<img" not in page.source
    assert ATTACK in "".join(page.tokens).replace("▁", " ").replace("↵", "")


# Chains


@pytest.fixture(scope="module")
def chains(tmp_path_factory, shared_data, stories260K):
    """(the file: 15 chains; its probes of two targets and two lags)"""
    folder = tmp_path_factory.mktemp("chains")
    path = part_of(shared_data, "corpora/reasoning_chains") / "annotated_chains.json"
    source = folder / "chains.json"
    source.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))[::40][:15]), encoding="utf-8")
    return source, train(
        folder,
        "chains",
        source,
        stories260K,
        "--label",
        "backtracking,deduction",
        train=("--layer_sweep", "0,4", "--lags", "-8,0"),
    )


def segments_by_character(row):
    """The label of each character of a chain, None of space and what is not labelled: segments are found by their
    characters alone, space left out of both.
    """
    chain = row["reasoning_chain"]
    at = [index for index, character in enumerate(chain) if not character.isspace()]
    squeezed, labels, cursor = "".join(chain.split()), [None] * len(chain), 0
    for label, text in re.findall(r'\["([\w-]+)"\](.*?)\["end-section"\]', row["annotated_chain"], re.DOTALL):
        segment = "".join(text.split())
        place = squeezed.find(segment, cursor)
        if segment and place >= 0:
            cursor = place + len(segment)
            for index in range(place, cursor):
                labels[at[index]] = label
    return labels


def judged(row, model, target):
    """[(token, truth)] of the tokens of problem and chain that have characters other than space, and where spans begin."""
    before = row["problem"] + "\n\n"
    text, labels = before + row["reasoning_chain"], [None] * len(before) + segments_by_character(row)
    result, onsets, last = [], {True: set(), False: set()}, None
    for token, (start, end) in enumerate(offsets_of(model, text)[1]):
        solid = [at for at in range(start, end) if not text[at].isspace()]
        covering = {labels[at] for at in solid}
        if solid:
            result.append((token, 1 if target in covering else 0 if covering - {None} else -1))
        for at in solid:
            if labels[at] != last and labels[at] is not None:
                onsets[labels[at] == target].add(token)
            last = labels[at]
    return result, onsets


def truth_by_document(page, model, rows):
    """{name: int8 [tokens]} of a page that shows whole texts."""
    sizes = [
        len(offsets_of(model, f"{rows[name]['problem']}\n\n{rows[name]['reasoning_chain']}")[0]) for name in headings(page)
    ]
    assert sum(sizes) == len(page.truth)
    return dict(zip(headings(page), np.split(page.truth, np.cumsum(sizes)[:-1]), strict=True))


@pytest.mark.parametrize(
    "flags, asked",
    [
        (("--target", "backtracking", "--lag", "0"), "Is this token inside “backtracking”?"),
        (("--target_token", "deduction", "--lag", "-8"), "Will the token 8 tokens on be inside “deduction”?"),
    ],
)
def test_chains_are_judged_by_their_marks_and_nothing_is_known_of_the_problem(flags, asked, chains, stories260K, tmp_path):
    source, probe_dir = chains
    rows = {row["task_id"]: row for row in json.loads(source.read_text(encoding="utf-8"))}
    page, result = show(probe_dir, tmp_path, "--num_tokens", 100_000, *flags)
    in_order = [name for name in rows if name in of_split(probe_dir, "test")]
    assert sorted(headings(page)) == sorted(in_order) and f'<h1 id="heading">{asked}</h1>' in page.source
    found, positives = set(), []
    for name, truth in truth_by_document(page, stories260K, rows).items():
        expected, _ = judged(rows[name], stories260K, flags[1])
        assert [(token, truth[token]) for token, _ in expected] == expected, name
        problem = len(offsets_of(stories260K, rows[name]["problem"])[0])
        assert set(truth[:problem].tolist()) == {-1}
        found |= set(truth.tolist())
        positives.append((truth == 1).sum())
    assert found == {-1, 0, 1} and sorted(positives, reverse=True) == positives
    assert (page.truth == -1).sum() > 100
    known, yes = (page.truth >= 0).sum(), (page.truth == 1).sum()
    assert f"{known:,} of known truth, {yes:,} of them positive" in page.source
    lag = -int(flags[3])
    assert np.isnan(page.logits[0, :lag]).all() and np.isfinite(page.logits[0, lag:50]).all()
    assert "of another target than was asked for" in result.stdout and {view["target"] for view in page.views} == {flags[1]}
    assert [view["lag"] for view in page.views] == [int(flags[3])]


@pytest.mark.parametrize("rule", ["onsets", "onsets_all", "within 1", "within 8"])
def test_beginnings_are_judged_by_their_rule(rule, chains, stories260K, tmp_path):
    source, probe_dir = chains
    rows = {row["task_id"]: row for row in json.loads(source.read_text(encoding="utf-8"))}
    page, _ = show(
        changed(probe_dir, tmp_path / "m", label_rule=rule),
        tmp_path,
        "--num_tokens",
        100_000,
        "--target",
        "deduction",
        "--lag",
        "0",
    )
    positives = 0
    for name, truth in truth_by_document(page, stories260K, rows).items():
        itself, onsets = judged(rows[name], stories260K, "deduction")
        itself, yes, no = dict(itself), set(np.flatnonzero(truth == 1).tolist()), set(np.flatnonzero(truth == 0).tolist())
        if rule.startswith("within"):
            before = {token - distance for token in onsets[True] for distance in range(1, int(rule.split()[1]) + 1)}
            unknown = {token for token, value in itself.items() if value < 0}
            ahead_of_unknown = {token - distance for token in unknown for distance in range(1, int(rule.split()[1]) + 1)}
            assert yes & set(itself) == before & set(itself) - unknown and yes <= before
            assert not no & (before | unknown | ahead_of_unknown) and len(no) > 100
        else:
            assert yes == onsets[True]
            others = onsets[False] - onsets[True]
            assert no == others if rule == "onsets" else no > others and len(no) > 3 * len(others)
        positives += len(yes)
    assert positives > 5
    assert "begin" in page.views[0]["question"]


def test_the_end_of_what_is_shown_does_not_change_what_is_ahead(chains, tmp_path):
    probe_dir = changed(chains[1], tmp_path / "m", label_rule="within 8")
    flags = ("--target", "deduction", "--lag", "0")
    whole, _ = show(probe_dir, tmp_path, "--num_tokens", 900, *flags)
    last = int(np.flatnonzero(whole.truth == 1)[10])
    part, result = show(probe_dir, tmp_path, "--num_tokens", last + 1, *flags)
    assert part.truth.tolist() == whole.truth[: last + 1].tolist() and whole.truth[last] == 1
    assert "nowhere" not in result.stdout
    assert "'deduction' is nowhere in what is shown" in show(probe_dir, tmp_path, "--num_tokens", 10, *flags)[1].stdout


def test_all_lags_are_shown_and_whole_sequences_are_left_out(chains, tmp_path):
    probe_dir = changed(chains[1], tmp_path / "m")
    for path in probe_dir.glob("*_lag-8_*.pth"):
        probe = load_probe(path)
        for name, changes in (
            (path.name.replace("lag-8", "next"), {"lag": -1}),
            (path.name.replace("lag-8", "whole"), {"task": "documents", "label_rule": "whole"}),
        ):
            with WriteTogether() as files:
                save_probe(files, probe_dir / name, probe["state_dict"], {**probe["metadata"], **changes})
    page, result = show(probe_dir, tmp_path, "--num_tokens", 20)
    shown = {(view["target"], view["lag"]) for view in page.views}
    assert shown == {(target, lag) for target in ("backtracking", "deduction") for lag in (0, -1, -8)}
    assert re.search(r"'backtracking', lag 0, linear, seed 0: 2 probes, ", result.stdout)
    assert "_whole_deduction.pth, of other labels (documents, whole)" in result.stdout
    assert_one_line_error(
        call(
            "visualize_probe",
            "--probe_dir",
            changed(chains[1], tmp_path / "odd", label_rule="odd"),
            "--output",
            tmp_path / "p.html",
        ),
        "of labels by the rule 'odd', which has no page yet",
    )


# A chat template and hostile names


def hostile_rows():
    return [
        {
            "task_id": f"{ATTACK} {number}",
            "problem": f"{prose(number, 12)} {ATTACK}",
            "reasoning_chain": f"{first} <s>{ATTACK} &amp; {second}",
            "annotated_chain": f'["{ATTACK}"]{first}["end-section"] ["plain"]<s>{ATTACK} &amp; {second}["end-section"]',
        }
        for number in range(12)
        for first, second in [(prose(100 + number, 20), prose(200 + number, 30))]
    ]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """(the file, its probes, the model): a chat template that writes <s> itself, a label and texts full of HTML."""
    folder = tmp_path_factory.mktemp("hostile")
    tokenizer = make_tokenizer(folder / "model")
    tokenizer.chat_template = "<s>Q: {{ messages[0]['content'] }} A:"
    tokenizer.save_pretrained(folder / "model")
    make_model(folder / "model", len(tokenizer))
    source = folder / "chains.json"
    source.write_text(json.dumps(hostile_rows()), encoding="utf-8")
    return (
        source,
        train(folder, "chains", source, folder / "model", "--label", ATTACK, "--max_texts", 11, train=("--layer", "1")),
        folder / "model",
    )


def test_a_chat_templates_prompt_is_as_it_was_read_and_hostile_text_is_text(hostile, tmp_path):
    source, probe_dir, model = hostile
    page, _ = show(probe_dir, tmp_path, "--num_tokens", 100_000)
    assert "img" not in page.tags and "<img" not in page.source and page.tags.count("script") == 2
    test = torch.load(probe_dir.parent / "data" / "test.pth", weights_only=True)
    assert len(headings(page)) == len(of_split(probe_dir, "test")) == 1  # of 11 drawn; the twelfth is no test text
    inside = {}  # token ids as they were prepared, by place; <s> once, before them
    for row, length, start in zip(test["input_ids"], test["lengths"].tolist(), test["starts"].tolist(), strict=True):
        assert row[0] == 0
        inside |= {start + place: int(token) for place, token in enumerate(row[1:length])}
    ids = [inside[place] for place in range(len(inside))]
    rows = {row["task_id"]: row for row in hostile_rows()}
    row = rows[next(name for name in rows if name in of_split(probe_dir, "test"))]
    prompt = offsets_of(model, f"Q: {row['problem']} A:")[0]
    assert len(page.tokens) == len(ids) and ids[: len(prompt)] == prompt
    assert "".join(page.tokens).replace("↵\n", "\n") == f"Q: {row['problem']} A:{row['reasoning_chain']}"
    assert page.source.count("&lt;s&gt;") == 0  # what the template wrote is no text; the chain's own is in pieces
    truth = page.truth.tolist()
    first = row["annotated_chain"].split("]")[1].split("[")[0]
    yes = "".join(token for token, value in zip(page.tokens, truth, strict=True) if value == 1)
    assert yes.replace("↵\n", "\n").strip() == first.strip() and set(truth[: len(prompt)]) == {-1}


# What goes wrong


def test_sources_that_are_gone_changed_or_foreign_are_one_line(needles, hostile, stories260K, tmp_path):
    output = tmp_path / "page.html"

    def fails(probe_dir, *said, more=(), status=1):
        assert_one_line_error(
            call("visualize_probe", "--probe_dir", probe_dir, "--output", output, *more), *said, status=status
        )
        assert not output.exists()

    moved = tmp_path / "moved.jsonl"
    of_moved = {"input": str(moved), "text_column": "text", "group_by": None}
    probe_dir = changed(needles[1], tmp_path / "m", source=of_moved)
    fails(probe_dir, f"{moved}, which the probes were made from, is not there", "--text_file")
    moved.write_text("not json\n", encoding="utf-8")
    fails(probe_dir, "cannot be read as it was", "line 1: not JSON", "--text_file")
    rows = [json.loads(line) for line in needles[0].read_text(encoding="utf-8").splitlines()]
    write_jsonl(moved, [{"text": row["text"], "spans": [[0, 5, "other"]]} for row in rows])
    fails(probe_dir, "has no label 'needle' any more", "--text_file")
    write_jsonl(moved, [{**row, "text": row["text"] + "!"} for row in rows])
    fails(probe_dir, "none of the texts that were kept from training", "--text_file")
    shutil.copy(needles[0], moved)
    assert_success(call("visualize_probe", "--probe_dir", probe_dir, "--output", output, "--num_tokens", 20))
    output.unlink()
    before = moved.read_bytes()
    assert_one_line_error(call("visualize_probe", "--probe_dir", probe_dir, "--output", moved), "would overwrite", status=2)
    assert moved.read_bytes() == before
    fails(changed(needles[1], tmp_path / "n", source=None), "does not say which file it was made from", "--text_file")
    plain = {**load_probe(next(hostile[1].glob("*.pth")))["metadata"]["source"], "prompt": "plain"}
    fails(changed(hostile[1], tmp_path / "h", source=plain), "a prompt by the plain", "give the tokenizer as it was")
