#!/usr/bin/env python3
"""Labelled sequences -> a linear probe for every layer, from one pass of the model, and a table of scores."""

import sys
import time
from pathlib import Path

from utils.command_line import Parser, quiet_libraries, run
from utils.errors import UserError
from utils.files import require_writable_folder
from utils.probe_flags import add_data_flags, add_model_flags, add_reading_flags, add_training_flags, check_reading


def parse(argv):
    parser = Parser(__doc__, epilog="next: python scripts/visualize_probe.py; or --predict_current once more, which checks "
                                    "the whole line")
    add_model_flags(parser)
    add_data_flags(parser)
    add_reading_flags(parser)
    add_training_flags(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--output_dir", default="models", help="folder for the probes")
    output.add_argument("--results_dir", default="results", help="folder for the tables")
    output.add_argument("--overwrite", action="store_true",
                        help="delete probes and tables of another model or dataset from these folders")
    output.add_argument("--wandb_project", default="probe-training", help="Weights & Biases project")
    output.add_argument("--wandb_group", help="name that the runs of this sweep share (default: layer-sweep-LAG)")
    output.add_argument("--no_wandb", action="store_true", help="log nothing to Weights & Biases")
    return check_reading(parser.parse_args(argv))


def main(argv=None):
    arguments = parse(argv)
    for flag in ("output_dir", "results_dir"):
        require_writable_folder(getattr(arguments, flag), f"--{flag}")
    quiet_libraries()
    started = time.monotonic()
    from utils.probe_task import load_splits

    splits = load_splits(arguments)
    language_model = load_model(arguments, splits)
    sweep(arguments, splits, language_model, {"load": time.monotonic() - started})
    return 0


def sweep(arguments, splits, language_model, seconds):
    """From loaded data and model to saved probes, tables, and what is shown of them."""
    from utils.extraction import drop_non_finite, run_pass
    from utils.probe_task import choose_lags, draw_examples
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
    shown = "" if len(lags) == 1 and lags[0] == -1 else f" --lag {lags[0]}"
    print(f"next: python scripts/visualize_probe.py --probe_dir {arguments.output_dir}{shown}")


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
                    "context_length": metadata["context_length"], "texts": text_hashes(splits),
                    "metrics": by_split, "baselines": sweep["baselines"]})
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


def text_hashes(splits) -> dict[str, list[str]]:
    """{split: the hashes of its documents}, by which a text is known that was trained on, chosen by, or kept apart."""
    hashes = splits["train"].metadata.get("document_hashes")
    return {} if hashes is None else {name: [hashes[document] for document in sorted(set(sequences.documents.tolist()))]
                                      for name, sequences in splits.items()}


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
