"""What readers of annotated files share: groups by keys, copies, and the gaps between intervals."""

from utils.data.readers.annotated import complement, join_by_keys, merge_copies


def test_grouping_follows_chains_of_keys():
    assert join_by_keys([["a"], ["b"], ["a", "c"], ["d"], ["c", "b"]]) == [0, 0, 0, 3, 0]
    assert join_by_keys([[index, index + 1] for index in range(50_000)]) == [0] * 50_000  # no recursion
    assert join_by_keys([[], []]) == [0, 1]


def test_copies_and_complements():
    assert merge_copies("aabbc", [1, 1, 0, 1, 0]) == ([0, 4], {"duplicates_merged": 1, "conflicting_rows": 2})
    assert complement([(2, 4), (3, 6), (8, 9)], 0, 10) == ((0, 2), (6, 8), (9, 10))
    assert complement([], 3, 3) == ()
