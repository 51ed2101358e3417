"""Build every text architecture of the installed transformers small, read it, and say how it went: docs/architectures.md.

    python tests/architectures.py            # writes docs/architectures.md; some 10 minutes
    python tests/architectures.py llama xlm  # prints how these went

Each is read in one padded batch of three sequences, longer than every window, and compared layer by layer with the
hidden_states that transformers returns of a fresh copy of the model for each sequence alone.
"""

import copy
import gc
import re
import sys
import warnings
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import torch  # noqa: E402
import transformers  # noqa: E402

from small_architectures import build, distance, read_everything, token_ids, transformers_states  # noqa: E402
from utils.base.errors import UserError  # noqa: E402
from utils.model.language_model import find_body, wrap  # noqa: E402

CLOSE = 1e-4
PAGE = ROOT / "docs" / "architectures.md"
RIGHT, ALONE, REFUSED, WRONG, TRACEBACK, NOT_BUILT = (
    "right",
    "right, not compared",
    "refused",
    "wrong",
    "traceback",
    "not built",
)


def model_types():
    """Every model_type that AutoModel or AutoModelForCausalLM builds."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_MAPPING_NAMES

    known = {*MODEL_MAPPING_NAMES, *MODEL_FOR_CAUSAL_LM_MAPPING_NAMES}
    return [name for name in transformers.CONFIG_MAPPING if name in known]


def outcome(name):
    """(how it went, a detail in one line)."""
    try:
        model = build(name)
    except Exception as error:  # whatever transformers says of sizes that do not fit together
        return NOT_BUILT, one_line(error)
    try:
        return compared(model)
    except UserError as error:
        return (REFUSED, str(error)) if "\n" not in str(error) else (TRACEBACK, "more than one line")
    except Exception as error:
        return TRACEBACK, one_line(error)
    finally:
        del model
        gc.collect()


def compared(model):
    """Read the model, and compare it with a copy that was never watched."""
    fresh = find_body(copy.deepcopy(model)).requires_grad_(False)
    language_model = wrap(model)
    anatomy = language_model.anatomy
    vocabulary = language_model.body.config.get_text_config().vocab_size
    sequences = token_ids(vocabulary)
    ours = read_everything(language_model, sequences)
    if not all(state.isfinite().all() for states in ours.values() for state in states):
        return WRONG, "a state is not finite"
    largest, count = 0.0, len(anatomy.blocks)
    names = {-1: "embed", count: "final_norm"}
    for row, ids in enumerate(sequences):
        theirs = transformers_states(fresh, ids)
        if theirs is None:
            return ALONE, f"{count} layers; transformers returns no hidden_states"
        for depth, state in zip(anatomy.published, theirs, strict=True):
            if depth is not None:
                largest = max(largest, distance(ours[names.get(depth, depth)][row], state))
    missing = set(range(count - 1)) - set(anatomy.published)
    if missing or not largest <= CLOSE:
        return WRONG, f"{largest:.1e} apart, layers {sorted(missing)} not compared"
    return RIGHT, f"{count} layers, at most {largest:.0e} apart"


def one_line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def scan(names, say=lambda line: None):
    """{model_type: (how it went, detail)}."""
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    found = {}
    for name in names:
        found[name] = outcome(name)
        say(f"{name}: {': '.join(found[name])}")
    return found


def reason(detail):
    """Why a model was refused, without its name."""
    if "names no vocabulary" in detail:
        return "It reads no token ids: its configuration names no vocabulary."
    needs = re.search(r"\((.*)\); choose", detail)
    if "token ids alone" in detail and needs:
        return "It does not run on token ids alone: it needs pictures, sound, boxes or other inputs beside them."
    return "Its blocks are not found: no list of modules gives the hidden_states that transformers returns."


def page(found):
    """docs/architectures.md."""
    by_outcome = defaultdict(list)
    for name, (how, _) in found.items():
        by_outcome[how].append(name)
    refused = defaultdict(list)
    for name in by_outcome[REFUSED]:
        refused[reason(found[name][1])].append(name)
    built = len(found) - len(by_outcome[NOT_BUILT])
    lines = [
        "# Architectures",
        "",
        f"Of transformers {transformers.__version__}, {built} architectures were built small with random weights, and each "
        "was read in one padded batch of three sequences, longer than every attention window. "
        f"{len(by_outcome[RIGHT] + by_outcome[ALONE])} are read right, {len(by_outcome[REFUSED])} are refused in one line, "
        f"{len(by_outcome[WRONG])} are read wrong.",
        "",
        f"*Right* means that every layer equals the `hidden_states` that transformers returns for each sequence alone, to "
        f"{CLOSE:g} of a state's norm in float32. `python tests/architectures.py` writes this page.",
        "",
        f"## Read right ({len(by_outcome[RIGHT])})",
        "",
        listed(by_outcome[RIGHT]),
        "",
        f"## Read, but not compared ({len(by_outcome[ALONE])})",
        "",
        "transformers returns no `hidden_states` of these. Each block was seen to take what the one before it gave.",
        "",
        listed(by_outcome[ALONE]),
        "",
        f"## Refused ({len(by_outcome[REFUSED])})",
        "",
    ]
    for why, names in sorted(refused.items(), key=lambda entry: -len(entry[1])):
        lines += [f"**{why}** ({len(names)})", "", listed(names), ""]
    lines += [
        f"## Not built small ({len(by_outcome[NOT_BUILT])})",
        "",
        "Their sizes do not follow from common names, or they need a library that is not installed: nothing is known.",
        "",
        listed(by_outcome[NOT_BUILT]),
    ]
    return "\n".join(lines) + "\n"


def listed(names):
    """Names as one paragraph, cut at 125 columns."""
    lines, line = [], ""
    for word in [f"{name}," for name in names[:-1]] + [f"{name}." for name in names[-1:]] or ["None."]:
        if len(line) + len(word) + 1 > 125:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = sys.argv[1:]
    results = scan(asked or model_types(), say=lambda line: print(line, flush=True))
    if not asked:
        PAGE.write_text(page(results), encoding="utf-8")
    bad = [name for name, (how, _) in results.items() if how in (WRONG, TRACEBACK)]
    print(f"{len(results)} architectures; wrong or with a traceback: {', '.join(bad) or 'none'}")
    sys.exit(1 if bad else 0)
