"""Plain sparse autoencoders by autograd: the independent truth for `utils.sae.steps`. It favours clarity over speed."""

import torch


class Heaviside(torch.autograd.Function):
    """1 where z > threshold; backward, the rectangle kernel reaches the threshold only."""

    @staticmethod
    def forward(ctx, z, threshold, width):
        ctx.save_for_backward(z, threshold, width)
        return (z > threshold).to(z)

    @staticmethod
    def backward(ctx, gradient):
        z, threshold, width = ctx.saved_tensors
        kernel = (((z - threshold) / width).abs() < 0.5).to(z)
        return None, -(gradient * kernel / width).sum(0), None


class Jump(torch.autograd.Function):
    """z where z > threshold, else 0; backward, equation 11 of arXiv:2407.14435."""

    @staticmethod
    def forward(ctx, z, threshold, width):
        ctx.save_for_backward(z, threshold, width)
        return z * (z > threshold)

    @staticmethod
    def backward(ctx, gradient):
        z, threshold, width = ctx.saved_tensors
        kernel = (((z - threshold) / width).abs() < 0.5).to(z)
        return gradient * (z > threshold), -(gradient * kernel * threshold / width).sum(0), None


def plain_step(parameters, states, encode):
    """(gradients by name, loss, latents, residual) of one autoencoder.

    encode(z, threshold) gives the latents [batch, latents] and what else the loss counts.
    """
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.tensors.items()}
    z = (states - leaves["decoder_bias"]) @ leaves["encoder"].T + leaves["encoder_bias"]
    latents, penalty = encode(z, leaves["threshold"])
    residual = latents @ leaves["decoder"] + leaves["decoder_bias"] - states
    loss = residual.square().sum() / len(states)
    (loss + penalty).backward()
    gradients = {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}
    decoder = gradients["decoder"]
    along = (decoder * parameters.decoder).sum(1, keepdim=True)
    gradients["decoder"] = decoder - along * parameters.decoder
    return gradients, loss.detach(), latents.detach(), residual.detach()


def plain_jumprelu(parameters, states, width, pull, target):
    def encode(z, threshold):
        l0 = Heaviside.apply(z, threshold, width).sum() / len(states)
        return Jump.apply(z, threshold, width), pull * (l0 / target - 1) ** 2

    return plain_step(parameters, states, encode)


def plain_batchtopk(parameters, states, k, lift):
    def encode(z, threshold):
        lifted = torch.where(z > 0, z + lift, 0).flatten()
        top = torch.topk(lifted, round(float(k) * len(states)), sorted=False)
        kept = torch.zeros_like(lifted).scatter(0, top.indices, 1.0)
        return z.relu() * kept.view_as(z), 0.0

    return plain_step(parameters, states, encode)
