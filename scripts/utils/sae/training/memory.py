"""Is there memory for what a training keeps of each autoencoder?"""

import psutil
import torch

from utils.base.errors import UserError
from utils.base.text_table import gigabytes, how_many

COPIES = 3  # float32: the weights, and both moments of Adam


def require_memory(latents: int, hidden_size: int, autoencoders: int, device: torch.device) -> None:
    """Raise UserError where the weights of so many autoencoders, trained side by side, exceed what is free on the device."""
    cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if cuda else psutil.virtual_memory().available
    of_a_latent = COPIES * 4 * (2 * hidden_size + 2) * autoencoders
    if latents * of_a_latent <= free:
        return
    raise UserError(
        f"--d_hidden {latents}: weights and Adam's moments of {how_many(autoencoders, 'autoencoder')} take "
        f"{gigabytes(latents * of_a_latent)}, {gigabytes(free)} are free{f' on {device}' if cuda else ''}; at most "
        f"{free // of_a_latent:,} latents fit: give a smaller --d_hidden, or fewer layers, architectures, targets or seeds"
    )
