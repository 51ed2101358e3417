"""Conversations go through the tokenizer's chat template: the ids are those of transformers, and each label lies where the
documents say."""

import json

import numpy as np
import pandas as pd
import pytest

import chat_data
from helpers import assert_one_line_error, assert_success, call, write_jsonl
from utils.data.sequences import SPLITS, load_sequences, per_target

pytestmark = pytest.mark.slow

ROWS = chat_data.conversations()
OF_ID = {row["id"]: row for row in ROWS}


@pytest.fixture(scope="module")
def chat_model(tiny_model, tmp_path_factory):
    return chat_data.with_template(tmp_path_factory.mktemp("chat_model"), tiny_model)


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("chats") / "chats.jsonl", ROWS)


def prepared(folder, task, path, model, *more):
    return assert_success(
        call("prepare_data", "--task", task, "--input", path, "--model_name", model, "--output_dir", folder, *more)
    )


def windows(folder):
    """(name of the document, ids, {target: {position: label}}) of every window of all splits."""
    for split in SPLITS:
        targets = per_target(load_sequences(folder / f"{split}.pth"))
        for row in range(len(targets[0])):
            ids = targets[0].input_ids[row, : targets[0].lengths[row]].tolist()
            labels = {
                target.target_name: {int(p): int(target.labels[row, p]) for p in np.flatnonzero(target.labels[row] >= 0)}
                for target in targets
            }
            yield targets[0].document_names[targets[0].documents[row]], ids, labels


def one_row_each(folder, rows):
    """The windows by the row that they are of. Documents of JSON lines are named by the line."""
    found = list(windows(folder))
    assert len(found) == len(rows)
    for name, ids, labels in found:
        yield OF_ID[name] if name in OF_ID else rows[int(name.split(":")[-1]) - 1], ids, labels


@pytest.mark.parametrize("template", [chat_data.CHATML, chat_data.PARTS, chat_data.TRIMS_ANSWERS])
@pytest.mark.parametrize("prompt", [False, True])
def test_ids_of_spans_are_those_of_apply_chat_template(chats, tiny_model, tmp_path, template, prompt):
    model = chat_data.with_template(tmp_path / "model", tiny_model, template)
    prepared(tmp_path, "spans", chats, model, *(["--add_generation_prompt"] if prompt else []))
    for row, ids, _ in one_row_each(tmp_path, ROWS):
        assert ids == chat_data.applied(model, row["messages"], add_generation_prompt=prompt)


def test_ids_of_documents_are_those_of_apply_chat_template_up_to_the_answer(chats, chat_model, tmp_path):
    """The label lies on the token before the answer's first, and the answer is not read; without an answer, on the last."""
    prepared(tmp_path, "documents", chats, chat_model)
    answers = 0
    for row, ids, labels in one_row_each(tmp_path, ROWS):
        messages, whole = row["messages"], chat_data.applied(chat_model, row["messages"])
        assert labels == {"label": {len(ids) - 1: row["label"]}}
        if messages[-1]["role"] == "assistant":
            answers += 1
            assert whole[: len(ids)] == ids
            assert ids == chat_data.applied(chat_model, messages[:-1], add_generation_prompt=True)
        else:
            assert ids == whole
    assert 0 < answers < len(ROWS)


def test_with_a_generation_prompt_the_label_lies_on_its_last_token(chats, chat_model, tmp_path):
    prepared(tmp_path, "documents", chats, chat_model, "--add_generation_prompt")
    for row, ids, labels in one_row_each(tmp_path, ROWS):
        assert ids == chat_data.applied(chat_model, row["messages"], add_generation_prompt=True)
        assert labels == {"label": {len(ids) - 1: row["label"]}}


def test_a_template_without_a_generation_prompt_is_named(chats, chat_model, tiny_model, tmp_path):
    without = chat_data.with_template(tmp_path / "without", tiny_model, chat_data.CHATML.split("{% if add_gen")[0])
    for model, said in ((without, True), (chat_model, False)):
        folder = tmp_path / str(said)
        result = prepared(folder, "documents", chats, model, "--add_generation_prompt")
        assert ("WARNING: the chat template writes no beginning of an answer" in result.stderr) == said


@pytest.mark.parametrize("role", ["model", "Assistant", "gpt"])
def test_an_answer_by_another_name_is_cut_off_too(role, tiny_model, tmp_path):
    """The label must not lie behind what the model said."""
    rows = [
        {"messages": [{"role": "user", "content": f"Say {n}"}, {"role": role, "content": f"It {n}"}], "label": n % 2}
        for n in range(12)
    ]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    model = chat_data.with_template(tmp_path / "model", tiny_model)
    result = prepared(tmp_path / "data", "documents", path, model)
    assert f"by {role} 12; 12 are answers: they are cut off" in result.stdout
    found = one_row_each(tmp_path / "data", rows)
    for row, ids, labels in found:
        assert ids == chat_data.applied(model, row["messages"])[: len(ids)]
        assert labels == {"label": {len(ids) - 1: row["label"]}}
        assert len(ids) < len(chat_data.applied(model, row["messages"])) - 2


def test_a_token_over_the_beginning_of_the_answer_belongs_to_the_answer(tiny_model, tmp_path):
    """Here the template writes a space before it, which the first token holds too."""
    from transformers import AutoTokenizer

    model = chat_data.with_template(tmp_path / "model", tiny_model, chat_data.TRIMS)
    rows = [
        {"messages": [{"role": "user", "content": f"Number {n}?"}, {"role": "assistant", "content": " the house \n"}],
         "label": n % 2} for n in range(20)
    ]  # fmt: skip
    prepared(tmp_path, "documents", write_jsonl(tmp_path / "rows.jsonl", rows), model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    for _, ids, labels in windows(tmp_path):
        assert tokenizer.decode(ids).endswith("[/INST]")
        assert list(labels["label"]) == [len(ids) - 1]


def test_every_token_has_the_label_of_its_characters_in_the_message(chats, chat_model, tmp_path):
    """The truth is found again by transformers' own offsets and by writing the messages one after the other."""
    from transformers import AutoTokenizer

    prepared(tmp_path, "spans", chats, chat_model)
    tokenizer, seen = AutoTokenizer.from_pretrained(chat_model), set()
    for row, ids, labels in one_row_each(tmp_path, ROWS):
        text, of_character = tokenizer.bos_token, [None] * len(tokenizer.bos_token)
        for number, message in enumerate(row["messages"]):
            header = f"<|im_start|>{message['role']}\n"
            own = [""] * len(message["content"])
            for place, start, end, label in row["spans"]:
                if place == number:
                    own[start:end] = [label] * (end - start)
            text += f"{header}{message['content']}<|im_end|>\n"
            of_character += [*[None] * len(header), *own, *[None] * len("<|im_end|>\n")]
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        assert len(offsets) == len(ids)
        for target, given in labels.items():
            for position, (start, end) in enumerate(offsets):
                there = set(of_character[start:end])
                if target in there:
                    expected = 1
                elif there - {None, ""}:
                    expected = 0
                else:
                    expected = None if None in there else 0
                assert given.get(position) == expected, (row["id"], target, position)
                seen.add(expected)
    assert seen == {None, 0, 1}


def test_jsonl_parquet_and_a_folder_of_the_hub_mean_the_same(chats, chat_model, tmp_path):
    rows = [{"messages": row["messages"], "label": row["label"], "topic": row["topic"]} for row in ROWS]
    frame = pd.DataFrame(rows)
    frame.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "hub").mkdir()
    frame.to_json(tmp_path / "hub" / "train.jsonl", orient="records", lines=True)
    found = []
    for path in (write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "rows.parquet", tmp_path / "hub"):
        prepared(tmp_path / "data", "documents", path, chat_model)
        found.append(sorted((ids, labels["label"]) for _, ids, labels in windows(tmp_path / "data")))
    assert found[0] == found[1] == found[2]


def test_groups_stay_in_one_split_and_copies_are_merged(chat_model, tmp_path):
    rows = [*ROWS, *({**row, "id": f"copy of {row['id']}"} for row in ROWS[:5])]
    path = write_jsonl(tmp_path / "rows.jsonl", [{**row, "topic": int(row["id"][-1])} for row in rows])
    for task, flag in (("spans", "--group_by"), ("documents", "--group_column")):
        folder = tmp_path / task
        prepared(folder, task, path, chat_model, flag, "topic")
        metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
        assert len(metadata["documents"]) == len(ROWS)
        split_of = {}
        for split in SPLITS:
            for group in np.unique(load_sequences(folder / f"{split}.pth").groups):
                assert split_of.setdefault(int(group), split) == split
        assert len(split_of) == 10


def test_the_splits_and_hashes_do_not_depend_on_the_template(chats, tiny_model, tmp_path):
    """So that probes of one model's chats can be compared with those of another."""
    found = []
    for number, template in enumerate((chat_data.CHATML, chat_data.TRIMS_ANSWERS)):
        folder = tmp_path / str(number)
        prepared(folder, "spans", chats, chat_data.with_template(folder / "model", tiny_model, template))
        sequences = {split: load_sequences(folder / f"{split}.pth") for split in SPLITS}
        hashes = sequences["train"].metadata["document_hashes"]
        found.append({split: {hashes[d] for d in of_split.documents} for split, of_split in sequences.items()})
    assert found[0] == found[1]


def test_a_long_conversation_loses_its_beginning_and_keeps_the_token_of_its_label(chats, chat_model, tmp_path):
    result = prepared(tmp_path, "documents", chats, chat_model, "--context_length", 20)
    assert "lost their beginning" in result.stdout
    for row, ids, labels in one_row_each(tmp_path, ROWS):
        whole = chat_data.applied(chat_model, row["messages"])
        if row["messages"][-1]["role"] == "assistant":
            whole = chat_data.applied(chat_model, row["messages"][:-1], add_generation_prompt=True)
        assert ids == [whole[0], *whole[-21:]]
        assert list(labels["label"]) == [21]
    result = call("prepare_data", "--task", "documents", "--input", chats, "--model_name", chat_model,
                  "--truncation_side", "right", "--output_dir", tmp_path)  # fmt: skip
    assert_one_line_error(result, "--truncation_side right", "the token before the answer")


@pytest.mark.parametrize("task", ["spans", "documents"])
def test_a_tokenizer_without_a_template_is_refused_by_name(chats, tiny_model, tmp_path, task):
    result = call("prepare_data", "--task", task, "--input", chats, "--model_name", tiny_model, "--output_dir", tmp_path)
    assert_one_line_error(result, chats, "holds conversations", str(tiny_model), "has no chat template", "--model_name")


@pytest.mark.parametrize(
    ("change", "needles"),
    [
        ({"spans": [[9, 0, 1]]}, ("line 1", "message 9", "messages 0 to")),
        ({"spans": [[0, 0, 999]]}, ("line 1, message 0", "reaches beyond")),
        ({"spans": [[0, 1]]}, ("line 1", "[message, start, end]")),
        ({"messages": "Hello"}, ("line 1", "no list of messages")),
        ({"messages": [{"from": "human", "value": "x"}]}, ("line 1", 'no "role"')),
        ({"messages": [{"role": "user", "content": "half \ud83d"}]}, ("line 1: message 0", "surrogate")),
        ({"messages": [{"role": "user", "content": "private \U000f0001"}]}, ("line 1", "private use")),
    ],
)
def test_a_bad_conversation_is_one_line_that_names_it(chat_model, tmp_path, change, needles):
    path = write_jsonl(tmp_path / "rows.jsonl", [{**ROWS[0], **change}, *ROWS[1:]])
    result = call("prepare_data", "--task", "spans", "--input", path, "--model_name", chat_model, "--output_dir", tmp_path)
    assert_one_line_error(result, *needles)


def test_flags_of_conversations_where_there_are_none_are_refused(chats, chat_model, tmp_path):
    texts = write_jsonl(tmp_path / "texts.jsonl", [{"text": "one two", "spans": [[0, 3]]}] * 3)
    for path, flags, needle in (
        (texts, ["--add_generation_prompt"], "no conversations"),
        (chats, ["--special_tokens", "text"], "--special_tokens text"),
    ):
        result = call("prepare_data", "--task", "spans", "--input", path, "--model_name", chat_model,
                      "--output_dir", tmp_path, *flags)  # fmt: skip
        assert_one_line_error(result, needle)


def test_empty_conversations_are_counted_and_left_out(chat_model, tmp_path):
    rows = [*ROWS, {**ROWS[0], "id": "a", "messages": [], "spans": []},
            {**ROWS[0], "id": "b", "messages": [{"role": "user", "content": " "}], "spans": []}]  # fmt: skip
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    for task in ("spans", "documents"):
        assert "2 empty texts" in prepared(tmp_path / task, task, path, chat_model).stdout


@pytest.mark.parametrize("task", ["spans", "documents"])
def test_conversations_run_through_all_steps(chats, chat_model, tmp_path, task):
    data, models, results = (tmp_path / name for name in ("data", "models", "results"))
    result = prepared(data, task, chats, chat_model)
    assert "of 30 texts spell some out" in result.stdout and "30 conversations" in result.stdout
    shown = assert_success(call("inspect_data", "--data_path", data / "train.pth")).stdout
    assert "⟪<s>⟫⟪<|im_start|>⟫" in shown
    train = ["--train_data", data / "train.pth", "--layer_sweep", "all", "--no_wandb", "--output_dir", models]
    more = ["--negatives_per_doc", 16, "--lags", "0,-1"] if task == "spans" else []
    assert_success(call("train_probe", *train, "--results_dir", results, "--probe", "logistic,mass_mean", *more))
    rows = pd.read_csv(results / "probe_metrics.csv")
    assert rows["auc"].notna().any()
    assert_success(call("evaluate_probe", "--probe_dir", models, "--data", data / "test.pth", "--results_dir", results))
    if task == "spans":  # whole sequences have no page
        page = ["--target", "said", "--lag", 0, "--output", tmp_path / "page.html"]
        written = assert_success(call("visualize_probe", "--probe_dir", models, *page)).stdout
        sequences = per_target(load_sequences(data / "test.pth"))[0]
        assert f"{int((sequences.text_ends - sequences.text_start).sum()):,} tokens" in written
        assert len(pd.read_csv(results / "document_scores.csv"))
    assert_success(call("visualize_results", "--results_dir", results))


def test_the_page_shows_the_logits_of_transformers_own_states(chats, chat_model, tmp_path):
    """With another frame, or special tokens as text, the states would be others."""
    import torch
    from transformers import AutoModelForCausalLM

    from shown_page import Page

    prepared(tmp_path / "data", "spans", chats, chat_model, "--label", "said")
    where = ["--train_data", tmp_path / "data" / "train.pth", "--output_dir", tmp_path / "models", "--results_dir", tmp_path]
    assert_success(call("train_probe", *where, "--layer", 1, "--probe", "mass_mean", "--no_wandb"))
    assert_success(call("visualize_probe", "--probe_dir", tmp_path / "models", "--output", tmp_path / "page.html"))
    (path,) = (tmp_path / "models").glob("probe_*.pth")
    probe = torch.load(path, weights_only=True)["state_dict"]
    model, expected = AutoModelForCausalLM.from_pretrained(chat_model), []
    test = load_sequences(tmp_path / "data" / "test.pth")
    for name in np.array(test.document_names)[np.unique(test.documents)]:
        ids = chat_data.applied(chat_model, OF_ID[name]["messages"])
        with torch.inference_mode():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[2][0]
        expected.append((states @ probe["weight"] + probe["bias"])[1:].numpy())
    shown = Page(tmp_path / "page.html").logits[0]
    assert sorted(shown.tolist()) == pytest.approx(sorted(np.concatenate(expected).tolist()), abs=1e-3)


def test_a_template_that_writes_the_date_is_named(chats, tiny_model, tmp_path):
    template = "{{ strftime_now('%Y') }}" + chat_data.CHATML
    model = chat_data.with_template(tmp_path / "model", tiny_model, template)
    assert "can write today's date" in prepared(tmp_path, "spans", chats, model).stdout
