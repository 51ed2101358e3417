"""Long texts in overlapping windows: each label once, in the window that shows most around it, with that window's states."""

import numpy as np
import pytest
import torch

import tiny_models
from helpers import prose
from utils.data.preparation.annotated_tokens import Tokens, tokenize
from utils.data.preparation.annotated_windows import LabelledDocument, cut_into_windows, sequences_of
from utils.data.readers.annotated import Annotated
from utils.data.sequences import per_target
from utils.data.token_labels import label_tokens
from utils.data.tokenizer import load_tokenizer, special_frame
from utils.data.windows import covering_windows, default_overlap
from utils.model.language_model import load_language_model, wrap
from utils.states.extraction import Reading, run_pass
from utils.states.positions import Question, examples_at

TARGETS = ("doubt", "calm")
SAME = 1e-5  # of the largest state: rounding is below 1e-6, a window moved by one token moves every state by over 5e-5


def plain_windows(length, width, overlap) -> list[tuple[int, int]]:
    """(start, end), as it would be done by hand: one after the other, the last one back until it is full."""
    windows = [(0, min(width, length))]
    while windows[-1][1] < length:
        start = min(windows[-1][0] + width - 2 * overlap, length - width)
        windows.append((start, start + width))
    return windows


def to_edge(window, place) -> int:
    """Tokens between this one and the nearest edge of the window; below 0 outside it."""
    return min(place - window[0], window[1] - 1 - place)


def home(windows, place) -> tuple[int, int]:
    """The first of the windows whose nearest edge is farthest from the token."""
    return max(windows, key=lambda window: to_edge(window, place))


def annotated(random, ids, starts, ends):
    """A document with random spans of both targets and of a third label, and some unknown text."""
    length = int(ends[-1])
    edges = np.unique(random.integers(0, length + 1, size=2 * random.integers(2, 9))).tolist()
    kinds = random.integers(0, 4, size=len(edges)).tolist()  # of the text between two edges; 3: unknown
    between = list(zip(edges, edges[1:], kinds, strict=False))
    spans = [(start, end, (*TARGETS, "other")[kind]) for start, end, kind in between if kind < 3]
    document = Annotated(
        "x" * length, "made", "made", tuple(spans), tuple((start, end) for start, end, kind in between if kind == 3)
    )
    labels = np.stack([label_tokens(document, starts, ends, target) for target in TARGETS])
    return LabelledDocument(document, Tokens(ids, starts, ends), labels, 0, len(ids))


def random_text(random, length):
    """Tokens of 1 to 4 characters side by side."""
    ends = np.cumsum(random.integers(1, 5, size=length))
    return annotated(random, random.integers(5, 90, size=length).astype(np.int32), np.append(0, ends[:-1]), ends)


def cut(labelled, width, overlap, frame):
    """What prepare_data makes of them: a Sequences a target."""
    cuts, _ = cut_into_windows(labelled, width, overlap)
    sequences = sequences_of(labelled, cuts, range(len(labelled)), frame, ["made"])
    sequences.metadata = {
        "task": "spans",
        "tokenizer": dict(zip(("before", "after"), frame, strict=True)),
        "targets": [{"name": target, "token": None, "prevalence": 0.5} for target in TARGETS],
    }
    return per_target(sequences)


def places(sequences, rows, positions) -> list[tuple[int, int]]:
    """(document, token of the document) of these positions."""
    return list(
        zip(
            sequences.documents[rows].tolist(),
            (sequences.starts[rows] + positions - sequences.text_start).tolist(),
            strict=True,
        )
    )


def spanned(sequences, row) -> tuple[int, int]:
    start = int(sequences.starts[row])
    return start, start + int(sequences.text_ends[row]) - sequences.text_start


def test_windows_are_full_evenly_apart_and_cover_every_token_once():
    assert [(item.start, item.end, item.keep_from, item.keep_to) for item in covering_windows(10, 6, 2)] == [
        (0, 6, 0, 4),
        (2, 8, 4, 6),
        (4, 10, 6, 10),
    ]
    assert [(item.start, item.end, item.keep_from, item.keep_to) for item in covering_windows(7, 6, 0)] == [
        (0, 6, 0, 4),
        (1, 7, 4, 7),
    ], "the last window is moved back until it is full"
    for length in range(1, 50):
        for width in range(1, 20):
            for overlap in range((width + 1) // 2):
                found, plain = covering_windows(length, width, overlap), plain_windows(length, width, overlap)
                assert [(item.start, item.end) for item in found] == plain
                kept = [(place, (item.start, item.end)) for item in found for place in range(item.keep_from, item.keep_to)]
                assert kept == [(place, home(plain, place)) for place in range(length)], (length, width, overlap)
    assert covering_windows(0, 6, 2) == []


@pytest.mark.parametrize(("width", "overlap"), [(6, 3), (6, -1), (1, 1)])
def test_windows_that_cannot_move_on_are_refused(width, overlap):
    with pytest.raises(ValueError, match="cannot overlap"):
        covering_windows(100, width, overlap)


def test_the_overlap_by_default_is_64_or_a_quarter_and_always_possible():
    assert [default_overlap(width) for width in (2048, 512, 256, 200, 100)] == [512, 128, 64, 64, 33]
    assert all(2 * default_overlap(width) < width for width in range(1, 2000))


def test_no_label_is_lost_or_doubled_each_is_where_most_is_around_it_and_every_lag_up_to_the_overlap_is_readable():
    random, beyond, several = np.random.default_rng(0), 0, 0
    for _ in range(150):
        labelled = [random_text(random, int(random.integers(1, 90))) for _ in range(random.integers(1, 5))]
        width = int(random.integers(1, 40))
        overlap = int(random.integers(0, (width + 1) // 2))
        frame = ([1], [2]) if random.random() < 0.5 else ([], [])
        if not (np.concatenate([item.labels for item in labelled], axis=1) >= 0).any(1).all():
            continue
        for target, sequences in enumerate(cut(labelled, width, overlap, frame)):
            row, position, labels = sequences.labelled()
            found = list(zip(places(sequences, row, position), labels.tolist(), strict=True))
            expected = {
                (number, place): label
                for number, item in enumerate(labelled)
                for place, label in enumerate(item.labels[target].tolist())
                if label >= 0
            }
            assert sorted(found) == sorted(expected.items()), "a label is lost, doubled or another one"
            for window, ((number, place), _) in zip(row, found, strict=True):
                windows = plain_windows(len(labelled[number].tokens), width, overlap)
                several += len(windows) > 1
                assert spanned(sequences, window) == home(windows, place)
            for lag in range(-overlap - 1, overlap + 2):
                examples = examples_at(sequences, lag)
                readable = {(number, place) for number, place in expected if 0 <= place + lag < len(labelled[number].tokens)}
                read = places(sequences, examples.sequence, examples.position)
                if abs(lag) > overlap:
                    beyond += len(readable) - len(read)
                    continue
                assert sorted(read) == sorted(readable), f"lag {lag} with an overlap of {overlap}"
                assert examples.tokens.tolist() == [labelled[number].tokens.ids[place + lag] for number, place in read]
    assert several > 5000, "hardly any text is cut into several windows"
    assert beyond > 500, "a lag beyond the overlap loses nothing: the windows overlap by more than was asked for"


# ---- the states


@pytest.fixture(params=["stories260K", "bert"])
def model_and_texts(request):
    """A model, what its tokenizer puts around a text, and texts longer and shorter than the windows."""
    random = np.random.default_rng(1)
    if request.param == "bert":
        return wrap(tiny_models.make("bert")), ([1], [2]), [random_text(random, length) for length in (130, 9, 61)]
    folder = request.getfixturevalue("stories260K")
    tokenizer = load_tokenizer(str(folder))
    found = tokenize(tokenizer, [prose(seed, words) for seed, words in ((0, 150), (1, 12), (2, 60))])
    return (
        load_language_model(str(folder)),
        special_frame(tokenizer),
        [annotated(random, tokens.ids, tokens.starts, tokens.ends) for tokens in found],
    )


@torch.no_grad()
def alone(language_model, frame, ids) -> list[torch.Tensor]:
    """transformers' own hidden_states of the text tokens of one window run by itself: [tokens, hidden_size] each."""
    before, after = frame
    whole = torch.tensor([[*before, *ids.tolist(), *after]])
    states = language_model.body(whole, output_hidden_states=True).hidden_states
    return [state[0, len(before) : len(before) + len(ids)] for state in states]


def test_every_state_that_is_read_is_that_of_its_window_alone(model_and_texts):
    language_model, frame, labelled = model_and_texts
    width, overlap, lags = 40, 13, (-13, -1, 0, 5, 13)
    by_target = cut(labelled, width, overlap, frame)
    questions = [
        Question(target, lag, {"train": sequences}, {"train": examples_at(sequences, lag)})
        for target, sequences in enumerate(by_target)
        for lag in lags
    ]
    layers = ("embed", 0, 1, 2)
    read_states = run_pass(Reading(layers, batch_size=3), language_model, questions)
    cache, moved_away = {}, []

    def states_of(number, window):
        if (number, window) not in cache:
            cache[number, window] = torch.stack(
                alone(language_model, frame, labelled[number].tokens.ids[slice(*window)])[: len(layers)]
            )
        return cache[number, window]

    for question in questions:
        found = question.examples["train"]
        ours = read_states.tables["train"].rows(read_states.source(question).rows["train"])
        theirs, shifted = [], []
        for number, place in places(by_target[question.target], found.sequence, found.position):
            length = len(labelled[number].tokens)
            start, end = home(plain_windows(length, width, overlap), place)
            read = place + question.lag
            theirs.append(states_of(number, (start, end))[:, read - start])
            moved = 1 if end < length else -1 if start else 0
            if moved and start + moved <= read < end + moved:
                shifted.append((len(theirs) - 1, states_of(number, (start + moved, end + moved))[:, read - start - moved]))
        theirs = torch.stack(theirs, dim=1)
        tolerance = SAME * float(theirs.abs().max())
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
        moved_away += [float((ours[2, index] - other[2]).abs().max()) > 5 * tolerance for index, other in shifted]
    assert len(moved_away) > 300 and all(moved_away), "a window moved by one token would pass"


@pytest.mark.parametrize("causal", [True, False])
def test_windows_keep_every_token_once_with_the_context_that_is_promised(causal):
    from utils.data.windows import overlapping_windows

    random = np.random.default_rng(0)
    for _ in range(300):
        length, width = int(random.integers(1, 200)), int(random.integers(1, 60))
        overlap = int(random.integers(0, width))
        windows = overlapping_windows(length, width, overlap, causal)
        kept = [token for window in windows for token in range(window.keep_from, window.keep_to)]
        assert kept == list(range(length)), (length, width, overlap)
        for window in windows:
            assert 0 <= window.start <= window.keep_from < window.keep_to <= window.end <= length
            assert window.end - window.start <= width
            before, after = window.keep_from - window.start, window.end - window.keep_to
            least = overlap if causal else overlap - overlap // 2
            assert window.start == 0 or before >= least
            assert causal or window.end == length or after >= overlap // 2
