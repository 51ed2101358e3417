"""What it costs a causal model's predictions to go on from states that sparse autoencoders have rebuilt."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from utils.base.errors import UserError, is_out_of_memory
from utils.model.anatomy import Anatomy
from utils.model.language_model import LOGIT_BYTES, LanguageModel, logits_after
from utils.model.streams import Place
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.evaluation.reconstruction import coded
from utils.states.forward_pass import Pass, forward, halve, inputs_to, kept, run_of_equals, watching
from utils.states.positions import ReadPlan
from utils.states.sites import EMBED, FINAL_NORM, Layer, sort_layers

MOST_TOKENS = 10_000  # a forward of these for each SAE and two for each layer: seconds for a small model on a CPU
LEAST_LOG = -1e30

Change = Callable[[torch.Tensor], torch.Tensor]  # of states [n, hidden_size]: what stands in their place


@dataclass(frozen=True)
class Cost:
    """Cross-entropy of the next token, and KL divergence from the model's own prediction, in nats a token.

    tokens    predictions that are averaged: those made at the positions whose states are replaced
    replaced  states that were replaced; the others (see `spliced`) kept their own
    clean     cross-entropy of the model as it is
    spliced, zeroed, averaged  cross-entropy with the states replaced by the rebuilt ones, by 0, by their mean
    kl_...    sum p (log p - log q), where p is the model's own prediction and q the one from the replaced states
    """

    tokens: int
    replaced: int
    clean: float
    spliced: float
    zeroed: float
    averaged: float
    kl_spliced: float
    kl_zeroed: float
    kl_averaged: float

    @property
    def recovered(self) -> float:
        """Give the share of what zeroing costs that the SAE saves: (zeroed - spliced) / (zeroed - clean)."""
        return saved(self.zeroed, self.spliced, self.clean)

    @property
    def recovered_over_mean(self) -> float:
        """Give the same beside the mean: (averaged - spliced) / (averaged - clean). Either may be the harder one to beat."""
        return saved(self.averaged, self.spliced, self.clean)


def saved(without: float, spliced_in: float, clean: float) -> float:
    """Give (without - spliced_in) / (without - clean): NaN where being without costs the model nothing."""
    return (without - spliced_in) / (without - clean) if without > clean else math.nan


def why_no_cost(language_model: LanguageModel, layers: Iterable[Layer]) -> str:
    """Say why `spliced` cannot be asked about these layers of this model; "" where it can."""
    several = [layer for layer in layers if site_of(language_model.anatomy, layer).of_several]
    if several:
        return f"layer {several[0]} has several streams, of which one is read: the others would go on as they were"
    return language_model.why_no_logits


def site_of(anatomy: Anatomy, layer: Layer) -> Place:
    """Find where the states of a layer lie in what a module takes or gives."""
    named = {EMBED: anatomy.enters, FINAL_NORM: anatomy.normed}
    return named.get(layer if isinstance(layer, str) else "") or anatomy.leaves


@torch.inference_mode()
def spliced(
    run: Pass,
    autoencoders: Sequence[SparseAutoencoder],
    most_tokens: int = MOST_TOKENS,
    largest_norm: Mapping[Layer, float] | None = None,
) -> list[Cost]:
    """Measure what each sparse autoencoder costs the model, at its own layer (`about["layer"]`).

    The states at the positions of the plan are replaced. All others keep their own, and so do states whose norm exceeds
    largest_norm[layer]: what training leaves out is not asked of the result. Whole sequences are read, spread evenly over
    all of them, up to about most_tokens states. The mean that replaces states is that of the same states.

    A batch's own predictions serve all layers, and the two ablations of a layer all its SAEs. Raise UserError where
    `why_no_cost` has a reason.
    """
    language_model, of_layer = run.model, by_layer(autoencoders)
    layers = sort_layers(of_layer, language_model.anatomy)
    if why := why_no_cost(language_model, layers):
        raise UserError(f"what sparse autoencoders cost {language_model.name} cannot be measured: {why}")
    limits = {layer: (largest_norm or {}).get(layer, math.inf) for layer in layers}
    batches = Batches(run, spread(run.plan, most_tokens))
    sums = batches.total(lambda batch: state_sums(language_model, batch, limits))
    changes: dict[Layer, list[Change]] = {
        layer: [
            torch.zeros_like,
            partial(averaged, mean=sums[layer][1:] / sums[layer][0].clamp(min=1)),
            *(
                partial(rebuilt_states, autoencoder=autoencoders[number].to(language_model.device))
                for number in of_layer[layer]
            ),
        ]
        for layer in layers
    }
    losses = batches.total(lambda batch: loss_sums(language_model, batch, changes, limits))
    costs: dict[int, Cost] = {}
    for layer in layers:
        tokens, replaced = int(losses[layer][0, 2]), int(sums[layer][0])
        (clean, _), zeroed, mean, *own = (losses[layer][:, :2] / tokens).tolist()
        for number, each in zip(of_layer[layer], own, strict=True):
            entropies, divergences = zip(each, zeroed, mean, strict=True)
            costs[number] = Cost(tokens, replaced, clean, *entropies, *divergences)
    return [costs[number] for number in range(len(autoencoders))]


def by_layer(autoencoders: Sequence[SparseAutoencoder]) -> dict[Layer, list[int]]:
    """Number the sparse autoencoders of each layer by their places."""
    found: dict[Layer, list[int]] = {}
    for number, autoencoder in enumerate(autoencoders):
        found.setdefault(autoencoder.about["layer"], []).append(number)
    return found


def averaged(states: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Put the mean [hidden_size] in the place of each state."""
    return mean.expand(states.shape)


def rebuilt_states(states: torch.Tensor, autoencoder: SparseAutoencoder) -> torch.Tensor:
    """Rebuild states [n, hidden_size], so that the latents stay within bounded memory."""
    return torch.cat([y for _, _, y in coded(autoencoder, states)]) if len(states) else states


def spread(plan: ReadPlan, most_states: int) -> np.ndarray:
    """Choose sequences of the plan, spread evenly over all, with about most_states states; one at least."""
    numbers = np.unique(plan.sequence)
    count = round(most_states / (len(plan) / len(numbers)))
    return numbers[np.unique(np.linspace(0, len(numbers) - 1, min(max(1, count), len(numbers))).round().astype(int))]


@dataclass(frozen=True)
class Batch:
    """Sequences that are read together.

    input_ids, mask  int64 [batch, tokens]
    where            bool [batch, tokens]: the states that are replaced
    asked            bool [batch, tokens]: those of them after which a token follows
    targets          int64 [predictions]: these tokens
    """

    input_ids: torch.Tensor
    mask: torch.Tensor
    where: torch.Tensor
    asked: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True)
class Batches:
    """Chosen sequences of a pass, a batch at a time; when memory runs out, the batch is halved."""

    run: Pass
    chosen: np.ndarray

    def total(self, work: Callable[[Batch], dict[Layer, torch.Tensor]]) -> dict[Layer, torch.Tensor]:
        """Do the work for each batch, and add up what it returns for each layer."""
        model, start, totals = self.run.model, 0, {}
        while start < len(self.chosen):
            size = min(self.run.batch_size, model.largest_batch or self.run.batch_size)
            chosen = self.chosen[start : start + size]
            if model.anatomy.padding_moves:
                chosen = chosen[: run_of_equals(self.run.sequences.lengths[chosen])]
            try:
                found = work(self.batch(chosen))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                model.largest_batch = halve(size, error)
                continue
            totals = {layer: totals[layer] + value if layer in totals else value for layer, value in found.items()}
            start += len(chosen)
        return totals

    def batch(self, chosen: np.ndarray) -> Batch:
        """Put together the sequences of these numbers."""
        sequences, plan, device = self.run.sequences, self.run.plan, self.run.model.device
        lengths = sequences.lengths[chosen]
        width = int(lengths.max())
        input_ids = torch.from_numpy(sequences.input_ids[chosen, :width].astype(np.int64))
        rows = np.flatnonzero(np.isin(plan.sequence, chosen))
        where = torch.zeros(len(chosen), width, dtype=torch.bool)
        where[np.searchsorted(chosen, plan.sequence[rows]), plan.position[rows]] = True
        followed = torch.from_numpy(np.arange(width) + 1 < lengths[:, None])
        asked = where & followed
        mask = torch.from_numpy((np.arange(width) < lengths[:, None]).astype(np.int64))
        return Batch(input_ids, mask, where.to(device), asked.to(device), input_ids.roll(-1, 1)[asked].to(device))


def within(state: torch.Tensor, where: torch.Tensor, limit: float) -> torch.Tensor:
    """Find the states that are replaced: those of `where` whose norm is within the limit, bool [batch, tokens]."""
    return where & (state.float().norm(dim=-1) <= limit)


def state_sums(language_model: LanguageModel, batch: Batch, limits: Mapping[Layer, float]) -> dict[Layer, torch.Tensor]:
    """Count and add up the states that are replaced in each layer: {layer: float64 [1 + hidden_size], the count first}."""
    sums = {}

    def take(layer, state):
        states = state[within(state, batch.where, limits[layer])].double()
        sums[layer] = torch.cat([states.new_full((1,), len(states)), states.sum(0)])

    forward(language_model, batch.input_ids, batch.mask, limits, take)
    return sums


def loss_sums(
    language_model: LanguageModel, batch: Batch, changes: Mapping[Layer, Sequence[Change]], limits: Mapping[Layer, float]
) -> dict[Layer, torch.Tensor]:
    """Add up the losses of a batch: {layer: float64 [1 + changes, 3]}, of the model as it is first, then of each change.

    Columns: cross-entropy, KL divergence from the model as it is, predictions.
    """
    clean = final_states(language_model, batch)
    return {
        layer: losses_beside(
            language_model,
            clean,
            [final_states(language_model, batch, [layer], change, limits[layer]) for change in of_layer],
            batch.targets,
        )
        for layer, of_layer in changes.items()
    }


def final_states(
    language_model: LanguageModel,
    batch: Batch,
    layers: Sequence[Layer] = (),
    change: Change = torch.clone,
    limit: float = math.inf,
) -> torch.Tensor:
    """Run the model, with the states of these layers changed, up to its head: [predictions, hidden_size]."""

    def take(_layer, state):
        here = within(state, batch.where, limit)
        instead = state.clone()
        instead[here] = change(state[here]).to(state.dtype)
        return instead

    given = inputs_to(language_model, batch.input_ids, batch.mask)
    rows, width = given["input_ids"].shape
    with kept(language_model), watching(language_model.anatomy, layers, take, (rows, width), ends=False):
        return language_model.body(**given).last_hidden_state[:, :width][batch.asked]


def losses_beside(
    language_model: LanguageModel, clean: torch.Tensor, changed: Sequence[torch.Tensor], targets: torch.Tensor
) -> torch.Tensor:
    """Add up cross-entropy, KL divergence and predictions: float64 [1 + changed, 3], of `clean` first.

    clean, changed: final states [predictions, hidden_size]. Few rows of logits are in memory at a time.
    """
    sums = torch.zeros(1 + len(changed), 3, dtype=torch.float64)
    sums[:, 2] = len(targets)
    rows = max(1, LOGIT_BYTES // (16 * language_model.vocabulary))
    for part in (slice(start, start + rows) for start in range(0, len(targets), rows)):
        own = log_probabilities(language_model, clean[part])
        probability = own.exp()
        own_entropy = torch.linalg.vecdot(probability, own)
        for number, states in enumerate([clean, *changed]):
            other = log_probabilities(language_model, states[part]) if number else own
            divergence = own_entropy - torch.linalg.vecdot(probability, other)
            sums[number, 0] -= other.gather(1, targets[part, None]).double().sum().cpu()
            sums[number, 1] += divergence.double().sum().cpu()
    return sums


def log_probabilities(language_model: LanguageModel, states: torch.Tensor) -> torch.Tensor:
    """Compute log p of each next token, finite also where the head rules it out, so that 0 log 0 is 0."""
    return logits_after(language_model, states).log_softmax(1).clamp_(min=LEAST_LOG)
