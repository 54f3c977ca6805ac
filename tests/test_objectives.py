"""What every entry of OBJECTIVES promises."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from gpt_jax import config_door, objectives
from gpt_jax.errors import ConfigError
from gpt_jax.objectives.example import split

SEQ_LEN = 32
VOCAB = objectives.Vocab(size=50, eos_id=0)
CFG = config_door.resolve(base.get_config()).objective
EVERY = pytest.mark.parametrize('name', sorted(objectives.OBJECTIVES))


def build(name):
  cfg = dataclasses.replace(CFG, name=name)
  return objectives.make(cfg, vocab=VOCAB, seq_len=SEQ_LEN)


def batch(rows=4, padding=0):
  """Random text without the end token; a row ends in `padding` places of padding."""
  tokens = jax.random.randint(jax.random.key(1), (rows, SEQ_LEN + 1), 1, VOCAB.size)
  is_text = jnp.broadcast_to(
    jnp.arange(SEQ_LEN + 1) < SEQ_LEN + 1 - padding, tokens.shape
  )
  result = dict(tokens=jnp.where(is_text, tokens, 0).astype(jnp.int32))
  if padding:
    result['segments'] = is_text.astype(jnp.int32)
    result['positions'] = jnp.where(is_text, jnp.arange(SEQ_LEN + 1), 0)
  return result


@EVERY
def test_shapes_are_those_of_the_sample_under_jit(name):
  example = jax.jit(build(name))(batch(), jax.random.key(0))
  for array in (example.inputs_BT, example.targets_BT, example.weights_BT):
    assert array.shape == (4, SEQ_LEN)
  assert example.weights_BT.dtype == jnp.float32
  assert example.inputs_BT.dtype == example.targets_BT.dtype == jnp.int32
  assert example.mask.allowed(SEQ_LEN, SEQ_LEN).shape[1:] == (SEQ_LEN, SEQ_LEN)
  assert float(example.weights_BT.sum()) > 0


@EVERY
def test_ids_stay_below_the_tokenizer_and_the_extra_tokens(name):
  objective = build(name)
  example = objective(batch(64), jax.random.key(0))
  limit = VOCAB.size + objective.extra_tokens
  for ids in (example.inputs_BT, example.targets_BT):
    assert 0 <= int(ids.min()) and int(ids.max()) < limit
  cfg = dataclasses.replace(CFG, name=name)
  assert objectives.extra_tokens(cfg, SEQ_LEN) == objective.extra_tokens


@EVERY
def test_the_same_rng_gives_the_same_example(name):
  objective = build(name)
  first = objective(batch(), jax.random.key(3))
  again = jax.jit(objective)(batch(), jax.random.key(3))
  jax.tree.map(np.testing.assert_array_equal, first, again)


@EVERY
def test_padding_bears_no_loss_and_is_seen_by_nobody(name):
  padding = 12
  padded = batch(8, padding)
  objective, rng = build(name), jax.random.key(0)
  # Places of text are told apart from padding by an id that text does not have.
  marked = padded | dict(tokens=jnp.where(padded['segments'] == 0, 49, 7))
  example = objective(marked, rng)
  is_padding = np.asarray(example.targets_BT) == 49
  if name == 'masked_lm':  # random replacements may draw any id, targets are as marked
    is_padding = np.asarray(marked['tokens'][:, :-1]) == 49
  assert is_padding.any()
  assert np.all(np.asarray(example.weights_BT)[is_padding] == 0)
  if name != 'masked_lm':
    allowed = np.asarray(example.mask.allowed(SEQ_LEN, SEQ_LEN))
    inputs = np.broadcast_to(np.asarray(example.inputs_BT)[:, None, :], allowed.shape)
    assert not np.any(allowed & (inputs == 49))


@EVERY
def test_a_row_of_padding_alone_has_no_weight(name):
  rows = batch(4, 1)
  rows = rows | dict(segments=jnp.zeros_like(rows['segments']))
  assert float(build(name)(rows, jax.random.key(0)).weights_BT.sum()) == 0


@EVERY
def test_no_target_is_visible_to_the_query_that_predicts_it(name):
  """Follows each text token by a unique id: where it is predicted, it is not seen."""
  tokens = jnp.arange(100, 100 + SEQ_LEN + 1)[None].repeat(8, 0)
  cfg = dataclasses.replace(CFG, name=name, mask_split=(1.0, 0.0, 0.0))
  objective = objectives.make(cfg, vocab=objectives.Vocab(1000), seq_len=SEQ_LEN)
  example = objective(dict(tokens=tokens), jax.random.key(0))
  allowed = np.broadcast_to(
    example.mask.allowed(SEQ_LEN, SEQ_LEN), (8, SEQ_LEN, SEQ_LEN)
  )
  inputs, targets = np.asarray(example.inputs_BT), np.asarray(example.targets_BT)
  is_answer = inputs[:, None, :] == targets[:, :, None]
  is_text = (targets < 1000)[:, :, None]  # sentinels do repeat in the list, by design
  scored = (np.asarray(example.weights_BT) > 0)[:, :, None]
  assert scored.any()
  assert not np.any(allowed & is_answer & is_text & scored)


def test_split_shifts_by_one():
  inputs, targets = split(jnp.arange(10).reshape(2, 5))
  np.testing.assert_array_equal(inputs + 1, targets)
  assert inputs.shape == (2, 4)


def test_a_misspelt_objective_names_the_nearest_one():
  with pytest.raises(ConfigError, match="did you mean 'masked_lm'"):
    build('mask_lm')
