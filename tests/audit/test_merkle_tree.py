"""The tree of RFC 6962, held against the vectors of Certificate Transparency's own tests."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import merkle
from audit.errors import BadProofError

# The leaves and roots of certificate-transparency's merkletree tests, used by RFC 6962 implementations since.
LEAVES = [
    bytes.fromhex(text)
    for text in [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# leaf (from 1), size, path
PATHS = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (3, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        2,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
# older size, newer size, path
GROWTHS = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]


def leaves(count: int) -> list[bytes]:
    return [sha256(b"\0" + leaf).digest() for leaf in LEAVES[:count]]


def many(count: int) -> list[bytes]:
    return [sha256(b"\0%d" % number).digest() for number in range(count)]


def hexed(path: list[bytes]) -> list[str]:
    return [step.hex() for step in path]


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert merkle.Frontier().root() == sha256(b"").digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_are_those_of_the_vectors(size: int) -> None:
    assert merkle.root_of(leaves(size)).hex() == ROOTS[size - 1]


@pytest.mark.parametrize(("leaf", "size", "path"), PATHS)
def test_the_inclusion_proofs_are_those_of_the_vectors(leaf: int, size: int, path: list[str]) -> None:
    found = merkle.inclusion_proof(leaves(size), leaf - 1)

    assert hexed(found) == path
    merkle.check_inclusion(leaves(size)[leaf - 1], leaf - 1, size, found, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("older", "newer", "path"), GROWTHS)
def test_the_consistency_proofs_are_those_of_the_vectors(older: int, newer: int, path: list[str]) -> None:
    found = merkle.consistency_proof(leaves(newer), older)

    assert hexed(found) == path
    roots = [bytes.fromhex(root) for root in ROOTS]
    merkle.check_consistency(older, roots[older - 1], newer, roots[newer - 1], found)


@pytest.mark.parametrize("size", range(1, 40))
def test_every_entry_of_every_small_tree_is_proved_and_no_other_place_is(size: int) -> None:
    known, root = many(size), merkle.root_of(many(size))
    for index in range(size):
        path = merkle.inclusion_proof(known, index)
        merkle.check_inclusion(known[index], index, size, path, root)
        for elsewhere in range(size):
            if elsewhere != index:
                with pytest.raises(BadProofError):
                    merkle.check_inclusion(known[index], elsewhere, size, path, root)


@pytest.mark.parametrize("size", range(1, 40))
def test_every_growth_of_every_small_tree_is_proved(size: int) -> None:
    known = many(size)
    for older in range(1, size + 1):
        path = merkle.consistency_proof(known, older)
        merkle.check_consistency(older, merkle.root_of(known[:older]), size, merkle.root_of(known), path)


@given(st.data())
def test_a_changed_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 70))
    index = data.draw(st.integers(0, size - 1))
    known, root = many(size), merkle.root_of(many(size))
    path = merkle.inclusion_proof(known, index)
    place = data.draw(st.integers(0, len(path) - 1))
    changed = data.draw(
        st.sampled_from(
            [
                path[:place] + path[place + 1 :],
                [*path, path[0]],
                [*path[:place], b"\0" * 32, *path[place + 1 :]],
            ]
        )
    )

    with pytest.raises(BadProofError):
        merkle.check_inclusion(known[index], index, size, changed, root)


@given(st.data())
def test_a_changed_history_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 70))
    older = data.draw(st.integers(1, size - 1))
    known = many(size)
    other = [sha256(b"another").digest(), *known[1:]]
    path = merkle.consistency_proof(known, older)

    with pytest.raises(BadProofError):
        merkle.check_consistency(older, merkle.root_of(other[:older]), size, merkle.root_of(known), path)
    with pytest.raises(BadProofError):
        merkle.check_consistency(older, merkle.root_of(known[:older]), size, merkle.root_of(other), path)


@given(st.integers(0, 200), st.integers(0, 60))
def test_a_frontier_taken_up_again_grows_as_if_never_left(size: int, more: int) -> None:
    known = many(size + more)
    left = merkle.Frontier()
    for leaf in known[:size]:
        left.append(leaf)

    taken_up = merkle.Frontier(left.size, left.peaks)
    for leaf in known[size:]:
        taken_up.append(leaf)

    assert taken_up.root() == merkle.root_of(known)


def test_a_frontier_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(BadProofError):
        merkle.Frontier(3, [b"\0" * 32])


@pytest.mark.parametrize(("size", "index"), [(0, 0), (1, 1), (1, -1), (5, 5)])
def test_what_is_not_in_the_tree_has_no_proof(size: int, index: int) -> None:
    with pytest.raises(BadProofError):
        merkle.inclusion_proof([sha256(bytes([number])).digest() for number in range(size)], index)


@pytest.mark.parametrize("before", [0, 1, 31, 32, 33, 64, 95])
def test_a_row_of_leaves_makes_the_same_tree_as_one_after_the_other(before: int) -> None:
    leaves = [sha256(bytes([number])).digest() for number in range(230)]
    for size in (0, 1, 31, 32, 33, 63, 64, 65, 100, 128, 135):
        slowly, in_rows = merkle.Frontier(), merkle.Frontier()
        for leaf in leaves[: before + size]:
            slowly.append(leaf)
        in_rows.extend(leaves[:before])
        in_rows.extend(leaves[before : before + size])

        assert (in_rows.size, in_rows.peaks) == (slowly.size, slowly.peaks)


@pytest.mark.parametrize("index", [-1, 8, 15])
def test_a_place_outside_the_tree_is_not_proved_by_the_last_leafs_path(index: int) -> None:
    """To -1, and to any place with the same low bits, the path of the last leaf would lead as well."""
    known = many(8)
    path, root = merkle.inclusion_proof(known, 7), merkle.root_of(known)
    merkle.check_inclusion(known[7], 7, 8, path, root)

    with pytest.raises(BadProofError, match="is not in a tree of 8"):
        merkle.check_inclusion(known[7], index, 8, path, root)


@pytest.mark.parametrize("older", [-1, 0, 6])
def test_a_tree_that_cannot_have_been_before_has_no_proof(older: int) -> None:
    with pytest.raises(BadProofError, match="no tree of"):
        merkle.consistency_proof(many(5), older)


@pytest.mark.parametrize(("older", "newer"), [(8, 4), (0, 4), (-1, 4)])
def test_no_tree_grew_from_a_larger_one_or_from_none(older: int, newer: int) -> None:
    root = merkle.root_of(many(4))

    with pytest.raises(BadProofError, match="cannot have grown"):
        merkle.check_consistency(older, root, newer, root, [])


def test_an_empty_proof_of_growth_proves_nothing() -> None:
    known = many(5)

    with pytest.raises(BadProofError, match="is empty"):
        merkle.check_consistency(3, merkle.root_of(known[:3]), 5, merkle.root_of(known), [])


def test_between_two_trees_of_one_size_there_is_nothing_to_prove() -> None:
    root, other = merkle.root_of(many(4)), merkle.root_of(many(5))
    merkle.check_consistency(4, root, 4, root, [])

    for new_root, path in ((root, [root]), (other, []), (other, [root])):
        with pytest.raises(BadProofError, match="two different trees"):
            merkle.check_consistency(4, root, 4, new_root, path)
