#!/usr/bin/env python3
"""Measure how much of the bare tokenizer's speed is left when scripts/prepare_data.py does its whole job.

- bare: encode_batch_fast of the fast tokenizer, on texts that are in memory already, in the same batches and on as many
  cores. The ids are taken out of each encoding;
- prepare_data: everything after imports and the loading of the tokenizer: reading the dataset, tokenizing, cutting,
  finding near duplicates, splitting, writing the files (to a temporary folder).

The two take turns in one process, after a turn that does not count. Medians are compared, in tokens of the dataset per
second.
One more run tells where prepare_data's time goes.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

GOAL = 0.70


def parse(argv):
    data = Path(os.environ.get("PROBE_TEST_DATA", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dataset",
        default=str(data / "corpora" / "gutenberg"),
        help="texts, as in prepare_data (default: corpora/gutenberg in $PROBE_TEST_DATA or ../shared)",
    )
    parser.add_argument(
        "--model_name",
        default=str(data / "models" / "stories260K"),
        help="whose tokenizer is used (default: models/stories260K there)",
    )
    parser.add_argument("--max_texts", default="1000", help="read at most this many texts (default: 1000)")
    parser.add_argument("--positions", default="sampled", choices=("sampled", "all"), help="as in prepare_data")
    parser.add_argument("--context_length", default="256", help="text tokens before the labelled one (default: 256)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each that count (default: 3)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    import prepare_data
    from utils.base.cli.parser import quiet_libraries

    quiet_libraries()
    from utils.data.preparation import token_task
    from utils.data.readers.plain import read_texts
    from utils.data.tokenizer import batches_by_size, load_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        ours = prepare_data.parse(
            [
                "--dataset",
                arguments.dataset,
                "--model_name",
                arguments.model_name,
                "--max_texts",
                arguments.max_texts,
                "--positions",
                arguments.positions,
                "--context_length",
                arguments.context_length,
                "--output_dir",
                folder,
            ]
        )
        tokenizer = load_tokenizer(ours.model_name)
        texts = ours.texts
        documents = read_texts(texts.dataset, texts.text_column, texts.language, texts.max_texts)
        characters = token_task.CHARACTERS_A_CORE * max(2, os.cpu_count() or 1)
        batches = list(batches_by_size((document.text for document in documents), characters, len))
        bare_seconds, our_seconds = [], []
        for number in range(arguments.rounds + 1):
            tokens, bare = bare_tokenizer(tokenizer, batches)
            whole = whole_job(ours, tokenizer)
            if number:
                bare_seconds.append(bare)
                our_seconds.append(whole)
                print(f"round {number}: bare {bare:.2f} s, prepare_data {whole:.2f} s", flush=True)
        spent = where_time_goes(ours, tokenizer)
    return report(batches, tokens, median(bare_seconds), median(our_seconds), spent)


def bare_tokenizer(tokenizer, batches) -> tuple[int, float]:
    """Return the tokens and the seconds that they took."""
    tokens, start = 0, time.perf_counter()
    for batch in batches:
        for encoding in tokenizer.backend_tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            tokens += len(encoding.ids)
    return tokens, time.perf_counter() - start


def whole_job(preparation, tokenizer) -> float:
    """Seconds of prepare_data's main after the tokenizer is loaded."""
    from utils.data.preparation import token_task
    from utils.data.tokenizer import special_frame, target_in_running_text

    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        frame = special_frame(tokenizer)
        token_task.fitting_length(preparation.windows.context_length, preparation.model_name, tokenizer, frame)
        target = target_in_running_text(tokenizer, preparation.target_token)
        kept, dropped, prevalence = token_task.collect_windows(preparation, tokenizer, target)
        made = token_task.split_windows(kept, frame, preparation.train_ratio, preparation.seed)
        token_task.write_token_dataset(preparation, tokenizer, frame, target, made, dropped, prevalence)
    return time.perf_counter() - start


def where_time_goes(preparation, tokenizer) -> dict[str, float]:
    """Seconds of the main thread by step. The tokenizer runs beside it: only waiting for it costs time."""
    from utils.data.preparation import token_task

    spent = Counter()

    def timed(name, function):
        def inner(*arguments):
            start = time.perf_counter()
            result = function(*arguments)
            spent[name] += time.perf_counter() - start
            return result

        return inner

    def timed_items(name, function):
        def inner(*arguments):
            step = timed(name, lambda items: next(items, None))
            items = iter(function(*arguments))
            while (item := step(items)) is not None:
                yield item

        return inner

    with contextlib.ExitStack() as stack:
        for owner, function, name, wrap in (
            (token_task, "read_texts", "reading", timed_items),
            (token_task, "tokenized", "reading and waiting", timed_items),
            (token_task, "cut", "cutting", timed),
            (token_task, "sketch", "sketches (near duplicates)", timed),
            (token_task, "group_near_duplicates", "grouping near duplicates", timed),
            (token_task, "split_windows", "splitting and padding", timed),
            (token_task, "write_token_dataset", "writing, with hashes", timed),
        ):
            stack.enter_context(patch.object(owner, function, wrap(name, getattr(owner, function))))
        whole = whole_job(preparation, tokenizer)
    spent["waiting for the tokenizer"] = spent.pop("reading and waiting") - spent["reading"]
    spent["all else"] = whole - sum(spent.values())
    return dict(spent)


def report(batches, tokens, bare, ours, spent) -> int:
    """Print the comparison. Return 1 if the goal is missed."""
    characters = sum(len(text) for batch in batches for text in batch)
    share = bare / ours
    print(
        f"\n{sum(map(len, batches))} texts, {characters:,} characters, {tokens:,} tokens, {len(batches)} batch(es), "
        f"{os.cpu_count()} cores; seconds are medians and belong to this machine and hour: compare the share"
    )
    print(f"bare tokenizer {bare:8.2f} s {tokens / bare:12,.0f} tokens/s")
    print(
        f"prepare_data   {ours:8.2f} s {tokens / ours:12,.0f} tokens/s   {share:.0%} of the bare tokenizer "
        f"{'PASS' if share >= GOAL else 'FAIL'} (goal >= {GOAL:.0%})"
    )
    print("\nwhere prepare_data's time goes (one more run)")
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{name:28}{seconds:8.2f} s {seconds / sum(spent.values()):6.0%}")
    return int(share < GOAL)


if __name__ == "__main__":
    sys.exit(main())
