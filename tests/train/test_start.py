"""A start from parameters of another run: taken, reported, or refused by name."""

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.program.init_rules import Take
from gpt_jax.train import loop, start
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

SHORT = {'train.steps': 2, 'checkpoint.every_steps': 1, 'eval.sets': {}}
SHORT |= {'checkpoint.keep_best': 0}


@pytest.fixture(scope='module')
def short_run(tmp_path_factory):
  """Returns the workdir of a run of two steps, both saved. Copy it to write in it."""
  workdir = tmp_path_factory.mktemp('runs') / 'short'
  loop.train(tiny_runs.tiny_config(SHORT), workdir, quiet=True)
  return workdir


def test_init_from_takes_parameters_and_nothing_else(short_run, tmp_path):
  overrides = {
    'init_from': str(short_run),
    'train.steps': 1,
    'optimizer.ema_decay': 0.5,
  }
  config = tiny_runs.tiny_config(overrides | {'optimizer.learning_rate': 1e-30})
  loop.train(config, tmp_path / 'more', quiet=True)
  first, more = (tiny_runs.saved_arrays(w) for w in (short_run, tmp_path / 'more'))
  params = [name for name in first if name.startswith("['params']")]
  assert params
  for name in params:
    tiny_runs.assert_same({'': first[name]}, {'': more[name]}, atol=1e-7)
    average = name.replace("['params']", "['ema']")
    tiny_runs.assert_same({'': first[name]}, {'': more[average]}, atol=1e-7)
  assert more["['train']['step']"] == 1
  assert list(tiny_runs.losses(tmp_path / 'more')) == [1]
  (start,) = provenance.read_starts(Workdir(tmp_path / 'more'))
  assert start['init_from']['step'] == 2 and len(start['init_from']['taken']) == 10
  (source,) = provenance.read_starts(Workdir(short_run))
  assert start['sources'] == {str(short_run): source['time']}


def test_init_from_lists_the_shapes_that_differ(short_run, tmp_path):
  wide = tiny_runs.tiny_config({'init_from': str(short_run), 'model.d_ff': 64})
  with pytest.raises(CheckpointError) as error:
    loop.train(wide, tmp_path, quiet=True)
  shapes = 'saved float32[2, 32, 128], wanted float32[2, 32, 64]'
  assert f'layers/block_0/mlp/up/kernel: {shapes}' in str(error.value)
  assert '--config.init.rules="[{' in str(error.value)


@pytest.mark.slow
def test_init_from_reports_what_its_rules_did(short_run, tmp_path, capsys):
  deeper = {
    'init_from': str(short_run),
    'model.scan_layers': False,
    'model.num_layers': 3,
    'init.rules': ({'fresh': '^layers_2/'}, {'skip': 'final_norm'}, {'fresh': 'final'}),
    'train.steps': 1,
  }
  loop.train(tiny_runs.tiny_config(deeper), tmp_path)
  said = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
  assert ['taken', '17'] in said and ['fresh', '9'] in said and ['skipped', '1'] in said
  (start,) = provenance.read_starts(Workdir(tmp_path))
  assert start['init_from']['skipped'] == ['final_norm/scale']
  # The rules belong to the start: a resume has no use for them.
  loop.train(tiny_runs.tiny_config(deeper | {'init.rules': ()}), tmp_path, quiet=True)


@pytest.mark.parametrize('path', ['no/such/run', '.'])
def test_init_from_a_folder_that_is_no_run_says_so(path, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config = tiny_runs.tiny_config({'init_from': path})
  with pytest.raises(CheckpointError, match=f"init_from='{path}': no checkpoints"):
    loop.train(config, tmp_path / 'run', quiet=True)


def test_init_from_a_damaged_run_takes_its_newest_valid_step(
  short_run, tmp_path, capfd
):
  tiny_runs.copy(short_run, tmp_path / 'run')
  damaged = tmp_path / 'run' / 'checkpoints' / '2'
  (damaged / 'params' / '_METADATA').unlink()
  config = tiny_runs.tiny_config({'init_from': str(tmp_path / 'run'), 'train.steps': 1})
  loop.train(config, tmp_path / 'more', quiet=True)
  assert '2 is damaged' in capfd.readouterr().err
  assert damaged.is_dir()  # only looked at


def pruned(config, source, target):
  """Returns the mapping that keeps the larger half of each kernel."""

  def prune(kernel):
    return jnp.where(jnp.abs(kernel) > jnp.median(jnp.abs(kernel)), kernel, 0)

  return {n: Take((n,), prune) if n.endswith('kernel') else n for n in target}


@pytest.mark.slow
def test_a_pruned_model_stays_pruned_through_a_resume(short_run, tmp_path):
  overrides = SHORT | {
    'init_from': str(short_run),
    'init.transform': f'{__name__}:pruned',
    'optimizer.post_update': 'keep_zeros',
    'optimizer.ema_decay': 0.9,
  }
  for steps in (2, 4):
    config = tiny_runs.tiny_config(overrides | {'train.steps': steps})
    loop.train(config, tmp_path, quiet=True)
  arrays = tiny_runs.saved_arrays(tmp_path, 4)
  kernels = [name for name in arrays if 'kernel' in name and 'opt_state' not in name]
  assert len(kernels) == 2 * 6
  for name in kernels:
    assert np.mean(arrays[name] == 0) == pytest.approx(0.5, abs=0.01), name
  assert (arrays["['params']['embed']['embedding']"] != 0).all()


def test_parameters_of_other_ids_are_refused(short_run):
  config = tiny_runs.tiny_config({'init_from': str(short_run)})
  tokenizer = type('Tokenizer', (), {'fingerprint': 'another one'})
  with pytest.raises(ConfigError, match='trained with another tokenizer'):
    start.check_tokenizer(config, tokenizer)
  new = tiny_runs.tiny_config({'init_from': str(short_run), 'init.tokenizer': 'new'})
  start.check_tokenizer(new, tokenizer)


def test_a_reference_that_has_trained_on_is_named():
  starts = [{'references': {'teacher': 3}}, {'references': {'teacher': 6}}]
  (note,) = start.describe_references({'teacher': 9}, starts)
  assert "'teacher' at its step 9, and read step 6" in note
  for same in ([], [{}], starts):
    assert not start.describe_references({'teacher': 6}, same)
