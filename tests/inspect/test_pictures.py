"""Pictures are well-formed SVG with every value in its place."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from tvm_c4n.inspect.pictures import (
    HEIGHT,
    WIDTH,
    Axis,
    Cell,
    Series,
    chart,
    heat_map,
    number_text,
)


def parsed(text: str) -> ElementTree.Element:
    """Parse what is a piece of a page."""
    return ElementTree.fromstring(f"<page>{text}</page>")


def test_a_heat_map_has_a_cell_for_each_value_and_gaps_for_the_others() -> None:
    cells = {("in_proj", 0): Cell(2, "2", "i4", "first"), ("<b>", 2): Cell(0, "0", "f16", "&")}
    drawn = heat_map(["in_proj", "<b>"], 3, cells)
    found = parsed(drawn)
    assert [g.get("class") for g in found.iter("g")] == ["n2", "n0"]
    assert [title.text for title in found.iter("title")] == ["first", "&"]
    names = [text.text for text in found.iter("text") if text.get("class") == "end"]
    assert names == ["in_proj", "<b>"]


@pytest.mark.parametrize(
    ("x", "y"), [(Axis("x"), Axis("y")), (Axis("x", log=True), Axis("y", log=True))]
)
def test_points_lie_within_the_axes_in_their_order(x: Axis, y: Axis) -> None:
    points = [(1.0, 2.0), (10.0, 3.0), (900.0, 0.5)]
    found = parsed(chart([Series("a<b", points), Series("one", [(5.0, 1.0)], line=False)], x, y))
    circles = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in found.iter("circle")]
    assert len(circles) == 4
    assert all(0 < cx <= WIDTH and 0 < cy < HEIGHT for cx, cy in circles)
    across, up = [c[0] for c in circles[:3]], [c[1] for c in circles[:3]]
    assert across == sorted(across)
    assert up[2] > up[0] > up[1]  # a larger value is further up
    assert len(list(found.iter("polyline"))) == 1
    assert [item.text for item in found.iter("li")] == ["a<b", "one"]


@pytest.mark.parametrize("values", [(0.0, 0.0), (5.0, 5.0), (0.0, 1e18), (-3.0, 0.001)])
def test_any_span_has_few_round_ticks(values: tuple[float, float]) -> None:
    drawn = chart([Series("s", [(values[0], 1.0), (values[1], 1.0)])], Axis("x"), Axis("y"))
    assert "nan" not in drawn
    assert 1 <= len(re.findall(r'y="242" class="mid"', drawn)) <= 12


@pytest.mark.parametrize("values", [(1e-5, 1e300), (1.0, 1.0), (3.0, 7.0), (1e-5, 0.05)])
def test_a_logarithmic_axis_has_few_ticks_as_well(values: tuple[float, float]) -> None:
    drawn = chart([Series("s", [(v, v) for v in values])], Axis("x", log=True), Axis("y", log=True))
    assert 1 <= len(re.findall(r'y="242" class="mid"', drawn)) <= 12


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (12345.0, "12345"), (0.05331, "0.0533"), (1e-5, "1e-05"), (3.1e9, "3.1e+09")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number_text(value) == text


def test_layers_have_whole_ticks() -> None:
    two = [Series("s", [(0.0, 1.0), (1.0, 2.0)])]
    ticks = re.findall(r'y="242" class="mid">([^<]*)', chart(two, Axis("x", whole=True), Axis("y")))
    assert ticks == ["0", "1"]
