"""Estimate the seconds of the baselines of a run, which is most of a small run: fit them to some of the examples."""

import time
from collections.abc import Sequence

from utils.model.language_model import LanguageModel
from utils.scores.baselines.compared import all_token_baselines
from utils.scores.baselines.lesson import MOST_ROWS, Lesson
from utils.scores.baselines.texts import text_baselines
from utils.states.positions import Question
from utils.sweep.questions import surroundings_of, texts_of

TIMED_ROWS = 4096  # examples that are fitted to for the estimate; of scored ones the same part is timed


def seconds_of_baselines(questions: Sequence[Question], language_model: LanguageModel) -> float:
    """Measure the baselines of the first question on a part of its examples, and estimate those of all questions.

    The seconds are in proportion to the examples that are fitted to, of which there are at most MOST_ROWS a question. Words
    and characters of whole texts are fitted once for all lags of a target.
    """
    first, splits = questions[0], questions[0].sequences
    some = Lesson.of(first.asked, splits["train"], TIMED_ROWS).examples
    part = len(some) / fitted_rows(first)
    scored = {name: those[:: max(1, round(1 / part))] for name, those in first.first_sample.items()}
    surroundings = surroundings_of(splits, language_model)
    texts = texts_of(splits, language_model) if first.of_sequences else None
    start = time.perf_counter()
    all_token_baselines(some, scored, splits, surroundings)
    seconds, start = (time.perf_counter() - start) * sum(map(fitted_rows, questions)), time.perf_counter()
    if texts:
        text_baselines(some, scored, splits, texts, {})
        of_targets = {question.target: question for question in questions}
        seconds += (time.perf_counter() - start) * sum(map(fitted_rows, of_targets.values()))
    return seconds / len(some)


def fitted_rows(question: Question) -> int:
    """Count the examples that a regression is fitted to."""
    return min(len(question.asked), MOST_ROWS)
