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
from functools import reduce
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import torch  # noqa: E402
import transformers  # noqa: E402

from small_architectures import build, distance, read_everything, token_ids, transformers_batch, transformers_states  # noqa: E402
from utils.base.errors import UserError  # noqa: E402
from utils.model.language_model import find_body, text_tower, wrap  # noqa: E402
from utils.states.comparison import compare  # noqa: E402

CLOSE = 1e-4
OF_ONE_LENGTH = "in batches of one length"
PAGE = ROOT / "docs" / "architectures.md"
OUTCOMES = ("right", "right, as in the same batch", "read, not compared", "refused", "wrong", "traceback", "not built")
RIGHT, AS_THE_BATCH, ALONE, REFUSED, WRONG, TRACEBACK, NOT_BUILT = OUTCOMES


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
    fresh = find_body(text_tower(copy.deepcopy(model))).requires_grad_(False)
    language_model = wrap(model)
    anatomy = language_model.anatomy
    vocabulary = language_model.body.config.get_text_config().vocab_size
    sequences = token_ids(vocabulary)
    ours = read_everything(language_model, sequences)
    for layers in ([0], [len(anatomy.blocks) - 1]):
        before_a_pass = compare(language_model, sequences[:1], layers)
        if not (isinstance(before_a_pass, str) or before_a_pass.passed):
            return WRONG, f"before a pass that reads {layers}: {before_a_pass}"
    if not all(state.isfinite().all() for states in ours.values() for state in states):
        return WRONG, "a state is not finite"
    alone = [transformers_states(fresh, ids) for ids in sequences]
    if alone[0] is None:
        return ALONE, f"{len(anatomy.blocks)} layers; transformers returns no hidden_states"
    largest, unseen = apart(anatomy, ours, alone)
    said = f"{len(anatomy.blocks)} layers, at most {largest:.0e} apart{f'; layers not compared: {unseen}' if unseen else ''}"
    if any(layer < len(anatomy.blocks) - 1 for layer in unseen):
        return WRONG, said
    if largest <= CLOSE:
        return RIGHT, said + (f"; {OF_ONE_LENGTH}" if anatomy.padding_moves else "")
    batch = transformers_batch(fresh, sequences)
    together, _ = apart(anatomy, ours, [[state[row, : len(ids)] for state in batch] for row, ids in enumerate(sequences)])
    return (AS_THE_BATCH if together <= CLOSE else WRONG), f"{said} from alone, {together:.0e} from the same batch"


@torch.inference_mode()
def apart(anatomy, ours, theirs):
    """(the largest distance of all layers, the layers that transformers does not show).

    Where it shows the last layer only as what the modules after it make of it, they are given ours. theirs: of each
    sequence, its states.
    """
    count, largest = len(anatomy.blocks), 0.0
    names = {-1: "embed", count: "final_norm"}
    unseen = set(range(count)) - set(anatomy.published)
    for row, states in enumerate(theirs):
        for depth, state in zip(anatomy.published, states, strict=True):
            if depth is not None and not (depth == count and anatomy.final_norm is None):
                largest = max(largest, distance(ours[names.get(depth, depth)][row], state))
        if unseen == {count - 1} and anatomy.closing:
            closed = reduce(lambda state, module: module(state), anatomy.closing, ours[count - 1][row][None])
            largest = max(largest, distance(closed[0], states[-1]))
    return largest, [] if anatomy.closing and unseen == {count - 1} else sorted(unseen)


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


def page(found):
    """docs/architectures.md."""
    names = {how: [name for name in found if found[name][0] == how] for how in OUTCOMES}
    together = [name for name in names[RIGHT] if OF_ONE_LENGTH not in found[name][1]]
    partly = [name for name in names[RIGHT] if "not compared" in found[name][1]]
    sections = [
        (
            "Read right, in a padded batch",
            "Three sequences of 40, 27 and 33 tokens together: more than every window of attention, which were made small. "
            f"Of {len(partly)} transformers does not show the last layer, so that is not compared: {', '.join(partly)}. "
            "Sparse attention has 32 heads that choose tokens, as large models have 16 to 64. With 4, many tokens score 0, "
            "and the choice among equals depends on the width of the batch, in transformers too.",
            listed(together),
        ),
        (
            "Read right, in batches of one length",
            "What stands in the padding may move the text in these, so the pass puts only sequences of one length together.",
            listed([name for name in names[RIGHT] if name not in together]),
        ),
        (
            "Read right, as transformers reads the same batch",
            "In these transformers itself gives other states in a padded batch than for a sequence alone. Attention "
            "chooses the tokens of highest score, and among equal scores the choice depends on the width of the batch.",
            listed(names[AS_THE_BATCH]),
        ),
        (
            "Read, but not compared",
            "transformers returns no `hidden_states` of these. Each block was seen to take what the one before it gave.",
            listed(names[ALONE]),
        ),
        *refusals({name: found[name][1] for name in names[REFUSED]}),
        (
            "Not built small",
            "Their sizes do not follow from common names, or they need a library that is not installed: nothing is known.",
            listed(names[NOT_BUILT]),
        ),
    ]
    sections = present(sections)
    text = f"""# Architectures

`python tests/architectures.py` builds every architecture that transformers {transformers.__version__} can build without
being told more, small and with random weights, reads it, and writes this page. *Right* means that every layer equals
the `hidden_states` that transformers returns for each sequence alone, to {CLOSE:g} of a state's norm in float32.

| outcome | architectures |
| --- | --- |
"""
    text += "".join(f"| {how} | {len(names[how])} |\n" for how in OUTCOMES) + "\n"
    text += "".join(f"- [{title}](#{re.sub('[^a-z -]', '', title.lower()).replace(' ', '-')})\n" for title, *_ in sections)
    return text + "".join(f"\n## {title}\n\n{why}\n\n{what}\n" for title, why, what in sections)


def present(sections):
    """Those that name an architecture."""
    return [section for section in sections if section[-1] != listed([])]


def refusals(details):
    """The sections of what is refused: (title, why, names, or a table of names and errors)."""
    needing = {name: found[1] for name, detail in details.items() if (found := re.search(r"alone \((.*)\); choose", detail))}
    lost = {name: detail.partition(": ")[2].partition("; choose")[0] for name, detail in details.items() if "find" in detail}
    unnamed = [name for name in details if name not in needing and name not in lost]
    return [
        (
            "Refused: no vocabulary",
            "Their configuration names no vocabulary: they read pictures, sound or numbers.",
            listed(unnamed),
        ),
        (
            "Refused: more than token ids is needed",
            "The error is that of the small model's own code; a few of them may run at other sizes.",
            table(needing),
        ),
        ("Refused: no blocks found", "", table(lost)),
    ]


def table(details):
    rows = "".join(f"| {name} | {detail.replace('|', ' ')} |\n" for name, detail in details.items())
    return f"| architecture | why |\n| --- | --- |\n{rows}".rstrip("\n")


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
