#!/usr/bin/env python3
"""Apply saved probes to texts and write one HTML page: every token is coloured by what each layer's probe says of it."""

from utils.base.processes.signals import listen

if __name__ == "__main__":
    listen()  # first, so that Ctrl-C during the imports shows no traceback

import os
from pathlib import Path

from utils.base.cli.parser import Parser, lag_number, number, quiet_libraries, run, whole_number
from utils.base.errors import UsageError, UserError
from utils.base.files import require_writable_folder
from utils.base.paths import file_path, folder_path, name_or_path
from utils.base.progress import Progress
from utils.base.text_table import how_many
from utils.probes.kinds import PAGE_KINDS
from utils.states.flags import add_model_flags

TOKENS, TEXTS = {False: 4000, True: 40_000}, {False: 8, True: 200}  # that are shown; True: where whole texts are judged
OF_A_TARGET = 100  # whole texts, of several targets
PROMOTED = 8  # tokens that a direction promotes, on the page
MOST_NON_FINITE = 0.01  # of the logits: more than this is no accident


def build_parser() -> Parser:
    parser = Parser(
        __file__,
        __doc__,
        "next: python scripts/visualize_probe.py --text_file my_text.txt, for a text of your "
        "own; any browser shows the page, without a network",
    )
    add_probe_flags(parser)
    add_model_flags(parser, "that the probes were trained on", "the probes' own", "windows", batch_size=8)
    add_text_flags(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--output", type=file_path, default="visualization.html", help="HTML file to write")
    output.add_argument(
        "--max_page_mb",
        type=number(0, exclusive=True),
        default=20.0,
        help="MB that the values of all probes may take; probes that do not fit are left out and named",
    )
    return parser


def add_probe_flags(parser):
    probes = parser.add_argument_group("probes")
    probes.add_argument("--probe_dir", type=folder_path, default="models", help="folder of probe_*.pth files")
    probes.add_argument(
        "--lag",
        type=lag_number,
        help="show the probes of this lag only (default: of all lags)",
    )
    probes.add_argument(
        "--target_token",
        "--target",
        help="show the probes of this target only, a token or the name of a label (default: of all)",
    )
    probes.add_argument("--seed", type=whole_number(0), help="show this seed only (default: all)")
    probes.add_argument("--probe", choices=PAGE_KINDS, help="show this kind only (default: all)")


def add_text_flags(parser):
    text = parser.add_argument_group("text")
    text.add_argument(
        "--num_tokens",
        type=whole_number(1),
        help=f"tokens of text to show (default: {TOKENS[False]}; {TOKENS[True]} where the probes judge whole texts)",
    )
    text.add_argument(
        "--num_texts",
        type=whole_number(1),
        help=f"texts to show, as many tokens of each (default: {TEXTS[False]}); where the probes judge whole texts, so many "
        f"whole ones (default: {TEXTS[True]}, or {OF_A_TARGET} for each target)",
    )
    text.add_argument(
        "--text_source",
        choices=("gutenberg", "file"),
        help="gutenberg: --dataset; file: --text_file (default: file if --text_file is given, else gutenberg)",
    )
    text.add_argument("--text_file", type=file_path, help="a text to show")
    text.add_argument(
        "--dataset",
        type=name_or_path,
        help="texts as in prepare_data.py: a Hub dataset, a folder, .txt, .jsonl or .parquet files (default: the "
        "texts or the annotated file that the probes were made from; only what was kept from training is shown)",
    )
    text.add_argument(
        "--text_column", help="the column or key that holds the text (default: as the data were prepared, else text)"
    )
    text.add_argument(
        "--language", help="the dataset's split: en, fr, de, ... (default: as the data were prepared, else en)"
    )
    text.add_argument(
        "--window",
        type=whole_number(1),
        help="text tokens that the model reads together (default: all that it has positions for, at most 1024)",
    )
    text.add_argument(
        "--overlap",
        type=whole_number(0),
        help="tokens that a window shares with the next one, the least context of a token (default: half of --window)",
    )


def parse(argv):
    arguments = build_parser().parse_args(argv)
    source = arguments.text_source or ("file" if arguments.text_file else "gutenberg")
    if source == "file" and not arguments.text_file:
        raise UsageError("--text_source file needs the file: give --text_file PATH")
    if source == "gutenberg" and arguments.text_file:
        raise UsageError(f"--text_file {arguments.text_file} and --text_source gutenberg contradict each other; give one")
    if arguments.text_file and arguments.dataset:
        raise UsageError(f"--text_file {arguments.text_file} and --dataset {arguments.dataset} are two texts; give one")
    if arguments.window and arguments.overlap is not None and arguments.overlap >= arguments.window:
        raise UsageError(f"--overlap {arguments.overlap} must be smaller than --window {arguments.window}")
    refuse_output(arguments.output, arguments.text_file or arguments.dataset)
    return arguments


def refuse_output(output, text):
    """Refuse to overwrite what is not a page. text: where the shown text comes from, or None."""
    if os.path.isdir(output):
        raise UsageError(f"--output {output} is a folder; give the name of an HTML file")
    if (
        output.endswith(".pth")
        or os.path.exists(output)
        and (not os.path.isfile(output) or text and os.path.exists(text) and os.path.samefile(output, text))
    ):
        raise UsageError(f"--output {output} would overwrite what is no page; give the name of an HTML file")


def main(argv=None):
    arguments = parse(argv)
    require_writable_folder(Path(arguments.output).parent, "--output")
    quiet_libraries()
    if arguments.text_file:
        from utils.data.readers.plain import require_text_file

        require_text_file(arguments.text_file)
    sets, language_model, tokenizer = load(arguments)
    from utils.pages.texts.annotated import frame_of
    from utils.pages.texts.reading import read_shown
    from utils.pages.texts.shown import Amount
    from utils.pages.texts.source import TextRequest, choose_source
    from utils.saved.running_text import fitting_windows

    first = sets[0]
    if first.whole and (arguments.window or arguments.overlap is not None):
        raise UsageError("--window and --overlap cut texts for the model; these probes judge whole texts, so leave them out")
    asked = TextRequest(arguments.text_file, arguments.dataset, arguments.text_column, arguments.language)
    source = choose_source(asked, first)
    refuse_output(arguments.output, source.place)  # the probes' own texts are known only now
    targets = {one.common["target"]: one.common["token"] for one in sets}
    most = max(TEXTS[first.whole], OF_A_TARGET * len(targets) if first.whole else 0)
    windows = fitting_windows(language_model, arguments.window, arguments.overlap, frame_of(source, first, tokenizer))
    tokens, most = arguments.num_tokens or TOKENS[first.whole], arguments.num_texts or most
    amount = Amount(tokens, most, targets, windows.width)
    texts = read_shown(source, amount, first, tokenizer)
    sets = those_that_fit(sets, sum(len(text.ids) for text in texts), arguments.max_page_mb)
    found = apply(arguments, sets, language_model, [text.ids for text in texts], windows)
    write(arguments.output, language_model, sets, tokenizer, texts, found, windows.width)
    return 0


def load(arguments):
    """Load the probes, their model and its tokenizer, and prove that they belong together. Print what is left out."""
    from utils.data.tokenizer import load_tokenizer, read_special_tokens_as
    from utils.model.belonging import check_tokenizer_of_probe, require
    from utils.saved.probe_sets import load_folder, most_common, require_value, sets_to_show

    found = load_folder(arguments.probe_dir)
    for key, wanted, flag in (
        ("lag", arguments.lag, "lag"),
        ("target", arguments.target_token, "target_token"),
        ("seed", arguments.seed, "seed"),
        ("kind", arguments.probe, "probe"),
    ):
        require_value(found, key, wanted, flag)
    name = arguments.model_name or most_common(found, "model")
    tokenizer = load_tokenizer(name, trust_remote_code=arguments.trust_remote_code)
    from utils.model.language_model import load_language_model
    from utils.saved.saved_probes import precision_to_load
    from utils.states.sites import sort_layers

    dtype = precision_to_load(arguments.model_dtype, (probe["metadata"] for probe in found.values()))
    language_model = load_language_model(name, dtype, arguments.device, arguments.trust_remote_code)
    for note in language_model.notes:
        print(note, flush=True)
    asked = {
        "target": arguments.target_token,
        "lag": arguments.lag,
        "kind": arguments.probe,
        "seed": arguments.seed,
    }
    fingerprint = language_model.named_in(probe["metadata"]["model_fingerprint"] for probe in found.values())
    sets, left_out = sets_to_show(found, fingerprint, asked)
    if not sets:
        why = "; ".join(f"{len(paths)} are {reason}" for reason, paths in left_out.items())
        raise UserError(
            f"--probe_dir {arguments.probe_dir} has no probe of --model_name {name} "
            f"({language_model.fingerprint}, {str(language_model.dtype).removeprefix('torch.')}): {why}; give "
            "the model that they were trained on, in its precision"
        )
    require(check_tokenizer_of_probe(str(sets[0].paths[0]), sets[0].common, name, tokenizer))
    for one in sets:
        sort_layers(one.layers, language_model.anatomy)
    read_special_tokens_as(tokenizer, (sets[0].common.get("source") or {}).get("special_tokens", "text"))
    tell(sets, left_out)
    return sets, language_model, tokenizer


def tell(sets, left_out):
    """Print which probes are shown, which are not and why, and on which the page opens."""
    from utils.states.sites import layer_name

    for reason, paths in left_out.items():
        print(f"left out: {paths[0]}" + (f" ... {paths[-1].name}" if len(paths) > 1 else "") + f", {reason}", flush=True)
    for one in sets:
        print(
            f"{name_of(one)}: {len(one.layers)} probes, {one.paths[0]}" + (" ..." if len(one.paths) > 1 else ""), flush=True
        )
    chosen, why = layer_name(sets[0].layers[sets[0].chosen]), "what validation chose"
    if not sets[0].was_chosen:
        why = "the last layer, as no scores on validation are known"
    print(f"the page opens on {why}: {chosen}, {name_of(sets[0])}", flush=True)


def name_of(probes) -> str:
    """Name a set of probes by what tells it from the others."""
    common = probes.common
    return f"{common['target']!r}, lag {common['lag']}, {common['kind']}, seed {common['seed']}"


def those_that_fit(sets, tokens, most_mb):
    """Leave out the sets whose values make the page too large, and name them."""
    from utils.pages.probe_page import fitting

    count = fitting(sets, tokens, most_mb)
    for one in sets[count:]:
        print(f"left out: {name_of(one)}, for which --max_page_mb {most_mb:g} has no room", flush=True)
    return sets[:count]


def apply(arguments, sets, language_model, texts, windows):
    """Compute the logits of each set, [probes, tokens of all texts] (whole texts before them), and the model's own."""
    from utils.saved.running_text import probe_logits, whole_logits

    lag = min((one.common["lag"] for one in sets), key=abs)
    if max(map(len, texts)) <= abs(lag):
        raise UserError(f"the text is too short: with lag {lag} it needs more than {abs(lag)} tokens; give a longer one")
    passes = 2 if sets[0].whole and sets[0].pool == "mean" else 1
    with Progress("read the text", "token", passes * sum(map(len, texts))) as progress:
        read = language_model, texts, sets, windows, arguments.batch_size, progress.update
        logits, own = (whole_logits(*read), {}) if sets[0].whole else probe_logits(*read)
    refuse_overflow(sets, language_model, texts, [part[:, -sum(map(len, texts)) :] for part in logits])
    return logits, own


def refuse_overflow(sets, language_model, texts, logits):
    """Raise UserError where many states are not finite; say how many are not. logits: of the tokens."""
    import numpy as np

    read = sum(max(0, len(text) - abs(one.common["lag"])) * len(one.layers) for one in sets for text in texts)
    lost = read - sum(int(np.isfinite(part).sum()) for part in logits)
    if lost > MOST_NON_FINITE * read:
        raise UserError(
            f"{lost / read:.1%} of the states are not finite in "
            f"{str(language_model.dtype).removeprefix('torch.')}; {language_model.against_overflow}"
        )
    if lost:
        print(f"{lost} states are not finite and are left blank", flush=True)


def write(output, language_model, sets, tokenizer, texts, found, width):
    """Write the page. found: the logits of the probes and the model's own."""
    from utils.model.unembedding import promoted_tokens
    from utils.pages.html.page import write_page
    from utils.pages.probe_page import page_values

    logits, own = found
    promoted = [
        promoted_tokens(language_model, tokenizer, one.weight, one.common["token"], PROMOTED, one.layers) for one in sets
    ]
    write_page(output, "probes", **page_values(sets, tokenizer, texts, logits, width, promoted, own))
    path = Path(output).resolve()
    print(
        f"wrote {output}: {sum(len(text.ids) for text in texts):,} tokens of {how_many(len(texts), 'text')}, "
        f"{how_many(sum(len(one.layers) for one in sets), 'probe')}, {path.stat().st_size / 1e6:.1f} MB\n"
        f"next: open {path.as_uri()} and move through the layers with the arrow keys"
    )


if __name__ == "__main__":
    run(main)
