from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import charts

numbers = st.floats(-1e9, 1e9)


def parsed(svg):
    return ElementTree.fromstring(svg)


@settings(deadline=None, max_examples=60)
@given(numbers, numbers)
def test_ticks_lie_within_the_range_and_are_few(one, other):
    low, high = sorted([one, other])
    marks = charts.ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), 1)
    assert 1 <= len(marks) <= 12
    assert all(low - slack <= mark <= high + slack for mark in marks)


@settings(deadline=None, max_examples=30)
@given(st.lists(numbers, min_size=1, max_size=20))
def test_every_chart_is_well_formed_whatever_the_numbers(values):
    x = [float(i) for i in range(len(values))]
    parsed(charts.line_chart([charts.Line(x, values, "a & b <c>", low=values, high=values)], "d", points=True))
    parsed(charts.histogram(values, "d", low=-1, high=1, marks=[charts.Mark(0, "<0>")]))
    parsed(charts.interval_chart([charts.Interval("名<b", v, v - 1, v + 1) for v in values], 'a "quoted" name'))


def test_a_higher_value_is_drawn_higher():
    frame = charts.Frame(0, 10, 0, 10)
    assert frame.py(9) < frame.py(1)
    assert frame.px(9) > frame.px(1)


def test_a_histogram_counts_every_value():
    drawn = charts.histogram([-99.0, 0.5, 0.6, 99.0], "d", low=0.0, high=1.0, bins=2)
    told = [title.text for title in parsed(drawn).iter() if title.tag.endswith("title")]
    assert [int(text.rsplit(": ", 1)[1]) for text in told] == [1, 3]


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0]])
def test_constant_curves_have_an_axis(values):
    drawn = charts.line_chart([charts.Line([float(i) for i in range(len(values))], values)], "d")
    assert "nan" not in drawn


def test_words_of_marks_that_stand_close_do_not_run_into_each_other():
    line = charts.Line([0.0, 10.0], [0.0, 1.0])

    def heights(second):
        marks = [charts.Mark(0.0, "as estimated"), charts.Mark(second, "promise void")]
        texts = parsed(charts.line_chart([line], "gain", marks=marks)).iter("text")
        return {text.get("y") for text in texts if text.text in ("as estimated", "promise void")}

    assert len(heights(0.5)) == 2
    assert len(heights(9.0)) == 1


def texts(drawn, name):
    return [one for one in parsed(drawn).iter() if one.tag.endswith("text") and one.text == name]


@pytest.mark.parametrize("at", [0.0, 0.5, 10.0])
def test_the_word_over_a_mark_stays_beside_the_axis_and_on_the_picture(at):
    word = "promised price"
    line = charts.Line([0.0, 10.0], [100.0, 200.0])
    (label,) = texts(charts.line_chart([line], "d", marks=[charts.Mark(at, word)]), word)
    half = 5.6 * len(word) / 2
    assert float(label.get("x")) - half + 1e-6 >= charts.LEFT
    assert float(label.get("x")) + half <= charts.WIDTH + 1e-6


def test_lines_are_told_apart_without_colour_and_their_names_fit():
    names = [f"a rather long name of product {i}" for i in range(5)]
    lines = [
        charts.Line([0.0, 1.0], [i, i + 1.0], name, "mute", dash=dash)
        for i, (name, dash) in enumerate(zip(names, charts.DASHES, strict=True))
    ]
    drawn = charts.line_chart(lines, "d", y_name="price")
    strokes = {one.get("stroke-dasharray") for one in parsed(drawn).iter() if one.tag.endswith("path")}
    assert strokes == set(charts.DASHES)
    ends = [one for one in parsed(drawn).iter() if one.tag.endswith("text") and (one.text or "").startswith("a r")]
    assert len(ends) == 5
    assert min(float(one.get("x")) for one in ends) > 5.6 * len("price")
