"""How far a point is, by its workdir alone."""

import json

import pytest

from gpt_jax.sweeps import states
from gpt_jax.workdir import lock
from gpt_jax.workdir.paths import Workdir
from tests.execution.test_runner import finish
from tests.sweeps import studies


@pytest.fixture
def point(tmp_path):
  (point,) = studies.study(tmp_path).points
  return point


def test_a_run_counts_as_done_with_its_last_save(point):
  assert states.state_of(point).kind == states.MISSING
  finish(point.config, point.workdir)
  workdir = Workdir(point.workdir)
  assert states.state_of(point).kind == states.DONE
  (workdir.checkpoints / '4').rename(workdir.checkpoints / '2')
  assert states.state_of(point).kind == states.STARTED
  (workdir.checkpoints / '2').rename(workdir.checkpoints / '4')
  # eval.json is of whoever evaluated last, at any step.
  for text in (json.dumps({'step': 2}), 'damaged', '[]'):
    workdir.eval.write_text(text)
    assert states.state_of(point).kind == states.DONE
  workdir.eval.unlink()
  assert states.is_done(point)


def test_who_is_at_work_is_named(point):
  point.workdir.mkdir(parents=True)
  with lock.held(point.workdir):
    state = states.state_of(point)
  assert state.kind == states.RUNNING and 'process' in state.why


def test_the_length_of_a_run_may_be_given_in_tokens(tmp_path):
  study = studies.study(
    tmp_path, rows="{'a': {'train.steps': None, 'train.tokens': 300}}"
  )
  (point,) = study.points
  assert states.total_steps(point.config) == 3  # of 8 x 16 tokens
  finish(point.config, point.workdir)
  assert states.is_done(point)


def test_a_run_without_evaluation_is_done_with_its_last_save(tmp_path):
  rows = "{'a': {'eval.sets': {}, 'checkpoint.keep_best': 0}}"
  (point,) = studies.study(tmp_path, rows=rows).points
  finish(point.config, point.workdir)
  Workdir(point.workdir).eval.unlink()
  assert states.is_done(point)


def test_a_run_that_a_hook_has_ended_is_done(point):
  finish(point.config, point.workdir)
  workdir = Workdir(point.workdir)
  (workdir.checkpoints / '4').rename(workdir.checkpoints / '2')
  workdir.eval.write_text(json.dumps({'validation': {'loss': 1.0}, 'step': 2}))
  for events, is_done in (
    ([], False),
    ([{'kind': 'stopped', 'step': 2}], True),
    ([{'kind': 'stopped', 'step': 1}], False),
  ):
    workdir.run.write_text(json.dumps({'starts': [], 'events': events}))
    assert states.is_done(point) == is_done


@pytest.mark.parametrize(
  'field, saved, now, is_changed',
  [
    ('eval.every_steps', 2, 3, True),
    ('logging.every_steps', 1, 2, False),
    ('logging.statistics', (), ('log_z',), True),
    ('logging.statistics', ('log_z', 'residual_rms'), ('log_z',), False),
    ('logging.statistics_every_steps', 1, 2, False),  # of nothing
    ('logging.layer_norms_every_steps', 0, 2, True),
    ('logging.layer_norms_every_steps', 2, 0, False),
    ('eval.batch_size', 4, 8, True),  # of eval.max_batches: twice the text
  ],
)
def test_scores_at_other_steps_are_a_change(tmp_path, field, saved, now, is_changed):
  (old,) = studies.study(tmp_path, rows=f"{{'a': {{'{field}': {saved}}}}}").points
  finish(old.config, old.workdir)
  (new,) = studies.study(tmp_path, rows=f"{{'a': {{'{field}': {now}}}}}").points
  assert states.is_done(new) != is_changed
  assert [one[0] for one in states.state_of(new).changes] == [field] * is_changed


def test_statistics_of_other_steps_are_a_change(tmp_path):
  of = "{{'a': {{'logging.statistics': ('log_z',), {}: {}}}}}".format
  rows = [of("'logging.statistics_every_steps'", number) for number in (2, 4)]
  old, new = (studies.study(tmp_path, rows=one).points[0] for one in rows)
  finish(old.config, old.workdir)
  assert states.is_done(old) and not states.is_done(new)


def test_the_rows_of_the_vocabulary_are_no_change(point):
  finish(point.config, point.workdir)
  workdir = Workdir(point.workdir)
  saved = json.loads(workdir.config.read_text())
  saved['model']['vocab_size'] = 17  # filled in by the run
  workdir.write_config(saved)
  assert states.is_done(point)
  saved['model']['d_model'] = 8
  assert states.changed_fields(point, saved) == [('model.d_model', 8, 32)]
