"""A step that does not fit is refused before it runs, with settings that do fit."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError
from gpt_jax.parallel import free_memory
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import inputs
from gpt_jax.program import compilation, device_memory, step_memory
from gpt_jax.program.build import build_program
from gpt_jax.train import loop
from tests import tiny_runs

VOCAB = objectives.Vocab(size=512)
OVERRIDES = {
  'model.num_layers': 4, 'model.scan_layers': True, 'data.seq_len': 64,
  'train.batch_size': 16, 'train.grad_accum': 2,
}  # fmt: skip


def make(config):
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  return build_program(config, vocab=VOCAB, mesh=mesh)


def compiled(program):
  shapes = inputs.abstract_batch(program)
  executable = program.step.lower(program.abstract_state, shapes).compile()
  return step_memory.of_compiled(executable, program)


@pytest.fixture(scope='module')
def program():
  return make(tiny_runs.tiny_config(OVERRIDES))


@pytest.fixture(scope='module')
def arguments(program):
  """Returns (state, batch) on the device; `check` donates neither."""
  config = program.config
  shape_BN = (config.train.batch_size, config.data.seq_len + 1)
  tokens = jax.device_put(np.zeros(shape_BN, np.int32), program.batch_sharding)
  return program.init(0), {'tokens': tokens}


def refuse(program, arguments, monkeypatch, free):
  monkeypatch.setattr(free_memory, 'free_on', lambda device: free)
  with pytest.raises(ConfigError, match='out of memory: the step') as error:
    step_memory.check(program, program.step, *arguments, make)
  return str(error.value)


@pytest.mark.slow
def test_each_setting_that_is_named_fits(program, arguments, monkeypatch):
  free = compiled(program).needed * 2 // 3
  message = refuse(program, arguments, monkeypatch, free)
  named = dict(re.findall(r'--config\.([\w.]+)=(\w+)', message))
  assert named.keys() == {
    'train.grad_accum', 'train.batch_size', 'data.seq_len', 'model.remat'
  }  # fmt: skip
  for field, value in named.items():
    config = tiny_runs.tiny_config(OVERRIDES | {field: value})
    assert compiled(make(config)).needed <= free, field


def test_the_refusal_has_both_figures_and_the_state(program, arguments, monkeypatch):
  needed = compiled(program).needed
  message = refuse(program, arguments, monkeypatch, 1000)
  assert f'asked for {free_memory.gib(needed)}; 1,000 bytes are free' in message
  assert 'train.batch_size=16, train.grad_accum=2, data.seq_len=64' in message
  assert 'No smaller batch' in message


def test_a_step_that_fits_compiles_once(program, arguments, monkeypatch):
  monkeypatch.setattr(free_memory, 'free_on', lambda device: 2**40)
  state, batch = jax.tree.map(jax.numpy.copy, arguments)
  step_memory.check(program, program.step, state, batch, make)
  with compilation.watch() as made:
    program.step(state, batch)
  assert made.seconds == 0


@pytest.mark.slow
def test_training_checks_before_its_first_step(tmp_path, monkeypatch):
  monkeypatch.setattr(device_memory, 'check_fits', lambda state: None)
  monkeypatch.setattr(free_memory, 'free_on', lambda device: 1000)
  with pytest.raises(ConfigError, match='out of memory: the step of train.batch_size'):
    loop.train(tiny_runs.tiny_config(), tmp_path, quiet=True)


def test_a_lack_of_memory_while_a_step_runs_names_settings(program, monkeypatch):
  monkeypatch.setattr(free_memory, 'free_on', lambda device: 10**9)
  with pytest.raises(ConfigError, match=r'asked for 1.86 GiB.*--config.train.grad_acc'):
    with step_memory.explained(program, 16):
      raise jax.errors.JaxRuntimeError('Out of memory allocating 2000000000 bytes.')


def test_gradients_of_frozen_parameters_need_nothing(program):
  frozen = dataclasses.replace(program, frozen=frozenset(['embed/embedding']))
  shapes = inputs.abstract_batch(program)
  executable = program.step.lower(program.abstract_state, shapes).compile()
  table = 4 * program.config.model.vocab_size * program.config.model.d_model
  all_of_them = step_memory.of_compiled(executable, program).gradients
  assert all_of_them - step_memory.of_compiled(executable, frozen).gradients == table
