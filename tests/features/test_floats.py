"""Numbers that floats cannot tell apart, less an offset."""

import json
from decimal import Decimal, localcontext

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model.errors import ModelFileError
from vae_model.features.feature import Chosen, Expectation
from vae_model.features.floats import as_float64, offset_of
from vae_model.features.spec import FeatureSpec

NEAR = {
    "int64 near its end": (2**63 - 1000, pa.int64()),
    "int64 near its other end": (-(2**63), pa.int64()),
    "uint64 beyond int64": (2**64 - 1000, pa.uint64()),
    "decimal near 1e30": (Decimal(10**30), pa.decimal128(38, 2)),
    "decimal of 38 digits": (-Decimal(10**37), pa.decimal128(38, 0)),
    "decimal of 70 digits": (Decimal(10**69), pa.decimal256(75, 3)),
    "decimal with 20 digits after the point": (Decimal(123456789), pa.decimal128(38, 20)),
}


def column(case, steps):
    """Whole steps of 1 above a number; of a step of the last digits where it has many."""
    start, type_ = NEAR[case]
    if not pa.types.is_decimal(type_):
        return pa.array([None if step is None else start + step for step in steps], type_)
    with localcontext(prec=100):
        unit = Decimal(1) if type_.scale < 20 else Decimal("1E-12")
        values = [None if step is None else start + step * unit for step in steps]
    return pa.array(values, type_)


def spec_of(array, one):
    """A spec of one column of numbers."""
    return FeatureSpec.fit(pa.table({"x": array}), {"x": Chosen("numeric", one)})


def family(array):
    """Integer or decimal."""
    return "decimal" if pa.types.is_decimal(array.type) else "integer"


@pytest.mark.parametrize("case", NEAR)
def test_numbers_that_floats_cannot_tell_apart_are_standardised_by_what_differs(case):
    """Neighbours near the end of their type are encoded as if they stood near 0, gaps and slices included."""
    steps = np.random.default_rng(0).integers(0, 900, 500)
    plain = spec_of(pa.array(steps), "integer")
    array = column(case, steps.tolist())
    spec = spec_of(array, family(array))
    expected = plain.encode([pa.array(steps)]).x_NF
    np.testing.assert_allclose(spec.encode([array]).x_NF, expected, atol=1e-5)
    np.testing.assert_allclose(spec.encode([array.slice(100, 50)]).x_NF, expected[100:150], atol=1e-5)
    gap = spec.encode([column(case, [3, None])])
    assert np.isnan(gap.x_NF[1, 0]) and gap.missing_N.tolist() == [0, 1]


@pytest.mark.parametrize("case", NEAR)
def test_a_constant_beyond_the_floats_is_told_from_its_neighbour(case):
    """A constant is compared to the last digit, however many it has."""
    array = column(case, [5] * 30)
    spec = FeatureSpec.fit(
        pa.table({"x": array, "y": range(30)}),
        {"x": Chosen("numeric", family(array)), "y": Chosen("numeric", "integer")},
    )
    found = spec.encode([column(case, [5, 6, 4]), pa.array([0, 0, 0])]).x_NF[:, 0]
    assert found.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "array",
    [
        pa.array(range(-50, 50)),
        pa.array([2**53, 2**53 - 1, 0]),
        pa.array(np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 500)),
        pa.array(1_700_000_000_000_000_000 + np.random.default_rng(0).integers(0, 10**15, 500)),
        pa.array([Decimal("1.25"), Decimal("99999.75"), None], pa.decimal128(38, 20)),
        pa.array([None, None], pa.int64()),
        pa.array([1e300, 1e300 + 1e285]),
        pa.array([True, False]),
    ],
    ids=["small", "exact", "spread", "moments", "decimal", "nulls", "float", "boolean"],
)
def test_numbers_that_floats_tell_apart_have_no_offset(array):
    """Where floats do, a column costs nothing more, and its model is what it was."""
    assert offset_of(array) is None


OFFSET = 2**62 + 1


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([-(2**63), 2**63 - 1, 2**62]), [-(2**63) - OFFSET, 2**63 - 1 - OFFSET, -1]),
        (pa.array([2**64 - 1, 0], pa.uint64()), [2**64 - 1 - OFFSET, -OFFSET]),
        (pa.array([3, None], pa.int8()), [3 - OFFSET, np.nan]),
        (pa.array([2.0**62, 1e300, np.inf, None]), [0, 1e300, np.inf, np.nan]),
        (pa.array([2.0**62 + 1024]), [1023]),
        (pa.array([True, False]), [1 - OFFSET, -OFFSET]),
        (pa.array([Decimal(OFFSET) + Decimal("0.5")], pa.decimal128(38, 1)), [0.5]),
        (pa.array([Decimal(10**75)], pa.decimal256(76, 0)), [1e75]),
    ],
    ids=["int64", "uint64", "int8", "float", "float beside", "boolean", "decimal", "decimal of 76 digits"],
)  # fmt: skip
def test_a_column_of_any_type_of_number_can_be_taken_off_an_offset(array, expected):
    """Integers, decimals, floats and booleans are interchangeable; nothing overflows, and what is exact stays so."""
    np.testing.assert_array_equal(as_float64(array, Decimal(OFFSET)), np.array(expected, float))


@settings(max_examples=100)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30), st.integers(-(2**63), 2**64 - 1))
def test_a_difference_is_rounded_once(values, offset):
    """The difference of whole numbers is the float nearest to the exact one."""
    found = as_float64(pa.array(values, pa.int64()), Decimal(offset))
    assert found.tolist() == [float(value - offset) for value in values]


@settings(max_examples=100)
@given(
    st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=30).map(lambda v: pa.array(v, pa.int64())),
        st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**30), max_value=10**30),
                 min_size=2, max_size=30).map(lambda v: pa.array(v, pa.decimal128(38, 3))),
    )
)  # fmt: skip
def test_whole_numbers_and_decimals_are_constant_only_where_they_are(array):
    """Any whole numbers or decimals that differ have a scale above 0."""
    table = pa.table({"x": array, "y": range(len(array))})
    spec = FeatureSpec.fit(table, {"x": Chosen("numeric", family(array)), "y": Chosen("numeric", "integer")})
    assert (spec.features[0].scale[0] > 0) == (len(set(array.to_pylist())) > 1)
    assert np.isfinite(spec.encode_table(table).x_NF).all()


def test_arrays_have_an_offset_for_each_element():
    """Of arrays, elements that floats cannot tell apart are taken off an offset, and the others are as they were."""
    steps = np.random.default_rng(0).integers(0, 900, (300, 2))
    rows = [[2**62 + int(a), int(b)] for a, b in steps]
    array = pa.array([None, *rows])
    spec = FeatureSpec.fit(pa.table({"v": array}), {"v": Chosen("vector", "array")})
    plain = FeatureSpec.fit(pa.table({"v": pa.array(steps.tolist())}), {"v": Chosen("vector", "array")})
    assert spec.features[0].offset[1] == "0"
    found = spec.encode([array]).x_NF
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1:], plain.encode([pa.array(steps.tolist())]).x_NF, atol=1e-5)
    usual_U = np.array([5.4, 7.0])
    words = spec.kinds[0].words(
        spec.features[0], array[1], Expectation(usual_U, usual_U, usual_U, np.array([2.0, 1.0]))
    )
    assert words[0] == f"[0]: {rows[0][0]}"
    assert words[1].startswith("[0]: 4611686018427")


@pytest.mark.parametrize("case", NEAR)
def test_an_offset_is_the_same_once_a_model_is_loaded(case):
    """What was fitted is read again from a model file, to the last digit."""
    spec = spec_of(column(case, range(100)), family(column(case, [1])))
    assert spec.features[0].offset
    assert FeatureSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize("offset", ["5", [], [5], ["NaN"], ["1e5"], ["9" * 77], ["1E+99"], ["1E-77"], ["1", "2"]])
def test_an_offset_that_is_none_is_refused(offset):
    """A forged offset is no number of Arrow's, or not one for each unit."""
    values = spec_of(column("uint64 beyond int64", range(100)), "integer").to_json()
    values["features"][0]["offset"] = offset
    with pytest.raises(ModelFileError, match="offset"):
        FeatureSpec.from_json(values)
