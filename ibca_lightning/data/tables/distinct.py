"""The different texts of millions of rows, by a hash of each: text is dear to sort.

Our own on purpose: numpy sorts all texts. Rows of one group stand together in most tables, so that few hashes are left
to sort; results are numpy's, as whatever has equal hashes is compared (but by `are_among`).
"""

from collections.abc import Iterable
from itertools import chain

import numpy as np
from numpy.typing import NDArray

_CHUNK = 2**16  # texts hashed together, so that they stay in the cache
_WORD = 8  # bytes that are mixed in at once
_FACTORS = (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93)  # odd


def distinct(texts: NDArray[np.bytes_]) -> tuple[NDArray[np.bytes_], NDArray[np.intp]]:
    """As `np.unique(texts, return_inverse=True)`: the different ones in order, and which of them each row (N,) has.

    Examples:
        >>> import numpy as np
        >>> from ibca_lightning.data.tables.distinct import distinct
        >>> distinct(np.array([b"b", b"b", b"a"]))
        (array([b'a', b'b'], dtype='|S1'), array([1, 1, 0]))
    """
    hashes = _hashed(texts, _words(texts))
    starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])[: len(texts)])  # of rows that are alike
    _, first, run = np.unique(hashes[starts], return_index=True, return_inverse=True)
    names, codes = texts[starts[first]], np.repeat(run, np.diff(np.append(starts, len(texts))))
    if 2 * len(names) > len(texts) or not np.array_equal(names[codes], texts):  # nothing is won, or two hashes collide
        return np.unique(texts, return_inverse=True)
    order = np.argsort(names)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return names[order], place[codes]


def all_differ(texts: NDArray[np.bytes_]) -> bool:
    """Whether no text stands in two rows."""
    hashes = np.sort(_hashed(texts, _words(texts)))
    return not (hashes[1:] == hashes[:-1]).any() or len(np.unique(texts)) == len(texts)


def shared(first: NDArray[np.bytes_], second: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    """As `np.intersect1d`: the texts that both hold, each once, in order."""
    words = max(_words(first), _words(second))
    ours, theirs = _hashed(first, words), _hashed(second, words)
    both = second[_among(theirs, ours)]
    return np.intersect1d(first[_among(ours, theirs)], both) if len(both) else both


def are_among(texts: NDArray[np.bytes_], others: Iterable[list[bytes]]) -> NDArray[np.bool_]:
    """(N,) which texts stand in lists of others; by hashes alone, of which two are equal by chance once in 2^64."""
    words, hashes, waiting = _words(texts), [np.empty(0, np.uint64)], list[bytes]()
    for part in chain(others, [None]):
        waiting += part or ()
        if part is None or len(waiting) > _CHUNK:
            short = [text for text in waiting if len(text) <= texts.itemsize]  # numpy would cut the others
            hashes.append(_hashed(np.array(short, texts.dtype), words))
            waiting = []
    return _among(_hashed(texts, words), np.concatenate(hashes))


def _among(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(N,) which hashes stand among others."""
    found = np.zeros(len(hashes), bool)
    if len(others):
        others, order = np.sort(others), np.argsort(hashes)
        sought = hashes[order]  # in order they are found in a tenth of the time
        found[order] = others[np.minimum(np.searchsorted(others, sought), len(others) - 1)] == sought
    return found


def _words(texts: NDArray[np.bytes_]) -> int:
    return -(-texts.itemsize // _WORD)


def _hashed(texts: NDArray[np.bytes_], words: int) -> NDArray[np.uint64]:
    """(N,) a number for each text, the same for the same text and number of words."""
    hashes = np.zeros(len(texts), np.uint64)
    for start in range(0, len(texts), _CHUNK):
        part = hashes[start : start + _CHUNK]
        padded = texts[start : start + _CHUNK].astype(f"S{max(1, words) * _WORD}")
        for word in padded.view(np.uint64).reshape(len(part), -1).T:
            part ^= word
            for factor in _FACTORS:
                part *= np.uint64(factor)
                part ^= part >> np.uint64(32)
    return hashes
