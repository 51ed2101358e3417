"""prepare_data on spans, chains and documents: every label against the characters of the texts, and nothing on two sides."""

import csv
import json
import random
import shutil
from functools import cache

import numpy as np
import pytest

from helpers import assert_one_line_error, assert_success, call, part_of, prose, snapshot, write_jsonl
from utils.data.readers.annotated import normalised
from utils.data.readers.chains import LABELS, read_chains
from utils.data.readers.spans import read_spans
from utils.data.sequences import SPLITS, load_sequences, per_target

SHORT = ("--context_length", 40)


def prepare(folder, task, path, model, *more):
    result = call("prepare_data", "--task", task, "--input", path, "--model_name", model, "--output_dir", folder, *more)
    return assert_success(result)


def load(folder):
    return {name: load_sequences(folder / f"{name}.pth") for name in SPLITS}


@cache
def loaded(folder):
    """The same for the folders that many tests look at."""
    return load(folder)


def metadata_of(folder):
    return json.loads((folder / "metadata.json").read_text(encoding="utf-8"))


def offsets_of(model, text):
    """(ids, [(start, end), ...]) by transformers' own call, not the project's."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return np.array(found["input_ids"]), found["offset_mapping"]


def labels_by_document(folder):
    """{target: {document: {token of the document: label}}} and {document: {token: id}}; no token is labelled twice."""
    labels, ids = {}, {}
    for sequences in load(folder).values():
        before, names = sequences.text_start, sequences.metadata["documents"]
        for target in per_target(sequences):
            own = labels.setdefault(target.metadata["targets"][0]["name"], {})
            for row in range(len(target)):
                name, start = names[target.documents[row]], int(target.starts[row])
                shown = ids.setdefault(name, {})
                for position in range(before, target.text_ends[row]):
                    token = start + position - before
                    assert shown.setdefault(token, target.input_ids[row, position]) == target.input_ids[row, position]
                    if target.labels[row, position] >= 0:
                        assert token not in own.setdefault(name, {}), "labelled in two windows"
                        own[name][token] = int(target.labels[row, position])
    return labels, ids


def truth(document, offsets, target):
    """The label of each token, character by character: -1 unknown, 0, 1."""
    known = [True] * len(document.text)
    for start, end in document.unknown:
        known[start:end] = [False] * (end - start)
    spans = [[] for _ in document.text]
    for start, end, label in document.spans:
        for character in range(start, end):
            spans[character].append(label)
    result = []
    for start, end in offsets:
        covering = {label for character in range(start, end) for label in spans[character]}
        unknown = not all(known[start:end])
        result.append(1 if target in covering else 0 if covering else -1 if unknown else 0)
    return result


def first_tokens(document, offsets, wanted):
    found = set()
    for start, end, label in document.spans:
        if wanted(label):
            found.add(next(token for token, (a, b) in enumerate(offsets) if a < end and b > start))
    return found


def assert_labels(folder, model, documents, rule):
    """Every token of these documents against `rule(document, offsets, target)`, a list of labels. Returns all labels."""
    labels, ids = labels_by_document(folder)
    for document in documents:
        token_ids, offsets = offsets_of(model, document.text)
        for target, own in labels.items():
            expected = {token: label for token, label in enumerate(rule(document, offsets, target)) if label >= 0}
            assert own.get(document.name, {}) == expected, (document.name, target)
        assert all(token_ids[token] == found for token, found in ids.get(document.name, {}).items())
    return labels


# Spans


@pytest.fixture(scope="module")
def needles(shared_data):
    return part_of(shared_data, "corpora/needles") / "needles_v1.jsonl"


@pytest.fixture(scope="module")
def prepared_needles(tmp_path_factory, needles, stories260K):
    folder = tmp_path_factory.mktemp("needles")
    prepare(folder, "spans", needles, stories260K)
    return folder


def test_needles_keep_the_files_own_split_and_every_token_is_labelled_once(prepared_needles, needles, stories260K):
    rows = {row["id"]: row for row in map(json.loads, needles.read_text(encoding="utf-8").splitlines())}
    metadata = metadata_of(prepared_needles)
    families = {}
    for split, sequences in loaded(prepared_needles).items():
        for number, text in zip(np.unique(sequences.documents), sequences.texts, strict=True):
            row = rows[metadata["documents"][number]]
            assert (row["split"], row["text"]) == (split, text)
            assert metadata["length_buckets"][number] == row["length_bucket"]
            families.setdefault(row["needle_family"], set()).add(split)
    assert all(len(found) == 1 for family, found in families.items() if family is not None) and len(families) > 5
    assert len(metadata["documents"]) == len(rows) == 400
    labels, _ = labels_by_document(prepared_needles)
    for row in list(rows.values())[::20]:
        _, offsets = offsets_of(stories260K, row["text"])
        needle = row["needle_char_span"] or [0, 0]
        assert labels["needle"][row["id"]] == {
            token: int(any(needle[0] <= at < needle[1] for at in range(start, end)))
            for token, (start, end) in enumerate(offsets)
        }
    shares = {
        name: [label for id, own in labels["needle"].items() if rows[id]["split"] in names for label in own.values()]
        for name, names in (("train and val", ("train", "val")), ("test", ("test",)))
    }
    assert np.mean(shares["test"]) != pytest.approx(np.mean(shares["train and val"]), rel=1e-3)
    assert metadata["targets"][0]["prevalence"] == pytest.approx(np.mean(shares["train and val"]))
    assert (metadata["overlap"], metadata["label_rule"], metadata["default_lag"]) == (127, "tokens", 0)


MARKED = ("This is the <needle> in a naïve 👍👍 haystack; a second one, ", "then plain words of no interest. ")


def marked_rows(number=24, splits=()):
    """Rows of several hundred characters with spans of two labels, some within accented letters' and emoji's words."""
    draw, rows = random.Random(0), []
    for index in range(number):
        text = prose(index, 60) + " " + MARKED[0] + prose(1000 + index, 40) + MARKED[1]
        start = text.index("naïve")
        spans = [[start, start + 8, "odd"], [text.index("second"), text.index("second") + 6, "even"]]
        if draw.random() < 0.5:
            spans.append([3, 9, "odd"])
        rows.append({"id": f"row {index}", "text": text, "spans": spans} | ({"split": splits[index % 3]} if splits else {}))
    return rows


def marked(path, **more):
    return write_jsonl(path, marked_rows(**more))


RULES = {
    (): ("tokens", truth),
    ("--onset_only",): ("onsets", lambda document, offsets, target: onset_truth(document, offsets, target, False)),
    ("--onset_only", "--onset_negatives", "all"): (
        "onsets_all",
        lambda document, offsets, target: onset_truth(document, offsets, target, True),
    ),
    ("--within", "5"): ("within 5", lambda document, offsets, target: within_truth(document, offsets, target, 5)),
}


def onset_truth(document, offsets, target, all_others):
    own = first_tokens(document, offsets, lambda label: label == target)
    others = first_tokens(document, offsets, lambda label: label != target)
    known = [label >= 0 for label in truth(document, offsets, target)]
    return [
        1 if token in own else 0 if token in others or all_others and known[token] else -1 for token in range(len(offsets))
    ]


def within_truth(document, offsets, target, count):
    own = first_tokens(document, offsets, lambda label: label == target)
    known, result = [label >= 0 for label in truth(document, offsets, target)], []
    for token in range(len(offsets)):
        ahead = range(token + 1, min(token + 1 + count, len(offsets)))
        begins, all_known = any(other in own for other in ahead), all(known[other] for other in ahead)
        result.append(-1 if not known[token] else 1 if begins else 0 if all_known else -1)
    return result


@pytest.mark.parametrize("flags", RULES)
def test_labels_of_spans_follow_each_rule_character_by_character(tmp_path, tiny_model, flags):
    path, (name, rule) = marked(tmp_path / "a.jsonl"), RULES[flags]
    prepare(tmp_path / "data", "spans", path, tiny_model, *SHORT, "--overlap", 10, *flags)
    assert metadata_of(tmp_path / "data")["label_rule"] == name
    assert_labels(tmp_path / "data", tiny_model, read_spans(path).documents, rule)


def test_a_label_has_the_overlap_around_it_or_all_that_the_text_has(tmp_path, tiny_model):
    prepare(tmp_path / "data", "spans", marked(tmp_path / "a.jsonl"), tiny_model, *SHORT, "--overlap", 10)
    _, ids = labels_by_document(tmp_path / "data")
    for sequences in load(tmp_path / "data").values():
        row, position, _ = sequences.labelled()
        start = sequences.starts[row]
        token = start + position - sequences.text_start
        end = start + sequences.text_ends[row] - sequences.text_start
        size = np.array([len(ids[sequences.metadata["documents"][number]]) for number in sequences.documents[row]])
        assert (token - start >= np.minimum(10, token)).all()
        assert (end - 1 - token >= np.minimum(10, size - 1 - token)).all()
    assert metadata_of(tmp_path / "data")["overlap"] == 10


def test_the_label_of_one_target_and_the_default_of_all(tmp_path, tiny_model):
    path = marked(tmp_path / "a.jsonl")
    prepare(tmp_path / "all", "spans", path, tiny_model, *SHORT)
    prepare(tmp_path / "one", "spans", path, tiny_model, *SHORT, "--label", "even")
    targets = {name: [target["name"] for target in metadata_of(tmp_path / name)["targets"]] for name in ("all", "one")}
    assert targets == {"all": ["odd", "even"], "one": ["even"]}
    both, one = (labels_by_document(tmp_path / name)[0] for name in ("all", "one"))
    assert both["even"] == one["even"] != both["odd"]


# Chains


@pytest.fixture(scope="module")
def chains(shared_data):
    return part_of(shared_data, "corpora/reasoning_chains") / "annotated_chains.json"


@pytest.fixture(scope="module")
def prepared_chains(tmp_path_factory, chains, stories260K):
    folder = tmp_path_factory.mktemp("chains")
    prepare(folder, "chains", chains, stories260K, "--max_texts", 60)
    return folder


def test_all_six_labels_one_against_the_rest_from_one_command(prepared_chains, chains, stories260K):
    metadata = metadata_of(prepared_chains)
    assert {target["name"] for target in metadata["targets"]} == set(LABELS)
    documents = [document for document in read_chains(chains).documents if document.name in set(metadata["documents"])]
    assert len(documents) == len(metadata["documents"]) == 60
    labels = assert_labels(prepared_chains, stories260K, documents[::12], truth)
    for document in documents:
        known = {frozenset(own[document.name]) for own in labels.values()}
        assert len(known) == 1, "a token whose truth is known for one label is known for all"
        positives = [sum(own[document.name][token] for own in labels.values()) for token in next(iter(known))]
        assert np.mean(np.array(positives) == 1) > 0.9  # a token between two segments is of both
    assert all(sequences.texts == [] for sequences in load(prepared_chains).values())


def test_what_was_left_out_of_all_is_said_and_an_error_by_name(tmp_path, chains, stories260K, prepared_chains):
    assert any("'observation'" in line for line in metadata_of(prepared_chains)["targets_left_out"])
    result = refused(tmp_path, "chains", chains, stories260K, "--label", "observation")
    assert_one_line_error(result, "'observation'", "positive in 1 groups", "choose another")


def chain(index, text="Let me see. Wait, no. It is four.", **more):
    chain_text = f"{prose(index, 20)} {text}"
    annotated = chain_text.replace("Wait, no.", '["backtracking"]Wait, no.["end-section"]').replace(
        "It is four.", '["deduction"]It is four.["end-section"]'
    )
    return {
        "task_id": f"chain {index}",
        "problem": f"What is {index} and two?",
        "reasoning_chain": chain_text,
        "annotated_chain": annotated,
        **more,
    }


def write_chains(path, number=12, **more):
    path.write_text(json.dumps([chain(index, **more) for index in range(number)]), encoding="utf-8")
    return path


TEMPLATE = "{{ bos_token }}[INST] {{ messages[0]['content'] }} [/INST]{% if add_generation_prompt %}<go>{% endif %}"


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory, tiny_model):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("chat") / "model"
    shutil.copytree(tiny_model, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def test_a_chat_template_is_the_unlabelled_prompt_and_doubles_no_bos(tmp_path, chat_model):
    from transformers import AutoTokenizer

    path = write_chains(tmp_path / "a.json", text="Say <s> now. Wait, no. It is four.")
    prepare(tmp_path / "data", "chains", path, chat_model, "--context_length", 200)
    tokenizer = AutoTokenizer.from_pretrained(chat_model)
    assert metadata_of(tmp_path / "data")["source"]["prompt"] == "chat template"
    rows = 0
    for sequences in load(tmp_path / "data").values():
        for labels, row in zip(sequences.labels, sequences.windows, strict=True):
            index = int(sequences.metadata["documents"][sequences.documents[row]].split()[1])
            prompt = tokenizer(f"<s>[INST] What is {index} and two? [/INST]<go>", add_special_tokens=False)["input_ids"]
            assert tokenizer(f"<s>[INST] What is {index} and two? [/INST]<go>")["input_ids"][:2] == [0, 0]  # the trap
            ids = sequences.input_ids[row, : sequences.lengths[row]].tolist()
            assert ids[: len(prompt)] == prompt and ids.count(0) == 1  # the chain's own "<s>" is text
            assert (labels[: len(prompt)] == -1).all()
            positive = [token for token, label in zip(ids, labels, strict=False) if label == 1]
            assert tokenizer.decode(positive).strip() in ("Wait, no.", "It is four.")
            rows += 1
    assert rows == 2 * 12


def test_without_a_template_the_prompt_is_the_problem_and_not_labelled(tmp_path, tiny_model):
    path = write_chains(tmp_path / "a.json")
    prepare(tmp_path / "data", "chains", path, tiny_model, "--context_length", 200)
    assert_labels(tmp_path / "data", tiny_model, read_chains(path).documents, truth)
    assert all(document.text.startswith("What is") for document in read_chains(path).documents)
    labels, _ = labels_by_document(tmp_path / "data")
    assert min(min(own) for own in labels["deduction"].values()) > 20  # the problem and prose before the first mark


# Documents


@pytest.fixture(scope="module")
def index(shared_data):
    return part_of(shared_data, "corpora/documents") / "main.csv"


@pytest.fixture(scope="module")
def prepared_documents(tmp_path_factory, index, stories260K):
    folder = tmp_path_factory.mktemp("documents")
    prepare(folder, "documents", index, stories260K, "--group_column", "city")
    return folder


def texts_by_split(splits):
    return {name: {normalised(text) for text in sequences.texts} for name, sequences in splits.items()}


def on_two_sides(values):
    names = list(values)
    return set().union(*(values[one] & values[other] for one in names for other in names if one != other))


def test_no_text_and_no_city_of_ten_sets_stands_on_two_sides(tmp_path, prepared_documents, index, stories260K):
    texts = texts_by_split(loaded(prepared_documents))
    assert not on_two_sides(texts)
    with open(index.parent / "raw" / "cities.csv", encoding="utf-8", newline="") as file:
        city_of = {normalised(row["statement"]): row["city"] for row in csv.DictReader(file)}
    cities = {split: {city_of[text] for text in own if text in city_of} for split, own in texts.items()}
    assert not on_two_sides(cities) and sum(map(len, cities.values())) > 700
    result = prepare(
        tmp_path / "raw", "documents", index, stories260K, "--as_published", "--datasets", "spam_is,cities_true"
    )
    assert "WARNING: --as_published" in result.stderr and metadata_of(tmp_path / "raw")["as_published"]
    texts = texts_by_split(load(tmp_path / "raw"))  # the negative control: the same sets are full of copies
    cities = {split: {city_of[text] for text in own if text in city_of} for split, own in texts.items()}
    assert len(on_two_sides(texts)) > 50 and len(on_two_sides(cities)) > 100


def test_every_set_is_a_target_with_its_share_of_positives_in_each_split(prepared_documents):
    metadata = metadata_of(prepared_documents)
    assert len(metadata["targets"]) == 10
    for target in metadata["targets"]:
        found = {split: numbers["targets"][target["name"]] for split, numbers in metadata["splits"].items()}
        total = sum(item["documents"] for item in found.values())
        for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
            assert found[split]["positives"] / found[split]["documents"] == pytest.approx(target["prevalence"], abs=0.01)
            assert found[split]["documents"] / total == pytest.approx(share, abs=0.02)


def test_the_label_is_the_documents_own_and_sits_on_its_last_token(prepared_documents, index):
    with open(index.parent / "raw" / "cities.csv", encoding="utf-8", newline="") as file:
        truth_of = {row["statement"]: int(row["label"]) for row in csv.DictReader(file)}
    names = [target["name"] for target in metadata_of(prepared_documents)["targets"]]
    for sequences in loaded(prepared_documents).values():
        own = per_target(sequences)[names.index("cities_true")]
        text_of = dict(zip(np.unique(sequences.documents), sequences.texts, strict=True))
        row, position, labels = own.labelled()
        assert np.array_equal(position, own.text_ends[row] - 1) and len(row) > 100
        assert [truth_of[text_of[number]] for number in own.documents[row]] == labels.tolist()


def test_cleaned_files_hold_what_the_dataset_holds(prepared_documents):
    metadata = metadata_of(prepared_documents)
    with open(prepared_documents / "cleaned" / "8_cities_true.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["prompt", "prompt_len", "target"]
    found = [split["targets"]["cities_true"] for split in metadata["splits"].values()]
    assert len(rows) == sum(item["documents"] for item in found) == 1496
    assert sum(int(row["target"]) for row in rows) == sum(item["positives"] for item in found)
    assert len(list((prepared_documents / "cleaned").iterdir())) == 10


def table(path, rows, columns=("text", "label")):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_text_that_is_too_long_loses_the_side_that_was_asked_for(tmp_path, tiny_model, side):
    texts = [prose(index, 20 if index % 3 else 80).strip() for index in range(24)]
    path = table(tmp_path / "a.csv", [(text, index % 2) for index, text in enumerate(texts)])
    result = prepare(tmp_path / "data", "documents", path, tiny_model, "--context_length", 59, "--truncation_side", side)
    truncated = 0
    for sequences in load(tmp_path / "data").values():
        for number, shown in zip(np.unique(sequences.documents), sequences.texts, strict=True):
            row = int(np.flatnonzero(sequences.documents == number)[0])
            text = texts[int(sequences.metadata["documents"][number].split(":")[1]) - 2]
            ids, offsets = offsets_of(tiny_model, text)
            own = slice(0, 60) if side == "right" else slice(max(len(ids) - 60, 0), None)
            assert sequences.input_ids[row, 1 : sequences.lengths[row]].tolist() == ids[own].tolist()
            assert sequences.starts[row] == (own.start or 0)
            assert np.flatnonzero(sequences.labels[row] >= 0).tolist() == [sequences.lengths[row] - 1]
            first, last = offsets[own][0], offsets[own][-1]
            assert shown == text[first[0] if side == "left" else 0 : last[1]]
            truncated += len(ids) > 60
    assert truncated >= 8 and metadata_of(tmp_path / "data")["truncated"] == {"side": side, "texts": truncated}
    assert f"truncated: {truncated} of 24 texts lost their {'end' if side == 'right' else 'beginning'}" in result.stdout


# Splits


def test_the_same_command_gives_the_same_bytes_and_the_order_of_rows_no_other_split(tmp_path, tiny_model):
    rows = marked_rows()
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    prepare(tmp_path / "one", "spans", path, tiny_model, *SHORT)
    prepare(tmp_path / "two", "spans", path, tiny_model, *SHORT)
    assert list(snapshot(tmp_path / "one").values()) == list(snapshot(tmp_path / "two").values())
    write_jsonl(path, rows[::-1])
    prepare(tmp_path / "one", "spans", path, tiny_model, *SHORT)
    prepare(tmp_path / "other", "spans", path, tiny_model, *SHORT, "--seed", 1)
    one, two, other = (texts_by_split(load(tmp_path / name)) for name in ("one", "two", "other"))
    assert one == two and other != two


def test_neither_target_nor_rule_nor_tokenizer_nor_prompt_moves_a_text_to_another_split(
    tmp_path, tiny_model, chat_model, stories260K
):
    path, found = write_chains(tmp_path / "a.json", number=20), []
    for number, (model, *more) in enumerate(
        [
            (tiny_model,),
            (tiny_model, "--label", "deduction"),
            (stories260K,),
            (tiny_model, "--onset_only"),
            (chat_model, "--within", 3),
        ]
    ):
        prepare(tmp_path / str(number), "chains", path, model, "--max_texts", 16, "--context_length", 100, *more)
        found.append(
            {
                split: {sequences.metadata["documents"][document] for document in sequences.documents}
                for split, sequences in load(tmp_path / str(number)).items()
            }
        )
    assert all(splits == found[0] for splits in found) and sum(map(len, found[0].values())) == 16


def test_max_texts_draws_by_seed_over_the_whole_file(tmp_path, tiny_model):
    path = marked(tmp_path / "a.jsonl", number=60)
    drawn = []
    for seed in (0, 1):
        prepare(tmp_path / "data", "spans", path, tiny_model, *SHORT, "--max_texts", 20, "--seed", seed)
        drawn.append({int(name.split()[1]) for name in metadata_of(tmp_path / "data")["documents"]})
    assert drawn[0] != drawn[1] and all(len(own) == 20 and max(own) > 40 and min(own) < 20 for own in drawn)
    assert metadata_of(tmp_path / "data")["dropped"]["texts_not_drawn"] == 40


# What is refused


@pytest.mark.parametrize(
    "words, needles",
    [
        (("--input", "a.jsonl"), ("--task token does not read --input", "--task spans")),
        (("--task", "spans"), ("--task spans needs --input",)),
        (("--task", "spans", "--input", "a.jsonl", "--dataset", "b", "--target_token", "x"), ("--dataset, --target_token",)),
        (("--task", "chains", "--input", "a.json", "--text_column", "text"), ("--task chains", "--text_column")),
        (("--task", "documents", "--input", "a.csv", "--label", "x", "--overlap", "0"), ("--label, --overlap",)),
        (
            ("--task", "chains", "--input", "a.json", "--within", "4", "--onset_only"),
            ("--within", "--onset_only", "contradict"),
        ),
        (("--task", "chains", "--input", "a.json", "--onset_negatives", "all"), ("--onset_negatives", "--onset_only")),
        (("--task", "spans", "--input", "a.jsonl", "--positions", "sampled"), ("--positions",)),
        (("--task", "spans", "--input", "a.jsonl", "--label", "a,,b"), ("--label", "'a,,b'")),
        (("--task", "span", "--input", "a.jsonl"), ("--task", "'span'")),
        (("--as_published",), ("--as_published",)),
    ],
)
def test_flags_that_the_task_does_not_read_are_wrong_usage(tmp_path, words, needles):
    assert_one_line_error(call("prepare_data", *words, cwd=tmp_path), *needles, status=2)
    assert list(tmp_path.iterdir()) == []


def refused(folder, task, path, model, *more):
    return call(
        "prepare_data", "--task", task, "--input", path, "--model_name", model, "--output_dir", folder / "data", *more
    )


def test_an_index_and_one_table_read_different_flags(tmp_path, tiny_model, index):
    one = table(tmp_path / "a.csv", [("a text", 0), ("another", 1)])
    for path, flag, needle in ((one, "--datasets", "no index"), (index, "--label_column", "the index")):
        assert_one_line_error(refused(tmp_path, "documents", path, tiny_model, flag, "a"), flag, needle, status=2)


LONELY = [{"text": f"{prose(number, 30)} here", "spans": [[3, 9]]} for number in range(9)]
SPLIT = [{**row, "split": split} for row, split in zip(LONELY, ["val"] * 6 + ["test"] * 3, strict=True)]
ONE_SIDED = [
    {**row, "split": SPLITS[number % 3], "spans": [[3, 9, "a"]] + [[0, 2, "b"]] * (number % 3 != 2)}
    for number, row in enumerate(LONELY)
]


@pytest.mark.parametrize(
    "rows, flags, needles",
    [
        (LONELY, ("--onset_only",), ("'span'", "no negative label in train", "--onset_negatives all")),
        (SPLIT, (), ("val and test", "none of train", "--splits val=train,test", "--split_column none")),
        (ONE_SIDED, ("--label", "b"), ("'b'", "positive in 2 splits")),
        (LONELY, ("--overlap", "20", *SHORT, "--context_length", "39"), ("--overlap 20", "at most 19")),
        (LONELY, ("--context_length", "256"), ("256 positions", "use at most 254")),
        (LONELY, ("--label", "spam"), ("'spam'", "the labels are span")),
        (LONELY, ("--max_texts", "2"), ("positive in 3 groups",)),
        (LONELY[:2], (), ("positive in 3 groups",)),
        (LONELY[:3] + [{"text": "short", "spans": [[2, 9]]}], (), ("line 4", "beyond the 5 characters")),
    ],
)
def test_spans_that_cannot_be_split_or_cut_are_told_in_one_line(tmp_path, tiny_model, rows, flags, needles):
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    assert_one_line_error(refused(tmp_path, "spans", path, tiny_model, *flags), *needles)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_target_without_both_classes_in_a_split_is_left_out_of_all(tmp_path, tiny_model):
    path = write_jsonl(tmp_path / "a.jsonl", ONE_SIDED)
    result = prepare(tmp_path / "data", "spans", path, tiny_model, *SHORT)
    assert [target["name"] for target in metadata_of(tmp_path / "data")["targets"]] == ["a"]
    assert "left out: target 'b'" in result.stdout


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('touch hacked')",
        "col.map(open)",
        "().__class__",
        "(" * 400 + "col" + ")" * 400,
        "'a' * 10**10",
        "col == 'x'",
    ],
)
def test_hostile_expressions_run_nothing(tmp_path, tiny_model, expression):
    path = table(tmp_path / "a.csv", [(f"text {number}", number % 2) for number in range(9)])
    result = refused(tmp_path, "documents", path, tiny_model, "--label_expression", expression)
    assert_one_line_error(result, expression[:20])
    assert not (tmp_path / "hacked").exists() and list((tmp_path / "data").iterdir()) == []


def hostile_index(folder, **changes):
    (folder / "raw").mkdir()
    table(folder / "raw" / "a.csv", [(f"text {number}", number % 2) for number in range(12)])
    row = {
        "source": "a.csv",
        "tag": "a",
        "save_name": "a.csv",
        "Probe from": "text",
        "Probe to": "label",
        "probe from extraction": "col",
        "probe to extraction": "col",
        **changes,
    }
    return table(folder / "main.csv", [row.values()], row.keys())


@pytest.mark.parametrize(
    "changes, needle",
    [
        ({"save_name": "../../out.csv"}, "'../../out.csv'"),
        ({"source": "../a.csv"}, "'../a.csv'"),
        ({"probe to extraction": "col.map(open)"}, "col.map(open)"),
        ({"Probe to": "labels"}, "'labels'"),
    ],
)
def test_an_index_reads_and_writes_only_where_it_may(tmp_path, tiny_model, changes, needle):
    result = refused(tmp_path, "documents", hostile_index(tmp_path, **changes), tiny_model)
    assert_one_line_error(result, needle)
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize(
    "task, data, needle",
    [
        ("spans", b'{"text": "a", "spans": []}\n{"text', "line 2: not JSON"),
        ("spans", b"\xff\xfe", "not UTF-8"),
        ("chains", b"{}", "line 1: no 'problem'"),
        ("documents", b"text,label\n\xe9,1\n", "not UTF-8"),
        ("documents", b"text,label\na,1\nb,1\n", "one class only"),
        ("spans", b"", "no rows"),
    ],
)
def test_broken_files_are_told_in_one_line(tmp_path, tiny_model, task, data, needle):
    path = tmp_path / "broken"
    path.write_bytes(data)
    assert_one_line_error(refused(tmp_path, task, path, tiny_model), needle)
