"""Plain texts as they are read."""

from utils.data.readers.plain import without_licence


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
