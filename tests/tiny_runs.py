"""Configs small enough to train in a test, and what a workdir holds afterwards."""

import pathlib
import shutil

import jax
import numpy as np
import pytest

from configs import base
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.program import setup
from gpt_jax.tracking import metrics_file
from gpt_jax.train import hooks, loop
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir

ROOT = pathlib.Path(__file__).parents[1]

MARKOV = {
  'data.source': 'markov',
  'data.generator.num_documents': 256,
  'data.generator.document_len': 64,
}
TINY = MARKOV | {
  'data.seq_len': 16,
  'model.num_layers': 2,
  'model.d_model': 32,
  'model.num_heads': 2,
  'model.position': 'rope',
  'model.norm': 'rmsnorm',
  'model.bias': False,
  'optimizer.learning_rate': 0.01,
  'schedule.name': 'constant',
  'train.batch_size': 8,
  'train.steps': 6,
  'eval.every_steps': 3,
  'checkpoint.every_steps': 3,
  'checkpoint.keep_last': 9,
  'logging.every_steps': 1,
  'logging.tensorboard': False,
  'logging.figures': False,
  'logging.sample_prompts': (),
}
# SGD at rate 1: a parameter moves by its gradient, so equal parameters are equal
# gradients. Adam would blow the rounding of a gradient near zero up to a whole step.
SGD = {
  'optimizer.name': 'sgd',
  'optimizer.momentum': 0.0,
  'optimizer.learning_rate': 1.0,
  'optimizer.clip_norm': 0.0,
  'optimizer.weight_decay': 0.0,
}
# Tracing the scan over layers takes longer than all the rest of a tiny model.
ONE_LAYER = {'model.num_layers': 1, 'model.scan_layers': False}
TEXT = {'data.source': 'text', 'eval.batch_size': 64}


def everything_on(path):
  """Returns overrides for a run on the text file `path` with every feature on."""
  return TEXT | {
    'data.path': str(path),
    'optimizer.ema_decay': 0.5,
    'logging.tensorboard': True,
    'logging.figures': True,
    'logging.every_steps': 2,
    'logging.layer_norms_every_steps': 3,
    'logging.sample_prompts': ('some words',),
    'logging.sample_tokens': 8,
  }


def mostly_slow(cases, *fast):
  """Returns `cases` for parametrize: those that are not `fast` are marked slow."""
  marks = {True: (), False: pytest.mark.slow}
  return [pytest.param(case, marks=marks[case in fast], id=str(case)) for case in cases]


CLOCK_FIELDS = (
  'time', 'train/tokens_per_second', 'train/mfu', 'train/compile_seconds',
  'train/compile_cache_hit',
)  # fmt: skip
"""Metrics in which two equal runs may differ."""


def tiny_config(overrides=None):
  """Returns the Config of a run of six steps, with dotted `overrides`."""
  return setup.resolve(base.get_config(), TINY | (overrides or {}))


def flags(overrides=None):
  """Returns the command line of `tiny_config(overrides)`."""
  values = (TINY | (overrides or {})).items()
  return ['--config=configs/base.py', *(f'--config.{k}={v}' for k, v in values)]


def words(length):
  """Returns `length` characters of made-up English, the same at each call."""
  rng = np.random.default_rng(0)
  letters = np.array(list('abcdefghijklmnopqrstuvwxyz'))
  vocabulary = [''.join(rng.choice(letters, n)) for n in rng.integers(2, 9, 50)]
  text = ' '.join(rng.choice(vocabulary, length // 3))
  return text[:length]


def lines(workdir):
  """Returns the records of metrics.jsonl without what depends on the clock."""
  records = metrics_file.read_lines(Workdir(workdir).metrics)
  return [{k: v for k, v in r.items() if k not in CLOCK_FIELDS} for r in records]


def losses(workdir):
  """Returns `{step: train/loss}`."""
  return {r['step']: r['train/loss'] for r in lines(workdir) if 'train/loss' in r}


def start_steps(workdir):
  """Returns the step that each start of a run began from."""
  return [start['step'] for start in provenance.read_starts(Workdir(workdir))]


def saved_arrays(workdir, step=None):
  """Returns `{name: numpy array}` of all items of the newest (or a given) step."""
  with CheckpointReader(Workdir(workdir).checkpoints) as store:
    step = store.latest_step() if step is None else step
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = {item: store.abstract(step, item, here) for item in store.items(step)}
    return named(store.restore(step, abstract))


def named(tree):
  """Returns `{name: numpy array}` of a tree's leaves."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def assert_same(one, other, **tolerance):
  """Fails naming the first array that differs; without a tolerance, in any bit."""
  assert one.keys() == other.keys()
  for name, values in one.items():
    if tolerance:
      np.testing.assert_allclose(values, other[name], err_msg=name, **tolerance)
    else:
      np.testing.assert_array_equal(values, other[name], err_msg=name)


def copy(run, workdir):
  """Copies the folder of a run, to resume the copy."""
  shutil.copytree(run, workdir)


def after_step(monkeypatch, step, action):
  """Makes later runs call `action(session, progress)` once `step` is done and saved."""
  usual = loop.default_hooks

  def with_action(session, saver):
    def act(session, progress):
      if progress.step == step:
        action(session, progress)

    return [*usual(session, saver), hooks.Every(1, act)]

  monkeypatch.setattr(loop, 'default_hooks', with_action)


class Crash(BaseException):
  """Ends a run as a lost machine would: nothing of the program handles it."""


_PROGRAMS = {}


def open_shared(config, tokenizer, **options):
  """Returns `setup.open_program`, the one of before to a run that asks for the same."""
  key = repr((config, tokenizer.fingerprint, options))
  if key not in _PROGRAMS:
    _PROGRAMS[key] = setup.open_program(config, tokenizer, **options)
  return _PROGRAMS[key]


def train_until_crash(config, workdir, step, **options):
  """Trains in `workdir` and crashes after `step`, with its last checkpoint on disk."""

  def crash(session, progress):
    session.store.wait()
    raise Crash

  with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
    after_step(patch, step, crash)
    loop.train(config, workdir, quiet=True, **options)
