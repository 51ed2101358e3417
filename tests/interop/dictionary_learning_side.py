"""What dictionary_learning does in the comparison with it: load our folders, and write its own, as sae_lens_side.py does."""

import importlib.util
import json
import sys
import types
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

LATENTS = 64
PACKAGE = "dictionary_learning"


@torch.no_grad()
def main(exchange):
    states = load_file(exchange / "states.safetensors")["states"]
    jumprelu, batchtopk = classes()
    for folder in sorted(path for path in (exchange / "ours").iterdir() if path.is_dir()):
        named = json.loads((folder / "config.json").read_text())["trainer"]["dict_class"]
        assert named == jumprelu.__name__
        write_answers(folder, jumprelu.from_pretrained(str(folder / "ae.pt")), states)
    hidden_size = states.shape[1]
    torch.manual_seed(1)
    for name, kind, made in (
        ("jumprelu", jumprelu, jumprelu(hidden_size, LATENTS)),
        ("batchtopk", batchtopk, batchtopk(hidden_size, LATENTS, k=8)),
    ):
        for values in made.parameters():
            values.copy_(torch.randn(values.shape))
        made.threshold.copy_(torch.randn(made.threshold.shape) * 8 if kind is jumprelu else torch.tensor(9.0))
        folder = exchange / "theirs" / name
        folder.mkdir(parents=True)
        torch.save({key: value.cpu() for key, value in made.state_dict().items()}, folder / "ae.pt")  # as its trainer does
        trainer = {"dict_class": kind.__name__, "activation_dim": hidden_size, "dict_size": LATENTS, "layer": 3}
        trainer |= {"lm_name": "EleutherAI/pythia-70m-deduped", "submodule_name": "resid_post_layer_3"}
        (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 128}}))
        write_answers(folder, kind.from_pretrained(str(folder / "ae.pt")), states)


def write_answers(folder, dictionary, states):
    latents = dictionary.encode(states)
    rebuilt = dictionary.decode(latents)
    save_file({"latents": latents, "rebuilt": rebuilt}, folder.with_name(f"{folder.name}.safetensors"))


def classes():
    """Import its autoencoders without its __init__, which asks for tools that read language models."""
    package = types.ModuleType(PACKAGE)
    package.__path__ = list(importlib.util.find_spec(PACKAGE).submodule_search_locations)
    sys.modules[PACKAGE] = package
    from dictionary_learning.dictionary import JumpReluAutoEncoder
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE

    return JumpReluAutoEncoder, BatchTopKSAE


if __name__ == "__main__":
    main(Path(sys.argv[1]))
