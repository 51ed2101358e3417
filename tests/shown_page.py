"""The page of probes as a browser would read it, and probes to show on one."""

import json
from html.parser import HTMLParser

import numpy as np

from utils.pages.probe_page import BLANK


class Page(HTMLParser):
    """What a page of probes holds, as its script reads it. Of the first view: names, logits, truth, targets."""

    def __init__(self, path):
        super().__init__()
        self.tags, self._script = [], None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.views = self.data["views"]
        places = unpack(self.data["ids"], "<u2")
        self.tokens = [self.data["words"][place] for place in places]
        self.ids = [self.data["vocabulary"][place] for place in places]
        self.truth = unpack(self.data["truths"][self.views[0]["truth"]], "<i1")
        self.targets = (self.truth == 1).tolist()
        self.names = [layer["name"] for layer in self.views[0]["layers"]]
        self.logits = self.logits_of(self.views[0])

    def logits_of(self, view):
        """float [layers, (texts +) tokens], to half a step of what was computed; NaN where nothing was read."""
        levels = unpack(view["logits"], "<u2").reshape(len(view["layers"]), -1).astype(float)
        judged = len(self.data["texts"]) if self.data["whole"] else levels.shape[1]
        low = np.repeat([view["low"], view["tokenLow"]], [judged, levels.shape[1] - judged])
        step = np.repeat([view["step"], view["tokenStep"]], [judged, levels.shape[1] - judged])
        return np.where(levels == BLANK, np.nan, low + step * levels)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._script = dict(attributes).get("id") if tag == "script" else None

    def handle_data(self, text):
        if self._script == "data":
            self.data = json.loads(text)

    def handle_endtag(self, tag):
        self._script = None


def unpack(text, kind):
    import base64

    return np.frombuffer(base64.b64decode(text), dtype=kind)


def probe_set(layers, **metadata):
    """Probes of the layers that know nothing, for the next token unless `metadata` say otherwise."""
    import torch

    from utils.saved.probe_sets import ProbeSet

    common = {
        "target": " the",
        "token": 7,
        "lag": -1,
        "model": "a/model",
        "kind": "linear",
        "seed": 0,
        "prevalence": 0.03,
        "causal": True,
        "threshold": 0.0,
        **metadata,
    }
    count = len(layers)
    return ProbeSet(["probe.pth"], list(layers), torch.zeros(count, 4), torch.zeros(count), [common] * count)
