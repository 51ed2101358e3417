#!/usr/bin/env python3
"""Saved probes on a text -> one HTML page: every token coloured by what each layer's probe says of it."""

from itertools import chain
from os.path import expanduser
from pathlib import Path

from utils.command_line import Parser, Progress, one_lag, quiet_libraries, run, whole_number
from utils.errors import UsageError, UserError
from utils.files import require_writable_folder

GUTENBERG = "manu/project_gutenberg"
LONGEST_WINDOW = 1024  # text tokens: context enough, and memory that every machine has
MOST_NON_FINITE = 0.01  # of the logits: more than this is no accident


def parse(argv):
    parser = Parser(__doc__, epilog="next: python scripts/visualize_probe.py --text_file my_text.txt, for a text of "
                                    "your own; any browser shows the page, without a network")
    probes = parser.add_argument_group("probes")
    probes.add_argument("--probe_dir", default="models", help="folder of probe_*.pth files")
    probes.add_argument("--lag", type=one_lag, help="which probes, where the folder has several lags (default: -1, the next "
                                                "token, if it is there)")
    probes.add_argument("--target_token", help="... several targets (default: the one of most probes)")
    probes.add_argument("--seed", type=whole_number(0), help="... several seeds (default: 0 if it is there)")
    model = parser.add_argument_group("model")
    model.add_argument("--model_name", type=expanduser,
                       help="the model that the probes were trained on: a Hub name or a folder (default: the probes' own)")
    model.add_argument("--model_dtype", choices=("auto", "bfloat16", "float16", "float32"), default="auto",
                       help="precision of the model; auto: bfloat16 on CUDA where supported, else float32")
    model.add_argument("--device", default="auto", help="auto (cuda, mps, cpu: the first there is), or one of them")
    model.add_argument("--batch_size", type=whole_number(1), default=8,
                       help="windows per forward pass; halved when memory runs out")
    text = parser.add_argument_group("text")
    text.add_argument("--num_tokens", type=whole_number(1), default=4000, help="tokens of text to show")
    text.add_argument("--text_source", choices=("gutenberg", "file"),
                      help="gutenberg: --dataset; file: --text_file (default: file if --text_file is given, else gutenberg)")
    text.add_argument("--text_file", type=expanduser, help="a text to show")
    text.add_argument("--dataset", type=expanduser,
                      help="texts as in prepare_data.py: a Hub dataset, a folder, .txt, .jsonl or .parquet files; those of "
                           f"the probes' test split are shown (default: the probes' own if it is there, else {GUTENBERG})")
    text.add_argument("--text_column", default="text", help="the column or key that holds the text")
    text.add_argument("--language", default="en", help="the dataset's split: en, fr, de, ...")
    text.add_argument("--window", type=whole_number(1),
                      help="text tokens that the model reads together (default: all that it has positions for, at most "
                           f"{LONGEST_WINDOW})")
    text.add_argument("--overlap", type=whole_number(0),
                      help="tokens that a window shares with the next, the least context of a token (default: half of "
                           "--window)")
    output = parser.add_argument_group("output")
    output.add_argument("--output", default="visualization.html", help="HTML file to write")
    return check(parser.parse_args(argv))


def check(arguments):
    if arguments.text_source is None:
        arguments.text_source = "file" if arguments.text_file else "gutenberg"
    if arguments.text_source == "file" and not arguments.text_file:
        raise UsageError("--text_source file needs the file: give --text_file PATH")
    if arguments.text_source == "gutenberg" and arguments.text_file:
        raise UsageError(f"--text_file {arguments.text_file} and --text_source gutenberg contradict each other; give one")
    if arguments.text_file and arguments.dataset:
        raise UsageError(f"--text_file {arguments.text_file} and --dataset {arguments.dataset} are two texts; give one")
    if arguments.window and arguments.overlap is not None and arguments.overlap >= arguments.window:
        raise UsageError(f"--overlap {arguments.overlap} must be smaller than --window {arguments.window}")
    if Path(arguments.output).is_dir():
        raise UsageError(f"--output {arguments.output} is a folder; give the name of an HTML file")
    return arguments


def main(argv=None):
    arguments = parse(argv)
    require_writable_folder(Path(arguments.output).parent, "--output")
    quiet_libraries()
    probes, language_model, tokenizer = load(arguments)
    texts = read(arguments, probes, tokenizer)
    logits = apply(arguments, probes, language_model, tokenizer, [ids for _, _, ids in texts])
    write(arguments, probes, tokenizer, texts, logits)
    return 0


def load(arguments):
    """The probes, their model, its tokenizer: proven to belong together. Says which probes are left out, and why."""
    from utils.probe_sets import choose, load_folder, most_common
    from utils.tokenizer import load_tokenizer, tokenizer_fingerprint

    found = load_folder(arguments.probe_dir)
    name = arguments.model_name or most_common(found, "model")
    tokenizer = load_tokenizer(name)
    from utils.language_model import load_language_model

    language_model = load_language_model(name, arguments.model_dtype, arguments.device)
    probes, left_out = choose(found, language_model.fingerprint, arguments.lag, arguments.target_token, arguments.seed)
    if probes is None:
        why = "; ".join(f"{len(paths)} are {reason}" for reason, paths in left_out.items())
        raise UserError(f"--probe_dir {arguments.probe_dir} has no probe of --model_name {name} "
                        f"({language_model.fingerprint}, {str(language_model.dtype).removeprefix('torch.')}): {why}; give "
                        "the model that they were trained on")
    for reason, paths in left_out.items():
        print(f"left out: {paths[0]}" + (f" ... {paths[-1].name}" if len(paths) > 1 else "") + f", {reason}", flush=True)
    theirs, ours = probes.common["tokenizer_fingerprint"], tokenizer_fingerprint(tokenizer)
    if theirs != ours:
        raise UserError(f"{probes.paths[0]} was trained with another tokenizer ({theirs}) than that of {name} ({ours}); "
                        "give the model as it was")
    print(f"{len(probes.layers)} probes of {probes.common['target']!r}, lag {probes.common['lag']}: {probes.paths[0]}"
          + (f" ... {probes.paths[-1].name}" if len(probes.paths) > 1 else ""), flush=True)
    return probes, language_model, tokenizer


def read(arguments, probes, tokenizer):
    """[(name, what is known of it, token ids)] of the first --num_tokens tokens."""
    from utils.tokenizer import encode_batch

    texts, missing = [], arguments.num_tokens
    for document, note in documents(arguments, probes):
        ids = encode_batch(tokenizer, [document.text])[0][:missing]
        if len(ids):
            texts.append((document.name, note, ids))
            missing -= len(ids)
        if missing == 0:
            break
    if not texts:
        raise UserError(f"{arguments.text_file or arguments.dataset} holds no text; give another")
    if missing:
        print(f"note: the text has {arguments.num_tokens - missing:,} tokens, fewer than --num_tokens "
              f"{arguments.num_tokens:,}", flush=True)
    return texts


def documents(arguments, probes):
    """(document, note): of the probes' own dataset those of its test split, else all in their order."""
    from utils.readers.text import read_text_file, read_texts

    if arguments.text_source == "file":
        return ((document, "") for document in read_text_file(arguments.text_file))
    source = probes.common.get("source") or {}
    arguments.dataset = arguments.dataset or source.get("dataset") or GUTENBERG
    held_out = set(probes.common.get("held_out", ()))
    own = held_out and same_place(arguments.dataset, source.get("dataset", ""))
    found = read_texts(arguments.dataset, arguments.text_column, arguments.language,
                       source.get("max_texts") if own else None)
    if own:
        found = (document for document in found if document.name in held_out)
    first = next(found, None)
    if first is None:
        raise UserError(f"--dataset {arguments.dataset} holds " + (
            "none of the texts that were kept from training; give another text with --text_file" if own else
            "no texts; choose another"))
    note = "of the test split" if own else "perhaps seen in training"
    if not own:
        print(f"note: whether the probes were trained on {arguments.dataset} is not known", flush=True)
    return ((document, note) for document in chain([first], found))


def same_place(one, other) -> bool:
    """Do two dataset arguments name one thing? Paths are compared as places, Hub names as they are."""
    return one == other or (Path(one).exists() and Path(other).exists() and Path(one).samefile(other))


def apply(arguments, probes, language_model, tokenizer, texts):
    """Of each text, the logits [probes, tokens]."""
    import numpy as np

    from utils.running_text import probe_logits
    from utils.tokenizer import position_limit, special_frame

    frame = special_frame(tokenizer)
    limit = position_limit(language_model.name, tokenizer)
    most = limit - len(frame[0]) - len(frame[1]) if limit else None
    window = arguments.window or min(most or LONGEST_WINDOW, LONGEST_WINDOW)
    if most and window > most:
        raise UserError(f"--window {window} is too long: {language_model.name} has {limit} positions, {most} of them for "
                        "text; make it smaller")
    overlap = window // 2 if arguments.overlap is None else arguments.overlap
    if overlap >= window:
        raise UserError(f"--overlap {overlap} must be smaller than the window of {window} tokens")
    with Progress("read the text", "tok", sum(map(len, texts))) as progress:
        logits = probe_logits(language_model, texts, frame, probes, probes.common["lag"], window, overlap,
                              arguments.batch_size, progress.update)
    read = sum(max(0, len(text) - abs(probes.common["lag"])) for text in texts)
    lost = int(sum(np.isnan(part).sum() for part in logits)) - len(probes.layers) * (sum(map(len, texts)) - read)
    if not read:
        raise UserError(f"the text is too short: with lag {probes.common['lag']} it needs more than "
                        f"{abs(probes.common['lag'])} tokens; give a longer one")
    if lost > MOST_NON_FINITE * read * len(probes.layers):
        raise UserError(f"{lost / read / len(probes.layers):.1%} of the states are not finite in "
                        f"{str(language_model.dtype).removeprefix('torch.')}; use --model_dtype bfloat16 or float32")
    if lost:
        print(f"{lost} states are not finite and are left blank", flush=True)
    return logits


def write(arguments, probes, tokenizer, texts, logits):
    from utils.pages.page import write_page
    from utils.probe_page import page_values

    write_page(arguments.output, "probes", **page_values(probes, tokenizer, texts, logits))
    path = Path(arguments.output).resolve()
    print(f"wrote {arguments.output}: {sum(len(ids) for _, _, ids in texts):,} tokens, {len(probes.layers)} layers\n"
          f"next: open {path.as_uri()} and move through the layers with the arrow keys")


if __name__ == "__main__":
    run(main)
