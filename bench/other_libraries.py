#!/usr/bin/env python3
"""Read hidden states with TransformerLens or nnsight: a worker that bench/extraction.py starts in the library's environment.

It loads a model from a local folder. It then answers each JSON command, one a line on standard input, with one JSON line:

    {"do": "time", "batch_size": 8, "windows": 48}             ->  {"seconds": 1.25}
    {"do": "save", "batch_size": 8, "path": "states.pth"}      ->  {"saved": "states.pth"}

Each library is used in the fastest way that its interface offers: only the hooks that are needed, only the position that
is read, no gradients, no key-value cache, and no logits (TransformerLens runs the head on one position, see below).
"""

import argparse
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from worker import Worker


def load_transformer_lens(model):
    """Use TransformerBridge, the one interface of TransformerLens 4 that takes Gemma 3. It sets attention to eager itself.

    run_with_hooks is used because run_with_cache also asks for the attention patterns. It cannot stop between the last
    norm and the head (stop_at_layer ends before a block), so the head runs too, on one position of each window.
    """
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    bridge = build_bridge_from_module(model, type(model).__name__, hf_config=model.config)
    names = ["blocks.0.hook_in", *(f"blocks.{i}.hook_out" for i in range(bridge.cfg.n_layers)), "ln_final.hook_out"]

    def states_of(input_ids):
        found = {}

        def keep(state, hook):
            found[hook.name] = state[:, -1].clone()

        bridge.run_with_hooks(
            input_ids, fwd_hooks=[(name, keep) for name in names], return_type=None, use_cache=False, logits_to_keep=1
        )
        return torch.stack([found[name] for name in names])

    return states_of


def load_nnsight(model):
    """Use the base model, so that nothing runs after the last norm. One trace saves embeddings, blocks and final norm."""
    import nnsight

    body = nnsight.NNsight(model.base_model)

    def states_of(input_ids):
        with body.trace(input_ids=input_ids, use_cache=False):
            found = nnsight.save([])
            found.append(body.layers[0].input[:, -1].clone())
            for layer in body.layers:
                found.append(layer.output[:, -1].clone())
            found.append(body.norm.output[:, -1].clone())
        return torch.stack(found)

    return states_of


LIBRARIES = {"transformer-lens": load_transformer_lens, "nnsight": load_nnsight}


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=tuple(LIBRARIES), help="which library reads the states")
    parser.add_argument("model", type=Path, help="folder of a causal language model")
    parser.add_argument("windows", type=Path, help="file of torch.save: int64 [windows, tokens], the last token is read")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads (default: 2)")
    return parser.parse_args(argv)


@torch.inference_mode()
def read(states_of, windows, batch_size) -> torch.Tensor:
    """Return float32 [embed and layers and final norm, windows, hidden_size]."""
    return torch.cat([states_of(batch) for batch in windows.split(batch_size)], dim=1)


def main(argv=None) -> int:
    arguments = parse(argv)
    answers = os.fdopen(os.dup(1), "w")  # whatever the libraries print must not be taken for an answer
    os.dup2(2, 1)
    torch.set_num_threads(arguments.threads)
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32, trust_remote_code=False)
    model.eval().requires_grad_(False)
    states_of = LIBRARIES[arguments.library](model)
    windows = torch.load(arguments.windows, weights_only=True)

    def answer(value):
        print(json.dumps(value), file=answers, flush=True)

    answer({"version": version(arguments.library), "torch": torch.__version__})
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "time":
            chosen = windows[: command["windows"]]
            start = time.perf_counter()
            read(states_of, chosen, command["batch_size"])
            answer({"seconds": time.perf_counter() - start})
        else:
            torch.save(read(states_of, windows, command["batch_size"]), command["path"])
            answer({"saved": command["path"]})
    return 0


class Library(Worker):
    """Start a worker in another environment, and ask it. Closing `stack` ends it."""

    def __init__(self, name, python, folder, threads, stack):
        command = [python, Path(__file__).resolve(), name, folder / "model", folder / "windows.pth", "--threads", threads]
        super().__init__(command, folder / f"{name}.log", stack)
        self.title = f"{name} {self.greeting['version']}"

    def time(self, batch_size, windows=None) -> float:
        return self.ask(do="time", batch_size=batch_size, windows=windows)["seconds"]

    def states(self, path, batch_size):
        self.ask(do="save", batch_size=batch_size, path=str(path))
        return torch.load(path, weights_only=True)


if __name__ == "__main__":
    sys.exit(main())
