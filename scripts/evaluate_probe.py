#!/usr/bin/env python3
"""Saved probes on other data, without training: scores of each on every dataset and target, and the transfer matrix."""

from utils.base.processes.signals import listen

if __name__ == "__main__":
    listen()  # first, so that Ctrl-C during the imports shows no traceback

from pathlib import Path

from utils.base.cli.parser import Parser, lag_list, name_list, number_list, quiet_libraries, run
from utils.base.errors import UserError
from utils.base.files import require_writable_folder
from utils.base.paths import any_paths, file_paths, folder_path, paths_in
from utils.probes.kinds import KINDS
from utils.states.flags import add_cache_flags, add_model_flags
from utils.states.sites import read_layers

MOST_LINES = 40  # of the printed table; transfer.csv holds everything
SEARCHED = (
    "as a search: band and p of the maximum cover all probes of this run that are scored on the same examples; "
    "p of labelled tokens asks whether a probe finds the place in these documents, and says nothing of new ones"
)
NO_BASELINE = (
    "no baseline stands beside these scores: baselines learn from the training data, which this run does not read; "
    "what a text gives away without a model is not taken off"
)


def build_parser() -> Parser:
    parser = Parser(
        __file__,
        __doc__,
        "next: python scripts/evaluate_probe.py once more, with other --data or --probe_dir "
        "and the same --results_dir, whose rows are kept; a browser opens its transfer.html",
    )
    add_probe_flags(parser)
    add_model_flags(parser, "that the probes were trained on", "the probes' own")
    add_data_flags(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--results_dir",
        type=folder_path,
        default="results",
        help="folder for transfer.csv, transfer_matrix.csv and transfer.html",
    )
    output.add_argument("--overwrite", action="store_true", help="replace a transfer.csv of another model")
    return parser


def add_probe_flags(parser):
    probes = parser.add_argument_group("probes")
    probes.add_argument(
        "--probe_dir",
        nargs="+",
        type=any_paths,
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
        type=read_layers,
        help="only these layers, a list such as 0,5,embed,final_norm (default: all)",
    )
    probes.add_argument(
        "--lag",
        action="list",
        type=lag_list,
        help="only these lags, a list such as -4,-1 (default: all; each probe is read at its own)",
    )
    probes.add_argument("--seed", action="list", type=number_list(0, whole=True), help="only these seeds (default: all)")


def add_data_flags(parser):
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        nargs="+",
        type=file_paths,
        help="files of labelled sequences, of any preparation with the same tokenizer (default: data/test.pth)",
    )
    data.add_argument(
        "--targets",
        action="names",
        type=lambda text: text.split(","),
        help="only these targets of the data, a list of names (default: all, each with every probe)",
    )
    data.add_argument(
        "--keep_seen",
        action="store_true",
        help="also score documents that a probe was trained on or chosen by; transfer.csv says how many",
    )
    add_cache_flags(data)


def parse(argv):
    return build_parser().parse_args(argv)


def paths(words, usual) -> list[str]:
    """Several of them can also stand in one word, as in a YAML file: 'a.pth,b.pth'. Without any: the usual one."""
    return [path for word in words or [usual] for path in paths_in(word)]


def main(argv=None):
    arguments = parse(argv)
    require_writable_folder(arguments.results_dir, "--results_dir")
    quiet_libraries()
    from utils.saved.evaluation import load_datasets
    from utils.saved.saved_probes import chosen_probes, load_probes, require_one_model
    from utils.saved.transfer import refuse_other_model

    probes = chosen_probes(
        load_probes(paths(arguments.probe_dir, "models")),
        kind=arguments.probe,
        layer=arguments.layers,
        lag=arguments.lag,
        seed=arguments.seed,
    )
    require_one_model(probes)
    refuse_other_model(arguments.results_dir, probes[0], arguments.overwrite)
    datasets = load_datasets(paths(arguments.data, "data/test.pth"), arguments.targets)
    language_model = load_model(arguments, probes, datasets)
    rows = evaluate(arguments, language_model, probes, datasets)
    write(arguments, rows, probes[0])
    return 0


def load_model(arguments, probes, datasets):
    """Load the model, after proof that the probes were trained on it and that the data fit it."""
    from utils.data.tokenizer import load_tokenizer
    from utils.model import belonging
    from utils.saved.evaluation import require_lags
    from utils.saved.saved_probes import precision_to_load
    from utils.sweep.questions import BIDIRECTIONAL

    first, name = probes[0], arguments.model_name or probes[0].model
    for dataset in datasets:
        belonging.require(belonging.check_data_of_probe(dataset.path, dataset.metadata, first.file, first.metadata))
    require_lags(datasets, probes)
    tokenizer = load_tokenizer(name, trust_remote_code=arguments.trust_remote_code)
    belonging.require(belonging.check_tokenizer_of_probe(first.file, first.metadata, name, tokenizer))
    splits_of = {dataset.path: {dataset.metadata["split"]: dataset.targets[0]} for dataset in datasets}
    for path, splits in splits_of.items():
        belonging.require(belonging.check_length(path, splits, name, arguments.trust_remote_code))
    from utils.model.language_model import load_language_model

    dtype = precision_to_load(arguments.model_dtype, (probe.metadata for probe in probes))
    language_model = load_language_model(name, dtype, arguments.device, arguments.trust_remote_code)
    for note in language_model.notes:
        print(note, flush=True)
    belonging.require(belonging.check_model_of_probe(first.file, first.metadata, language_model))
    for path, splits in splits_of.items():
        belonging.require(belonging.check_ids(path, splits, language_model))
    if not language_model.anatomy.causal and any(probe.lag < 0 for probe in probes):
        print(BIDIRECTIONAL, flush=True)
    return language_model


def evaluate(arguments, language_model, probes, datasets) -> list[dict]:
    """The rows of transfer.csv. What is compared is said before, what was left out after each dataset."""
    from utils.base.progress import Progress
    from utils.saved.evaluation import answers, scores_of
    from utils.saved.transfer import row_of, what_is_missing
    from utils.states.extraction import Reading

    ours = ", ".join(repr(target) for target in dict.fromkeys(probe.target for probe in probes))
    reading = Reading((), batch_size=arguments.batch_size, cache_dir=arguments.cache_dir, memory_gb=arguments.memory_gb)
    rows, order = [], {probe.file: index for index, probe in enumerate(probes)}
    for dataset in datasets:
        theirs = ", ".join(repr(sequences.target_name) for sequences in dataset.targets)
        print(f"{dataset.path}: {len(probes)} probes of {ours} -> {theirs}, as labelled there", flush=True)
        found = []
        with Progress("scores", "probe", len(probes) * len(dataset.targets)) as progress:
            for answer in answers(reading, language_model, dataset, probes, arguments.keep_seen):
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


def show(heading, lines):
    print(f"\n{heading}\n" + "\n".join(lines[: MOST_LINES + 1]))
    if len(lines) > MOST_LINES + 1:
        print(f"... and {len(lines) - MOST_LINES - 1} more lines in transfer.csv")


def write(arguments, rows, probe):
    """Merge the rows into transfer.csv, and write what follows from it. probe: any of them, by which the model is known."""
    from utils.base.processes.locks import locked
    from utils.pages.charts.transfer import transfer_pages
    from utils.saved.transfer import lines_of, matrix_of, merge_transfer, refuse_other_model, search_lines, write_transfer

    show("probes of the best layer on their own validation data, for each target, kind and lag", lines_of(matrix_of(rows)))
    if searched := search_lines(rows):
        show(SEARCHED, searched)
    print(NO_BASELINE)
    with locked(arguments.results_dir):  # another run may have written there meanwhile
        drop = refuse_other_model(arguments.results_dir, probe, arguments.overwrite)
        table = merge_transfer(arguments.results_dir, rows, drop)
        matrix = matrix_of(table)
        paths = write_transfer(arguments.results_dir, table, matrix, transfer_pages(matrix))
    page = Path(arguments.results_dir) / "transfer.html"
    print(
        f"wrote {', '.join(map(str, paths[:3]))}: {len(rows)} rows of this run, {len(table)} in all\n"
        f"next: open {page.resolve().as_uri()} in a browser"
    )


if __name__ == "__main__":
    run(main)
