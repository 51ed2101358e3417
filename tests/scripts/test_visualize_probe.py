"""Saved probes on a text: each token's logit is that of its state, colour lies on the token that is asked for."""

import json
import re
import sys

import numpy as np
import pytest
import torch

from helpers import assert_one_line_error, assert_success, call, make_model, make_tokenizer, prose, run_script
from shown_page import Page, unpack
from utils.base.files import WriteTogether
from utils.data.windows import overlapping_windows
from utils.pages.probe_page import BLANK
from utils.saved.probe_files import load_probe, save_probe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prepared):
    """Folder of probes of the tiny model at every layer, for the next token, and its results."""
    folder = tmp_path_factory.mktemp("trained")
    assert_success(
        call(
            "train_probe",
            "--train_data",
            prepared / "train.pth",
            "--layer_sweep",
            "all",
            "--epochs",
            "2",
            "--no_wandb",
            "--output_dir",
            folder / "models",
            "--results_dir",
            folder / "results",
        )
    )
    return folder / "models"


@pytest.fixture
def essay(tmp_path):
    path = tmp_path / "essay.txt"
    path.write_text(prose(50, 700), encoding="utf-8")
    return path


def show(probe_dir, essay, *more):
    output = essay.parent / "page.html"
    result = call("visualize_probe", "--probe_dir", probe_dir, "--text_file", essay, "--output", output, *more)
    return Page(output), assert_success(result)


def names_of(path):
    """The names of the texts that a page shows."""
    return [text["name"] for text in Page(path).data["texts"]]


def true_logits(model_folder, probe_dir, ids, start, names):
    """What transformers itself gives: the window ids[start:], <s> before it, every state times every probe's weight."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        out = model.model(input_ids=torch.tensor([[0, *ids]]), output_hidden_states=True)
    last = len(model.model.layers) - 1
    found = []
    for name in names:
        probe = load_probe(probe_dir / f"probe_{name}_next.pth")
        if name == f"layer{last}":  # transformers gives the normed state in its place
            found.append(None)
            continue
        states = {"embed": out.hidden_states[0], "final_norm": out.last_hidden_state}.get(name)
        states = out.hidden_states[int(name[5:]) + 1] if states is None else states
        found.append((states[0, 1:] @ probe["state_dict"]["weight"] + probe["state_dict"]["bias"]).numpy())
    return found


def test_each_token_gets_the_logit_of_the_state_before_it(trained, tiny_model, essay):
    page, _ = show(trained, essay, "--num_tokens", "200")
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(tiny_model)(essay.read_text(), add_special_tokens=False)["input_ids"][:200]
    assert page.names == ["embed", "layer0", "layer1", "layer2", "final_norm"]
    assert len(page.tokens) == page.logits.shape[1] == 200
    truths = true_logits(tiny_model, trained, ids, 0, page.names)
    assert [truth is None for truth in truths] == [False, False, False, True, False]
    for row, truth in zip(page.logits, truths, strict=True):
        assert np.isnan(row[0]) and np.isfinite(row[1:]).all()  # nothing stands before the first token
        if truth is not None:
            np.testing.assert_allclose(row[1:], truth[:-1], atol=2e-4)
            assert np.abs(row[1:] - truth[1:]).max() > 0.1  # and not that of the state at the token


def test_the_models_own_probability_is_that_of_its_head(trained, tiny_model, essay):
    page, _ = show(trained, essay, "--num_tokens", "200")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    the = load_probe(trained / "probe_embed_next.pth")["metadata"]["token"]
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([[0, *page.ids]])).logits[0, 1:-1].softmax(-1)[:, the].numpy()
    own = page.data["own"]
    levels = unpack(own["logits"], "<u2").astype(float)
    found = 1 / (1 + np.exp(-(own["low"] + own["step"] * levels)))
    assert levels[0] == BLANK and len(levels) == len(page.tokens) == 200
    np.testing.assert_allclose(found[1:], expected, rtol=2e-3)
    assert np.abs(found[1:-1] / expected[1:] - 1).max() > 0.02  # and not that of the token after


def test_the_models_own_probability_is_there_whichever_probes_come_first(trained, tmp_path, essay):
    """Probes of another lag did better on validation; those of the next token stand beside them."""
    probe = load_probe(trained / "probe_layer1_next.pth")
    better = {**probe["metadata"], "lag": 0, "metrics": {"val": {"auc": 1.0, "balanced_accuracy": 1.0}}}
    with WriteTogether() as files:
        save_probe(files, tmp_path / "both" / "probe_next.pth", probe["state_dict"], probe["metadata"])
        save_probe(files, tmp_path / "both" / "probe_current.pth", probe["state_dict"], better)
    page, _ = show(tmp_path / "both", essay, "--num_tokens", "50")
    assert [view["lag"] for view in page.views] == [0, -1] and page.data["own"]["lag"] == -1
    assert "own" not in show(tmp_path / "both", essay, "--num_tokens", "50", "--lag", "0")[0].data


def test_the_text_the_truth_and_the_thresholds_are_those_of_the_files(trained, tiny_model, essay):
    page, _ = show(trained, essay, "--num_tokens", "200")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    ids = tokenizer(essay.read_text(), add_special_tokens=False)["input_ids"][:200]
    assert "".join(page.tokens).replace("↵", "") == tokenizer.decode(ids)
    the = load_probe(trained / "probe_embed_next.pth")["metadata"]["token"]
    expected = [token == the for token in ids]
    assert page.targets == expected == (page.truth == 1).tolist()
    assert any(expected) and not all(expected)
    for layer in page.views[0]["layers"]:
        assert layer["threshold"] == load_probe(trained / f"probe_{layer['name']}_next.pth")["metadata"]["threshold"]


def test_a_long_text_is_read_in_windows_and_each_state_is_that_of_its_window(trained, tiny_model, essay):
    page, _ = show(trained, essay, "--num_tokens", "150", "--window", "40", "--overlap", "30", "--batch_size", "3")
    whole, _ = show(trained, essay, "--num_tokens", "150", "--window", "150")
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(tiny_model)(essay.read_text(), add_special_tokens=False)["input_ids"][:150]
    for window in overlapping_windows(150, 40, 30, causal=True):
        truth = true_logits(tiny_model, trained, ids[window.start : window.end], 0, page.names)[1]
        inside = slice(window.keep_from - window.start, window.keep_to - window.start)
        asked = slice(window.keep_from + 1, min(window.keep_to + 1, 150))
        np.testing.assert_allclose(page.logits[1, asked], truth[inside][: asked.stop - asked.start], atol=2e-4)
    assert np.abs(page.logits[1, 60:] - whole.logits[1, 60:]).max() > 1e-3  # the window was felt


@pytest.mark.parametrize("lag, where", [(0, 0), (-1, 1), (-3, 3), (2, -2)])
def test_colour_lies_on_the_token_that_is_asked_for(lag, where, tiny_model, trained, tmp_path, essay):
    """A probe that knows one token by its embedding: what it says lands `lag` tokens away from that token."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    known = tokenizer(" a", add_special_tokens=False)["input_ids"][0]
    table = AutoModelForCausalLM.from_pretrained(tiny_model).get_input_embeddings().weight.detach()
    weight = 10 * table[known] / table[known].square().sum()
    metadata = {**load_probe(trained / "probe_embed_next.pth")["metadata"], "lag": lag, "threshold": 0.0}
    with WriteTogether() as files:
        save_probe(files, tmp_path / "own" / "probe_embed.pth", {"weight": weight, "bias": -8.0}, metadata)
    ids = np.array(tokenizer(essay.read_text(), add_special_tokens=False)["input_ids"][:300])
    clear = (table[ids] @ weight > 8).numpy()
    assert (clear == (ids == known)).all() and clear.sum() > 3
    page, _ = show(tmp_path / "own", essay, "--num_tokens", "300")
    expected = np.full(300, -1.0)
    at = np.flatnonzero(ids == known) + where
    expected[at[(at >= 0) & (at < 300)]] = 1
    said = np.sign(page.logits[0])
    readable = (np.arange(300) + lag >= 0) & (np.arange(300) + lag < 300)
    assert (np.isnan(page.logits[0]) == ~readable).all()
    assert (said[readable] == expected[readable]).all()


def test_only_texts_that_were_kept_from_training_are_shown(trained, prepared, texts, essay):
    output = essay.parent / "own.html"
    result = assert_success(call("visualize_probe", "--probe_dir", trained, "--output", output, "--num_tokens", "3000"))
    shown = names_of(output)
    test = torch.load(prepared / "test.pth", weights_only=True)
    names = {test["metadata"]["documents"][index] for index in test["documents"].unique()}
    assert shown and set(shown) <= names
    assert "of the test split" in output.read_text(encoding="utf-8") and "not known" not in result.stdout


def test_what_was_trained_on_is_told_by_the_text_itself_whatever_its_name(trained, prepared, texts, tmp_path):
    splits = {name: torch.load(prepared / f"{name}.pth", weights_only=True) for name in ("train", "val", "test")}
    names = {name: data["metadata"]["documents"][int(data["documents"][0])] for name, data in splits.items()}
    expected = {
        "train": "seen in training",
        "val": "seen when epochs and thresholds were chosen",
        "test": "of the test split",
    }
    for split, note in expected.items():
        text = (texts / names[split]).read_text(encoding="utf-8")
        renamed = tmp_path / f"{names['test']}"  # the name of a test document says nothing
        renamed.write_text(text, encoding="utf-8")
        page, result = show(trained, renamed, "--num_tokens", "50")
        assert [text["note"] for text in page.data["texts"]] == [note]
        assert (f"note: 1 of 1 texts: {note}" in result.stdout) == (split != "test")
        renamed.write_text(text + " One word more.", encoding="utf-8")
        assert "not among the probes" in show(trained, renamed, "--num_tokens", "50")[0].source
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "only.txt").write_text((texts / names["train"]).read_text(encoding="utf-8"), encoding="utf-8")
    page, _ = show(trained, moved / "only.txt", "--num_tokens", "50")
    assert "seen in training" in page.source


def test_the_dataset_is_read_as_it_was_prepared_and_a_changed_one_is_no_test(tmp_path, tiny_model):
    rows = [{"body": prose(seed, 500)} for seed in range(8)]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert_success(
        call(
            "prepare_data",
            "--dataset",
            source,
            "--text_column",
            "body",
            "--model_name",
            tiny_model,
            "--context_length",
            "16",
            "--output_dir",
            tmp_path / "data",
        )
    )
    assert_success(
        call(
            "train_probe",
            "--train_data",
            tmp_path / "data" / "train.pth",
            "--layer",
            "0",
            "--epochs",
            "1",
            "--no_wandb",
            "--output_dir",
            tmp_path / "models",
            "--results_dir",
            tmp_path / "results",
        )
    )
    output = tmp_path / "page.html"
    flags = ("--probe_dir", tmp_path / "models", "--output", output, "--num_tokens", "3000")
    result = assert_success(call("visualize_probe", *flags))
    first = names_of(output)
    test = torch.load(tmp_path / "data" / "test.pth", weights_only=True)
    assert set(first) <= {test["metadata"]["documents"][index] for index in test["documents"].unique()}
    assert "note: 1" not in result.stdout
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    source.write_text("".join(reversed(lines)), encoding="utf-8")  # names change, texts stay
    assert_success(call("visualize_probe", *flags))
    again = names_of(output)
    number = [int(name.rpartition(":")[2]) for name in (first[0], again[0])]
    assert sum(number) == len(rows) + 1
    source.write_text("".join(json.dumps({"body": row["body"] + "!"}) + "\n" for row in rows), encoding="utf-8")
    assert_one_line_error(call("visualize_probe", *flags), "none of the texts that were kept from training")


def test_all_that_belongs_together_is_shown_and_the_rest_is_named(trained, tmp_path, tiny_tokenizer, essay):
    folder = tmp_path / "mixed"
    shapes = {"hidden.weight": (2, 32), "hidden.bias": 2, "out.weight": 2, "out.bias": ()}
    of_two_units = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for index, (name, changes) in enumerate(
        [
            ("probe_layer0_next.pth", {}),
            ("probe_layer1_next.pth", {"model": "other/model", "model_fingerprint": "f00"}),
            ("probe_layer0_next.pth", {"lag": 0}),
            ("probe_layer2_next.pth", {"target": " and"}),
            ("probe_layer2_next.pth", {"seed": 7}),
            ("probe_layer1_next.pth", {"dataset_fingerprint": "d00"}),
            ("probe_layer1_next.pth", {"kind": "mlp"}),
        ]
    ):
        probe = load_probe(trained / name)
        with WriteTogether() as files:
            state = of_two_units if changes.get("kind") == "mlp" else probe["state_dict"]
            save_probe(files, folder / f"probe_{index}.pth", state, {**probe["metadata"], **changes})
    page, result = show(folder, essay, "--num_tokens", "50")
    shown = {(view["target"], view["lag"], view["seed"]): [layer["name"] for layer in view["layers"]] for view in page.views}
    assert shown == {
        ("␣the", -1, 0): ["layer0"],
        ("␣the", 0, 0): ["layer0"],
        ("␣and", -1, 0): ["layer2"],
        ("␣the", -1, 7): ["layer2"],
    }
    lines = [line for line in result.stdout.splitlines() if line.startswith("left out")]
    needles = {1: "another model, other/model (f00)", 5: "another dataset (d00)", 6: "kind 'mlp'"}
    assert len(lines) == len(needles)
    for number, needle in needles.items():
        assert any(f"probe_{number}.pth" in line and needle in line for line in lines), lines
    only, result = show(folder, essay, "--lag", "0")
    assert [view["lag"] for view in only.views] == [0] and "Is this token" in only.views[0]["question"]
    assert "of another lag than was asked for" in result.stdout


def test_a_page_that_would_be_too_large_has_what_fits(trained, tmp_path, essay):
    folder = tmp_path / "two"
    for seed in (0, 1):
        probe = load_probe(trained / "probe_layer0_next.pth")
        with WriteTogether() as files:
            save_probe(files, folder / f"probe_{seed}.pth", probe["state_dict"], {**probe["metadata"], "seed": seed})
    page, result = show(folder, essay, "--num_tokens", "300", "--max_page_mb", "0.001")
    assert len(page.views) == 1 and "for which --max_page_mb 0.001 has no room" in result.stdout
    assert len(show(folder, essay, "--num_tokens", "300")[0].views) == 2


def test_a_lag_that_no_probe_has_is_named(trained, essay):
    folder = trained
    output = essay.parent / "x.html"
    assert_one_line_error(
        call("visualize_probe", "--probe_dir", folder, "--text_file", essay, "--lag", "-4", "--output", output),
        "--lag -4",
        "-1",
    )


def test_a_page_asks_for_nothing_and_runs_no_script_but_its_own(trained, essay):
    page, _ = show(trained, essay, "--num_tokens", "20")
    program = re.sub('<script type="application/json".*?</script>', "", page.source, count=1, flags=re.DOTALL)
    program = program.replace("http://www.w3.org", "")
    assert not re.search(r"https?://|//\w|@import|url\(", program)
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page.source).group(1)
    assert policy.startswith("default-src &#39;none&#39;") and "unsafe" not in policy


DAMAGE = [  # (what is changed, to what), and what is said of it
    *[
        ((name, None), f"its {name} is None")
        for name in (
            "model",
            "model_fingerprint",
            "dataset_fingerprint",
            "target",
            "lag",
            "seed",
            "kind",
            "layer",
            "threshold",
            "prevalence",
            "causal",
            "tokenizer_fingerprint",
            "hidden_size",
        )
    ],
    (("lag", "-1"), "its lag is '-1'"),
    (("target", ["x"]), "its target is ['x']"),
    (("layer", "foo"), "its layer is 'foo'"),
    (("layer", -2), "its layer is -2"),
    (("layer", 99), "layer 99: this model has layers 0 to 2"),
    (("threshold", float("inf")), "its threshold is inf"),
    (("threshold", float("nan")), "its threshold is nan"),
    (("hidden_size", 33), "its weight is not a tensor of shape [33]"),
    (("weight", torch.nan), "its weight is not finite"),
    (("bias", torch.inf), "its bias is not finite"),
    (("causal", 1), "its causal is 1"),
    (("token", True), "its token is True"),
]


@pytest.mark.parametrize("change, said", DAMAGE, ids=lambda value: str(value))
def test_a_damaged_probe_is_named(change, said, trained, essay, tmp_path):
    probe = load_probe(trained / "probe_layer1_next.pth")
    name, value = change
    state, metadata = dict(probe["state_dict"]), dict(probe["metadata"])
    if name in state:
        state[name] = state[name] * value
    else:
        metadata[name] = value
    path = tmp_path / "m" / "probe_layer1_next.pth"
    path.parent.mkdir()
    torch.save({**probe, "state_dict": state, "metadata": metadata}, path)
    output = tmp_path / "page.html"
    assert_one_line_error(
        call("visualize_probe", "--probe_dir", tmp_path / "m", "--text_file", essay, "--output", output), said
    )
    assert not output.exists()


def test_two_files_of_one_layer_are_named(trained, essay, tmp_path):
    import shutil

    shutil.copytree(trained, tmp_path / "m")
    shutil.copy(trained / "probe_layer2_next.pth", tmp_path / "m" / "probe_layer2_next_copy.pth")
    assert_one_line_error(
        call("visualize_probe", "--probe_dir", tmp_path / "m", "--text_file", essay, "--output", tmp_path / "p.html"),
        "probe_layer2_next.pth",
        "probe_layer2_next_copy.pth",
        "both of layer2",
    )


def test_probes_of_a_float16_model_find_it_by_themselves(prepared, essay, tmp_path):
    assert_success(
        call(
            "train_probe",
            "--train_data",
            prepared / "train.pth",
            "--layer",
            "1",
            "--epochs",
            "1",
            "--no_wandb",
            "--model_dtype",
            "float16",
            "--output_dir",
            tmp_path / "m",
            "--results_dir",
            tmp_path / "r",
        )
    )
    assert show(tmp_path / "m", essay, "--num_tokens", "50")[0].names == ["layer1"]
    assert_one_line_error(
        call(
            "visualize_probe",
            "--probe_dir",
            tmp_path / "m",
            "--text_file",
            essay,
            "--model_dtype",
            "float32",
            "--output",
            tmp_path / "p.html",
        ),
        "float32",
        "in its precision",
    )


@pytest.mark.skipif(sys.platform == "darwin", reason="this system's names are always text")
def test_a_name_that_is_no_text_is_shown_as_far_as_it_is(trained, essay):
    import os

    odd = os.fsdecode(os.fsencode(essay.parent) + b"/bad\xff<b>.txt")
    with open(odd, "w", encoding="utf-8") as file:
        file.write(essay.read_text())
    output = essay.parent / "p.html"
    flags = ("--probe_dir", trained, "--text_file", odd, "--num_tokens", "20", "--output", output)
    assert_success(call("visualize_probe", *flags))
    assert names_of(output) == ["bad⟨U+DCFF⟩<b>.txt"] and "<b>" not in output.read_text(encoding="utf-8")


BAD_INPUT = [
    (("--text_file", "ESSAY", "--output", "ESSAY"), ("would overwrite",), 2),
    (("--text_file", "ESSAY", "--output", "/dev/null"), ("is a device", "/dev/null"), 2),
    (("--text_file", "ESSAY", "--output", "probe_layer0_next.pth"), ("would overwrite",), 2),
    (("--text_file", "ESSAY", "--output", "x" * 300 + ".html"), ("x.html",), 2),
    (("--text_file", "ESSAY", "--lag", "5"), ("--lag 5", "-1"), 1),
    (("--text_file", "ESSAY", "--seed", "3"), ("--seed 3",), 1),
    (("--text_file", "ESSAY", "--target_token", " of"), ("--target_token ' of'", "' the'"), 1),
    (("--text_source", "file"), ("--text_source file", "--text_file PATH"), 2),
    (("--text_source", "gutenberg", "--text_file", "ESSAY"), ("contradict",), 2),
    (("--text_file", "ESSAY", "--dataset", "ESSAY"), ("give one",), 2),
    (("--text_file", "missing.txt"), ("missing.txt", "does not exist"), 1),
    (("--text_file", "."), ("is a folder",), 2),
    (("--text_file", "ESSAY", "--num_tokens", "0"), ("--num_tokens", "'0'", "at least 1"), 2),
    (("--text_file", "ESSAY", "--num_tokens", "-5"), ("--num_tokens", "'-5'"), 2),
    (("--text_file", "ESSAY", "--batch_size", "0"), ("--batch_size",), 2),
    (("--text_file", "ESSAY", "--window", "0"), ("--window",), 2),
    (("--text_file", "ESSAY", "--window", "20", "--overlap", "20"), ("--overlap 20", "smaller than --window 20"), 2),
    (("--text_file", "ESSAY", "--window", "300"), ("--window 300", "256 positions", "255"), 1),
    (("--text_file", "ESSAY", "--overlap", "255"), ("--overlap 255", "255 tokens"), 1),
    (("--text_file", "ESSAY", "--output", "."), ("is a folder",), 2),
    (("--text_file", "ESSAY", "--output", "ESSAY/page.html"), ("--output", "cannot be read or written: Not a directory"), 2),
    (("--text_file", "ESSAY", "--probe_dir", "nowhere"), ("nowhere", "does not exist", "train_probe.py"), 1),
    (("--text_file", "ESSAY", "--probe_dir", "EMPTY"), ("holds no probe_*.pth", "train_probe.py"), 1),
    (("--text_file", "ESSAY", "--probe_dir", "ESSAY"), ("is a file",), 2),
    (("--text_file", "EMPTYTEXT"), ("holds no text",), 1),
    (("--text_file", "ONETOKEN"), ("too short", "lag -1"), 1),
    (("--text_file", "BINARY"), ("is not UTF-8",), 1),
    (("--dataset", "missing_texts/"), ("missing_texts",), 1),
    (("--text_file", "ESSAY", "--model_name", "OTHER"), ("no probe of --model_name", "another model"), 1),
    (("--text_file", "ESSAY", "--device", "cuda:77"), ("--device cuda:77",), 1),
]


@pytest.mark.parametrize(
    "flags, needles, status",
    BAD_INPUT,
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, needles, status, trained, essay, tmp_path, monkeypatch):
    places = {
        "ESSAY": essay,
        "EMPTY": tmp_path / "empty",
        "EMPTYTEXT": tmp_path / "empty.txt",
        "ONETOKEN": tmp_path / "one.md",
        "BINARY": tmp_path / "binary.txt",
        "OTHER": tmp_path / "other",
    }
    places["EMPTY"].mkdir()
    places["EMPTYTEXT"].write_text("")
    places["ONETOKEN"].write_text(" the")
    places["BINARY"].write_bytes(b"\xff\xfe\x00 text")
    if "OTHER" in flags:
        make_model(places["OTHER"], len(make_tokenizer(places["OTHER"])), num_hidden_layers=2)
    words = []
    for word in flags:
        name, _, rest = word.partition("/")
        words.append(f"{places[name]}/{rest}" if name in places and rest else str(places.get(word, word)))
    if "--probe_dir" not in flags:
        words += ["--probe_dir", str(trained)]
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert_one_line_error(call("visualize_probe", *words), *needles, status=status)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_that_overflows_is_an_error_that_names_the_precision(tmp_path, trained, essay):
    from utils.model.language_model import load_language_model

    model = make_model(tmp_path / "hot", len(make_tokenizer(tmp_path / "hot")))
    model.model.layers[0].mlp.down_proj.weight.data *= 1e7
    model.save_pretrained(tmp_path / "hot")
    probe = load_probe(trained / "probe_layer0_next.pth")
    output = tmp_path / "page.html"

    def page_in(dtype):
        own = load_language_model(str(tmp_path / "hot"), dtype, "cpu").fingerprint
        with WriteTogether() as files:
            save_probe(
                files,
                tmp_path / dtype / "probe_layer0_next.pth",
                probe["state_dict"],
                {**probe["metadata"], "model": str(tmp_path / "hot"), "model_fingerprint": own},
            )
        return call(
            "visualize_probe",
            "--probe_dir",
            tmp_path / dtype,
            "--text_file",
            essay,
            "--model_dtype",
            dtype,
            "--output",
            output,
        )

    assert_one_line_error(page_in("float16"), "are not finite in float16", "--model_dtype bfloat16 or float32")
    assert not output.exists()
    assert_success(page_in("float32"))


@pytest.mark.slow
def test_the_script_runs_as_its_own_process_and_says_what_is_next(trained, essay):
    output = essay.parent / "a page.html"
    result = assert_success(
        run_script(
            "visualize_probe",
            "--probe_dir",
            trained,
            "--text_source",
            "file",
            "--text_file",
            essay,
            "--num_tokens",
            "100",
            "--output",
            output,
        )
    )
    assert result.stderr == ""
    assert f"wrote {output}: 100 tokens of 1 text, 5 probes" in result.stdout
    assert output.resolve().as_uri() in result.stdout.splitlines()[-1]
    again = output.read_bytes()
    assert_success(
        run_script(
            "visualize_probe", "--probe_dir", trained, "--text_file", essay, "--num_tokens", "100", "--output", output
        )
    )
    assert output.read_bytes() == again
