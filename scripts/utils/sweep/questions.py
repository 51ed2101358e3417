"""What a probing run is made of: the three files of one preparation, their targets, the lags, the examples of each."""

from itertools import combinations
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.data.sequences import is_sequence_task, load_sequences, per_target
from utils.states.positions import Question, examples_at
from utils.sweep.flags import POS_WEIGHT_CAP
from utils.sweep.sampling import Sampling, draw_sample, same_share, some_documents


def load_splits(arguments):
    """{"train", "val", perhaps "test"}: sequences of one preparation."""
    folder = Path(arguments.train_data).parent
    paths = {"train": Path(arguments.train_data), "val": Path(arguments.val_data or folder / "val.pth")}
    test = Path(arguments.test_data or folder / "test.pth")
    if arguments.test_data or test.exists():
        paths["test"] = test
    splits = {name: load_sequences(path) for name, path in paths.items()}
    if "test" not in paths:
        print(f"no test data: {test} is not there, so the scores below are of validation only", flush=True)
    for name, sequences in splits.items():
        ours, theirs = (splits[which].metadata["dataset_fingerprint"] for which in ("train", name))
        if ours != theirs:
            raise UserError(
                f"{paths['train']} (dataset {ours}) and {paths[name]} (dataset {theirs}) come from "
                "different preparations; make both with one run of scripts/prepare_data.py"
            )
        for label, kind in ((1, "positive"), (0, "negative")):
            if not (sequences.labels == label).any():
                raise UserError(f"{paths[name]} has no {kind} label; make it again with scripts/prepare_data.py")
    for one, other in combinations(splits, 2):
        if np.intersect1d(splits[one].groups, splits[other].groups).size:
            raise UserError(
                f"{paths[one]} and {paths[other]} hold the same texts; give the {one} and the {other} "
                "file of one preparation"
            )
    return splits


def split_targets(arguments, splits) -> list[dict]:
    """Of each target that is wanted {split: Sequences}, the same windows with its labels. Settles `sequence_task` (are whole
    sequences labelled?) and `pos_weight_cap`, which only next-token data have unless it is given.
    """
    names = [target["name"] for target in splits["train"].metadata["targets"]]
    given = getattr(arguments, "targets", None)
    wanted = list(dict.fromkeys(name_of(part, names) for part in given.split(","))) if given else names
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise UserError(f"--targets {unknown[0]!r} is none of {arguments.train_data}; it has {', '.join(map(repr, names))}")
    made = {name: per_target(sequences) for name, sequences in splits.items()}
    targets = [{name: made[name][names.index(target)] for name in splits} for target in wanted]
    arguments.sequence_task = all(is_sequence_task(found["train"]) for found in targets)
    of_tokens = splits["train"].metadata.get("task", "token") == "token" and not arguments.sequence_task
    arguments.usual_pos_weight_cap = POS_WEIGHT_CAP if of_tokens else None
    if not (of_tokens or arguments.pos_weight_cap_given):
        arguments.pos_weight_cap = None
    return targets


def name_of(part, names) -> str:
    """The name as it is there, spaces around it in a list apart."""
    return part if part in names else part.strip()


def choose_lags(arguments, metadata, causal) -> list[int]:
    lags = [0] if arguments.predict_current else arguments.lags or [metadata["default_lag"]]
    overlap = metadata.get("overlap")
    if overlap is not None and max(map(abs, lags)) > overlap:
        raise UserError(
            f"lag {max(lags, key=abs)} reaches beyond what the windows overlap, {overlap} tokens: labels near "
            "their edges would be lost; use smaller lags, or prepare the data with a larger --overlap"
        )
    if min(lags) < 0 and not causal:
        if not arguments.allow_bidirectional:
            raise UserError(
                f"lag {min(lags)} is no prediction here: the model is bidirectional and has seen the token "
                "that is asked for; use --predict_current (lag 0), or --allow_bidirectional to read it so"
            )
        print(
            "note: the model is bidirectional, so a negative lag is not a prediction: the state that is read has seen "
            "the labelled token",
            flush=True,
        )
    return lags


def draw_examples(arguments, targets, lags):
    """{question: {split: Examples}} and {question: bool [n_train, seeds]}, which of train each seed has in its sample. Train
    holds what any seed has drawn; val and test keep every labelled token, but for the caps on val.
    """
    examples, samples = {}, {}
    for question in (Question(target, lag) for target in range(len(targets)) for lag in lags):
        splits, lag = targets[question.target], question.lag
        found = {
            name: examples_at(sequences, lag, lags if arguments.common_positions else ())
            for name, sequences in splits.items()
        }
        found["val"] = capped(found["val"], splits["val"], arguments)
        for name, those in found.items():
            if len(set(those.labels.tolist())) < 2:
                remedy = (
                    "use lags from -context_length to 0, or data of --positions all"
                    if arguments.usual_pos_weight_cap
                    else "use lags nearer to 0, or leave the target out with --targets"
                )
                raise UserError(
                    f"{of_target(splits)}lag {lag}: {len(those)} labelled tokens of {name} have a state to read "
                    f"there, and not of both classes; {remedy}"
                )
        in_sample = np.zeros((len(found["train"]), len(arguments.seeds)), dtype=bool)
        for index, seed in enumerate(arguments.seeds):
            in_sample[draw_sample(found["train"], splits["train"], sampling_of(arguments), seed), index] = True
        kept = np.flatnonzero(in_sample.any(1))
        examples[question], samples[question] = found | {"train": found["train"][kept]}, in_sample[kept]
    return examples, samples


def of_target(splits) -> str:
    metadata = splits["train"].metadata
    return f"target {metadata['targets'][0]['name']!r}, " if metadata["of_several"] else ""


def capped(examples, sequences, arguments):
    """Fewer examples to choose by, for a quick trial: whole documents, then the same share of each class, by seed 0."""
    caps = Sampling(max_documents=getattr(arguments, "max_val_docs", None))
    examples = examples[some_documents(sequences.documents[examples.sequence], caps, 0)]
    return examples[same_share(examples.labels, getattr(arguments, "max_val_tokens", None), 0)]


def sampling_of(arguments) -> Sampling:
    return Sampling(
        arguments.class_balance,
        arguments.pos_weight_cap,
        arguments.negatives_per_doc,
        arguments.token_matched_negatives,
        max_documents=arguments.max_train_docs,
        max_tokens=arguments.max_train_tokens,
    )


def settings_text(arguments) -> str:
    """What is read and sampled otherwise than usual, by which results are told apart: 'pool mean, max_documents 10'."""
    usual = {
        **vars(Sampling()),
        "pool": "last",
        "attention_segments": 4,
        "common_positions": False,
        "max_val_docs": None,
        "max_val_tokens": None,
    }
    usual["pos_weight_cap"] = arguments.usual_pos_weight_cap
    chosen = {
        **vars(sampling_of(arguments)),
        **{
            name: getattr(arguments, name)
            for name in ("pool", "common_positions", "attention_segments", "max_val_docs", "max_val_tokens")
        },
    }
    return ", ".join(f"{name} {value}" for name, value in chosen.items() if value != usual[name]) or "the usual ones"
