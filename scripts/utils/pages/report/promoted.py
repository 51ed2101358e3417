"""Tabulate the tokens that the directions of the chosen probes promote and suppress."""

from utils.data.tokenizer import isolated, shown_text
from utils.pages.charts.results import Results
from utils.pages.charts.words import DASH, lag_label, number_text, quoted
from utils.pages.report.doubts import Result
from utils.pages.report.tables import Cell, Column, Head, ReportTable, numbers, table_of, word
from utils.saved.columns import DIRECTIONS
from utils.states.sites import layer_of

MOST = 8  # tokens of a list
HOW = (
    "Through the model’s head, as if the last norm kept the size of the state. A filter says how to read the label off a "
    f"state, the pattern how states move with it ({DIRECTIONS})."
)


def promoted_table(results: Results, found: list[Result]) -> ReportTable | None:
    """Tabulate the found probes that have a direction; of several seeds the first."""
    entries = {
        tuple(entry[name] for name in ("target", "layer", "lag", "kind")): entry for entry in results.directions[::-1]
    }
    rows = []
    for result in found:
        entry = entries.get((result.target, layer_of(result.layer), result.lag, result.probe))
        for what in ("filter", "pattern"):
            lists = entry and entry.get(what)
            if isinstance(lists, dict):
                rows.append({"target": quoted(result.target), "lag": lag_label(result.lag), "layer": result.layer} | {
                    "what": what, "rank": number_text(lists.get("target_rank"), 0),
                    **{name: tokens_text(lists.get(name)) for name in ("promoted", "suppressed")},
                })  # fmt: skip
    if not rows:
        return None
    columns: list[Column] = [
        word("target", "target"),
        numbers(Head("lag"), "lag"),
        numbers(Head("layer"), "layer"),
        word("direction", "what", HOW),
        (Head("promotes", "The tokens whose logits rise most.", word=True), lambda row: Cell(row["promoted"])),
        (Head("suppresses", "The tokens whose logits fall most.", word=True), lambda row: Cell(row["suppressed"])),
        numbers(Head("rank of the target", "Of its token among all, 1 for the most promoted."), "rank"),
    ]
    about = "what a step along the probe’s direction does to the model’s next token"
    return table_of("promoted", ("Promoted tokens", about), columns, rows)


def tokens_text(tokens: object, most: int = MOST) -> str:
    """Write the first tokens of a list of [token, number], each by itself."""
    shown = [str(one[0]) for one in tokens[:most] if isinstance(one, list) and one] if isinstance(tokens, list) else []
    return " ".join(isolated(shown_text(token).replace(" ", "␣")) for token in shown) or DASH
