"""The master of the price search: whole choices keep the hard rules as they stand."""

import numpy as np
import pytest

from optimizers.prices.kernels import RowArrays
from optimizers.prices.master import Columns, Master, keeps

HARD = 1000.0


def one_row(penalty: float) -> RowArrays:
    """A rule between groups whose activity stays within -1 … 1."""
    nothing = np.empty(0)
    sides = (np.array([-1.0]), np.array([1.0]))
    return RowArrays(nothing, nothing, nothing, *sides, np.array([penalty]), np.zeros(1))


def two_groups(penalty: float) -> tuple[Master, Columns]:
    """The dearest two columns leave the rule by a millionth, which the fine makes 0.001 of money dear."""
    columns = Columns(
        np.array([0, 1, 0, 1]),
        np.array([100.0, 100.0, 99.5, 99.9]),
        np.array([[0.5 + 1e-6], [0.5], [0.2], [0.4]]),
    )
    master = Master(one_row(penalty), Columns(columns.group[:2], columns.value[:2], columns.activity[:2]), HARD)
    master.add(Columns(columns.group[2:], columns.value[2:], columns.activity[2:]))
    return master, columns


@pytest.mark.parametrize("road", ["round", "decide"])
def test_no_choice_buys_itself_out_of_a_hard_rule(road: str) -> None:
    master, columns = two_groups(np.inf)
    mixture = master.relax(10.0)
    assert mixture is not None
    found = getattr(master, road)(mixture, least=0.0, gap=1e-6, seconds=10.0)
    chosen = found if road == "round" else found[0]
    assert keeps(master.rows, columns.activity[chosen].sum(axis=0))
    assert columns.value[chosen].sum() == pytest.approx(199.9)


def test_a_soft_rule_may_be_left_for_its_fine() -> None:
    master, columns = two_groups(HARD)
    mixture = master.relax(10.0)
    assert mixture is not None
    chosen = master.round(mixture, least=0.0, gap=1e-6, seconds=10.0)
    assert chosen is not None
    assert columns.value[chosen].sum() == pytest.approx(200.0)


def test_where_no_columns_keep_a_hard_rule_the_nearest_are_told() -> None:
    start = Columns(np.array([0, 1]), np.array([100.0, 100.0]), np.array([[0.8], [0.7]]))
    master = Master(one_row(np.inf), start, HARD)
    mixture = master.relax(10.0)
    assert mixture is not None
    chosen = master.round(mixture, least=-1e9, gap=1e-6, seconds=10.0)
    assert chosen is not None and chosen.tolist() == [0, 1]
