"""What SAELens does in the comparison with it: load our folders, and write its own. It runs in an environment of its own.

    python tests/interop/sae_lens_side.py EXCHANGE

EXCHANGE/states.safetensors holds states [n, hidden_size], EXCHANGE/ours/NAME each a folder that we wrote. Afterwards there
are EXCHANGE/ours/NAME.safetensors, with latents and rebuilt states, and EXCHANGE/again/NAME, saved by SAELens. Its own
folders are EXCHANGE/theirs/NAME, with latents and rebuilt states beside them likewise.
"""

import sys
from pathlib import Path

import torch
from sae_lens import SAE
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
from safetensors.torch import load_file, save_file

LATENTS, BATCHTOPK_THRESHOLD = 64, 9.0
METADATA = {"model_name": "gpt2-small", "hook_name": "blocks.3.hook_resid_pre", "context_size": 128, "prepend_bos": True}


@torch.no_grad()
def main(exchange):
    states = load_file(exchange / "states.safetensors")["states"]
    for folder in sorted(path for path in (exchange / "ours").iterdir() if path.is_dir()):
        sae = SAE.load_from_disk(folder)
        write_answers(folder, sae, states)
        sae.save_model(exchange / "again" / folder.name)
    for name, sae in made(states.shape[1]):
        folder = exchange / "theirs" / name
        save = getattr(sae, "save_inference_model", sae.save_model)
        save(folder)
        write_answers(folder, SAE.load_from_disk(folder), states)


def write_answers(folder, sae, states):
    latents = sae.encode(states)
    save_file({"latents": latents, "rebuilt": sae.decode(latents)}, folder.with_name(f"{folder.name}.safetensors"))


def made(hidden_size):
    """Make one of each kind that is saved in a folder, (name, autoencoder)."""
    size = {"d_in": hidden_size, "d_sae": LATENTS, "metadata": SAEMetadata(**METADATA)}
    torch.manual_seed(1)
    jumprelu, raw = (
        JumpReLUSAE(JumpReLUSAEConfig(**size)),
        JumpReLUSAE(JumpReLUSAEConfig(**size, apply_b_dec_to_input=False)),
    )
    for sae in (jumprelu, raw):
        randomise(sae)
        sae.threshold.copy_(torch.randn(LATENTS) * 8)  # below 0 some let nothing through that a ReLU would not
    yield "jumprelu", jumprelu
    yield "raw", raw
    standard = StandardSAE(StandardSAEConfig(**size))
    randomise(standard)
    yield "standard", standard
    for scaled in (False, True):
        batchtopk = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**size, k=8, rescale_acts_by_decoder_norm=scaled))
        randomise(batchtopk)
        batchtopk.topk_threshold.fill_(BATCHTOPK_THRESHOLD)
        yield f"batchtopk_{'scaled' if scaled else 'plain'}", batchtopk


def randomise(sae):
    for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
        tensor = getattr(sae, name)
        tensor.copy_(torch.randn(tensor.shape))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
