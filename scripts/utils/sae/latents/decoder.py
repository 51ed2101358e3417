"""What the rows of a decoder say of its latents: which lie close to each other."""

import torch

COSINE_BYTES = 2**27  # of cosines at a time


@torch.inference_mode()
def nearest_latents(decoder: torch.Tensor, count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the latents whose decoder rows have the largest cosines with each one's, itself left out, the nearest first.

    decoder: [latents, hidden_size]. Return their numbers, int64 [latents, count], and the cosines, float32; fewer columns
    where there are fewer latents.
    """
    latents = len(decoder)
    unit = torch.nn.functional.normalize(decoder.float(), dim=1)
    numbers, cosines = [], []
    for some in torch.arange(latents, device=decoder.device).split(max(1, COSINE_BYTES // (4 * latents))):
        found = unit[some] @ unit.mT
        found[torch.arange(len(some)), some] = -torch.inf
        values, index = found.topk(min(count, latents - 1))
        numbers.append(index.cpu())
        cosines.append(values.cpu())
    return torch.cat(numbers), torch.cat(cosines)
