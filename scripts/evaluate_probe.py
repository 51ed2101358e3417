#!/usr/bin/env python3
"""Saved probes on other data, without training: scores of each on every dataset and target, and the transfer matrix."""

from os.path import expanduser
from pathlib import Path

from utils.base.cli.parser import Parser, lag_list, name_list, number, number_list, quiet_libraries, run
from utils.base.errors import UsageError, UserError
from utils.base.files import require_writable_folder
from utils.probes.kinds import KINDS
from utils.sweep.flags import add_model_flags

MOST_LINES = 40  # of the printed table; transfer.csv holds everything


def build_parser() -> Parser:
    parser = Parser(
        __file__,
        __doc__,
        "next: python scripts/evaluate_probe.py once more, with other --data or --probe_dir "
        "and the same --results_dir, whose rows are kept; a browser opens its transfer.html",
    )
    probes = parser.add_argument_group("probes")
    probes.add_argument(
        "--probe_dir",
        nargs="+",
        type=expanduser,
        help="folders of probe_*.pth files, or exports such as models/probes.safetensors (default: models)",
    )
    probes.add_argument(
        "--probe",
        action="list",
        type=name_list(KINDS),
        help=f"only these kinds, a list of {', '.join(KINDS)} (default: all)",
    )
    probes.add_argument(
        "--layers",
        "--layer",
        action="list",
        type=lambda text: text.split(","),
        help="only of these layers, a list such as 0,5,embed,final_norm (default: all)",
    )
    probes.add_argument(
        "--lag",
        action="list",
        type=lag_list,
        help="only of these lags, a list such as -4,-1 (default: all; each probe is read at its own)",
    )
    probes.add_argument("--seed", action="list", type=number_list(0, whole=True), help="only of these seeds (default: all)")
    add_model_flags(parser, "that the probes were trained on", "the probes' own")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        nargs="+",
        type=expanduser,
        help="files of labelled sequences, of any preparation with the same tokenizer (default: data/test.pth)",
    )
    data.add_argument(
        "--targets",
        action="names",
        type=lambda text: text.split(","),
        help="of the data's targets only these, a list of names (default: all, each with every probe)",
    )
    data.add_argument(
        "--keep_seen",
        action="store_true",
        help="also score documents that a probe was trained on or chosen by; transfer.csv says how many",
    )
    data.add_argument(
        "--cache_dir",
        help="folder where hidden states are kept, found again by the same model and data and "
        "resumed after a crash (default: in memory, nothing kept)",
    )
    data.add_argument(
        "--memory_gb",
        type=number(0, exclusive=True),
        help="hidden states beyond this go to disk, into --cache_dir or data/states (default: half of the free memory)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--results_dir",
        type=expanduser,
        default="results",
        help="folder for transfer.csv, transfer_matrix.csv and transfer.html",
    )
    output.add_argument("--overwrite", action="store_true", help="replace a transfer.csv of another model")
    return parser


def parse(argv):
    return check(build_parser().parse_args(argv))


def check(arguments):
    """Refuse what can be no layer; those that are numbers become numbers. Sets what is read where nothing is named."""
    arguments.probe_dir = paths(arguments.probe_dir or ["models"])
    arguments.data = paths(arguments.data or ["data/test.pth"])
    layers = arguments.layers or []
    for layer in layers:
        if not (layer.isascii() and layer.isdigit()) and layer not in ("embed", "final_norm", "attention"):
            raise UsageError(
                f"--layers {','.join(layers)}: {layer!r} is no layer; give a list such as 0,5,11 with embed, "
                "final_norm and attention by name"
            )
    arguments.layers = [int(layer) if layer.isdigit() else layer for layer in layers] or None
    return arguments


def paths(words) -> list[str]:
    """Several of them can also stand in one word, as in a YAML file: 'a.pth,b.pth'."""
    return [path for word in words for path in ([word] if Path(word).exists() else word.split(","))]


def main(argv=None):
    arguments = parse(argv)
    require_writable_folder(arguments.results_dir, "--results_dir")
    quiet_libraries()
    from utils.saved.evaluation import load_datasets, require_lags, require_tokenizer
    from utils.saved.saved_probes import chosen_probes, load_probes, require_one_model
    from utils.saved.transfer import refuse_other_model

    probes = chosen_probes(
        load_probes(arguments.probe_dir),
        kind=arguments.probe,
        layer=arguments.layers,
        lag=arguments.lag,
        seed=arguments.seed,
    )
    require_one_model(probes)
    drop = refuse_other_model(arguments.results_dir, probes[0], arguments.overwrite)
    datasets = load_datasets(arguments.data, arguments.targets)
    require_tokenizer(datasets, probes)
    require_lags(datasets, probes)
    language_model = load_model(arguments, probes, datasets)
    rows = evaluate(arguments, language_model, probes, datasets)
    write(arguments, rows, drop)
    return 0


def load_model(arguments, probes, datasets):
    """The model, after proof that the probes were trained on it and that the data fit it."""
    from utils.data.tokenizer import load_tokenizer, position_limit, tokenizer_fingerprint

    name = arguments.model_name or probes[0].model
    tokenizer = load_tokenizer(name)
    ours, theirs = tokenizer_fingerprint(tokenizer), probes[0].tokenizer_fingerprint
    if ours != theirs:
        raise UserError(
            f"{probes[0].file} was trained with the tokenizer of {probes[0].model} ({theirs}), --model_name "
            f"{name} has another one ({ours}); give the model that the probes were trained on"
        )
    limit = position_limit(name, tokenizer)
    for dataset in datasets:
        longest = int(dataset.targets[0].lengths.max())
        if limit and longest > limit:
            raise UserError(
                f"{dataset.path} holds sequences of {longest} tokens, {name} has {limit} positions; prepare the "
                "data with a smaller --context_length"
            )
    from utils.model.language_model import load_language_model

    trained_in = {probe.metadata.get("model_dtype") for probe in probes}
    dtype = "float16" if arguments.model_dtype == "auto" and trained_in == {"float16"} else arguments.model_dtype
    language_model = load_language_model(name, dtype, arguments.device)
    if language_model.fingerprint != probes[0].model_fingerprint:
        raise UserError(
            f"{probes[0].file} was trained on {probes[0].model} ({probes[0].model_fingerprint}), --model_name "
            f"{name} is another model ({language_model.fingerprint}); give the model that the probes were "
            "trained on, in its precision"
        )
    for dataset in datasets:
        highest = int(dataset.targets[0].input_ids.max())
        if highest >= language_model.vocabulary:
            raise UserError(
                f"{dataset.path}: token id {highest} is out of range, {name} knows ids 0 to "
                f"{language_model.vocabulary - 1}; prepare the data with --model_name {name}"
            )
    if not language_model.anatomy.causal and any(probe.lag < 0 for probe in probes):
        print(
            "note: the model is bidirectional, so a negative lag is not a prediction: the state that is read has seen the "
            "labelled token",
            flush=True,
        )
    return language_model


def evaluate(arguments, language_model, probes, datasets) -> list[dict]:
    """The rows of transfer.csv. What is compared is said before, what was left out after each dataset."""
    from utils.base.progress import Progress
    from utils.saved.evaluation import answers, scores_of
    from utils.saved.transfer import row_of, what_is_missing

    ours = ", ".join(repr(target) for target in dict.fromkeys(probe.target for probe in probes))
    rows, order = [], {probe.file: index for index, probe in enumerate(probes)}
    for dataset in datasets:
        theirs = ", ".join(repr(sequences.metadata["targets"][0]["name"]) for sequences in dataset.targets)
        print(f"{dataset.path}: {len(probes)} probes of {ours} -> {theirs}, as labelled there", flush=True)
        found = []
        with Progress("scores", "probe", len(probes) * len(dataset.targets)) as progress:
            for answer in answers(arguments, language_model, dataset, probes):
                for probe, scores in zip(answer.asked.probes, scores_of(answer), strict=True):
                    found.append(row_of(probe, dataset, answer.asked.target, scores))
                progress.update(len(answer.asked.probes))
        for line in what_is_missing(found):
            print(line, flush=True)
        rows += sorted(found, key=lambda row: order[row["probe_file"]])
    if not any(row["n"] for row in rows):
        raise UserError(
            "nothing is left to score: the probes were trained on or chosen by every document of the data; give "
            "other --data, or score them all the same with --keep_seen"
        )
    return rows


def write(arguments, rows, drop):
    from utils.pages.charts.transfer import transfer_pages
    from utils.saved.transfer import lines_of, matrix_of, merged, write_transfer

    shown = lines_of(matrix_of(rows))
    print(
        "\nprobes of the best layer on their own validation data, for each target, kind and lag\n"
        + "\n".join(shown[: MOST_LINES + 1])
    )
    if len(shown) > MOST_LINES + 1:
        print(f"... and {len(shown) - MOST_LINES - 1} more lines in transfer.csv")
    table = merged(arguments.results_dir, rows, drop)
    matrix = matrix_of(table)
    paths = write_transfer(arguments.results_dir, table, matrix, transfer_pages(matrix))
    page = Path(arguments.results_dir) / "transfer.html"
    print(
        f"wrote {', '.join(map(str, paths[:3]))}: {len(rows)} rows of this run, {len(table)} in all\n"
        f"next: open {page.resolve().as_uri()} in a browser"
    )


if __name__ == "__main__":
    run(main)
