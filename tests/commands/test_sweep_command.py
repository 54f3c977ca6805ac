"""`gpt-jax sweep` ends with the code of what failed, and says what it needs."""

import pathlib

import pytest

from gpt_jax import cli
from gpt_jax.core.errors import DivergedError
from gpt_jax.execution import attempt
from gpt_jax.sweeps import loading
from tests.execution.test_runner import finish
from tests.sweeps import studies

EXPERIMENTS = pathlib.Path(__file__).parents[2] / 'experiments'
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


@pytest.mark.parametrize('jobs', ['0', 'x', '1.5'])
def test_jobs_are_a_whole_number(sweep, jobs, capsys):
  assert sweep(f'--jobs={jobs}') == 2
  assert f'expected a whole number above 0, got {jobs}' in capsys.readouterr().err


def test_a_pattern_that_matches_nothing_is_bad_input(sweep, capsys):
  assert sweep('--only=d') == 2
  assert 'rows: a, b' in capsys.readouterr().err


NOT_SHIPPED = {'peft_methods': 'a BERT and Gemma in models/, and GPT_JAX_DATA'}


@pytest.mark.slow  # 15 s together: some compute entropies or the widths of their points
@pytest.mark.parametrize('path', sorted(EXPERIMENTS.glob('*.py')), ids=lambda p: p.stem)
def test_every_size_of_our_experiments_passes_a_dry_run(path, tmp_path, capsys):
  sizes = list(loading.load(path)[1].sizes)
  assert 'quick' in sizes or path.stem in NOT_SHIPPED
  if path.stem in NOT_SHIPPED and not pathlib.Path('models').is_dir():
    pytest.skip(f'needs {NOT_SHIPPED[path.stem]}')
  for size in sizes:
    flags = [f'--size={size}', f'--workdir={tmp_path}', '--dry_run']
    assert cli.main(['sweep', str(path), *flags]) == 0, capsys.readouterr().err
    assert f'{path.stem} {size}: ' in capsys.readouterr().out
