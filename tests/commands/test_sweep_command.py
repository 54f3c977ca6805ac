"""`gpt-jax sweep` ends with the code of what failed, and says what it needs."""

import pytest

from gpt_jax import cli
from gpt_jax.core.errors import DivergedError
from gpt_jax.execution import attempt
from tests.execution.test_runner import finish
from tests.sweeps import studies

ROWS = dict(rows="{'a': {}, 'b': {'model.num_layers': 2}}")


@pytest.fixture
def sweep(tmp_path, monkeypatch):
  """Returns a function that sweeps a file with flags; trainings are made up."""

  def train(config, workdir, **options):
    if config.model.num_layers == 2:
      raise DivergedError('loss is nan')
    finish(config, workdir)

  monkeypatch.setattr(attempt.loop, 'train', train)
  path = studies.write(tmp_path, **ROWS)
  return lambda *more: cli.main(
    ['sweep', str(path), f'--workdir={tmp_path / "runs"}', *more]
  )


def test_a_failure_is_shown_and_decides_the_exit_code(sweep, capsys):
  assert sweep() == 6
  assert 'failed  b,seed=0' in capsys.readouterr().out
  assert sweep('--only=a') == 0


def test_a_pattern_that_matches_nothing_is_bad_input(sweep, capsys):
  assert sweep('--only=d') == 2
  assert 'rows: a, b' in capsys.readouterr().err
