"""What is compiled once for many runs computes what each would have compiled."""

import functools

import jax
import numpy as np
import pytest

from gpt_jax.program import setup, shared
from tests import tiny_runs

FIELDS = {'model.num_layers': 1, 'train.batch_size': 2}
BATCH = {'tokens': np.arange(2 * 17, dtype=np.int32).reshape(2, 17) % 16}


def config(**fields):
  named = {name.replace('__', '.'): value for name, value in fields.items()}
  return tiny_runs.tiny_config(FIELDS | named)


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
  return setup.open_tokenizer(config(), tmp_path_factory.mktemp('run'))


def loss_after_steps(program, num_steps=2):
  state = program.init(program.config.seed)
  for _ in range(num_steps):
    state, metrics = program.step(state, BATCH)
  return float(metrics['loss'])


def test_runs_of_one_seed_and_another_have_the_same_program(tokenizer):
  programs = shared.SharedPrograms(devices=jax.devices()[:1])
  one = programs.open_program(config(seed=1), tokenizer)
  other = programs.open_program(config(seed=2), tokenizer)
  assert one.step is other.step
  assert (one.config.seed, other.config.seed) == (1, 2)


@pytest.mark.slow
def test_learning_rates_share_a_compilation_not_their_losses(tokenizer):
  configs = [config(optimizer__learning_rate=rate) for rate in (0.01, 0.02, 0.03)]
  programs = shared.SharedPrograms(configs, jax.devices()[:1])
  found = [loss_after_steps(programs.open_program(c, tokenizer)) for c in configs]
  # init and step each: compiled for the first, found for the two others.
  assert (programs.compiled, programs.hits) == (2, 4)
  alone = shared.SharedPrograms(devices=jax.devices()[:1])
  wanted = [loss_after_steps(alone.open_program(c, tokenizer)) for c in configs]
  assert alone.hits == 2  # of init, which the rate does not change
  np.testing.assert_allclose(found, wanted, rtol=1e-6)
  assert len(set(found)) == 3


@pytest.mark.slow
def test_a_shared_step_can_be_compiled_ahead(tokenizer):
  programs = shared.SharedPrograms(devices=jax.devices()[:1])
  program = programs.open_program(config(), tokenizer)
  state = program.init(0)
  executable = program.step.lower(state, BATCH).compile()
  assert executable.memory_analysis().temp_size_in_bytes > 0


def test_configs_are_varied_one_number_at_a_time():
  base = config()
  other = config(
    optimizer__learning_rate=0.5, optimizer__b1=0.5, model__norm='layernorm'
  )
  found = list(shared.one_number_each(base, [other, other]))
  assert len(found) == 2
  assert {(c.optimizer.learning_rate, c.optimizer.b1) for c in found} == {
    (0.5, base.optimizer.b1), (base.optimizer.learning_rate, 0.5),
  }  # fmt: skip


def test_points_of_other_shapes_do_not_disturb_a_program(tokenizer):
  sizes = [config(), config(model__d_model=64), config(optimizer__b1=0.5)]
  programs = shared.SharedPrograms(sizes, jax.devices()[:1])
  program = programs.open_program(sizes[0], tokenizer)
  make = functools.partial(
    setup.make_program, tokenizer=tokenizer, mesh=program.rules.mesh
  )
  varied = programs._variants(program, make)
  assert [one.config.optimizer.b1 for one in varied] == [0.5]
