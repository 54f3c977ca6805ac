"""What is compiled once for many runs computes what each would have compiled."""

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


def test_programs_are_kept_until_memory_is_scarce(tokenizer, monkeypatch):
  programs = shared.SharedPrograms(devices=jax.devices()[:1])
  before = programs.open_program(config(), tokenizer)
  monkeypatch.setattr(shared.free_memory, 'host_bytes', lambda: 1 << 60)
  assert not programs.release_if_scarce()
  assert programs.open_program(config(), tokenizer).step is before.step
  monkeypatch.setattr(shared.free_memory, 'host_bytes', lambda: 1 << 20)
  assert programs.release_if_scarce()
  after = programs.open_program(config(), tokenizer)
  assert after.step is not before.step
  assert loss_after_steps(after) == loss_after_steps(before)


@pytest.mark.slow
def test_a_shared_step_can_be_compiled_ahead(tokenizer):
  programs = shared.SharedPrograms(devices=jax.devices()[:1])
  program = programs.open_program(config(), tokenizer)
  state = program.init(0)
  executable = program.step.lower(state, BATCH).compile()
  assert executable.memory_analysis().temp_size_in_bytes > 0


def paths_of_steps(configs, chosen, tokenizer):
  """Returns {rate of decay: what is an input of its step} of the `chosen` in turn."""
  programs = shared.SharedPrograms(configs, jax.devices()[:1])
  found = {}
  for one in chosen:
    program = programs.open_program(one, tokenizer)
    function, _, _ = program.step._for((program.abstract_state, BATCH))
    numbers = program.step._found[shared._signature((BATCH,))][1]
    found[one.optimizer.weight_decay] = (
      function, None if numbers is None else [x.shape for x in numbers]
    )  # fmt: skip
  return programs, found


@pytest.mark.slow
def test_inputs_of_a_program_are_those_of_the_study(tokenizer):
  decays = [config(optimizer__weight_decay=x) for x in (0.1, 0.0, 0.2, 0.3)]
  programs, found = paths_of_steps(decays, decays, tokenizer)
  assert programs.num_programs == 2  # without decay, and with one
  assert found[0.1][0] is found[0.2][0] is found[0.3][0] is not found[0.0][0]
  assert found[0.0][1] is None  # nothing differs between programs without decay
  # Whichever runs first, alone, in another order of the file: the same inputs.
  for chosen in ([decays[2]], decays[::-1]):
    _, others = paths_of_steps(decays[::-1], chosen, tokenizer)
    for decay, (_, shapes) in others.items():
      assert shapes == found[decay][1]


@pytest.mark.slow
def test_points_of_other_shapes_do_not_disturb_a_program(tokenizer):
  sizes = [config(), config(model__d_model=64), config(optimizer__b1=0.5)]
  programs, found = paths_of_steps(sizes, sizes[::2], tokenizer)
  assert programs.num_programs == 1
  _, of_two = paths_of_steps(sizes[::2], sizes[:1], tokenizer)
  assert [shapes for _, shapes in found.values()] == [s for _, s in of_two.values()]
