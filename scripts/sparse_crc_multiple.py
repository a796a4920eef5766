"""Finds the sparse multiples of the CRC-32C polynomial: `python -m scripts.sparse_crc_multiple`.

`mobilebert_core/checkpoints/containers/tensor_bundle/crc32c.py` reduces a message by one of them. Four terms,
x^a + x^b + x^c + 1, are the fewest: the polynomial has the factor x + 1, so its multiples have an even number of terms,
and the first multiple of two terms is x^(2^31 - 1) + 1. The search takes about five seconds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

POLYNOMIAL = 0x11EDC6F41  # the highest bit is x^32
MAX_DEGREE = 6000  # at most as many bytes of a message are left for the table


def four_term_multiples(first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
    """The exponents of every such multiple with a degree from `first` to `last`, in order.

    x^a + x^b + x^c + 1 is a multiple when its remainder is zero: the remainders of x^b and of x^a + x^c + 1 are equal.
    """
    powers = _remainders_of_powers(last + 1)
    for degree in range(max(first, 3), last + 1):
        lower = powers[1:degree]
        order = np.argsort(lower)
        in_order = lower[order]
        wanted = lower ^ powers[degree] ^ powers[0]
        places = np.minimum(np.searchsorted(in_order, wanted), len(in_order) - 1)
        for high in np.flatnonzero(in_order[places] == wanted).tolist():
            low = int(order[places[high]])
            if low < high:
                yield degree, high + 1, low + 1, 0


def _remainders_of_powers(count: int) -> np.ndarray:
    """The remainders of 1, x, x^2, ... after division by the polynomial."""
    remainders = np.empty(count, np.uint32)
    remainder = 1
    for exponent in range(count):
        remainders[exponent] = remainder
        remainder <<= 1
        if remainder >> 32:
            remainder ^= POLYNOMIAL
    return remainders


def main() -> None:
    multiples = list(four_term_multiples(3, MAX_DEGREE))
    for exponents in multiples:
        print(exponents, "slices of", exponents[0] - exponents[1])
    print("longest slices:", max(multiples, key=lambda exponents: exponents[0] - exponents[1]))


if __name__ == "__main__":
    main()
