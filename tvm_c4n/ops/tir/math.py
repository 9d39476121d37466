"""float32 exp, 2^x, SiLU, sigmoid and softplus as vector code; LLVM would call libm once per lane.

docs/decisions/vector-math.md says why each is computed as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm_c4n._tvm import T
from tvm_c4n.ops.tir.access import f32, splat, typed

LOG2_E = 1.4426950408889634
# Polynomial of 2^r on [-1/2, 1/2], fitted to a relative error of 7.5e-8 (our own fit).
EXP2_COEFFICIENTS = (
    1.3276459649205208e-3,
    9.675540961325169e-3,
    5.550713464617729e-2,
    2.4022120237350464e-1,
    6.931469440460205e-1,
    1.0000001192092896,
)
# A float32 that leaves no room for a fraction, as a number and as bits.
ROUNDING, ROUNDING_BITS = 1.5 * 2**23, 0x4B400000
# Polynomial of log(1 + t) / t on [0, 1], fitted to a relative error of 3.1e-8 (our own fit).
LOG1P_COEFFICIENTS = (
    5.232690691473869e-3,
    -2.9505228896423194e-2,
    7.822594429100288e-2,
    -1.3663246040087978e-1,
    1.9106007425148067e-1,
    -2.4842982585882173e-1,
    3.3319096896873834e-1,
    -4.9999493149263274e-1,
    9.999999698819677e-1,
)
# ln 2 in two parts, the first exact in float32 with trailing zeros (Cody and Waite).
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
# Minimax polynomial of (exp(r) - 1 - r) / r^2 on [-ln2/2, ln2/2] (Cephes, expf).
EXP_COEFFICIENTS = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)


def exp2(x: Any, lanes: int) -> Any:
    """Return float32 2^x for x <= 0, within 3 ulp; 2^-126 below -126.

    Fewer instructions than `exp`: the scan computes it once per state and channel.
    """
    x = T.bind(T.max(x, f32(-126.0, lanes)))
    # The sum has no room for a fraction: its last bits are x rounded to a whole number.
    shifted = T.bind(x + f32(ROUNDING, lanes))
    # Given as bits: TVM simplifies (x + c) - c to x, as if there were no rounding.
    back = T.reinterpret("float32", T.uint32(ROUNDING_BITS))
    r = T.bind(x - (shifted - splat(back, lanes)))
    poly = _polynomial(EXP2_COEFFICIENTS, r, lanes)
    # Unsigned: of a signed number LLVM may assume that no bit is shifted out.
    bits = typed("uint32", lanes)
    exponent = T.reinterpret(bits, shifted) << splat(T.uint32(23), lanes)
    return T.bind(T.reinterpret(typed("float32", lanes), T.reinterpret(bits, poly) + exponent))


def _polynomial(coefficients: Sequence[float], x: Any, lanes: int) -> Any:
    """Return a polynomial whose coefficients are given from the highest power down."""
    total = f32(coefficients[0], lanes)
    for coefficient in coefficients[1:]:
        total = total * x + f32(coefficient, lanes)
    return T.bind(total)


def _power_of_two(power: Any, lanes: int) -> Any:
    """Return 2^power for whole floats -127 (which gives 0) to 127."""
    exponent = T.cast(power, typed("int32", lanes)) + splat(T.int32(127), lanes)
    return T.reinterpret(typed("float32", lanes), exponent << splat(T.int32(23), lanes))


def exp(x: Any, lanes: int) -> Any:
    """Return float32 exp(x) within 2 ulp."""
    x = T.bind(T.max(T.min(x, f32(88.0, lanes)), f32(-87.0, lanes)))
    power = T.bind(T.nearbyint(x * f32(LOG2_E, lanes)))
    r = T.bind(x - power * f32(LN2_HIGH, lanes) - power * f32(LN2_LOW, lanes))
    poly = _polynomial(EXP_COEFFICIENTS, r, lanes)
    mantissa = poly * (r * r) + r + f32(1.0, lanes)
    return T.bind(mantissa * _power_of_two(power, lanes))


def silu(x: Any, lanes: int) -> Any:
    """Return x * sigmoid(x)."""
    x = T.bind(x)
    return x / (f32(1.0, lanes) + exp(f32(0.0, lanes) - x, lanes))


def sigmoid(x: Any, lanes: int) -> Any:
    """Return 1 / (1 + exp(-x))."""
    return f32(1.0, lanes) / (f32(1.0, lanes) + exp(f32(0.0, lanes) - x, lanes))


def softplus(x: Any, lanes: int) -> Any:
    """Return log(1 + exp(x)) as max(x, 0) + log1p(exp(-abs(x)))."""
    x = T.bind(x)
    t = exp(f32(0.0, lanes) - T.max(x, f32(0.0, lanes) - x), lanes)
    return T.max(x, f32(0.0, lanes)) + t * _polynomial(LOG1P_COEFFICIENTS, t, lanes)
