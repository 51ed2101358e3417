#!/usr/bin/env python3
"""Labelled sequences -> a linear probe for every layer, from one pass of the model, and a table of scores."""

import sys
import time
from os.path import expanduser
from pathlib import Path

from utils.command_line import Parser, lag_list, number, quiet_libraries, run, whole_number
from utils.errors import UsageError, UserError
from utils.files import require_writable_folder


def parse(argv):
    parser = Parser(__doc__, epilog="next: python scripts/train_probe.py --predict_current, which checks the whole line")
    model = parser.add_argument_group("model")
    model.add_argument("--model_name", type=expanduser,
                       help="the model to probe: a Hub name or a folder (default: the data's own)")
    model.add_argument("--model_dtype", choices=("auto", "bfloat16", "float16", "float32"), default="auto",
                       help="precision of the model; auto: bfloat16 on CUDA where supported, else float32")
    model.add_argument("--device", default="auto", help="auto (cuda, mps, cpu: the first there is), or one of them")
    model.add_argument("--batch_size", type=whole_number(1), default=48,
                       help="sequences per forward pass; halved when memory runs out")
    data = parser.add_argument_group("data")
    data.add_argument("--train_data", default="data/train.pth", help="file of labelled sequences to train on")
    data.add_argument("--val_data", help="... to choose by (default: val.pth beside --train_data)")
    data.add_argument("--test_data", help="... to report on (default: test.pth beside --train_data, if there)")
    data.add_argument("--cache_dir", help="folder where hidden states are kept, found again by the same model and data "
                                          "and resumed after a crash (default: in memory, nothing kept)")
    data.add_argument("--memory_gb", type=number(0, exclusive=True),
                      help="hidden states beyond this go to disk, into --cache_dir or data/states "
                           "(default: half of the free memory)")
    what = parser.add_argument_group("what is read")
    what.add_argument("--layer", help="one layer: a number, embed or final_norm")
    what.add_argument("--layer_sweep", help="auto (first, quarters, last), all (embed, every layer, final_norm), or a "
                                            "list such as 0,5,11 (default: auto, unless --layer is given)")
    what.add_argument("--predict_current", action="store_true",
                      help="read the labelled token itself (lag 0): a check that is trivial for token tasks")
    what.add_argument("--lags", type=lag_list, help="where the state lies that is read, in tokens from the labelled "
                                                    "one, such as -4,-1,0; negative: before it (default: the data's)")
    what.add_argument("--common_positions", action="store_true", help="keep only tokens that every one of --lags has")
    what.add_argument("--allow_bidirectional", action="store_true",
                      help="read before the labelled token in a model that sees what comes after: no prediction")
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=whole_number(1), default=10, help="visits of the training examples")
    training.add_argument("--learning_rate", type=number(0, 1e6, exclusive=True), default=1e-3,
                          help="AdamW's at the start; it falls to 0 along a cosine")
    training.add_argument("--weight_decay", type=number(0, 1e6), default=1e-4, help="AdamW's, on standardised states")
    training.add_argument("--probe_batch_size", type=whole_number(1),
                          help="examples per training step (default: from 8 to 1024, so that about 5000 steps are made)")
    training.add_argument("--pos_weight_cap", type=number(0, exclusive=True), default=5.0,
                          help="the most that a positive counts more than a negative; training draws at most this many "
                               "negatives for each positive")
    training.add_argument("--seed", type=whole_number(0), default=0, help="draws negatives, first weights and batches")
    output = parser.add_argument_group("output")
    output.add_argument("--output_dir", default="models", help="folder for the probes")
    output.add_argument("--results_dir", default="results", help="folder for the tables")
    output.add_argument("--overwrite", action="store_true",
                        help="delete probes and tables of another model or dataset from these folders")
    output.add_argument("--wandb_project", default="probe-training", help="Weights & Biases project")
    output.add_argument("--wandb_group", help="name that the runs of this sweep share (default: layer-sweep-LAG)")
    output.add_argument("--no_wandb", action="store_true", help="log nothing to Weights & Biases")
    return check(parser.parse_args(argv))


def check(arguments):
    from utils.readings import check_layer_text

    if arguments.layer is not None and arguments.layer_sweep is not None:
        raise UsageError(f"--layer {arguments.layer} and --layer_sweep {arguments.layer_sweep} contradict each other; "
                         "give one of them")
    if arguments.layer is not None and ("," in arguments.layer or arguments.layer in ("auto", "all")):
        raise UsageError(f"--layer {arguments.layer} is more than one layer; use --layer_sweep {arguments.layer}")
    if arguments.predict_current and arguments.lags is not None:
        raise UsageError("--predict_current is --lags 0; give one of them")
    if arguments.common_positions and len(arguments.lags or ()) < 2:
        raise UsageError("--common_positions compares several lags; give them with --lags -4,-1,0 or leave it out")
    flag = "layer" if arguments.layer is not None else "layer_sweep"
    given = getattr(arguments, flag)
    arguments.layers = "auto" if given is None else given
    check_layer_text(arguments.layers, f"--{flag}")
    return arguments


def main(argv=None):
    arguments = parse(argv)
    for flag in ("output_dir", "results_dir"):
        require_writable_folder(getattr(arguments, flag), f"--{flag}")
    quiet_libraries()
    started = time.monotonic()
    splits = load_splits(arguments)
    language_model = load_model(arguments, splits)
    sweep(arguments, splits, language_model, {"load": time.monotonic() - started})
    return 0


def sweep(arguments, splits, language_model, seconds):
    """From loaded data and model to saved probes, tables, and what is shown of them."""
    from utils.extraction import drop_non_finite, run_pass
    from utils.readings import parse_layers
    from utils.results import refuse_to_mix
    from utils.sweep import train_lag
    from utils.tracking import tracker

    anatomy = language_model.anatomy
    layers = parse_layers(arguments.layers, len(anatomy.blocks), anatomy.final_norm is not None)
    lags = choose_lags(arguments, splits["train"].metadata, anatomy.causal)
    owner = {"model": language_model.name, "model_fingerprint": language_model.fingerprint,
             "dataset_fingerprint": splits["train"].metadata["dataset_fingerprint"]}
    strangers = refuse_to_mix(arguments.output_dir, arguments.results_dir, owner, arguments.overwrite)
    tracking = tracker(not arguments.no_wandb, arguments.wandb_project)
    examples = draw_examples(arguments, splits, lags)
    tables, rows = run_pass(arguments, language_model, splits, layers, examples, seconds)
    drop_non_finite(tables, rows, examples, layers, language_model)
    sweeps = [train_lag(arguments, language_model, splits, layers, lag, examples[lag], tables, rows[lag], owner, tracking,
                        seconds) for lag in lags]
    save(arguments, sweeps, splits, language_model, owner, strangers, seconds)
    for found in sweeps:
        show(found)
    if 0 not in lags:
        print("next: the same command with --predict_current checks the whole line (about 0.99 at embed for a token task)")


def load_splits(arguments):
    """{"train", "val", perhaps "test"}: sequences of one preparation."""
    from itertools import combinations

    import numpy as np

    from utils.sequences import load_sequences

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
            raise UserError(f"{paths['train']} (dataset {ours}) and {paths[name]} (dataset {theirs}) come from "
                            "different preparations; make both with one run of scripts/prepare_data.py")
        for label, kind in ((1, "positive"), (0, "negative")):
            if not (sequences.labels == label).any():
                raise UserError(f"{paths[name]} has no {kind} label; make it again with scripts/prepare_data.py")
    for one, other in combinations(splits, 2):
        if np.intersect1d(splits[one].groups, splits[other].groups).size:
            raise UserError(f"{paths[one]} and {paths[other]} hold the same texts; give the {one} and the {other} "
                            "file of one preparation")
    return splits


def load_model(arguments, splits):
    """The model, after proof that the data were made with its tokenizer."""
    metadata = splits["train"].metadata
    name = arguments.model_name or metadata["model_name"]
    from utils.tokenizer import load_tokenizer, position_limit, tokenizer_fingerprint

    tokenizer = load_tokenizer(name)
    theirs, ours = metadata["tokenizer"]["fingerprint"], tokenizer_fingerprint(tokenizer)
    if theirs != ours:
        raise UserError(f"{arguments.train_data} was made with the tokenizer of {metadata['model_name']} ({theirs}), "
                        f"--model_name {name} has another one ({ours}); prepare the data with --model_name {name}")
    longest, limit = max(int(sequences.lengths.max()) for sequences in splits.values()), position_limit(name, tokenizer)
    if limit and longest > limit:
        raise UserError(f"{arguments.train_data} holds sequences of {longest} tokens, {name} has {limit} positions; prepare "
                        "the data with a smaller --context_length")
    from utils.language_model import load_language_model

    language_model = load_language_model(name, arguments.model_dtype, arguments.device)
    highest = max(int(sequences.input_ids.max()) for sequences in splits.values())
    if highest >= language_model.vocabulary:
        raise UserError(f"{arguments.train_data}: token id {highest} is out of range, {name} knows ids 0 to "
                        f"{language_model.vocabulary - 1}; prepare the data with --model_name {name}")
    print(f"{name}: {len(language_model.anatomy.blocks)} layers, hidden size {language_model.anatomy.hidden_size}, "
          f"{'causal' if language_model.anatomy.causal else 'bidirectional'}, "
          f"{str(language_model.dtype).removeprefix('torch.')} on {language_model.device}", flush=True)
    return language_model


def choose_lags(arguments, metadata, causal) -> list[int]:
    lags = [0] if arguments.predict_current else arguments.lags or [metadata["default_lag"]]
    if min(lags) < 0 and not causal:
        if not arguments.allow_bidirectional:
            raise UserError(f"lag {min(lags)} is no prediction here: the model is bidirectional and has seen the token "
                            "that is asked for; use --predict_current (lag 0), or --allow_bidirectional to read it so")
        print("note: the model is bidirectional, so a negative lag is not a prediction: the state that is read has seen "
              "the labelled token", flush=True)
    return lags


def draw_examples(arguments, splits, lags):
    """{lag: {split: Examples}}; train is sampled, val and test keep every labelled token."""
    from utils.readings import examples_at, sample_for_training

    examples = {}
    for lag in lags:
        examples[lag] = {name: examples_at(sequences, lag, lags if arguments.common_positions else ())
                         for name, sequences in splits.items()}
        for name, found in examples[lag].items():
            if len(set(found.labels.tolist())) < 2:
                raise UserError(f"lag {lag}: {len(found)} labelled tokens of {name} have a state to read there, and not "
                                "of both classes; use lags from -context_length to 0, or data of --positions all")
        examples[lag]["train"] = sample_for_training(examples[lag]["train"], arguments.pos_weight_cap, arguments.seed)
        if not (examples[lag]["train"].labels == 0).any():
            raise UserError(f"--pos_weight_cap {arguments.pos_weight_cap:g} leaves no negative to train on; make it larger")
    return examples


def save(arguments, sweeps, splits, language_model, owner, strangers, seconds):
    """The probes and the tables that speak of them, all or none; only then what they replace is deleted."""
    from importlib.metadata import version

    from utils.files import WriteTogether
    from utils.results import COLUMNS, probe_path, save_probe, write_tables
    from utils.sweep import best_layer

    metadata = splits["train"].metadata
    probe_rows, baseline_rows, written = [], [], []
    with WriteTogether() as files:
        for sweep in sweeps:
            common = {"target": sweep["target"], "lag": sweep["lag"], "seed": arguments.seed, **owner}
            for index, layer in enumerate(sweep["layers"]):
                trained, by_split = sweep["trained"], sweep["probes"][index]
                path = probe_path(arguments.output_dir, layer, sweep["lag"], arguments.seed)
                save_probe(files, path, trained.probes.weight[index], trained.probes.bias[index], {
                    **common, "kind": "linear", "layer": layer, "token": metadata["targets"][0]["token"],
                    "threshold": trained.threshold[index], "epoch": trained.epoch[index],
                    "pos_weight": trained.pos_weight, "training": vars(sweep["settings"]),
                    "hidden_size": language_model.anatomy.hidden_size, "causal": language_model.anatomy.causal,
                    "model_dtype": str(language_model.dtype).removeprefix("torch."),
                    "tokenizer_fingerprint": metadata["tokenizer"]["fingerprint"],
                    "prevalence": metadata["prevalence"], "source": metadata["source"],
                    "held_out": held_out(splits), "metrics": by_split, "baselines": sweep["baselines"]})
                written.append(path)
                probe_rows += [{**common, "layer_idx": layer, "probe": "linear", "l2": arguments.weight_decay,
                                "split": name, **scores} for name, scores in by_split.items()]
            baseline_rows += [{**common, "baseline": name, "split": split, **scores}
                              for name, by_split in sweep["baselines"].items() for split, scores in (by_split or {}).items()]
        record = {"command": sys.argv, "arguments": vars(arguments), **owner, "seconds": seconds,
                  "selected_on_validation": {str(sweep["lag"]): {"layer": sweep["layers"][best_layer(sweep)],
                                                                 "epochs": sweep["trained"].epoch} for sweep in sweeps},
                  "versions": {name: version(name) for name in ("torch", "transformers", "numpy", "scipy")}}
        write_tables(files, arguments.results_dir, probe_rows, baseline_rows, record, replaced=strangers)
    for path in set(strangers) - {*written, *(Path(arguments.results_dir) / name for name in COLUMNS)}:
        path.unlink(missing_ok=True)
    print(f"wrote {len(written)} probes: {written[0]}" + (f" ... {written[-1].name}" if len(written) > 1 else "")
          + f"; tables: {Path(arguments.results_dir) / 'probe_results.csv'}, probe_metrics.csv, baselines.csv, "
          "run_record.json")


def held_out(splits) -> list[str]:
    """The names of the documents that nothing was trained on or chosen by."""
    if "test" not in splits:
        return []
    names = splits["test"].metadata["documents"]
    return [names[document] for document in sorted(set(splits["test"].documents.tolist()))]


def show(sweep):
    from utils.readings import lag_name, layer_name
    from utils.report import one_sided, sweep_table
    from utils.sweep import best_layer

    names = [layer_name(layer) for layer in sweep["layers"]]
    print(f"\n{sweep['target']!r}, lag {sweep['lag']} ({lag_name(sweep['lag'])}); {sweep['prevalence']:.2%} of all tokens "
          "are the target; thresholds from validation, intervals over groups")
    for split in [name for name in ("val", "test") if name in sweep["probes"][0]]:
        entries = [(name, by_split[split]) for name, by_split in zip(names, sweep["probes"], strict=True)]
        entries += [(f"({name})", by_split and by_split[split]) for name, by_split in sweep["baselines"].items()]
        print(f"\n{sweep_table(entries, split)}")
        if entries[0][1]["groups"] < 3:
            print(f"no intervals: {entries[0][1]['groups']} group(s) in {split}, an interval over groups needs 3")
    print()
    for name, by_split in zip(names, sweep["probes"], strict=True):
        for split in ("val", "test"):
            warning = split in by_split and one_sided(f"{name} on {split}", by_split[split])
            if warning:
                print(warning, file=sys.stderr)
    best = best_layer(sweep)
    chosen = sweep["probes"][best]
    print(f"best on validation: {names[best]}, balanced accuracy {chosen['val']['balanced_accuracy']:.3f}"
          + (f" (test {chosen['test']['balanced_accuracy']:.3f})" if "test" in chosen else ""))


if __name__ == "__main__":
    run(main)
