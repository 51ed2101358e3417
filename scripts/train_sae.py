#!/usr/bin/env python3
"""Texts -> sparse autoencoders of every layer, architecture, target sparsity and seed, from one pass of the model."""

from utils.base.processes.signals import listen

if __name__ == "__main__":
    listen()  # first, so that Ctrl-C during the imports shows no traceback

import shlex
import sys
from pathlib import Path

from utils.base.cli.parser import Parser, quiet_libraries, run
from utils.base.files import require_writable_folder
from utils.base.stopwatch import Stopwatch
from utils.base.text_table import how_many
from utils.sae.flags import (
    TEXT_DEFAULTS,
    USUAL_MODEL,
    add_train_sae_flags,
    check_sae_flags,
    corpus_of,
    flags_of_states,
    goals_of,
    latents_of,
    layers_of,
    texts_given,
)
from utils.sae.goals import sae_name

VALIDATED = 2**14  # states of validation that are looked at during training, and set the thresholds
SAMPLED = 2**14  # states from which a training begins


def build_parser() -> Parser:
    parser = Parser(__file__, __doc__, "next: python scripts/interpret_sae.py")
    add_train_sae_flags(parser)
    return parser


def parse(argv):
    return check_sae_flags(build_parser().parse_args(argv))


def main(argv=None):
    arguments = parse(argv)
    cache_dir = cache_folder(arguments)
    for folder, flag in ((cache_dir, "--cache_dir"), (None if arguments.extract_only else arguments.save_dir, "--save_dir")):
        if folder:
            require_writable_folder(folder, flag)
    quiet_libraries()
    watch = Stopwatch()
    with watch("load"):
        language_model = load_model(arguments, cache_dir)
    layers = layers_of(arguments.layers, language_model.anatomy)
    latents = latents_of(arguments, layers, language_model)
    with watch("texts"):
        texts = find_texts(arguments, language_model, cache_dir, layers)
    goals, owner = goals_of(arguments, layers), owner_of(language_model, texts, latents)
    how = gathering_of(arguments, layers, cache_dir)
    folders = [] if arguments.extract_only else ready_to_train(arguments, goals, owner, texts, how)
    with watch("pass"):
        supply = read_states(how, language_model, texts, not arguments.train_only)
    if arguments.extract_only:
        print(f"next: python scripts/train_sae.py --train_only {flags_of_states(arguments, cache_dir)}")
        return 0
    from utils.sae.supply.folders import claimed

    batches = batches_for(arguments, how, language_model, supply)
    terms = terms_of(arguments, language_model, texts, batches, owner)
    how_kept = "--overwrite" if arguments.overwrite else "--resume" if arguments.resume else ""
    with claimed(folders, goals, terms.settings, how_kept):
        train(arguments, terms, batches, supply, list(zip(goals, folders, strict=True)), watch)
        with watch("evaluate"):
            measure_best(arguments, language_model, texts, supply, goals, folders)
        write_records(arguments, terms, supply, goals, folders, watch)
    print(f"next: python scripts/interpret_sae.py --sae {shlex.quote(str(folders[0]))}")
    return 0


def cache_folder(arguments) -> str | None:
    """The folder that keeps hidden states, if any."""
    from utils.states.extraction import USUAL_FOLDER

    return arguments.cache_dir or (USUAL_FOLDER if arguments.extract_only or arguments.train_only else None)


def load_model(arguments, cache_dir):
    """Load the model: the one that is named, with --train_only else the one that the cache is of."""
    from utils.model.language_model import load_language_model
    from utils.sae.supply.cache import model_of_cache

    name = arguments.model_name or USUAL_MODEL
    if arguments.train_only and not arguments.model_name:
        name = model_of_cache(cache_dir, texts_given(arguments))
    language_model = load_language_model(name, arguments.model_dtype, arguments.device, arguments.trust_remote_code)
    print(
        f"{name}: {how_many(len(language_model.anatomy.blocks), 'layer')}, hidden size {language_model.anatomy.hidden_size}"
        f", {str(language_model.dtype).removeprefix('torch.')} on {language_model.device}",
        flush=True,
    )
    for line in language_model.notes:
        print(line, flush=True)
    return language_model


def find_texts(arguments, language_model, cache_dir, layers):
    """Read the texts, or with --train_only those of the cache, which must be of this model and what was asked for: a Cache
    of the layers that are going to be read.
    """
    from utils.data.tokenizer import load_tokenizer, tokenizer_fingerprint
    from utils.sae.supply.cache import Cache, find_cache
    from utils.sae.supply.texts import digest_of_files, read_sequences

    name, given = language_model.name, texts_given(arguments)
    tokenizer = load_tokenizer(name, trust_remote_code=arguments.trust_remote_code)
    about = {
        "model_fingerprint": language_model.fingerprint,
        "model_dtype": str(language_model.dtype).removeprefix("torch."),
        "tokenizer_fingerprint": tokenizer_fingerprint(tokenizer),
        "keep_special": arguments.keep_special,
    }
    if arguments.train_only:
        return find_cache(cache_dir, {**about, **given}, layers)
    corpus = corpus_of(given)
    splits = read_sequences(corpus, name, arguments.trust_remote_code)
    context_length = splits["train"].metadata["context_length"]
    of_texts = {**corpus.plain, "context_length": context_length, "files": digest_of_files(corpus.texts.dataset)}
    return Cache(splits, {**about, **of_texts, "model_name": name, "layers": list(layers)})


def owner_of(language_model, texts, latents) -> dict:
    """What all autoencoders in one folder share."""
    return {
        "model_fingerprint": language_model.fingerprint,
        "texts": texts.splits["train"].content_hash(),
        "latents": latents,
    }


def ready_to_train(arguments, goals, owner, texts, how) -> list[Path]:
    """Find the folder of each training. Stop before the pass where it is another training's, or the texts fill no batch."""
    from utils.sae.supply.folders import require_own_folder
    from utils.sae.supply.gathered import require_batch
    from utils.sae.supply.left_out import plan_of_text

    require_batch(len(plan_of_text(texts.splits["train"], how.layers, how.excluding)), arguments.batch_size)
    root = Path(arguments.save_dir)
    folders = [root if len(goals) == 1 else root / of_run[0].run for of_run in goals]
    if not arguments.overwrite:
        for folder, of_run in zip(folders, goals, strict=True):
            require_own_folder(folder, of_run, owner, arguments.resume)
    return folders


def gathering_of(arguments, layers, cache_dir):
    """How states are read and kept: a Gathering."""
    from utils.sae.supply.gathered import Gathering
    from utils.sae.supply.left_out import Excluding

    excluding = Excluding(special=not arguments.keep_special, massive=not arguments.keep_outliers)
    return Gathering(layers, arguments.batch_size_extract, cache_dir, arguments.buffer_gb, excluding)


def read_states(how, language_model, texts, new):
    """Run the pass: a Supply. new: whether to note in --cache_dir what it then holds."""
    from utils.sae.supply.cache import write_cache
    from utils.sae.supply.gathered import gather

    supply = gather(how, language_model, texts.splits)
    if new and how.cache_dir:
        write_cache(how.cache_dir, texts)
    return supply


def batches_for(arguments, how, language_model, supply):
    from utils.sae.supply.gathered import batches_of

    batches = batches_of(supply, how, language_model.anatomy.hidden_size, arguments.batch_size, arguments.epochs)
    print(
        f"{supply.train.rows:,} states of each layer to train on, {supply.held_out.rows:,} held out; "
        f"{how_many(batches.steps, 'step')} of {arguments.batch_size}, {how_many(batches.epochs, 'epoch')}",
        flush=True,
    )
    return batches


def terms_of(arguments, language_model, texts, batches, owner):
    """What all trainings have in common: Terms."""
    from utils.sae.files.sae_lens import save_sae
    from utils.sae.goals import Recipe
    from utils.sae.supply.checkpoints import Terms

    train, said = texts.splits["train"], texts.about
    settings = {
        **owner,
        **{name: texts.splits[name].content_hash() for name in ("validation", "held_out")},
        **{name: said[name] for name in ("model_dtype", "keep_special")},
        "keep_outliers": arguments.keep_outliers,
        "batch_size": arguments.batch_size,
        "epochs": batches.epochs,
        "states": batches.source.rows,
        "group_rows": batches.order.group_rows,
        "learning_rate": arguments.learning_rate,
        "device": language_model.device.type,
    }
    described = {
        "model_name": language_model.name,
        "model_fingerprint": language_model.fingerprint,
        "tokenizer_fingerprint": said["tokenizer_fingerprint"],
        **{name: said[name] for name in ("dataset", *TEXT_DEFAULTS)},
        "context_size": train.text_start + said["context_length"] + 1 + len(train.metadata["tokenizer"]["after"]),
        "prepend_bos": train.text_start > 0,
        "ignored": [] if arguments.keep_special else ["special tokens", "position 0"],
        "outliers_left_out": not arguments.keep_outliers,
    }
    recipe = Recipe(owner["latents"], batches.steps, arguments.batch_size, arguments.learning_rate)
    return Terms(recipe, language_model.device, settings, owner, described, save_sae)


def train(arguments, terms, batches, supply, wanted, watch):
    """Train all of them side by side. wanted: (goals, folder) of each; those that have ended are left out with --resume."""
    from utils.base.tracking import tracker
    from utils.sae.supply.checkpoints import new_run, resumed_run
    from utils.sae.supply.folders import is_finished
    from utils.sae.supply.runs import Logs, train_all
    from utils.sae.training.training import Training

    waiting = [one for one in wanted if not (arguments.resume and is_finished(*one, terms.settings))]
    if not waiting:
        print("every training has ended already")
        return
    sample = batches.source.sample(SAMPLED)
    runs = [
        (arguments.resume and resumed_run(*one, terms, Training)) or new_run(*one, terms, Training, sample)
        for one in waiting
    ]
    tracking = tracker(not arguments.no_wandb, arguments.wandb_project)
    logs = Logs(tracking, arguments.wandb_group or terms.described["model_name"], terms.settings)
    with watch("train"):
        train_all(runs, batches, supply.validation.sample(VALIDATED).to(terms.device), logs)


def measure_best(arguments, language_model, texts, supply, goals, folders):
    """Measure the best autoencoder of every run and layer on held-out text; write and print the tables."""
    from utils.sae.evaluation.reconstruction import PCA_STATES
    from utils.sae.evaluation.results import evaluate, evaluation_table, targets_table, write_evaluation
    from utils.sae.evaluation.seeds import seeds_compared, seeds_table, write_seeds
    from utils.sae.files.loading import load_sae
    from utils.states.forward_pass import Pass

    def states(split, layer):
        return supply.held_out.of_layer(layer) if split == "held_out" else supply.train.of_layer(layer, PCA_STATES)

    places = [
        folder / f"{sae_name(goal.layer)}_best" for folder, of_run in zip(folders, goals, strict=True) for goal in of_run
    ]
    best = [load_sae(place).to(language_model.device) for place in places]
    run_of = Pass(language_model, texts.splits["held_out"], supply.plan, arguments.batch_size_extract)
    found = evaluate(run_of, best, states, largest_norm=supply.limits.by_layer)
    for number, folder in enumerate(folders):
        write_evaluation(folder, found[number * len(goals[0]) : (number + 1) * len(goals[0])])
    seeds = seeds_compared(found)
    if seeds:
        write_seeds(arguments.save_dir, seeds)
    for text in (evaluation_table(found), targets_table(found), *([seeds_table(seeds)] if seeds else [])):
        print(f"\n{text}", flush=True)
    print()


def write_records(arguments, terms, supply, goals, folders, watch):
    """Note beside the autoencoders how they came about."""
    from utils.base.files import write_json
    from utils.data.preparation.dataset_files import versions
    from utils.sae.steps.choice import fastest_steps

    ways = [fastest_steps(terms.device, terms.recipe.latents, of_run[0].target_l0) for of_run in goals]
    record = {
        "command": sys.argv,
        "arguments": vars(arguments),
        **terms.described,
        "settings": terms.settings,
        "steps": terms.recipe.steps,
        "learning_rate": terms.recipe.rate,
        "streamed": supply.streamed,
        "states_beside_transformers": supply.comparison,
        "seconds": watch.seconds,
        "versions": versions(),
    }
    for folder, way in zip(folders, ways, strict=True):
        write_json(folder / "run_record.json", {**record, "gradients": way.name, "products": str(way.products or "float32")})
        print(f"wrote {folder}: sae_layer_*_best, sae_layer_*_final, sae_layer_*_history.json, sae_evaluation.csv and .json")


if __name__ == "__main__":
    run(main)
