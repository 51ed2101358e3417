"""Plain texts as they are read."""

import pytest

from helpers import prose, write_jsonl
from utils.base.errors import UserError
from utils.data.readers import plain
from utils.data.readers.plain import read_texts, without_licence


def test_project_gutenbergs_licence_is_cut():
    book = "Chapter 1\n\nIt was the best of times.\n"
    for start, end in (
        ("*** START OF THIS PROJECT GUTENBERG EBOOK A TALE ***", "*** END OF THIS PROJECT GUTENBERG EBOOK A TALE ***"),
        (
            "***START OF THE PROJECT GUTENBERG EBOOK THE LOG SCHOOL-HOUSE ON THE\nCOLUMBIA***",
            "***END OF THE PROJECT GUTENBERG EBOOK THE LOG***",
        ),
        ("*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*", "End of the Project Gutenberg Etext of A Tale"),
    ):
        assert without_licence(f"Licence\n{start}\n{book}{end}\nmore licence") == f"\n{book}"
    assert without_licence(book) == book


def test_a_long_file_is_read_in_parts_of_one_group(tmp_path, monkeypatch):
    paragraphs = [f"{number} " + prose(number, 30) for number in range(200)]
    text = "\n\n".join(paragraphs)
    (tmp_path / "long.txt").write_text(text, encoding="utf-8")
    (tmp_path / "short.txt").write_text("short", encoding="utf-8")
    monkeypatch.setattr(plain, "LONGEST_PART", 5000)
    monkeypatch.setattr(plain, "BLOCK", 700)
    documents = list(read_texts(str(tmp_path)))
    long = [document for document in documents if document.group == "long.txt"]
    assert len(long) >= len(text) // 5000 and "".join(document.text for document in long) == text
    assert all(len(document.text) <= 5000 and document.text.endswith("\n\n") for document in long[:-1])
    assert [document.name for document in long[:2]] == ["long.txt", "long.txt (part 2)"]
    assert (documents[-1].name, documents[-1].text) == ("short.txt", "short")
    assert list(read_texts(str(tmp_path), limit=1)) == long
    assert len(list(read_texts(str(tmp_path), limit=2))) == len(long) + 1


@pytest.mark.parametrize("character", ("é", "👩", "\ufeff"))
def test_blocks_that_end_inside_a_character(tmp_path, monkeypatch, character):
    (tmp_path / "text.txt").write_text(character * 50 + "\r\n end", encoding="utf-8-sig")
    for block in (1, 2, 3, 5, 1000):
        monkeypatch.setattr(plain, "BLOCK", block)
        assert [one.text for one in read_texts(str(tmp_path))] == [character * 50 + "\r\n end"]


@pytest.mark.parametrize("block", (3, 7, 1000))
def test_the_offset_of_a_byte_that_is_no_utf_8(tmp_path, monkeypatch, block):
    (tmp_path / "text.txt").write_bytes(b"0123456789\xff tail")
    monkeypatch.setattr(plain, "BLOCK", block)
    with pytest.raises(UserError, match="0xff at offset 10;"):
        list(read_texts(str(tmp_path)))


def test_the_licence_of_a_book_in_parts(tmp_path, monkeypatch):
    book = "\n\n".join(prose(number, 30) for number in range(40))
    licence = "*** START OF THE PROJECT GUTENBERG EBOOK A ***"
    (tmp_path / "book.txt").write_text(
        f"header\n{licence}{book}\n\n*** END OF THE PROJECT GUTENBERG EBOOK A ***\nfooter " * 3
    )
    monkeypatch.setattr(plain, "LONGEST_PART", 2000)
    assert "".join(document.text for document in read_texts(str(tmp_path))) == f"{book}\n\n"


@pytest.fixture
def with_configurations(tmp_path):
    """A folder laid out like a Hub dataset of two configurations, as Wikipedia has one for each language."""
    files = ""
    for name in ("20231101.en", "20231101.simple"):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": f"a text of {name}"}])
        files += f"- config_name: {name}\n  data_files: {name}.jsonl\n"
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{files}---\n")
    return str(tmp_path)


def test_a_configuration_of_a_dataset(with_configurations):
    for name in ("20231101.en", "20231101.simple"):
        found = read_texts(with_configurations, split="train", config=name)
        assert [one.text for one in found] == [f"a text of {name}"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "has 2 configurations; choose one with --dataset_config: 20231101"),
        ("en", "it has 20231101.en, 20231101.simple"),
    ],
)
def test_a_configuration_that_is_not_there(with_configurations, config, said):
    with pytest.raises(UserError, match=said):
        list(read_texts(with_configurations, split="train", config=config))


def test_text_files_have_no_configurations(tmp_path):
    (tmp_path / "text.txt").write_text("text")
    with pytest.raises(UserError, match="--dataset_config en: .* have no configurations"):
        list(read_texts(str(tmp_path), config="en"))
