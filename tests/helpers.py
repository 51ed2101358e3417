"""Running the scripts, as processes of their own or inside this one, and what every error of theirs must look like."""

import contextlib
import dataclasses
import hashlib
import importlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
# The tests never reach the network or log to an account; with one thread each, runs side by side do not wait in turns.
QUIET = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}

WORDS = (  # nouns, verbs, adjectives, others
    "house river door lamp garden horse letter window kitchen road captain sister winter market stone bridge doctor "
    "village morning evening field mother forest clock island teacher ship mountain table baker",
    "saw found left crossed opened remembered carried painted watched called followed sold built lost",
    "old quiet bright heavy green narrow distant broken small warm empty famous yellow bitter",
    "and then but because while slowly often never again perhaps in on under beside behind without from",
)


def run_script(name, *args, env=None, cwd=None, timeout=120, **options) -> subprocess.CompletedProcess:
    """Run scripts/NAME.py as a real process. `env` is added to the environment; a value of None takes a variable out."""
    return subprocess.run(
        command(name, *args), env=environment(env), cwd=cwd, timeout=timeout, text=True, capture_output=True, **options
    )


def start_script(name, *args, env=None, cwd=None) -> subprocess.Popen:
    """The same, running on while the test goes on."""
    return subprocess.Popen(
        command(name, *args), env=environment(env), cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def command(name, *args) -> list[str]:
    return [sys.executable, str(SCRIPTS / f"{name.removesuffix('.py')}.py"), *map(str, args)]


def environment(changes=None) -> dict[str, str]:
    return {name: value for name, value in {**os.environ, **QUIET, **(changes or {})}.items() if value is not None}


def call(name, *args, cwd=None) -> subprocess.CompletedProcess:
    """Run a script's main inside this process, through the same `run` as the real one: what it would print, its exit
    status. Seconds faster than a process of its own, which imports torch anew. What is not a UserError escapes, as
    an exception: it would be a traceback.
    """
    from utils.base import hub
    from utils.base.cli.parser import run
    from utils.base.processes.signals import ENDING

    main = importlib.import_module(name).main
    output, errors = io.StringIO(), io.StringIO()
    handlers, before = {number: signal.getsignal(number) for number in ENDING}, Path.cwd()
    hub.hub_answers.cache_clear()
    with (
        mock.patch.dict(os.environ, QUIET),
        mock.patch.object(sys, "argv", [f"{name}.py", *map(str, args)]),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        warnings.catch_warnings(),
    ):
        show_warnings()
        os.chdir(cwd or before)
        try:
            run(main, [str(argument) for argument in args])
        except SystemExit as ending:
            status = ending.code or 0
        finally:
            os.chdir(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return subprocess.CompletedProcess([name, *args], status, output.getvalue(), errors.getvalue())


def parser_of(name):
    """The argument parser of scripts/NAME.py."""
    return importlib.import_module(name).build_parser()


def show_warnings():
    """Print warnings to standard error as a process of its own does; pytest would collect them."""
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
    warnings.showwarning = lambda *warning: sys.stderr.write(warnings.formatwarning(*warning[:4]))


def assert_one_line_error(result, *needles, status=1):
    """Exactly one line on standard error, which holds every needle; no traceback; the exit status."""
    assert "Traceback" not in f"{result.stderr}{result.stdout}", result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, f"{len(lines)} lines on standard error:\n{result.stderr}"
    missing = [str(needle) for needle in needles if str(needle) not in lines[0]]
    assert not missing, f"{missing} not in: {lines[0]}"
    assert ": error: " in lines[0], lines[0]
    assert result.returncode == status, f"exit status {result.returncode}: {lines[0]}"


def assert_success(result) -> subprocess.CompletedProcess:
    assert result.returncode == 0, f"{result.args} exits with {result.returncode}:\n{result.stdout}\n{result.stderr}"
    return result


def snapshot(*folders) -> dict[str, str]:
    """{path: hash of its bytes} of every file below the folders, hidden ones included; folders themselves are left out."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def prose(seed, length=4000) -> str:
    """Made-up English of about `length` words: no book, no meaning, every tenth word "the", another for every seed."""
    draw = random.Random(seed)
    nouns, verbs, adjectives, others = (words.split() for words in WORDS)

    def phrase():
        noun = draw.choice(nouns)
        if draw.random() < 0.5:
            noun = f"{draw.choice(adjectives)} {noun}"
        return f"{draw.choice(('the', 'the', 'a', 'his', 'her', 'one', 'every'))} {noun}"

    text, count = [], 0
    while count < length:
        pieces = [phrase(), draw.choice(verbs), phrase()]
        for _ in range(draw.randrange(4)):
            pieces += [draw.choice(others), phrase()]
        sentence = " ".join(pieces)
        count += len(sentence.split())
        text.append(sentence[0].upper() + sentence[1:] + draw.choice((".", ".", "!", ";", ".\n")))
    return " ".join(text)


def make_tokenizer(folder, texts=None, vocabulary=420):
    """A byte-level BPE tokenizer with BOS before every text and ` the` as one token, saved into `folder`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "</s>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator(texts or [prose(seed) for seed in (100, 101)], trainer)
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bpe.token_to_id("<s>"))])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>")
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_model(folder, vocabulary, **changes):
    """A random Llama of 3 layers, saved into `folder`. Returns the model, ready to be spoiled and saved again."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        **{
            "vocab_size": vocabulary,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "initializer_range": 0.2,
            **changes,
        }
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    return model


def write_texts(folder, number=8, length=4000) -> Path:
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        (folder / f"text{index}.txt").write_text(prose(index, length), encoding="utf-8")
    return folder


def spans_of(document) -> set[tuple[str, str]]:
    """(text, label) of each span of an annotated document."""
    return {(document.text[start:end], label) for start, end, label in document.spans}


def write_jsonl(path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sign(folder):
    """Make the changed files of a dataset one dataset again: the hashes of their arrays, as prepare_data writes them."""
    import torch

    from utils.base.files import fingerprint
    from utils.data.sequences import ARRAYS

    paths = {name: folder / f"{name}.pth" for name in ("train", "val", "test") if (folder / f"{name}.pth").exists()}
    payloads = {name: torch.load(path, weights_only=True) for name, path in paths.items()}
    hashes = {
        name: fingerprint(*(payload[array].numpy() for array in ARRAYS if array in payload))
        for name, payload in payloads.items()
    }
    for name, payload in payloads.items():
        payload["metadata"] |= {"content_hashes": hashes, "dataset_fingerprint": fingerprint(*hashes.values())}
        torch.save(payload, paths[name])


def write_version_1(folder):
    """Write the files of a dataset as version 1 had them: a row of everything for each target of each sequence."""
    import torch

    for path in folder.glob("*.pth"):
        payload = torch.load(path, weights_only=True)
        windows, tasks = payload.pop("windows").tolist(), payload["tasks"].tolist()
        rows = sorted(range(len(tasks)), key=lambda row: (windows[row], tasks[row]))
        of_row = {name: payload[name][rows] for name in ("labels", "tasks")}
        names = ("input_ids", "lengths", "documents", "groups", "starts")
        of_window = {name: payload[name][[windows[row] for row in rows]] for name in names}
        torch.save({**payload, **of_row, **of_window, "version": 1}, path)
    sign(folder)


def part_of(shared_data, name) -> Path:
    """A folder of the shared data; the test is skipped where it is not there."""
    import pytest

    folder = shared_data / name
    if not folder.is_dir():
        pytest.skip(f"the shared data have no {name}: {folder} is not there")
    return folder


def flat(parsed) -> dict:
    """{flag: value} of what a script's parse() returns, those in its dataclasses too."""
    found = dict(vars(parsed))
    for value in vars(parsed).values():
        found |= vars(value) if dataclasses.is_dataclass(value) else {}
    return found
