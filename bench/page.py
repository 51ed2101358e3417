#!/usr/bin/env python3
"""Measure how smooth the page of probes is: milliseconds of the browser's main thread for one step, with style and layout.

A page of random logits on random words is opened in Chromium, and every layer, the threshold and the pointer are moved,
as a reader would. A display draws a frame every 16.7 ms; steps under 50 ms feel immediate.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
for folder in ("scripts", "tests"):
    sys.path.insert(0, str(ROOT / folder))

# each step changes the page, then asks for its geometry, which makes the browser do the work at once
STEPS = """async steps => {
  const timed = [];
  for (const [selector, value] of steps) {
    const slider = document.querySelector(selector);
    await new Promise(requestAnimationFrame);
    const start = performance.now();
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
    document.querySelector("#texts").getBoundingClientRect();
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    timed.push(performance.now() - start);
  }
  return timed;
}"""
HOVERS = """async count => {
  const tokens = document.querySelectorAll("#texts .token"), timed = [];
  for (let i = 1; i < count; i++) {
    const start = performance.now();
    tokens[i * 7].dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
    document.querySelector("#card").getBoundingClientRect();
    timed.push(performance.now() - start);
  }
  return timed;
}"""


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--chromium", default=os.environ.get("PROBE_CHROMIUM") or shutil.which("chromium"))
    arguments = parser.parse_args(argv)
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = make_page(Path(folder), arguments.tokens, arguments.layers)
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(path.as_uri())
        print(f"{arguments.tokens:,} tokens, {arguments.layers} layers, {path.stat().st_size / 1e6:.1f} MB")
        show("a layer further", page.evaluate(STEPS, [["#layer", str(layer)] for layer in range(arguments.layers)] * 2))
        show("the threshold moved", page.evaluate(STEPS, [["#threshold", f"{value / 50:.2f}"] for value in range(1, 50)]))
        show("another token hovered", page.evaluate(HOVERS, min(200, arguments.tokens // 7)))
        browser.close()
    return 0


def make_page(folder, tokens, layers):
    from helpers import make_tokenizer, prose
    from shown_page import probe_set
    from utils.pages.html.page import write_page
    from utils.pages.probe_page import page_values
    from utils.pages.shown_texts import ShownText

    tokenizer = make_tokenizer(folder / "tokenizer")
    ids = np.array(tokenizer(prose(0, tokens), add_special_tokens=False)["input_ids"][:tokens])
    the = tokenizer.convert_tokens_to_ids("Ġthe")
    logits = 3 * np.random.default_rng(0).standard_normal((layers, tokens)).astype(np.float32)
    path = folder / "page.html"
    text = ShownText("random", "", ids, [""] * len(ids), (ids == the).astype(np.int8)[None])
    write_page(path, "probes", **page_values([probe_set(range(layers), token=the)], tokenizer, [text], [logits], 1024))
    return path


def show(name, milliseconds):
    ordered = sorted(milliseconds)
    print(
        f"{name:<24} median {median(ordered):6.1f} ms, 95 % below {ordered[int(0.95 * len(ordered))]:6.1f} ms, "
        f"most {ordered[-1]:6.1f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
