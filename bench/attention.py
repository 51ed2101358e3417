#!/usr/bin/env python3
"""Attention probes of many layers and label columns at once, against one at a time by the same code and in plain torch.

7 layers x 27 columns (each reads up to its own position, as lags do) x hidden size 64, 5,000 sequences of 100 tokens.
Seconds of one epoch of training steps, without validation. One at a time: the median of --single probes, times all of
them; plain: padded states [b, T, hidden_size], torch's softmax and autograd, one probe, batches of the same size.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("layers", 7), ("columns", 27), ("hidden_size", 64), ("sequences", 5000), ("tokens", 100)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--examples", type=int, default=1, help="a sequence, each to another position")
    parser.add_argument("--batch_size", type=int, default=32, help="sequences")
    parser.add_argument("--rounds", type=int, default=3, help="epochs of ours, the median counts")
    parser.add_argument("--single", type=int, default=3, help="probes that are trained one at a time")
    arguments = parser.parse_args(argv)
    states, start, end, labels = make(arguments)
    together = [epoch(states, start, end, labels, arguments.batch_size) for _ in range(arguments.rounds)]
    probes = arguments.layers * arguments.columns
    print(
        f"{probes} probes at once, hidden size {arguments.hidden_size}, {len(start)} examples of {arguments.sequences} "
        f"sequences of {arguments.tokens} tokens: {np.median(together):.2f} s an epoch",
        flush=True,
    )
    ways = {"one at a time": epoch, "plain torch, one at a time": plain_epoch}
    for name, way in ways.items():
        seconds = [
            way(
                states[index % arguments.layers][None],
                start,
                end[:, index : index + 1],
                labels[:, index : index + 1],
                arguments.batch_size,
            )
            for index in range(arguments.single)
        ]
        print(
            f"{name}: {np.median(seconds):.3f} s each, {np.median(seconds) * probes:.0f} s for all, "
            f"{np.median(seconds) * probes / np.median(together):.0f} times as long",
            flush=True,
        )
    return 0


def make(arguments):
    """States [layers, tokens of all sequences, hidden_size]; start [n], end and labels [n, columns]."""
    random = np.random.default_rng(0)
    states = torch.randn(arguments.layers, arguments.sequences * arguments.tokens, arguments.hidden_size)
    start = np.repeat(np.arange(arguments.sequences) * arguments.tokens, arguments.examples)
    most = random.integers(arguments.columns + 1, arguments.tokens + 1, len(start))
    most[:: arguments.examples] = arguments.tokens
    end = start[:, None] + np.maximum(most[:, None] - np.arange(arguments.columns), 1)
    return states, start, end, random.integers(0, 2, end.shape)


def epoch(states, start, end, labels, batch_size) -> float:
    """Seconds, after standardisation."""
    from utils.probes.descent.attention import AttentionInTraining
    from utils.probes.descent.ranges import Ranges
    from utils.probes.descent.training import Settings, adamw

    truth, generator = torch.from_numpy(labels).float(), torch.Generator().manual_seed(0)
    model = AttentionInTraining(1, Ranges.of(states, start, end), truth, torch.ones_like(truth), generator, "cpu")
    optimizer, began = adamw(model, Settings(), "cpu"), time.perf_counter()
    for chosen in model.order(generator).split(batch_size):
        model.set_gradients(chosen)
        optimizer.step()
    return time.perf_counter() - began


def plain_epoch(states, start, end, labels, batch_size) -> float:
    rows, width = states[0], int((end[:, 0] - start).max())
    lengths, starts = torch.from_numpy(end[:, 0] - start), torch.from_numpy(start)
    labels = torch.from_numpy(labels[:, 0]).float()
    query, value, bias = (torch.zeros(shape, requires_grad=True) for shape in ((rows.shape[1],), (rows.shape[1],), ()))
    optimizer = torch.optim.AdamW([query, value, bias], lr=1e-3)
    places, began = torch.arange(width), time.perf_counter()
    for which in torch.randperm(len(start)).split(batch_size):
        index = (starts[which, None] + places).clamp(max=len(rows) - 1)
        x = rows[index]
        scores = (x @ query).masked_fill(places >= lengths[which, None], -torch.inf)
        logits = (scores.softmax(1) * (x @ value)).sum(1) + bias
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[which]).backward()
        optimizer.step()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
