"""The page of probes as a browser would read it, and probes to show on one."""

import json
from html.parser import HTMLParser

import numpy as np


class Page(HTMLParser):
    """The tokens of a page, as a browser would read them, and its data."""

    def __init__(self, path):
        super().__init__()
        self.tokens, self.targets, self.tags, self._inside, self._script = [], [], [], None, None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        layers = self.data["layers"]
        self.names = [layer["name"] for layer in layers]
        self.logits = unpack(self.data["logits"], "<f4").reshape(len(layers), -1)
        self.truth = unpack(self.data["truth"], "<i1")

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        attributes = dict(attributes)
        self._script = attributes.get("id") if tag == "script" else None
        classes = attributes.get("class", "").split()
        if tag == "span" and classes[:1] == ["token"]:
            self._inside = ""
            self.targets.append("target" in classes)

    def handle_data(self, text):
        if self._script == "data":
            self.data = json.loads(text)
        if self._inside is not None:
            self._inside += text

    def handle_endtag(self, tag):
        self._script = None
        if tag == "span" and self._inside is not None:
            self.tokens.append(self._inside)
            self._inside = None


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
        "prevalence": 0.03,
        "causal": True,
        "threshold": 0.0,
        **metadata,
    }
    count = len(layers)
    return ProbeSet(["probe.pth"], list(layers), torch.zeros(count, 4), torch.zeros(count), [common] * count)
