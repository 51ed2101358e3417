"""Say what a probing run asks: the three files of one preparation, their targets, the lags, each question's examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.files import fingerprint
from utils.data.sequences import Sequences, is_sequence_task, load_sequences, per_target
from utils.data.tokenizer import load_tokenizer, sentence_ends
from utils.model.language_model import LanguageModel
from utils.scores.baselines.context import Surroundings
from utils.states.positions import Examples, Question, examples_at
from utils.sweep.sampling import Sampling, draw_sample, same_share, some_documents

Splits = Mapping[str, Sequences]  # "train", "val", and "test" where there is one


@dataclass(frozen=True)
class DataFiles:
    """The files of one preparation. val, test: None for those next to train; targets: the names wanted, None for all."""

    train: str
    val: str | None = None
    test: str | None = None
    targets: tuple[str, ...] | None = None

    def load(self) -> dict[str, Sequences]:
        """Read {"train", "val", perhaps "test"}. Raise UserError for files that do not belong together."""
        folder = Path(self.train).parent
        paths = {"train": Path(self.train), "val": Path(self.val or folder / "val.pth")}
        test = Path(self.test or folder / "test.pth")
        if self.test or test.exists():
            paths["test"] = test
        splits = {name: load_sequences(path) for name, path in paths.items()}
        if "test" not in paths:
            print(f"no test data: {test} is not there, so the scores below are of validation only", flush=True)
        refuse_strange_splits(splits, paths)
        return splits

    def load_targets(self) -> list[dict[str, Sequences]]:
        """Read the files; give {split: Sequences} for each target that is wanted, with its labels."""
        splits = self.load()
        names = splits["train"].target_names
        wanted = list(dict.fromkeys(exact_name(part, names) for part in self.targets)) if self.targets else names
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise UserError(f"--targets {unknown[0]!r} is none of {self.train}; it has {', '.join(map(repr, names))}")
        made = {name: per_target(sequences) for name, sequences in splits.items()}
        return [{name: made[name][names.index(target)] for name in splits} for target in wanted]


def refuse_strange_splits(splits: Splits, paths: Mapping[str, Path]) -> None:
    """Raise UserError where the files are of several preparations, were changed, share texts, or lack a class."""
    for name, sequences in splits.items():
        ours, theirs = (splits[which].dataset_fingerprint for which in ("train", name))
        if ours != theirs:
            raise UserError(
                f"{paths['train']} (dataset {ours}) and {paths[name]} (dataset {theirs}) come from "
                "different preparations; make both with one run of scripts/prepare_data.py"
            )
        for label, kind in ((1, "positive"), (0, "negative")):
            if not (sequences.labels == label).any():
                raise UserError(f"{paths[name]} has no {kind} label; make it again with scripts/prepare_data.py")
    metadata = splits["train"].metadata
    if "content_hashes" not in metadata and set(splits) == set(
        metadata.get("splits", ())
    ):  # each file of today proves itself
        found = fingerprint(*(splits[name].metadata.get("content_hash") for name in metadata["splits"]))
        if found != metadata["dataset_fingerprint"]:
            raise UserError(
                f"{', '.join(map(str, paths.values()))} were changed: their arrays ({found}) are not those of "
                f"dataset {metadata['dataset_fingerprint']}; make them again with scripts/prepare_data.py"
            )
    for one, other in combinations(splits, 2):
        if np.intersect1d(splits[one].groups, splits[other].groups).size:
            raise UserError(
                f"{paths[one]} and {paths[other]} hold the same texts; give the {one} and the {other} "
                "file of one preparation"
            )


def exact_name(part: str, names: Sequence[str]) -> str:
    """Give the name as it is there; spaces around it in a list do not count."""
    return part if part in names else part.strip()


def of_sequences(targets: Sequence[Splits]) -> bool:
    """Say whether whole sequences are labelled."""
    return all(is_sequence_task(found["train"]) for found in targets)


def of_next_token(targets: Sequence[Splits]) -> bool:
    """Say whether the labels are of a next-token task."""
    return targets[0]["train"].task == "token" and not of_sequences(targets)


def choose_lags(given: Sequence[int] | None, data: Sequences, causal: bool, allow_bidirectional: bool) -> list[int]:
    """Take the lags that are given, else the data's own. Raise UserError for those that data or model cannot serve."""
    lags = list(given or [data.default_lag])
    if data.overlap is not None and max(map(abs, lags)) > data.overlap:
        raise UserError(
            f"lag {max(lags, key=abs)} reaches beyond what the windows overlap, {data.overlap} tokens: labels near "
            "their edges would be lost; use smaller lags, or prepare the data with a larger --overlap"
        )
    if min(lags) < 0 and not causal:
        if not allow_bidirectional:
            raise UserError(
                f"lag {min(lags)} is no prediction here: the model is bidirectional and has seen the token "
                "that is asked for; use --predict_current (lag 0), or --allow_bidirectional to read it so"
            )
        print(BIDIRECTIONAL, flush=True)
    return lags


BIDIRECTIONAL = (
    "note: the model is bidirectional, so a negative lag is not a prediction: the state that is read has seen the "
    "labelled token"
)


@dataclass(frozen=True)
class Asking:
    """The questions that are asked of the data, and the examples of validation by which probes are chosen.

    common_positions: keep only tokens that have a state at every lag; max_val_docs, max_val_tokens: for a quick trial,
    choose by fewer documents and labelled tokens (None: by all).
    """

    lags: tuple[int, ...]
    seeds: tuple[int, ...]
    common_positions: bool = False
    max_val_docs: int | None = None
    max_val_tokens: int | None = None

    def draw(self, targets: Sequence[Splits], sampling: Sampling) -> list[Question]:
        """Draw the examples of every target at every lag.

        Train holds what any seed has drawn; validation and test keep every labelled token, but for the caps on validation.
        """
        found = [self.question(index, lag, splits, sampling) for index, splits in enumerate(targets) for lag in self.lags]
        return [replace(question, of_sequences=of_sequences(targets)) for question in found]

    def question(self, index: int, lag: int, splits: Splits, sampling: Sampling) -> Question:
        """Draw the examples of one target at one lag. Raise UserError where a split lacks a class."""
        all_lags = self.lags if self.common_positions else ()
        found = {name: examples_at(sequences, lag, all_lags) for name, sequences in splits.items()}
        found["val"] = self.capped(found["val"], splits["val"])
        require_both_labels(found, splits, lag)
        in_sample = np.zeros((len(found["train"]), len(self.seeds)), dtype=bool)
        for column, seed in enumerate(self.seeds):
            in_sample[draw_sample(found["train"], splits["train"], sampling, seed), column] = True
        kept = np.flatnonzero(in_sample.any(1))
        found["train"] = found["train"][kept]
        return Question(index, lag, splits, found, in_sample[kept], all_lags=all_lags)

    def capped(self, examples: Examples, sequences: Sequences) -> Examples:
        """Keep fewer examples to choose by: whole documents, then the same share of each class, by seed 0."""
        caps = Sampling(max_documents=self.max_val_docs)
        examples = examples[some_documents(sequences.documents[examples.sequence], caps, 0)]
        return examples[same_share(examples.labels, self.max_val_tokens, 0)]


def require_both_labels(examples: Mapping[str, Examples], splits: Splits, lag: int) -> None:
    """Raise UserError where the examples of a split are not of both classes."""
    for name, those in examples.items():
        if len(set(those.labels.tolist())) < 2:
            remedy = "use lags nearer to 0, or leave the target out with --targets"
            if of_next_token([splits]):
                remedy = "use lags from -context_length to 0, or data of --positions all"
            data = splits["train"]
            target = f"target {data.target_name!r}, " if data.several_targets else ""
            raise UserError(
                f"{target}lag {lag}: {len(those)} labelled tokens of {name} have a state to read "
                f"there, and not of both classes; {remedy}"
            )


def texts_of(splits: Splits, language_model: LanguageModel) -> dict[str, list[str]]:
    """Give the text of each sequence by split: the original one where the data hold it, else its tokens.

    Special tokens are left out.
    """
    if all(sequences.texts for sequences in splits.values()):
        return {
            name: [sequences.texts[document] for document in np.unique(sequences.documents, return_inverse=True)[1]]
            for name, sequences in splits.items()
        }
    tokenizer = load_tokenizer(language_model.name, trust_remote_code=language_model.trust_remote_code)
    return {
        name: [
            tokenizer.decode(ids[sequences.text_start : end].tolist())
            for ids, end in zip(sequences.input_ids, sequences.text_ends, strict=True)
        ]
        for name, sequences in splits.items()
    }


def surroundings_of(splits: Splits, language_model: LanguageModel) -> Surroundings:
    """Say what the context baseline must know of model and tokenizer."""
    tokenizer = load_tokenizer(language_model.name, trust_remote_code=language_model.trust_remote_code)
    ids = np.unique(np.concatenate([np.unique(sequences.input_ids) for sequences in splits.values()]))
    return Surroundings(sentence_ends(tokenizer, ids), language_model.anatomy.causal)
