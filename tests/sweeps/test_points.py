"""The points of a file, and those that --only chooses."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.sweeps import points
from tests.sweeps import studies


def rows_of(chosen):
  return [point.row for point in chosen]


def test_only_chooses_by_name_or_pattern_with_what_is_needed(tmp_path):
  study = studies.study(
    tmp_path,
    rows="{'a1': {}, 'a2': {'model.num_layers': 2}, 'b': {'init_from': FromRow('a1')}}",
  )
  assert points.select(study, []) == study.points
  assert rows_of(points.select(study, ['a2'])) == ['a2']
  assert rows_of(points.select(study, ['a*'])) == ['a1', 'a2']
  assert rows_of(points.select(study, ['b'])) == ['a1', 'b']
  assert rows_of(points.select(study, ['a2,seed=0', 'a1'])) == ['a1', 'a2']
  with pytest.raises(ConfigError, match="--only=a3.*did you mean 'a"):
    points.select(study, ['a3'])


def test_a_size_that_is_not_there_is_told(tmp_path):
  with pytest.raises(ConfigError, match="--size='papr': expected one of quick"):
    points.open_study(studies.write(tmp_path), 'papr')


def test_a_sweep_writes_no_samples_and_figures_unless_it_says_so(tmp_path):
  path = studies.write(tmp_path)
  path.write_text(studies.FILE.format(
    overrides="{'logging.tensorboard': True}", rows="{'a': {}}", seeds='(0,)',
    sweep='({},)', more='',
  ))  # fmt: skip
  (point,) = points.open_study(path).points
  logging = point.config.logging
  assert logging.tensorboard and not logging.figures and not logging.sample_prompts


def test_a_claim_a_figure_and_a_column_may_be_of_one_size(tmp_path):
  path = studies.write(
    tmp_path,
    more="""
    columns={'loss': 'validation/loss'},
    claims=(
      Claim('all', 'a', 's', 'exact', 'C', 'mean', len),
      Claim('large', 'b', 's', 'exact', 'C', 'mean', len, sizes=('paper',)),
    ),
    figures=(Figure('small', 'c', sizes=('quick',)), Figure('all', 'd')),""",
  )
  paper = "'paper': Size('a pod', minutes=1, columns={'icl': 'validation/icl_score'}),"
  path.write_text(path.read_text().replace('sizes={', f'sizes={{{paper}'))

  def names_at(size):
    told = points.open_study(path, size).experiment
    return [one.name for one in (*told.claims, *told.figures)], list(told.columns)

  assert names_at('quick') == (['all', 'small', 'all'], ['loss'])
  assert names_at('paper') == (['all', 'large', 'all'], ['loss', 'icl'])
