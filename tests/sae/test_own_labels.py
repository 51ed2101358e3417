"""The user's own labels: each is shown as it stands in the file, or something is said."""

import json

import pytest

from utils.base.errors import UserError
from utils.sae.latents.own_labels import LONGEST_LABEL, read_labels

TWO = {0: 48, "final_norm": 48}


def labels_of(folder, text, latents=TWO, ending="csv"):
    path = folder / f"labels.{ending}"
    path.write_text(text, encoding="utf-8", newline="")
    return read_labels(str(path), latents)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_cells_in_quotes_keep_their_commas_quotes_and_line_breaks(tmp_path, line_end):
    rows = ("layer,latent,label", '0,5,"one, ""two""\nthree"', "", "final_norm,006,a\u2028b\x1b", " 0 , 7 ,=1+1 ")
    found = labels_of(tmp_path, line_end.join(rows) + line_end)
    assert found == {0: {5: 'one, "two"↵three', 7: "=1+1"}, "final_norm": {6: "a⟨U+2028⟩b⟨U+001B⟩"}}


def test_an_object_of_one_layer_or_of_several(tmp_path, capsys):
    assert labels_of(tmp_path, '{"5": "a\\ud800"}', {3: 10**7}, "json") == {3: {5: "a⟨U+D800⟩"}}
    assert labels_of(tmp_path, '{"9999999": "last"}', {3: 10**7}, "json") == {3: {9999999: "last"}}
    both = {"0": {"1": "a"}, "final_norm": {"2": "b"}}
    assert labels_of(tmp_path, json.dumps(both), TWO, "json") == {0: {1: "a"}, "final_norm": {2: "b"}}
    assert capsys.readouterr().out == ""


def test_what_is_cut_or_not_shown_is_said(tmp_path, capsys):
    found = labels_of(tmp_path, f"layer,latent,label\n0,1,{'x' * 20_000}\n0,2,{'y' * LONGEST_LABEL}\n3,99,z\nembed,1,z\n")
    assert found[0] == {1: "x" * (LONGEST_LABEL - 1) + "…", 2: "y" * LONGEST_LABEL} and found["final_norm"] == {}
    said = capsys.readouterr().out
    assert "labels.csv also has labels of layers that are not read now: 3, embed\n" in said
    assert "labels.csv 1 label had more than 200 characters, the rest is cut" in said


WRONG = {  # what the file holds -> what the line says
    "an unclosed quotation mark": ('layer,latent,label\n0,1,"a\n0,2,b\n', "cannot be read: unexpected end of data"),
    "a short row": ("layer,latent,label\n0,1,a\n0,2\n", "line 3 has not 3 cells, as the heading has"),
    "a long row": ("layer,latent,label\n0,1,a,b\n", "line 2 has not 3 cells, as the heading has"),
    "no words": ("layer,latent,label\n0,1, \n", "has no words for latent 1 of layer 0; write some, or delete it"),
    "twice": ("layer,latent,label\n0,1,a\n0,01,b\n", "labels latent 1 of layer 0 twice; keep one of them"),
    "no such layer": ("layer,latent,label\nlayer0,1,a\n", "'layer0' is no layer; write a number, embed or final_norm"),
    "attention": ("layer,latent,label\nattention,1,a\n", "'attention' is no layer"),
    "a long layer": (f"layer,latent,label\n{'9' * 5000},1,a\n", "...9999999999999999' is no layer"),
    "no layer": ("latent,label\n1,a\n", "does not say of which layer latent '1' is, and 2 layers are read; name it, or"),
    "no latent": ("layer,latent,label\n0,,a\n", "'' is no latent of layer 0, which has 0 to 47"),
    "one too many": ("layer,latent,label\n0,48,a\n", "'48' is no latent of layer 0, which has 0 to 47"),
    "a negative one": ("layer,latent,label\n0,-1,a\n", "'-1' is no latent"),
    "a long number": (f"layer,latent,label\n0,{'1' * 5000},a\n", "...1111111111111111' is no latent of layer 0"),
    "other columns": ("a,b\n1,2\n", "its columns are 'a, b'"),
    "nothing": ("", "its columns are none"),
    "a list": ("[1]", "it is no JSON object"),
    "a number": ('{"0": {"1": 2}}', "the label of '1' is int, not words"),
    "a key twice": ('{"0": {"1": "a", "1": "b"}}', "'1' stands in it twice"),
    "a layer twice": ('{"0": {"1": "a"}, "0": {"2": "b"}}', "'0' stands in it twice"),
    "deep": ("[" * 100_000, "cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(tmp_path, case):
    text, said = WRONG[case]
    with pytest.raises(UserError) as error:
        labels_of(tmp_path, text, ending="json" if text[:1] in ("[", "{") else "csv")
    line = str(error.value)
    assert line.startswith(f"--labels {tmp_path}") and said in line and "\n" not in line and len(line) < 800


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_labels(str(tmp_path / "nowhere.csv"), TWO)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        read_labels(str(tmp_path / "bytes.csv"), TWO)
