"""IsoFLOP curves on axes."""

import pytest

from gpt_jax.plots import figures, isoflop
from gpt_jax.sweeps import Figure
from tests.analysis.test_isoflop import LAW, results


@pytest.mark.slow
def test_each_budget_has_a_parabola_with_its_minimum(tmp_path):
  found = results(tmp_path)
  axis = figures.draw(Figure('f', 'F', draw=isoflop.draw), found).axes[0]
  stars = [line for line in axis.lines if line.get_marker() == '*']
  assert [line.get_xdata()[0] for line in stars] == [
    pytest.approx(LAW.optimal(budget)[0], rel=0.02) for budget in (3e11, 1e12, 3e12)
  ]
  assert len({line.get_color() for line in axis.lines}) == 3
  assert axis.get_xscale() == 'log'
