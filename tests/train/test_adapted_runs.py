"""Runs that train an adapter: what they save, how they resume, what takes them."""

import json

import jax
import numpy as np
import pytest

import gpt_jax
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.program import adapted_checkpoints, restore, setup
from gpt_jax.program.base import Base
from gpt_jax.train import loop, score_run, start
from tests import tiny_runs

LORA = {
  'peft.name': 'lora', 'peft.options.rank': 2, 'peft.options.targets': 'query|up',
  'optimizer.learning_rate': 0.05,
}  # fmt: skip


def config_of(base, overrides=None):
  fields = {'init_from': str(base)} | LORA | (overrides or {})
  return tiny_runs.tiny_config(fields)


def train(config, workdir):
  loop.train(config, workdir, quiet=True, open_program=tiny_runs.open_shared)
  return workdir


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  """Returns the folder of a run of the plain model."""
  workdir = tmp_path_factory.mktemp('base') / 'run'
  return train(tiny_runs.tiny_config(), workdir)


@pytest.fixture(scope='module')
def adapted(base, tmp_path_factory):
  """Returns the folder of a run with LoRA over `base`."""
  return train(config_of(base), tmp_path_factory.mktemp('lora') / 'run')


def test_checkpoints_hold_what_trains(adapted):
  names = tiny_runs.saved_arrays(adapted)
  params = [name for name in names if name.startswith("['params']")]
  assert len(params) == 4
  assert all('lora_' in name for name in params)
  assert not any('kernel' in name or 'embedding' in name for name in names)


def test_resuming_is_bit_equal(base, adapted, tmp_path):
  config, workdir = config_of(base), tmp_path / 'run'
  tiny_runs.train_until_crash(config, workdir, 3, open_program=tiny_runs.open_shared)
  train(config, workdir)
  assert tiny_runs.start_steps(workdir) == [0, 3]
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(workdir), tiny_runs.saved_arrays(adapted)
  )
  assert tiny_runs.losses(workdir) == tiny_runs.losses(adapted)


@pytest.mark.slow
def test_an_average_is_of_what_trains(base, tmp_path):
  config = config_of(base, {'optimizer.ema_decay': 0.5})
  whole = train(config, tmp_path / 'whole')
  averages = [name for name in tiny_runs.saved_arrays(whole) if "['ema']" in name]
  assert len(averages) == 4
  tiny_runs.train_until_crash(
    config, tmp_path / 'run', 3, open_program=tiny_runs.open_shared
  )
  train(config, tmp_path / 'run')
  tiny_runs.assert_same(
    tiny_runs.saved_arrays(tmp_path / 'run'), tiny_runs.saved_arrays(whole)
  )
  scores = score_run.score_run(whole).sets['validation']
  logged = [line for line in tiny_runs.lines(whole) if 'validation/loss' in line][-1]
  assert scores['loss'] == pytest.approx(logged['validation/loss'], rel=1e-6)


def test_scores_are_those_of_the_training(adapted):
  scores = score_run.score_run(adapted).sets['validation']
  logged = [line for line in tiny_runs.lines(adapted) if 'validation/loss' in line][-1]
  assert scores['loss'] == pytest.approx(logged['validation/loss'], rel=1e-6)


def test_a_loaded_run_is_the_merged_model(base, adapted):
  run, plain = gpt_jax.load(adapted), gpt_jax.load(base)
  assert run.config.peft.name == ''
  tokens_BT = np.arange(8 * 16, dtype=np.int32).reshape(8, 16) % 16
  found, other = (np.asarray(each.logits(tokens_BT)) for each in (run, plain))
  assert np.abs(found - other).max() > 1e-2
  program = setup.open_saved_program(setup.read_config(adapted), run.tokenizer)
  with CheckpointReader(adapted / 'checkpoints') as store:
    params, _ = restore.load_params(store, program.abstract_state.params)
  wanted = program.model.apply({'params': params}, tokens_BT)[0]
  np.testing.assert_allclose(found, wanted[..., : found.shape[-1]], atol=1e-5)


def test_init_from_takes_the_merged_model(base, adapted, tmp_path):
  config = tiny_runs.tiny_config({'init_from': str(adapted), 'train.steps': 3})
  workdir = train(config, tmp_path / 'run')
  report = json.loads((workdir / 'run.json').read_text())['starts'][0]['init_from']
  assert report.keys() == {'source', 'step', 'taken'}
  with adapted_checkpoints.open_source(adapted) as store:
    assert isinstance(store, adapted_checkpoints.MergedReader)
    assert len(jax.tree.leaves(store.abstract(6, 'params'))) == len(report['taken'])


def test_an_adapter_on_an_adapted_run(adapted, tmp_path):
  workdir = train(config_of(adapted), tmp_path / 'run')
  logged = [line for line in tiny_runs.lines(workdir) if 'validation/loss' in line][-1]
  scores = score_run.score_run(workdir).sets['validation']
  assert scores['loss'] == pytest.approx(logged['validation/loss'], rel=1e-6)


def test_another_base_is_refused(base, adapted, tmp_path):
  other = train(tiny_runs.tiny_config({'seed': 1}), tmp_path / 'other')
  with pytest.raises(CheckpointError, match='is not the model that this adapter'):
    train(config_of(other), adapted)
  moved = tmp_path / 'moved'
  tiny_runs.copy(base, moved)
  train(config_of(moved), adapted)  # the same model somewhere else


def test_a_base_that_is_gone_is_named(base, tmp_path):
  moved = tmp_path / 'moved'
  tiny_runs.copy(base, moved)
  workdir = train(config_of(moved), tmp_path / 'run')
  moved.rename(tmp_path / 'elsewhere')
  with pytest.raises(CheckpointError, match='moved'):
    gpt_jax.load(workdir)


def test_what_the_adapter_is_cannot_be_changed_to_score_it(adapted):
  with pytest.raises(ConfigError, match=r'peft\.options\.alpha: the run was trained'):
    score_run.score_run(adapted, {'peft.options.alpha': 1.0})
  with pytest.raises(ConfigError, match='checkpoint rebase'):
    gpt_jax.load(adapted, overrides={'init_from': 'elsewhere'})


def test_there_has_to_be_a_base(tmp_path):
  with pytest.raises(ConfigError, match=r'peft\.name=.lora.: trains a few parameters'):
    train(tiny_runs.tiny_config(LORA), tmp_path)
  assert not (tmp_path / 'tokenizer').exists()


def test_what_would_be_frozen_at_random_is_refused(base, tmp_path):
  config = config_of(base, {'init.rules': [{'fresh': 'embed'}, {'skip': 'embed'}]})
  with pytest.raises(CheckpointError, match='would be frozen at random'):
    train(config, tmp_path / 'run')


def test_a_base_of_a_step_that_is_gone_is_named(base):
  found = Base(str(base), 5, 'float32', {}, {})
  with pytest.raises(CheckpointError, match='trained on its step 5, which is gone'):
    adapted_checkpoints.read_base(found, '', {}, 'runs/mine')


NF4 = {'peft.base_storage': 'nf4'}


@pytest.fixture(scope='module')
def stored(base, tmp_path_factory):
  """Returns the folder of a run with LoRA beside kernels of `base` in NF4."""
  return train(config_of(base, NF4), tmp_path_factory.mktemp('nf4') / 'run')


def test_a_run_beside_codes_saves_what_trains(adapted, stored):
  names = tiny_runs.saved_arrays(stored).keys()
  assert names == tiny_runs.saved_arrays(adapted).keys()


def test_codes_are_made_anew_and_resuming_is_bit_equal(base, stored, tmp_path):
  config, workdir = config_of(base, NF4), tmp_path / 'run'
  tiny_runs.train_until_crash(config, workdir, 3, open_program=tiny_runs.open_shared)
  train(config, workdir)
  assert tiny_runs.start_steps(workdir) == [0, 3]
  tiny_runs.assert_same(tiny_runs.saved_arrays(workdir), tiny_runs.saved_arrays(stored))
  assert tiny_runs.losses(workdir) == tiny_runs.losses(stored)


def test_a_loaded_run_computes_with_what_was_trained(base, stored):
  scores = score_run.score_run(stored).sets['validation']
  logged = [line for line in tiny_runs.lines(stored) if 'validation/loss' in line][-1]
  assert scores['loss'] == pytest.approx(logged['validation/loss'], rel=1e-6)
  run = gpt_jax.load(stored)
  program = setup.open_saved_program(setup.read_config(stored), run.tokenizer)
  with CheckpointReader(stored / 'checkpoints') as store:
    params, _ = restore.load_params(store, program.abstract_state.params)
  tokens_BT = np.arange(8 * 16, dtype=np.int32).reshape(8, 16) % 16
  wanted = program.model.apply({'params': params}, tokens_BT)[0]
  found = np.asarray(run.logits(tokens_BT))
  np.testing.assert_allclose(found, wanted[..., : found.shape[-1]], atol=1e-5)


def test_a_merge_into_the_base_in_full_is_refused(stored, tmp_path):
  config = tiny_runs.tiny_config({'init_from': str(stored)})
  with pytest.raises(CheckpointError, match=r"base_storage='nf4'.*base_storage=as_is"):
    train(config, tmp_path / 'run')


def on(run, overrides=None):
  """Returns the Config of a training that goes on with the adapter of a run."""
  return tiny_runs.tiny_config({'peft.init_from': str(run)} | (overrides or {}))


def test_an_adapter_trains_on_over_its_base(adapted, tmp_path):
  workdir = train(on(adapted, {'train.steps': 3}), tmp_path / 'run')
  names = tiny_runs.saved_arrays(adapted).keys()
  assert tiny_runs.saved_arrays(workdir).keys() == names
  (entry,) = json.loads((workdir / 'run.json').read_text())['starts']
  report = entry['init_from']
  source = setup.read_config(adapted).init_from  # which may have moved since
  assert (report['source'], report['adapter']['source']) == (source, str(adapted))
  assert report['adapter'].keys() == {'source', 'step', 'taken'}
  bases = []
  for each in (workdir, adapted):
    with CheckpointReader(each / 'checkpoints') as store:
      bases.append(Base.of_step(store, store.latest_step()))
  assert bases[0].checksums == bases[1].checksums
  train(on(adapted, {'train.steps': 6}), workdir)  # it resumes as others do
  assert tiny_runs.start_steps(workdir) == [0, 3]


@pytest.mark.parametrize('storage', ['as_is', 'nf4'])
def test_its_first_parameters_are_those_of_the_run(adapted, storage):
  config = on(adapted, {'peft.base_storage': storage})
  tokenizer = gpt_jax.load(adapted).tokenizer
  program = setup.open_saved_program(config, tokenizer)
  params, origin = start.starting_params(program)
  assert f'the adapter of {adapted}, step 6' in origin.text
  found = dict(pytree.named_leaves(program.trained(params)))
  saved = restore_adapter(adapted)
  assert found.keys() == saved.keys()
  for name, array in found.items():
    np.testing.assert_array_equal(array, saved[name], err_msg=name)


def restore_adapter(workdir):
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  with CheckpointReader(workdir / 'checkpoints') as store:
    step = store.latest_step()
    tree = store.restore(step, {'params': store.abstract(step, 'params', here)})
  return dict(pytree.named_leaves(tree['params']))


def test_another_adapter_does_not_train_on(base, adapted, tmp_path):
  for overrides, said in (
    ({'peft.options.alpha': 4.0}, r'alpha=4\.0, there 16\.0.*Leave these fields out'),
    ({'peft.name': 'ia3', 'init_from': str(base)}, r"name='ia3', there 'lora'"),
  ):
    with pytest.raises(ConfigError, match=said):
      train(on(adapted, overrides), tmp_path / 'run')


def test_an_adapter_does_not_train_on_over_another_base(adapted, tmp_path):
  other = train(tiny_runs.tiny_config({'seed': 1}), tmp_path / 'other')
  with pytest.raises(ConfigError, match='fingerprint .* on .*fingerprint'):
    train(on(adapted, {'init_from': str(other)}), tmp_path / 'run')


def test_a_resume_with_another_adapter_says_what_differs(base, adapted):
  for overrides, said in (
    (NF4, r"peft\.base_storage: 'as_is' -> 'nf4'.*peft\.init_from=.*new --workdir"),
    ({'peft.options.rank': 3}, r'peft\.options\.rank: 2 -> 3.*does not help'),
    (
      {'peft.name': 'bitfit', 'model.bias': True, 'peft.options': {}},
      r"peft\.name: 'lora' -> 'bitfit'\n.*in a new --workdir",
    ),
  ):
    fields = {'init_from': str(base)} | LORA | overrides
    if 'peft.options' in fields:
      fields = {n: v for n, v in fields.items() if not n.startswith('peft.options')}
    with pytest.raises(CheckpointError, match=f'(?s){said}'):
      train(tiny_runs.tiny_config(fields), adapted)
