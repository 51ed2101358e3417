#!/usr/bin/env python3
"""Read what the latents of sparse autoencoders are active on: one pass over texts, a JSON file and an HTML page a layer."""

from utils.base.processes.signals import listen

if __name__ == "__main__":
    listen()  # first, so that Ctrl-C during the imports shows no traceback

from pathlib import Path

from utils.base.cli.parser import Parser, quiet_libraries, run, whole_number
from utils.base.errors import UsageError
from utils.base.files import require_writable_folder
from utils.base.paths import file_path, folder_path, name_or_path, require_name_or_path
from utils.base.progress import Progress
from utils.sae.flags import add_text_flags, check_sae_layers, corpus_of, layers_of, texts_given
from utils.states.flags import add_model_flags

SHOWN = 3  # latents a layer in the output


def build_parser() -> Parser:
    parser = Parser(
        __file__, __doc__, "next: python scripts/train_probe.py --sae, which probes the latents; any browser shows the pages"
    )
    add_sae_flags(parser)
    add_model_flags(parser, "that the sparse autoencoders are of", "their own", "windows", 16)
    add_text_flags(parser, of_training=False)
    add_example_flags(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output_dir", type=folder_path, default="results/interpretations", help="folder of the JSON files and pages"
    )
    return parser


def add_sae_flags(parser):
    sae = parser.add_argument_group("sparse autoencoders")
    sae.add_argument(
        "--sae",
        type=name_or_path,
        default="models/sae",
        help="one sparse autoencoder (a folder of ours, SAELens or dictionary_learning, or a file in it), or a folder of "
        "one run of train_sae.py, whose best of each layer are read",
    )
    sae.add_argument(
        "--layers",
        action="list",
        help="only these layers, such as 0,6,embed,final_norm; a single one is also that of a file which names none "
        "(default: all that are there)",
    )
    sae.add_argument(
        "--labels",
        type=file_path,
        help="your own labels: a JSON object of latent -> words (of several layers: layer -> such an object), or a .csv "
        "with the columns latent and label, perhaps layer (default: automatic ones, the tokens that tell a latent apart)",
    )


def add_example_flags(parser):
    examples = parser.add_argument_group("examples")
    examples.add_argument(
        "--top_examples",
        type=whole_number(1),
        default=10,
        help="strongest activations kept of each latent, each from another window and context",
    )
    examples.add_argument(
        "--interval_examples",
        type=whole_number(0),
        default=2,
        help="activations drawn from each of the 4 to 8 equal intervals up to the strongest",
    )
    examples.add_argument(
        "--context",
        type=whole_number(0),
        default=16,
        help="tokens shown before an activation, and half as many after it; never more than its window holds",
    )
    examples.add_argument("--seed", type=whole_number(0), default=0, help="seed of the draw")


def parse(argv):
    arguments = build_parser().parse_args(argv)
    if arguments.layers is not None:
        check_sae_layers(arguments.layers)
    if max(arguments.top_examples, arguments.interval_examples) > 255:
        raise UsageError("--top_examples and --interval_examples are at most 255, which a page can hold")
    return arguments


def main(argv=None):
    arguments = parse(argv)
    require_writable_folder(arguments.output_dir, "--output_dir")
    quiet_libraries()
    language_model, chosen = load(arguments)
    own = own_labels(arguments, chosen)
    tokenizer, corpus, sequences = read_texts(arguments, language_model, chosen[0].autoencoder.about)
    studies = study(arguments, language_model, chosen, sequences)
    dataset, pages = corpus.texts.dataset, []
    for one in chosen:
        pages.append(write(arguments, one, studies[one.layer], language_model, tokenizer, own[one.layer], dataset))
    write_record(arguments, language_model, chosen, studies, corpus)
    print(f"next: open {pages[-1].resolve().as_uri()} and search, or walk with the arrow keys")
    return 0


def load(arguments):
    """Load the model, and the sparse autoencoders, which must be of it: (LanguageModel, [LayerAutoencoder])."""
    from utils.base.errors import UserError
    from utils.model.language_model import load_language_model
    from utils.sae.chosen import autoencoders_at, best_inside
    from utils.sae.files.loading import load_sae
    from utils.states.sites import every_layer

    name = arguments.model_name
    inside = best_inside(arguments.sae)
    if name is None:
        name = load_sae(next(iter(inside.values()), arguments.sae)).about.get("model_name")
        if not name:
            raise UserError(f"--sae {arguments.sae} does not say which model it is of; give it with --model_name")
        require_name_or_path(name, "--model_name")
    language_model = load_language_model(name, arguments.model_dtype, arguments.device, arguments.trust_remote_code)
    for note in language_model.notes:
        print(note, flush=True)
    anatomy = language_model.anatomy
    layers = every_layer(anatomy) if arguments.layers is None else layers_of(arguments.layers, anatomy)
    return language_model, autoencoders_at(arguments.sae, language_model, layers)


def own_labels(arguments, chosen):
    """Read the labels of the user: {layer: {latent: words}}."""
    from utils.sae.latents.own_labels import read_labels

    latents = {one.layer: one.autoencoder.latents for one in chosen}
    return read_labels(arguments.labels, latents) if arguments.labels else {layer: {} for layer in latents}


def read_texts(arguments, language_model, about):
    """Read the texts, by default those that were trained on, in windows as long: (tokenizer, Corpus, Sequences)."""
    from utils.data.tokenizer import load_tokenizer, special_frame
    from utils.sae.flags import TEXT_DEFAULTS
    from utils.sae.supply.texts import read_sequences

    given = texts_given(arguments)
    if "dataset" not in given:
        given = {**{name: about[name] for name in ("dataset", *TEXT_DEFAULTS) if about.get(name) not in (None, "")}, **given}
    tokenizer = load_tokenizer(language_model.name, given.get("special_tokens", "text"), arguments.trust_remote_code)
    if about.get("context_size") and "context_length" not in given:
        before, after = special_frame(tokenizer)
        given["context_length"] = max(1, about["context_size"] - len(before) - len(after) - 1)
    corpus = corpus_of({**given, "held_out": 0.0})
    return tokenizer, corpus, read_sequences(corpus, language_model.name, arguments.trust_remote_code)["train"]


def study(arguments, language_model, chosen, sequences):
    """Run the pass: {layer: LatentStudy}. Say what was left out."""
    from utils.sae.latents.examples import ExampleChoice
    from utils.sae.latents.study import study_latents
    from utils.sae.supply.left_out import Excluding, plan_of_text
    from utils.states.comparison import require_same_states
    from utils.states.forward_pass import Pass

    layers = [one.layer for one in chosen]
    excluding = Excluding(
        special=all(one.autoencoder.about.get("ignored", True) for one in chosen),
        massive=all(one.autoencoder.about.get("outliers_left_out", True) for one in chosen),
    )
    pass_over = Pass(language_model, sequences, plan_of_text(sequences, layers, excluding), arguments.batch_size)
    require_same_states(language_model, [sequences], layers)
    most = sequences.input_ids.shape[1] - 1  # tokens of a window beside the one where the latent is active
    before, after = min(arguments.context, most), min(arguments.context // 2, most)
    choice = ExampleChoice(arguments.top_examples, arguments.interval_examples, before, after, arguments.seed)
    autoencoders = {one.layer: one.autoencoder.to(language_model.device) for one in chosen}
    with Progress("read latents", "token", int(sequences.lengths.sum())) as progress:
        studies = study_latents(pass_over, autoencoders, choice, excluding, progress.update)
    for layer, found in studies.items():
        for count, why in ((found.not_finite, "are not finite"), (found.massive, "have massive norms")):
            if count:
                print(f"layer {layer}: {count:,} of {len(pass_over.plan):,} states {why} and are left out", flush=True)
    return studies


def write(arguments, one, study, language_model, tokenizer, own, dataset):
    """Write the file and the page of a layer, and print a few latents. Return the page's path."""
    from utils.model.unembedding import promoted_tokens
    from utils.pages.latent_page import write_latent_page
    from utils.sae.latents.interpretations import LISTED, interpret, write_interpretations

    decoder = study.autoencoder.decoder
    promoted = promoted_tokens(language_model, tokenizer, decoder, None, LISTED, [one.layer] * len(decoder))
    found = interpret(one.layer, study, tokenizer, promoted, own)
    name = f"layer_{one.layer}" if isinstance(one.layer, int) else one.layer
    path = Path(arguments.output_dir) / f"{name}_interpretations.json"
    page = path.with_suffix(".html")
    write_interpretations(path, found)
    write_latent_page(page, found, f"{language_model.name} on {study.read:,} tokens of {dataset}; {one.path}")
    print(f"wrote {path} and {page.name} ({page.stat().st_size / 1e6:.1f} MB)")
    print(in_short(study, found.labels), flush=True)
    return page


def in_short(study, labels):
    """Say in words how many latents there are, and what a few of them read: those of the median density and beside it."""
    import numpy as np

    number, density = study.activity.number, study.density
    active = np.argsort(number, kind="stable")[len(study.silent) :]
    if not len(active):
        return f"all {len(number):,} latents are silent on {study.read:,} tokens"
    middle = len(active) // 2
    lines = [
        f"  latent {latent}: {density[latent]:.3%} of tokens, top activation {study.activity.largest[latent]:.3g}, "
        f"{labels[latent] or 'no label'}"
        for latent in active[max(0, middle - SHOWN // 2) :][:SHOWN]
    ]
    counted = f"{len(number):,} latents, {len(study.silent):,} silent on {study.read:,} tokens"
    return "\n".join([f"{counted}, median density {density[active[middle]]:.3%}, such as", *lines])


def write_record(arguments, language_model, chosen, studies, corpus):
    """Write down what was read, and which latents were silent."""
    from utils.base.files import write_json
    from utils.data.preparation.dataset_files import versions

    layers = {
        str(one.layer): {
            "sae": str(one.path),
            "latents": one.autoencoder.latents,
            "read": studies[one.layer].read,
            "not_finite": studies[one.layer].not_finite,
            "massive": studies[one.layer].massive,
            "silent": studies[one.layer].silent.tolist(),
        }
        for one in chosen
    }
    record = {
        "arguments": vars(arguments),
        "model": language_model.name,
        "model_fingerprint": language_model.fingerprint,
        "model_dtype": str(language_model.dtype).removeprefix("torch."),
        "texts": corpus.plain,
        "layers": layers,
        "versions": versions(),
    }
    write_json(Path(arguments.output_dir) / "run_record.json", record)


if __name__ == "__main__":
    run(main)
