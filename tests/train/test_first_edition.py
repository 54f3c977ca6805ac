"""A run that commit 602ca07 has saved is resumed, scored and loaded as one of ours.

first_edition.zip is the workdir of four steps by that commit: mixture, local and global
layers, EMA, spike window, every field that was renamed since. first_edition.json has
the SHA-256 of each array as that commit restored it, and where it was made: jax and the
instructions of its CPU, under the XLA flags of conftest.py. Host, system and folder
were taken out of run.json.
"""

import hashlib
import json
import pathlib
import zipfile

import jax
import jax.numpy as jnp
import pytest

import gpt_jax
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.optimizers import schedules
from gpt_jax.program import setup
from gpt_jax.train import loop
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

SAVED = pathlib.Path(__file__).with_name('first_edition.zip')
RECORD = json.loads(SAVED.with_suffix('.json').read_text())
STEPS = 8
# Adam divides by the gradient's own size: where that is near zero, another rounding
# moves a weight by up to the learning rate, 0.01 here.
ELSEWHERE = dict(rtol=0.01, atol=0.05)


def is_where_it_was_made():
  """Returns whether this jax, on this CPU, computes what made the run, bit for bit."""
  info = pathlib.Path('/proc/cpuinfo')
  lines = info.read_text().splitlines() if info.exists() else []
  flags = next((line for line in lines if line.startswith('flags')), '') + '\n'
  cpu = hashlib.sha256(flags.encode()).hexdigest()[:16]
  here = dict(jax=jax.__version__, cpu=cpu)
  return jax.default_backend() == 'cpu' and here.items() <= RECORD.items()


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """Returns the workdir as it was saved; read it only."""
  folder = tmp_path_factory.mktemp('first_edition')
  with zipfile.ZipFile(SAVED) as archive:
    archive.extractall(folder)
  return folder


@pytest.fixture(scope='module')
def runs(saved, tmp_path_factory):
  """Returns (workdir resumed from step 4, workdir of all eight steps in one go)."""
  resumed, whole = (tmp_path_factory.mktemp('runs') / name for name in ('old', 'new'))
  tiny_runs.copy(saved, resumed)
  values = Workdir(resumed).read_config()
  config = setup.resolve(values, {'train.steps': STEPS})
  loop.train(config, resumed, quiet=True)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(schedules, 'make_schedule', its_schedule)
    loop.train(config, whole, quiet=True)
  return resumed, whole


def its_schedule(cfg, horizon, peak):
  """Returns the first edition's rates, whose warm-up in steps began with 0."""
  decay = schedules.cosine(cfg, float(cfg.warmup_steps), float(cfg.decay_steps))

  def learning_rate(step):
    steps = jnp.asarray(step, jnp.int32).astype(jnp.float32)
    warm = steps / float(cfg.warmup_steps)
    fraction = decay(jnp.maximum(steps - float(cfg.warmup_steps), 0.0))
    return jnp.asarray(peak * jnp.where(warm < 1, warm, fraction), jnp.float32)

  return learning_rate


def test_its_arrays_are_restored_bit_for_bit(saved):
  arrays = tiny_runs.saved_arrays(saved, RECORD['step'])
  digests = {n: hashlib.sha256(a.tobytes()).hexdigest() for n, a in arrays.items()}
  assert digests == RECORD['arrays']


@pytest.mark.slow
def test_it_resumes_to_the_arrays_of_an_uninterrupted_run(runs):
  resumed, whole = (tiny_runs.saved_arrays(run, STEPS) for run in runs)
  tiny_runs.assert_same(resumed, whole, **{} if is_where_it_was_made() else ELSEWHERE)


@pytest.mark.slow
def test_its_losses_are_those_of_an_uninterrupted_run(runs):
  resumed, whole = (tiny_runs.losses(run) for run in runs)
  assert list(resumed) == list(range(1, STEPS + 1))
  assert resumed == (whole if is_where_it_was_made() else pytest.approx(whole, 1e-3))


@pytest.mark.slow
def test_it_resumes_at_the_same_place_in_the_data(runs):
  metas = []
  for run in runs:
    with CheckpointReader(Workdir(run).checkpoints) as store:
      metas.append(store.read_meta(STEPS))
  for part in ('next_sample', 'tokens', 'fingerprints', 'detours', 'tally', 'config'):
    assert metas[0][part] == metas[1][part], part


@pytest.mark.slow
def test_its_config_is_saved_under_todays_names(runs):
  resumed, whole = (json.loads(Workdir(run).config.read_text()) for run in runs)
  assert resumed == whole
  assert resumed['optimizer']['decay_mask'] == 'kernel'
  assert resumed['model']['layer_pattern'] == ['local:4', 'global']


def test_it_is_loaded_without_being_resumed(saved):
  run = gpt_jax.load(saved)
  assert run.step == RECORD['step']
  assert run.logits(run.tokenizer.encode('1 2')[None]).shape[-1] == 16
