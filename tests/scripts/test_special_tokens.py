"""What stands around a text, and special tokens that texts spell out, from prepare_data to the page."""

import json

import numpy as np
import pytest

from helpers import assert_one_line_error, assert_success, call, part_of, prose, write_jsonl
from utils.data.sequences import SPLITS, load_sequences

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spelling(tmp_path_factory):
    """Texts of which every third spells out special tokens; the spans mark a word."""
    rows = []
    for number in range(30):
        text = prose(number, 60)
        if number % 3 == 0:
            text = f"They wrote <s> and </s> there. {text}"
        place = text.index(" the ", 40) + 1
        rows.append({"text": text, "spans": [[place, place + 3]], "id": str(number)})
    return write_jsonl(tmp_path_factory.mktemp("spelling") / "spelling.jsonl", rows)


def prepared_with(folder, model, path, *more):
    return assert_success(
        call("prepare_data", "--task", "spans", "--input", path, "--model_name", model, "--output_dir", folder, *more)
    )


def whole_ids(folder):
    """{document: ids of its only sequence}"""
    found = {}
    for split in SPLITS:
        sequences = load_sequences(folder / f"{split}.pth")
        for row, length in enumerate(sequences.lengths):
            found[sequences.document_names[sequences.documents[row]]] = sequences.input_ids[row, :length].tolist()
    return found


@pytest.mark.parametrize("read_as", ["text", "encode"])
def test_the_ids_are_those_of_transformers_own_call(spelling, tiny_model, tmp_path, read_as):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    result = prepared_with(tmp_path, tiny_model, spelling, "--special_tokens", read_as)
    texts = {row["id"]: row["text"] for row in map(json.loads, spelling.read_text(encoding="utf-8").splitlines())}
    for name, ids in whole_ids(tmp_path).items():
        assert ids == tokenizer(texts[name], split_special_tokens=read_as == "text")["input_ids"]
        assert (ids.count(tokenizer.bos_token_id) == 2) == (read_as == "encode" and int(name) % 3 == 0)
    metadata = json.loads((tmp_path / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["special_tokens"]["texts_that_spell_some_out"] == 10
    assert metadata["source"]["special_tokens"] == read_as
    assert "10 of 30 texts spell some out" in result.stdout
    assert ("read as text" in result.stdout) == (read_as == "text")


def test_inspect_data_tells_special_tokens_from_text_that_spells_them_out(spelling, tiny_model, tmp_path):
    shown = {}
    for read_as in ("text", "encode"):
        prepared_with(tmp_path / read_as, tiny_model, spelling, "--special_tokens", read_as, "--overlap", 0)
        shown[read_as] = assert_success(
            call("inspect_data", "--data_path", tmp_path / read_as / "train.pth", "--num_samples", 200)
        ).stdout
    assert "<s> before and nothing after every text; inside texts none" in shown["text"]
    assert "inside texts <s> 8, </s> 8" in shown["encode"]
    for output in shown.values():
        assert "They wrote <s> and" in output.replace("⟪<s>⟫", "<s>")
    assert "⟪<s>⟫They wrote <s> and </s>" in shown["text"]
    assert "⟪<s>⟫They wrote ⟪<s>⟫ and ⟪</s>⟫" in shown["encode"]


def test_running_text_is_counted_and_encoded_too(texts, tiny_model, tmp_path):
    for number in range(8):
        text = prose(number, 1500)
        (tmp_path / f"{number}.txt").write_text(text.replace(" the ", " the </s> ") if number < 2 else text)
    ends = {}
    for read_as in ("text", "encode"):
        folder = tmp_path / read_as
        result = assert_success(
            call("prepare_data", "--dataset", tmp_path, "--model_name", tiny_model, "--output_dir", folder,
                 "--context_length", 32, "--special_tokens", read_as)
        )  # fmt: skip
        assert "2 of 8 texts spell some out (</s> 2)" in result.stdout
        ends[read_as] = sum((load_sequences(folder / f"{split}.pth").input_ids == 1).sum() for split in SPLITS)
        assert_success(call("inspect_data", "--data_path", folder / "train.pth"))
    assert ends["text"] == 0 < ends["encode"]


def test_the_page_reads_special_tokens_as_the_probes_data_do(spelling, tiny_model, tmp_path):
    """Otherwise it would show the states of other tokens than those the probes were trained on."""
    prepared_with(tmp_path / "data", tiny_model, spelling, "--special_tokens", "encode")
    own, page = tmp_path / "mine.txt", tmp_path / "page.html"
    own.write_text("He wrote </s> here.")
    data = tmp_path / "data" / "train.pth"
    assert_success(call("train_probe", "--train_data", data, "--layer", 1, "--probe", "mass_mean", "--no_wandb",
                        "--output_dir", tmp_path / "models", "--results_dir", tmp_path / "results"))  # fmt: skip
    assert_success(call("visualize_probe", "--probe_dir", tmp_path / "models", "--text_file", own, "--output", page))
    assert "&lt;/s&gt;" in page.read_text() or "\\u003c/s" in page.read_text()
    tokens = len(encoded(tiny_model, own.read_text()))
    assert (
        f"{tokens} tokens"
        in assert_success(
            call("visualize_probe", "--probe_dir", tmp_path / "models", "--text_file", own, "--output", page)
        ).stdout
    )


def encoded(model, text):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model)(text, add_special_tokens=False)["input_ids"]


def test_a_tokenizer_without_english_letters_puts_its_special_tokens_where_its_own_call_does(shared_data, tmp_path):
    """[CLS] was put after the text, and every check passed."""
    import runpy

    import torch

    torch.manual_seed(0)
    runpy.run_path(str(part_of(shared_data, "cases") / "models.py"))["CASES"]["dna"](tmp_path)
    assert_success(
        call("prepare_data", "--task", "documents", "--input", tmp_path / "dna.csv", "--model_name", tmp_path,
             "--output_dir", tmp_path / "data")
    )  # fmt: skip
    sequences = load_sequences(tmp_path / "data" / "train.pth")
    assert (sequences.input_ids[:, 0] == 0).all()
    assert (sequences.input_ids[np.arange(len(sequences)), sequences.lengths - 1] == 1).all()
    shown = assert_success(call("check_setup", "--model_name", tmp_path)).stdout
    assert "[CLS] before and [SEP] after a text, each once in 8 sequences" in shown
    assert "8 sequences of 26 to 33 tokens" in shown  # English would leave 2 or 3 of each


def test_a_tokenizer_whose_own_call_gives_other_ids_is_refused(spelling, tiny_model, tmp_path, monkeypatch):
    from transformers import PreTrainedTokenizerFast

    own_call = PreTrainedTokenizerFast.__call__

    def doubled(self, text, *more, **options):
        found = own_call(self, text, *more, **options)
        if isinstance(text, str) and len(text) > 100:
            found["input_ids"] = [*found["input_ids"], self.eos_token_id]
        return found

    monkeypatch.setattr(PreTrainedTokenizerFast, "__call__", doubled)
    result = call("prepare_data", "--task", "spans", "--input", spelling, "--model_name", tiny_model,
                  "--output_dir", tmp_path)  # fmt: skip
    assert_one_line_error(result, "gives other ids for", "[1]")
