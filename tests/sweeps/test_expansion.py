"""Points are rows times axes times seeds; needed ones come first."""

import pytest

from gpt_jax.core.errors import ConfigError
from tests.sweeps import studies


def test_points_are_rows_times_axes_times_seeds(tmp_path):
  study = studies.study(
    tmp_path,
    rows="{'a': {}, 'b': {'model.num_layers': 2}}",
    sweep="vary('optimizer.learning_rate', 0.1, 0.2)",
    seeds='(3, 4)',
  )
  assert len(study.points) == 8
  point = study.points[-1]
  assert point.name == 'b,learning_rate=0.2,seed=4'
  assert point.workdir == tmp_path / 'runs' / 'study' / 'quick' / point.name
  assert point.axes == {'optimizer.learning_rate': 0.2, 'seed': 4}
  config = point.config
  assert (config.model.num_layers, config.optimizer.learning_rate) == (2, 0.2)
  assert (config.seed, config.data.seed) == (4, 4)


def test_axes_win_over_rows_and_rows_over_the_experiment(tmp_path):
  study = studies.study(
    tmp_path,
    rows="{'a': {'model.d_model': 8, 'model.num_layers': 3}}",
    sweep="vary('model.num_layers', 4)",
  )
  (point,) = study.points
  assert (point.config.model.d_model, point.config.model.num_layers) == (8, 4)


def test_points_with_the_same_config_are_run_once(tmp_path):
  study = studies.study(
    tmp_path, rows="{'a': {}, 'b': {'model.d_ff': 128}, 'c': {'model.d_ff': None}}"
  )
  assert [point.row for point in study.points] == ['a']
  assert [(point.name, point.workdir.name) for point in study.duplicates] == [
    ('b,seed=0', 'a,seed=0'), ('c,seed=0', 'a,seed=0'),
  ]  # fmt: skip


def test_a_row_that_needs_another_comes_after_it(tmp_path):
  study = studies.study(
    tmp_path,
    rows="{'tuned': {'init_from': FromRow('base')}, 'base': {'train.steps': 6}}",
    seeds='(0, 1)',
  )
  names = [point.name for point in study.points]
  assert names == ['base,seed=0', 'tuned,seed=0', 'base,seed=1', 'tuned,seed=1']
  for point in study.points:
    if point.row == 'tuned':
      (needed,) = point.needs
      assert needed == f'base,seed={point.config.seed}'
      assert point.config.init_from == str(study.folder / needed)


def test_a_row_may_need_the_one_that_runs_for_it(tmp_path):
  study = studies.study(
    tmp_path,
    rows="{'a': {}, 'same': {}, 'b': {'init_from': FromRow('same')}}",
  )
  assert [(p.name, p.needs) for p in study.points][-1] == ('b,seed=0', ('a,seed=0',))


@pytest.mark.parametrize(
  'rows, told',
  [
    ("{'a': {'model.num_layer': 1}}", "did you mean 'num_layers'"),
    ("{'a': {'model.d_model': 33}}", 'num_heads=2'),
    ("{'a': {'init_from': FromRow('aa')}}", "did you mean 'a'"),
    ("{'a': {'init_from': FromRow('a')}}", 'in a circle: a -> a'),
    ("{'a': {'init_from': FromRow('b')}, 'b': {'init_from': FromRow('a')}}", 'circle'),
    ("{'a': {'init_from': 'no/such/run'}}", 'no checkpoints there'),
    ("{'a': {'train.grad_accum': 3}}", 'a divisor of train.batch_size'),
  ],
)
def test_a_point_that_cannot_be_built_is_told_first(tmp_path, rows, told):
  with pytest.raises(ConfigError, match=told) as caught:
    studies.study(tmp_path, rows=rows)
  assert 'study.py:10: ' in str(caught.value)
  assert not (tmp_path / 'runs').exists()


def test_a_needed_point_that_a_size_leaves_out_is_told(tmp_path):
  with pytest.raises(ConfigError, match='add it to only_rows'):
    studies.study(
      tmp_path,
      rows="{'a': {}, 'b': {'init_from': FromRow('a')}}",
      seeds="(0,), only_rows=('b',)",
    )


def test_what_is_wrong_with_all_points_is_told_once(tmp_path):
  with pytest.raises(ConfigError) as caught:
    studies.study(tmp_path, rows="{'a': {'train.batch_size': 0}}", seeds='range(40)')
  text = str(caught.value)
  assert text.count('train.batch_size=0') == 1
  assert '40 of 40 points, such as a,seed=0' in text


def test_a_base_that_is_not_there_is_told(tmp_path):
  path = studies.write(tmp_path)
  path.write_text(path.read_text().replace("base='base'", "base='bose'"))
  with pytest.raises(ConfigError, match="study.py:8: base='bose'.*'base'"):
    studies.points.open_study(path)
