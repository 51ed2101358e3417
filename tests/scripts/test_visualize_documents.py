"""The page of probes that judge whole texts: every score against transformers' own states, every truth against the file."""

import json

import numpy as np
import pytest
import torch

from helpers import assert_one_line_error, assert_success, call, write_jsonl
from shown_page import Page, unpack
from utils.base.files import WriteTogether
from utils.saved.probe_files import load_probe, save_probe

PROBE = "probe_layer{}_current_logistic.pth"
WIDTH = 24  # tokens that are read of a text: some are longer


@pytest.fixture(scope="module")
def rows():
    """48 texts of a kind and of another, long and short."""
    random = np.random.default_rng(0)
    kinds = (["dog", "cat", "bird", "bear"], ["ball", "box", "car", "boat"])

    def text(number):
        nouns = random.choice(kinds[number % 2], size=2 + number % 9)
        return " ".join(f"Tim saw a big {noun}." for noun in nouns) + f" He ran {number} times."

    return [{"text": text(number), "label": int(number % 2 == 0), "name": f"row {number}"} for number in range(48)]


@pytest.fixture(scope="module")
def prepared(rows, tmp_path_factory, stories260K):
    """(the folder of the data, the table that they are from)"""
    folder = tmp_path_factory.mktemp("documents")
    source = write_jsonl(folder / "rows.jsonl", rows)
    flags = ("--task", "documents", "--input", source, "--model_name", stories260K, "--context_length", WIDTH - 1)
    assert_success(call("prepare_data", *flags, "--output_dir", folder / "data"))
    return folder / "data", source


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """{pool: folder of its probes}"""
    folder, found = tmp_path_factory.mktemp("trained"), {}
    for pool in ("last", "mean", "max"):
        found[pool] = folder / pool / "models"
        flags = ("--probe", "logistic", "--layer_sweep", "0,4", "--pool", pool, "--no_wandb", "--output_dir", found[pool])
        result = call(
            "train_probe", "--train_data", prepared[0] / "train.pth", "--results_dir", folder / pool / "results", *flags
        )
        assert f"visualize_probe.py --probe_dir {found[pool]}" in assert_success(result).stdout
    return found


def show(probe_dir, folder, *more):
    output = folder / "page.html"
    result = assert_success(call("visualize_probe", "--probe_dir", probe_dir, "--output", output, *more))
    return Page(output), result


def levels_of(page):
    """(logits of the texts [layers, texts], of each text's tokens [layers, tokens])"""
    count = len(page.data["texts"])
    tokens = page.logits[:, count:]
    return page.logits[:, :count], [tokens[:, text["from"] : text["to"]] for text in page.data["texts"]]


def states_of(model_folder, text):
    """(token ids as they are read, float32 states [tokens, hidden_size] after block 0 and 4, by transformers alone)"""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(model_folder)(text, add_special_tokens=False)["input_ids"][:WIDTH]
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        hidden = model(input_ids=torch.tensor([[1, *ids]]), output_hidden_states=True).hidden_states
    block4 = {}
    handle = model.model.layers[4].register_forward_hook(
        lambda module, given, output: block4.update(state=output[0] if isinstance(output, tuple) else output)
    )
    with torch.inference_mode():
        model(input_ids=torch.tensor([[1, *ids]]))
    handle.remove()
    return ids, {0: hidden[1][0, 1:], 4: block4["state"].reshape(1, len(ids) + 1, -1)[0, 1:]}


POOLED = {
    "last": lambda states: states,
    "mean": lambda states: states.cumsum(0) / torch.arange(1, len(states) + 1)[:, None],
    "max": lambda states: states.cummax(0).values,
}


@pytest.mark.parametrize("pool", POOLED)
def test_scores_of_texts_and_tokens_are_those_of_the_models_own_states(pool, trained, rows, stories260K, tmp_path):
    page, _ = show(trained[pool], tmp_path)
    scores, of_tokens = levels_of(page)
    by_start = {text["name"]: place for place, text in enumerate(page.data["texts"])}
    assert page.names == ["layer0", "layer4"] and 3 <= len(by_start) < len(rows)
    longest = 0
    for name, place in by_start.items():
        row = rows[int(name.split(":")[-1]) - 1 if ":" in name else int(name)]
        ids, states = states_of(stories260K, row["text"])
        longest = max(longest, len(ids))
        for at, layer in enumerate((0, 4)):
            probe = load_probe(trained[pool] / PROBE.format(layer))["state_dict"]
            running = (POOLED[pool](states[layer]) @ probe["weight"] + probe["bias"]).numpy()
            own = (states[layer] @ probe["weight"] + probe["bias"]).numpy()
            step = max(page.views[0]["step"], page.views[0]["tokenStep"])
            np.testing.assert_allclose(scores[at, place], running[-1], atol=5e-4 + step)
            np.testing.assert_allclose(of_tokens[place][at], own if pool == "mean" else running, atol=5e-4 + step)
            if pool == "mean":
                assert abs(of_tokens[place][at].mean() - scores[at, place]) < 1e-3 + step
    assert longest == WIDTH, "some texts are cut where training cut them"


def test_the_truth_is_the_files_and_only_the_test_texts_are_shown(trained, prepared, rows, tmp_path):
    page, _ = show(trained["last"], tmp_path)
    data = torch.load(prepared[0] / "test.pth", weights_only=True)
    names = {data["metadata"]["documents"][number] for number in data["documents"].tolist()}
    assert {text["name"] for text in page.data["texts"]} == names
    assert {text["note"] for text in page.data["texts"]} == {"of the test split"}
    for truth, text in zip(page.truth, page.data["texts"], strict=True):
        shown = "".join(page.tokens[text["from"] : text["to"]]).replace("▁", " ").strip()
        row = next(row for row in rows if row["text"].startswith(shown))
        assert truth == row["label"]
    positives = int((page.truth == 1).sum())
    assert 0 < positives < len(names)
    assert f"{len(names)} texts with {len(page.tokens)} tokens, {positives} of them positive" in page.source


def test_texts_of_ones_own_are_cut_alike_and_nothing_is_known_of_them(trained, tmp_path, stories260K):
    path = write_jsonl(
        tmp_path / "mine.jsonl", [{"text": f"Tim saw a dog. {'He ran. ' * number}"} for number in range(1, 9)]
    )
    page, result = show(trained["mean"], tmp_path, "--text_file", path)
    lengths = [text["to"] - text["from"] for text in page.data["texts"]]
    assert max(lengths) == WIDTH and len(lengths) == 8 and set(page.truth.tolist()) == {-1}
    assert "their truth unknown" in page.source and "note: 8 of 8 texts: not among the probes" in result.stdout


def test_fewer_texts_are_said_to_be_a_part(trained, tmp_path):
    page, result = show(trained["last"], tmp_path, "--num_texts", 2)
    assert len(page.data["texts"]) == 2 and "2 of its texts, as good as drawn; show more with --num_texts" in result.stdout


def test_windows_are_refused_and_probes_of_another_pooling_are_left_out(trained, tmp_path):
    result = call("visualize_probe", "--probe_dir", trained["last"], "--output", tmp_path / "x.html", "--window", 8)
    assert_one_line_error(result, "--window and --overlap", "leave them out", status=2)
    together = tmp_path / "together"
    together.mkdir()
    for pool, layer in (("last", 0), ("mean", 4)):
        for path in [trained[pool] / PROBE.format(layer), *trained[pool].glob("texts_*.json")]:
            (together / path.name).write_bytes(path.read_bytes())
    page, result = show(together, tmp_path)
    assert len(page.names) == 1 and ("of --pool mean" in result.stdout) != ("of --pool last" in result.stdout)


def test_a_file_that_is_gone_is_one_line(trained, prepared, tmp_path):
    source = prepared[1]
    kept = source.read_bytes()
    source.unlink()
    try:
        result = call("visualize_probe", "--probe_dir", trained["last"], "--output", tmp_path / "x.html")
    finally:
        source.write_bytes(kept)
    assert_one_line_error(result, str(source), "--text_file")


def test_pooled_probes_of_tokens_are_shown_token_by_token(tmp_path, stories260K):
    """Spans: each token has the value of the mean of the states up to it."""
    words = ["dog", "cat", "ball", "box"]
    rows = [
        {"text": f"Tim saw a {words[number % 4]}. He ran and ran.", "spans": [[10, 10 + len(words[number % 4])]]}
        for number in range(24)
    ]
    for number, row in enumerate(rows):
        row["text"] = row["text"].replace("ran.", f"ran {number}.")
    source = write_jsonl(tmp_path / "spans.jsonl", rows)
    flags = ("--task", "spans", "--input", source, "--model_name", stories260K, "--context_length", 64)
    assert_success(call("prepare_data", *flags, "--output_dir", tmp_path / "data"))
    flags = (
        "--probe",
        "logistic",
        "--layer_sweep",
        "0",
        "--pool",
        "mean",
        "--no_wandb",
        "--output_dir",
        tmp_path / "models",
    )
    assert_success(
        call("train_probe", "--train_data", tmp_path / "data" / "train.pth", "--results_dir", tmp_path / "results", *flags)
    )
    page, _ = show(tmp_path / "models", tmp_path)
    assert page.data["whole"] is None and "the mean of the states" in json.dumps(page.views[0]["notes"])
    probe = load_probe(tmp_path / "models" / PROBE.format(0))["state_dict"]
    text = page.data["texts"][0]
    shown = "".join(page.tokens[text["from"] : text["to"]]).replace("▁", " ").strip()
    _, states = states_of(stories260K, shown)
    expected = (POOLED["mean"](states[0]) @ probe["weight"] + probe["bias"]).numpy()
    np.testing.assert_allclose(page.logits[0, text["from"] : text["to"]], expected, atol=5e-4 + page.views[0]["step"])
    assert unpack(page.data["truths"][0], "<i1").sum() > 0


def test_of_several_targets_each_has_its_turn_and_others_texts_are_left_out(tmp_path, stories260K):
    """One target has 60 texts and the other 12: of few texts each has half."""
    names = {"many": 60, "few": 12}
    for tag, count in names.items():
        lines = [f'"Tim saw {tag} dog number {number}.",{number % 2}' for number in range(count)]
        (tmp_path / f"{tag}.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    head = "number,source,name,tag,save_name,Probe from,Probe to,Data type,probe from extraction,probe to extraction"
    each = "{0}.csv,{0},{0},{0}.csv,text,label,Binary Classification,col,col == 1"
    lines = [head, *(f"{number},{each.format(tag)}" for number, tag in enumerate(names))]
    (tmp_path / "main.csv").write_text("\n".join(lines), encoding="utf-8")
    flags = ("--task", "documents", "--input", tmp_path / "main.csv", "--model_name", stories260K)
    assert_success(call("prepare_data", *flags, "--output_dir", tmp_path / "data"))
    flags = ("--probe", "mass_mean", "--layer_sweep", "0", "--no_wandb", "--output_dir", tmp_path / "models")
    flags += ("--train_data", tmp_path / "data" / "train.pth", "--results_dir", tmp_path / "results")
    assert_success(call("train_probe", *flags))
    page, _ = show(tmp_path / "models", tmp_path, "--num_texts", 4)
    assert sorted(name.split(":")[0] for name in (text["name"] for text in page.data["texts"])) == ["few"] * 2 + ["many"] * 2
    page, result = show(tmp_path / "models", tmp_path, "--target", "few")
    assert {text["name"].split(":")[0] for text in page.data["texts"]} == {"few"} and (page.truth >= 0).all()
    assert "as good as drawn" not in result.stdout
    lines = (tmp_path / "few.csv").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(f'"{text_of(page, 0)}')]
    (tmp_path / "few.csv").write_text("\n".join(kept), encoding="utf-8")
    assert len(kept) == len(lines) - 1
    _, result = show(tmp_path / "models", tmp_path, "--target", "few")
    assert "1 of " in result.stdout and "test texts are not in" in result.stdout


def text_of(page, at):
    text = page.data["texts"][at]
    return "".join(page.tokens[text["from"] : text["to"]]).replace("▁", " ").strip()


def test_files_of_before_tell_less_and_are_read_within_what_the_model_can(trained, tmp_path, stories260K):
    """No pool, length, side or scores: the model's positions bound a text, and no layer is called chosen."""
    folder = tmp_path / "old"
    folder.mkdir()
    left = ("pool", "context_length", "truncation_side", "chosen_by", "validation_curve", "metrics")
    for path in trained["last"].glob("probe_*.pth"):
        probe = load_probe(path)
        metadata = {name: value for name, value in probe["metadata"].items() if name not in left}
        metadata |= {"pool": None, "prevalence": float("nan")}
        with WriteTogether() as files:
            save_probe(files, folder / path.name, probe["state_dict"], metadata)
    long = write_jsonl(tmp_path / "long.jsonl", [{"text": "Tim saw a big dog. " * 300}])
    page, result = show(folder, tmp_path, "--text_file", long)
    limit = 512  # positions, one of them for the token before a text
    assert len(page.tokens) == limit - 1 and page.views[0]["chosen"] == -1 and page.views[0]["prevalence"] is None
    assert "the page opens on the last layer, as no scores on validation are known: layer4" in result.stdout
    for name, value, said in (("pool", "median", "--pool median"), ("context_length", "x", "context_length")):
        other = tmp_path / name
        other.mkdir()
        for path in folder.glob("probe_*.pth"):
            probe = load_probe(path)
            with WriteTogether() as files:
                save_probe(files, other / path.name, probe["state_dict"], probe["metadata"] | {name: value})
        result = call("visualize_probe", "--probe_dir", other, "--text_file", long, "--output", tmp_path / "x.html")
        assert_one_line_error(result, said)


def test_a_text_without_room_is_passed_over_and_the_first_is_shown_however_long(trained, tmp_path):
    page, result = show(trained["last"], tmp_path, "--num_tokens", 1)
    assert len(page.data["texts"]) == 1 and "1 of its texts" in result.stdout
    path = write_jsonl(tmp_path / "mine.jsonl", [{"text": "Tim saw a dog."}, {"text": "He ran. " * 9}, {"text": "A cat."}])
    page, result = show(trained["last"], tmp_path, "--text_file", path, "--num_tokens", 16)
    shown = ["".join(page.tokens[text["from"] : text["to"]]).replace("▁", " ").strip() for text in page.data["texts"]]
    assert sorted(shown) == ["A cat.", "Tim saw a dog."] and "2 of its texts, the first that" in result.stdout
    _, result = show(trained["last"], tmp_path, "--text_file", path)
    assert "of its texts" not in result.stdout
