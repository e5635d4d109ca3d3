"""The little language of initialisations and clippings."""

import pytest

from gradscope.study.spec.choice import Choice, check_clipping, check_initialisation, parse_choice, parse_choices


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("orthogonal", Choice("orthogonal", None)),
        ("normal(0.001)", Choice("normal", 0.001)),
        ("forget-bias(-1)", Choice("forget-bias", -1.0)),
        ("chrono(1e2)", Choice("chrono", 100.0)),
    ],
)
def test_name_and_number_are_taken_apart(text, expected):
    """A name alone, or with a number of any usual form."""
    assert parse_choice(text) == expected


@pytest.mark.parametrize("text", ["", "Normal", "norm(", "norm()", "norm(x)", "norm(1)(2)", "norm 1", "norm(1) "])
def test_other_forms_are_refused(text):
    """Anything else is an error that shows what was got."""
    with pytest.raises(ValueError, match="expected"):
        parse_choice(text)


@pytest.mark.parametrize("text", ["default", "normal(0.001)", "forget-bias(0)", "chrono", "chrono(100)"])
def test_initialisations_that_exist_pass(text):
    """The text comes back as it was."""
    assert check_initialisation(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ortogonal", r"did you mean orthogonal\? Accepted: default, normal"),
        ("normal", r"expected normal\(number above 0\), got 'normal'; the number is the standard deviation"),
        ("normal(0)", r"expected normal\(number above 0\)"),
        ("default(1)", "expected default, got"),
        ("forget-bias", r"expected forget-bias\(number\)"),
        ("forget-bias(inf)", r"expected forget-bias\(number\)"),
        ("chrono(2)", r"expected chrono\[\(number above 2\)\]"),
    ],
)
def test_initialisations_that_do_not_exist_are_refused(text, words):
    """A wrong name or number: what is accepted, and near names."""
    with pytest.raises(ValueError, match=words):
        check_initialisation(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("norm(1e+3)", [("norm", 1000.0)]),
        ("value(1e+1)+norm(1e-3)", [("value", 10.0), ("norm", 0.001)]),
        ("omega(0.1)+autoclip", [("omega", 0.1), ("autoclip", None)]),
    ],
)
def test_several_clippings_act_one_after_the_other(text, names):
    """A plus stands between them; that of a number is none."""
    assert check_clipping(text) == text
    assert parse_choices(text) == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nrom(1)", "did you mean norm"),
        ("norm", r"expected norm\(number above 0\), got 'norm'"),
        ("value(-1)", r"expected value\(number above 0\)"),
        ("norm(nan)", r"expected norm\(number above 0\)"),
        ("none(1)", "expected none, got"),
    ],
)
def test_clippings_that_do_not_exist_are_refused(text, words):
    """A wrong name or number: what is accepted, and near names."""
    with pytest.raises(ValueError, match=words):
        check_clipping(text)
