"""The flags of train_sae.py, and what they ask for."""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from utils.base.cli.parser import name_list, number, number_list, whole_number
from utils.base.errors import UsageError, UserError
from utils.base.paths import folder_path, name_or_path, require_name_or_path
from utils.sae.goals import ARCHITECTURES, USUAL_BATCH, USUAL_TOKENS, Goal, usual_latents
from utils.states.flags import add_model_flags
from utils.states.sites import Layer, is_number

if TYPE_CHECKING:  # flags are checked before torch is imported
    from utils.model.anatomy import Anatomy
    from utils.model.language_model import LanguageModel
    from utils.sae.supply.dealing import Corpus

USUAL_MODEL = "openai-community/gpt2"
TEXT_DEFAULTS = {  # of the flags of the texts; with --train_only those that the cache is of
    "text_column": "text",
    "language": "train",
    "max_texts": None,
    "special_tokens": "text",
    "dataset_config": None,
}
WIKIPEDIA = {"dataset": "wikimedia/wikipedia", "dataset_config": "20231101.en"}
CORPUS_DEFAULTS = {"num_tokens": USUAL_TOKENS, "context_length": None, "held_out": 0.05}


def add_text_flags(parser: argparse.ArgumentParser, of_training: bool = True) -> None:
    """Add the flags that say which texts are read. of_training: to train on them, and to hold some out."""
    usual, title = "the dataset that it was trained on", "texts"
    if of_training:
        usual, title = "wikimedia/wikipedia", "texts; with --train_only, those that --cache_dir has states of"
    texts = parser.add_argument_group(title)
    texts.add_argument(
        "--dataset",
        type=name_or_path,
        help="as in prepare_data.py: a Hub dataset, a local folder in the same layout, or .txt, .jsonl, .parquet files (a "
        f"file, a folder of them, or a glob pattern) (default: {usual})",
    )
    texts.add_argument(
        "--dataset_config",
        help="which configuration of a Hub dataset that has several (default: its only one; 20231101.en of Wikipedia)",
    )
    texts.add_argument("--language", help="the dataset's split (default: train)")
    texts.add_argument("--text_column", help="the column or key that holds the text (default: text)")
    texts.add_argument(
        "--max_texts", type=whole_number(1), help="use at most this many texts (default: all that are needed)"
    )
    texts.add_argument(
        "--special_tokens",
        choices=("text", "encode"),
        help="how to read a special token that a text spells out, such as <s>: as plain text, or (encode) as the token "
        "itself (default: text)",
    )
    texts.add_argument(
        "--num_tokens",
        type=whole_number(1),
        help=(
            "text tokens to train on; reading ends when there are so many and those held out"
            if of_training
            else "text tokens to read"
        )
        + " (default: 1000000)",
    )
    texts.add_argument(
        "--context_length",
        type=whole_number(1),
        help="text tokens in a window, not counting its last one: 255 give windows of 256 (default: "
        + ("255, or what the model takes)" if of_training else "as in training)"),
    )
    if of_training:
        texts.add_argument(
            "--held_out",
            type=number(0, 0.5, exclusive=True),
            help="share of the tokens that is held out, whole groups of texts; at least 100,000 tokens, or a quarter of all "
            "where the texts are few; half as many are set aside for validation (default: 0.05)",
        )


def add_state_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which states are read, and where they are kept."""
    states = parser.add_argument_group("hidden states")
    states.add_argument(
        "--layers",
        action="list",
        default="all",
        help="all (every block), or a list such as 0,6,11 with embed and final_norm by name, also all,final_norm",
    )
    states.add_argument(
        "--cache_dir",
        type=folder_path,
        help="folder that keeps hidden states: a run that was killed goes on, and later ones reuse them (default: none are "
        "kept; with --extract_only and --train_only data/states)",
    )
    states.add_argument(
        "--buffer_gb",
        type=number(0, exclusive=True),
        default=4.0,
        help="GB of hidden states in memory: all of them where they fit, else the buffer in which they are shuffled, from "
        "--cache_dir or, without one, straight from the model",
    )
    states.add_argument(
        "--keep_outliers",
        action="store_true",
        help="keep states of more than ten times the median norm of their layer, as some models give a few tokens",
    )
    states.add_argument(
        "--keep_special", action="store_true", help="keep the states of special tokens and of position 0 as well"
    )
    states.add_argument("--extract_only", action="store_true", help="read the states into --cache_dir and train nothing")
    states.add_argument(
        "--train_only",
        action="store_true",
        help="train on the states in --cache_dir; no text is read. Refused where they are not what the other flags ask for; "
        "states that are missing there are read again",
    )


def add_sae_training_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which sparse autoencoders are trained, and how."""
    sae = parser.add_argument_group("sparse autoencoders")
    sae.add_argument(
        "--architecture",
        action="list",
        type=name_list(ARCHITECTURES),
        default="jumprelu",
        help="jumprelu, batchtopk or both",
    )
    sae.add_argument(
        "--target_l0",
        action="list",
        type=number_list(1),
        default="32",
        help="how many latents shall be active at a token, on average; a list trains one for each",
    )
    sae.add_argument(
        "--d_hidden", type=whole_number(1), help="latents of each (default: 8 for each dimension of a hidden state)"
    )
    sae.add_argument(
        "--seeds",
        action="list",
        type=number_list(0, whole=True),
        default="0",
        help="seeds of the first weights and of the order of the states; a list trains one for each",
    )
    sae.add_argument(
        "--epochs",
        type=whole_number(1),
        help="how often each state is trained on (default: 2 for 1,000,000 tokens, up to 20 for fewer)",
    )
    sae.add_argument(
        "--learning_rate",
        type=number(0, exclusive=True),
        help="of weights and biases (default: follows the number of latents)",
    )
    sae.add_argument("--batch_size", type=whole_number(1), default=USUAL_BATCH, help="states of a training step")


def add_sae_output_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say where results go."""
    output = parser.add_argument_group("output")
    output.add_argument(
        "--save_dir",
        type=folder_path,
        default="models/sae",
        help="folder of the sparse autoencoders; of several architectures, targets or seeds each has a folder below it",
    )
    output.add_argument("--resume", action="store_true", help="go on where a run with the same flags was killed")
    output.add_argument(
        "--overwrite",
        action="store_true",
        help="delete the sparse autoencoders that the folders of these trainings hold, once states are read, and begin anew",
    )
    output.add_argument("--wandb_project", default="sae-training", help="Weights & Biases project")
    output.add_argument("--wandb_group", help="name that the runs of this command share (default: the model's)")
    output.add_argument("--no_wandb", action="store_true", help="log nothing to Weights & Biases")


def add_train_sae_flags(parser: argparse.ArgumentParser) -> None:
    """Add all flags of train_sae.py."""
    add_model_flags(
        parser,
        "whose states are rebuilt",
        f"{USUAL_MODEL}; with --train_only the cache's",
        "windows",
        16,
        "--batch_size_extract",
    )
    add_text_flags(parser)
    add_state_flags(parser)
    add_sae_training_flags(parser)
    add_sae_output_flags(parser)


def check_sae_flags(arguments: argparse.Namespace) -> argparse.Namespace:
    """Refuse flags that contradict each other. Return what was given."""
    if arguments.extract_only and arguments.train_only:
        raise UsageError("--extract_only and --train_only contradict each other; leave both out to do both")
    if arguments.resume and arguments.overwrite:
        raise UsageError("--resume goes on with what --overwrite deletes; give one of them")
    check_sae_layers(arguments.layers)
    shown = [f"{target:g}" for target in arguments.target_l0]  # as folders are named
    if twice := [target for target in shown if shown.count(target) > 1]:
        raise UsageError(f"--target_l0 names {twice[0]} twice; name each target once")
    if arguments.d_hidden is not None:
        check_targets(arguments.target_l0, arguments.d_hidden)
    return arguments


def check_targets(targets: Sequence[float], latents: int) -> None:
    """Refuse a target that is not below the number of latents."""
    if max(targets) >= latents:
        raise UsageError(
            f"--target_l0 {max(targets):g}: there are only {latents} latents, and not all can be active; give a "
            "smaller target or a larger --d_hidden"
        )


def latents_of(arguments: argparse.Namespace, layers: Sequence[Layer], language_model: "LanguageModel") -> int:
    """Say how many latents each has. Refuse, before the pass, a number that targets or memory do not allow."""
    from utils.sae.training.memory import require_memory

    hidden_size = language_model.anatomy.hidden_size
    latents = arguments.d_hidden or usual_latents(hidden_size)
    check_targets(arguments.target_l0, latents)
    if not arguments.extract_only:  # with --resume all runs but one may have ended
        runs = 1 if arguments.resume else len(arguments.architecture) * len(arguments.target_l0) * len(arguments.seeds)
        require_memory(latents, hidden_size, len(layers) * runs, language_model.device)
    return latents


def check_sae_layers(text: str) -> None:
    """Refuse what can be no list of layers, or names one twice, before a model is loaded."""
    parts = text.split(",")
    if len({int(part) if is_number(part) else part for part in parts}) < len(parts):
        raise UsageError(f"--layers {text} names a layer twice; name each once")
    for part in parts:
        if not is_number(part) and part not in ("all", "embed", "final_norm"):
            raise UsageError(
                f"--layers {text}: {part!r} is no layer; give all, or a list such as 0,6,11 with embed, final_norm by name"
            )


def layers_of(text: str, anatomy: "Anatomy") -> tuple[Layer, ...]:
    """Find the layers: 'all' are the blocks; embed and final_norm are added by name."""
    from utils.states.sites import parse_layers

    blocks = ",".join(map(str, range(len(anatomy.blocks))))
    try:
        return tuple(parse_layers(",".join(blocks if part == "all" else part for part in text.split(",")), anatomy))
    except UserError as error:
        raise UserError(f"--layers {text}: {error}") from error


def texts_given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Give the flags of the texts that the user gave, by name."""
    names = ("dataset", *TEXT_DEFAULTS, *CORPUS_DEFAULTS)
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name, None) is not None}


def flags_of_states(arguments: argparse.Namespace, cache_dir: str) -> str:
    """Repeat the flags that tell the states that were read from others in --cache_dir."""
    dtype = None if arguments.model_dtype == "auto" else arguments.model_dtype
    given = {"cache_dir": cache_dir, "layers": arguments.layers, "model_name": arguments.model_name, "model_dtype": dtype}
    named = {name: value for name, value in {**given, **texts_given(arguments)}.items() if value is not None}
    told = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in named.items())
    return told + (" --keep_special" if arguments.keep_special else "")


def corpus_of(given: Mapping[str, Any]) -> "Corpus":
    """Say which texts are read. given: as `texts_given` returns."""
    from utils.data.preparation.settings import PlainTexts
    from utils.data.readers.published import IGNORED
    from utils.sae.supply.dealing import Corpus

    usual = {**TEXT_DEFAULTS, **({} if "dataset" in given else WIKIPEDIA), **CORPUS_DEFAULTS}
    values = {**usual, **given}
    require_name_or_path(values["dataset"], "--dataset")
    of_corpus = {name: values.pop(name) for name in CORPUS_DEFAULTS}
    return Corpus(PlainTexts(**values, split_column=IGNORED), **of_corpus)


def goals_of(arguments: argparse.Namespace, layers: Sequence[Layer]) -> list[list[Goal]]:
    """List what is trained: for each architecture, target and seed a Goal for each layer."""
    return [
        [Goal(architecture, target, seed, layer) for layer in layers]
        for architecture in arguments.architecture
        for target in arguments.target_l0
        for seed in arguments.seeds
    ]
