"""Records reach all writers as plain numbers, and only from the first process."""

import dataclasses
import json
import sys
import types

import jax
import jax.numpy as jnp
import pytest
from tensorboardX.proto import event_pb2

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.tracking import metrics_file
from gpt_jax.tracking import writers as tracking


@pytest.fixture(scope='module')
def logging():
  return load.resolve(base.get_config()).logging


class ListWriter:
  def __init__(self):
    self.records, self.is_closed = [], False

  def write(self, step, values, *, tokens, time):
    self.records.append((step, values, tokens, time))

  def close(self):
    self.is_closed = True


def scalars(folder):
  """Returns [(step, name, value)] of all TensorBoard events in `folder`."""
  found = []
  for path in sorted(folder.iterdir()):
    data = path.read_bytes()
    while data:
      # A record: length (8 bytes), its checksum (4), the event, its checksum (4).
      length = int.from_bytes(data[:8], 'little')
      event = event_pb2.Event.FromString(data[12 : 12 + length])
      found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
      data = data[16 + length :]
  return found


def test_all_writers_get_the_same_plain_numbers_and_are_closed():
  writers = [ListWriter(), ListWriter()]
  with tracking.Tracker(writers, clock=lambda: 7.0) as tracker:
    tracker.write(jnp.int32(3), {'train/loss': jnp.float32(0.5)}, tokens=12)
  for writer in writers:
    assert writer.records == [(3, {'train/loss': 0.5}, 12, 7.0)]
    assert type(writer.records[0][1]['train/loss']) is float
    assert writer.is_closed


def test_the_config_decides_which_files_are_written(tmp_path, logging):
  quiet = dataclasses.replace(logging, tensorboard=False)
  for name, section in (('both', logging), ('one', quiet)):
    with tracking.open_tracker(section, tmp_path / name) as tracker:
      tracker.write(1, {'train/loss': 2.0}, tokens=4)
  assert sorted(p.name for p in (tmp_path / 'both').iterdir()) == [
    'metrics.jsonl',
    'tensorboard',
  ]
  assert [p.name for p in (tmp_path / 'one').iterdir()] == ['metrics.jsonl']


def test_tensorboard_holds_the_scalars_under_the_same_names(tmp_path, logging):
  with tracking.open_tracker(logging, tmp_path) as tracker:
    tracker.write(5, {'validation/loss': 1.25}, tokens=64)
  assert scalars(tmp_path / 'tensorboard') == [
    (5, 'validation/loss', 1.25),
    (5, 'tokens', 64.0),
  ]


def test_a_resumed_run_appends_after_the_restored_step(tmp_path, logging):
  for restored_step, steps in ((0, [1, 2, 3]), (2, [3, 4])):
    tracker = tracking.open_tracker(logging, tmp_path, restored_step=restored_step)
    for step in steps:
      tracker.write(step, {'train/loss': 1.0}, tokens=step)
    tracker.close()
  lines = metrics_file.read_lines(tmp_path / 'metrics.jsonl')
  assert [line['step'] for line in lines] == [1, 2, 3, 4]


def test_other_processes_write_nothing(tmp_path, logging, monkeypatch):
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  with tracking.open_tracker(logging, tmp_path / 'run') as tracker:
    tracker.write(1, {'train/loss': 2.0}, tokens=4)
  assert not (tmp_path / 'run').exists()


@pytest.fixture
def fake_wandb(monkeypatch):
  """Puts a module in W&B's place that keeps what it is given."""
  runs = []

  def init(**settings):
    run = types.SimpleNamespace(settings=settings, logged=[], finished=False)
    run.log = run.logged.append
    run.finish = lambda: setattr(run, 'finished', True)
    runs.append(run)
    return run

  monkeypatch.setitem(sys.modules, 'wandb', types.SimpleNamespace(init=init))
  return runs


def test_wandb_gets_every_record_and_a_resumed_run_keeps_its_id(
  tmp_path, logging, fake_wandb
):
  section = dataclasses.replace(logging, wandb_project='study')
  for restored_step in (0, 1):
    with tracking.open_tracker(
      section, tmp_path, restored_step=restored_step, run_config={'seed': 0}
    ) as tracker:
      tracker.write(restored_step + 1, {'train/loss': 2.0}, tokens=4)
  first, second = fake_wandb
  assert first.logged == [{'train/loss': 2.0, 'step': 1, 'tokens': 4}]
  assert second.logged == [{'train/loss': 2.0, 'step': 2, 'tokens': 4}]
  assert first.settings['project'] == 'study'
  assert first.settings['config'] == {'seed': 0}
  assert first.settings['id'] == second.settings['id'] != ''
  assert first.finished and second.finished


def test_missing_wandb_names_the_extra_and_the_knob(tmp_path, logging, monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  section = dataclasses.replace(logging, wandb_project='study')
  with pytest.raises(ConfigError, match=r"wandb_project='study'.*gpt_jax\[wandb\]"):
    tracking.open_tracker(section, tmp_path)


@pytest.mark.extra
def test_wandb_works_offline(tmp_path, logging, monkeypatch):
  pytest.importorskip('wandb', reason="needs the package 'wandb': gpt_jax[wandb]")
  monkeypatch.setenv('WANDB_MODE', 'offline')
  monkeypatch.setenv('WANDB_SILENT', 'true')
  section = dataclasses.replace(logging, wandb_project='study')
  with tracking.open_tracker(section, tmp_path, run_config={'seed': 0}) as tracker:
    tracker.write(1, {'train/loss': 2.0}, tokens=4)
  assert list((tmp_path / 'wandb').glob('offline-run-*/*.wandb'))
  assert json.loads((tmp_path / 'metrics.jsonl').read_text())['train/loss'] == 2.0
