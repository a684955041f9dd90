"""Standard normal numbers of NumPy, without their one dependence on the machine: the logarithm of the C library.

NumPy draws float32 normals by the ziggurat method. All but about one in 3,900 come from a table and a product, and are bitwise
identical everywhere. That one, beyond the table's end, is -log1p(-u) / R + R, with the logarithm of the C library. From version
2.41 on, glibc rounds some logarithms differently, and one normal in a million differs in its last bit. Here the logarithm is
that of FreeBSD's msun, which glibc used before 2.41. So these are the numbers that NumPy gives with an earlier glibc.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# Where the table ends, and its inverse (numpy/random/src/distributions/ziggurat_constants.h).
END, INVERSE_END = np.float32(3.6541528853610088), np.float32(0.27366123732975828)
BLOCK = 4096  # numbers, about one of which is beyond the table's end
# s_log1pf.c: ln 2 in two parts, the polynomial from its highest power down, and sqrt(2)/2 - 1.
LN2_HIGH, LN2_LOW = np.float32(6.9313812256e-01), np.float32(9.0580006145e-06)
POLYNOMIAL = tuple(
    np.float32(coefficient)
    for coefficient in (
        1.4798198640e-01,
        1.5313838422e-01,
        1.8183572590e-01,
        2.2222198546e-01,
        2.8571429849e-01,
        4.0000000596e-01,
        6.6666668653e-01,
    )
)
NEAR = np.float32(-0.2928933799266815)


def standard_normal(seed: int, *, size: int) -> Float[np.ndarray, " n"]:
    """Return `size` standard normal float32 numbers of the Philox stream with key `seed`, as NumPy draws them."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    drawn = np.empty(size, dtype=np.float32)
    begin = 0
    while begin < size:
        state = generator.bit_generator.state
        block = generator.standard_normal(min(BLOCK, size - begin), dtype=np.float32)
        beyond = np.flatnonzero(np.abs(block) > END)
        taken = int(beyond[0]) if beyond.size else block.size
        drawn[begin : begin + taken] = block[:taken]
        begin += taken
        if beyond.size:  # go back to just before it, and draw it here
            generator.bit_generator.state = state
            generator.standard_normal(taken, dtype=np.float32)
            drawn[begin] = _beyond(generator)
            begin += 1
    return drawn


def log1p(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return log(1 + x) in float32 for -1 < x <= 0, bitwise identical to s_log1pf.c."""
    one = np.float32(1)
    near = x > NEAR  # 1 + x > sqrt(2)/2: no power of two is split off
    u = one + x
    bits = u.view(np.uint32).astype(np.int32)
    k = (bits >> 23) - 127
    correction = (x - (u - one)) / u
    mantissa = bits & 0x7FFFFF
    upper = mantissa >= 0x3504F7
    k = np.where(near, 0, k + upper).astype(np.float32)
    scaled = (mantissa | np.where(upper, 0x3F000000, 0x3F800000)).astype(np.uint32).view(np.float32)
    f = np.where(near, x, scaled - one)
    correction = np.where(near, np.float32(0), correction)
    half_square = np.float32(0.5) * f * f
    s = f / (np.float32(2) + f)
    z = s * s
    series = np.zeros_like(z)
    for coefficient in POLYNOMIAL:
        series = z * (coefficient + series)
    low = k * LN2_LOW + correction
    tiny = ~near & (np.where(upper, (0x800000 - mantissa) >> 2, mantissa) == 0)
    short = half_square * (one - np.float32(0.6666666666666666) * f)
    far = np.where(
        tiny,
        np.where(f == 0, k * LN2_HIGH + low, k * LN2_HIGH - ((short - low) - f)),
        k * LN2_HIGH - ((half_square - (s * (half_square + series) + low)) - f),
    )
    logarithm: np.ndarray = np.where(near, f - (half_square - s * (half_square + series)), far)
    return logarithm


def _beyond(generator: np.random.Generator) -> np.float32:
    """Return the next normal of `generator`, which is beyond the table's end (Marsaglia's tail)."""
    while True:
        bits = int(generator.integers(0, 2**32, dtype=np.uint32))
        if bits & 0xFF:  # another layer of the table, which rejects it after one more number
            generator.random(dtype=np.float32)
            continue
        while True:
            pair = log1p(-generator.random(2, dtype=np.float32))
            beyond, height = -INVERSE_END * pair[0], -pair[1]
            if height + height > beyond * beyond:
                drawn = END + beyond
                return np.float32(-drawn if bits >> 17 & 1 else drawn)
