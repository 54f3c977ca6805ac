"""What every entry of OBJECTIVES promises."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError
from tests import tiny_runs

SEQ_LEN = 32
VOCAB = objectives.Vocab(size=50, eos_id=0)
OF_TEXTS = {'class_labels', 'regression', 'reward'}
OF_TOKENS = {'token_labels', 'span_labels'}
DRAWS_NOTHING = {'causal_lm', 'layer_skip'} | OF_TEXTS | OF_TOKENS
EVERY = pytest.mark.parametrize('name', sorted(objectives.OBJECTIVES))


def config_of(name):
  return tiny_runs.tiny_config(
    {'objective.name': name, 'data.seq_len': SEQ_LEN, 'data.packing': 'pad'}
  )


def build(name):
  cfg = config_of(name).objective
  return objectives.make_objective(cfg, vocab=VOCAB, seq_len=SEQ_LEN)


@functools.cache
def compiled(name):
  return jax.jit(build(name))


def batch(rows=8, padding=0):
  """Random text without the end token; a row ends in `padding` places of padding."""
  shape = (rows, SEQ_LEN + 1)
  tokens = np.random.default_rng(1).integers(1, VOCAB.size, shape).astype(np.int32)
  is_text = np.broadcast_to(np.arange(SEQ_LEN + 1) < SEQ_LEN + 1 - padding, shape)
  has_label = np.isin(np.arange(SEQ_LEN + 1), (3, SEQ_LEN - padding))
  result = dict(
    tokens=np.where(is_text, tokens, 0), labels=np.where(has_label, tokens % 2, -1)
  )
  if padding:
    result['segments'] = is_text.astype(np.int32)
    result['positions'] = np.where(is_text, np.arange(SEQ_LEN + 1, dtype=np.int32), 0)
  return result | fields_of(is_text.astype(np.int32), result['labels'])


def fields_of(segments, labels):
  """Returns the fields that objectives with a task head read beside labels."""
  place = np.arange(segments.shape[1])
  is_first = ((place == 0) & (segments > 0)).astype(np.int32)
  return dict(
    can_answer=np.minimum(segments, 1), starts=is_first, ends=is_first,
    numbers=np.float32(labels).view(np.int32),
    # A text up to each label: the third column, and the last one.
    sides=np.where(segments > 0, 1 + (place > 3), 0).astype(np.int32),
  )  # fmt: skip


@EVERY
def test_examples_have_the_shape_of_the_batch(name):
  example = compiled(name)(batch(), jax.random.key(0))
  for array in (example.inputs_BT, example.targets_BT, example.weights_BT):
    assert array.shape == (8, SEQ_LEN)
  assert example.weights_BT.dtype == jnp.float32
  assert example.inputs_BT.dtype == jnp.int32
  is_number = name == 'regression'
  assert example.targets_BT.dtype == (jnp.float32 if is_number else jnp.int32)
  assert example.mask.allowed(SEQ_LEN, SEQ_LEN).shape[1:] == (SEQ_LEN, SEQ_LEN)
  assert float(example.weights_BT.sum()) > 0


@EVERY
def test_ids_stay_below_the_tokenizer_and_the_extra_tokens(name):
  example = compiled(name)(batch(), jax.random.key(0))
  extra_tokens = build(name).extra_tokens
  limit = VOCAB.size + extra_tokens
  for ids in (example.inputs_BT, example.targets_BT):
    assert 0 <= int(ids.min()) and int(ids.max()) < limit
  assert objectives.describe(config_of(name)).extra_tokens == extra_tokens


@EVERY
def test_randomness_depends_on_the_rng_and_not_on_the_sharding(name):
  mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
  sharded = jax.device_put(batch(), jax.NamedSharding(mesh, jax.P('data')))
  first = compiled(name)(batch(), jax.random.key(3))
  again = compiled(name)(sharded, jax.random.key(3))
  jax.tree.map(np.testing.assert_array_equal, first, again)
  other = compiled(name)(batch(), jax.random.key(4))
  same = jax.tree.map(np.array_equal, first, other)
  assert jax.tree.all(same) == (name in DRAWS_NOTHING)


@EVERY
def test_padding_bears_no_loss_and_is_seen_by_nobody(name):
  padding = 12
  padded = batch(8, padding)
  # Padding has an id that text does not have.
  marked = padded | dict(tokens=np.where(padded['segments'] == 0, 49, 7))
  example = compiled(name)(marked, jax.random.key(0))
  is_padding = np.asarray(example.targets_BT) == 49
  if name == 'masked_lm':  # random replacements may draw any id, targets are as marked
    is_padding = np.asarray(marked['tokens'][:, :-1]) == 49
  elif name in OF_TEXTS:
    is_padding = np.asarray(marked['tokens'][:, 1:]) == 49
  elif name in OF_TOKENS:
    is_padding = np.asarray(marked['tokens'][:, :-1]) == 49
  assert is_padding.any()
  assert np.all(np.asarray(example.weights_BT)[is_padding] == 0)
  if name != 'masked_lm':
    allowed = np.asarray(example.mask.allowed(SEQ_LEN, SEQ_LEN))
    inputs = np.broadcast_to(np.asarray(example.inputs_BT)[:, None, :], allowed.shape)
    assert not np.any(allowed & (inputs == 49))


def documents(*lengths_of_rows):
  """Returns a batch of rows of documents, so many tokens each, padded at their ends."""
  shape = (len(lengths_of_rows), SEQ_LEN + 1)
  names = ('tokens', 'segments', 'positions')
  found = {name: np.zeros(shape, np.int32) for name in names}
  found['labels'] = np.full(shape, -1, np.int32)
  rng = np.random.default_rng(2)
  for row, lengths in enumerate(lengths_of_rows):
    start = 0
    for i, length in enumerate(lengths):
      place = row, slice(start, start + length)
      found['tokens'][place] = rng.integers(1, VOCAB.size, length)
      found['segments'][place] = i + 1
      found['positions'][place] = np.arange(length)
      start += length
      found['labels'][row, start - 1] = 1
  return found | fields_of(found['segments'], found['labels'])


PADDED = [[SEQ_LEN + 1 - padding] for padding in range(0, SEQ_LEN, 4)]
SHORT = [[length] for length in range(1, 9)]
PACKED = [
  [3, 5, 1, 9], [10, 10, 5], [1] * 12, [20, 2], [1, 32], [16, 17], [1] * 33, [2] * 16,
]  # fmt: skip


@EVERY
@pytest.mark.parametrize(
  'rows', [PADDED, SHORT, PACKED], ids=['padded', 'short', 'packed']
)
def test_no_target_is_at_a_query_that_sees_nothing(name, rows):
  for seed in range(4):
    example = compiled(name)(documents(*rows), jax.random.key(seed))
    sees_BT = np.asarray(example.mask.allowed(SEQ_LEN, SEQ_LEN)).any(-1)
    is_target_BT = np.asarray(example.weights_BT) > 0
    assert is_target_BT.any() and not (is_target_BT & ~sees_BT).any()


def test_a_document_of_one_token_has_its_label_read_by_no_other():
  example = compiled('class_labels')(documents([3, 1, 4]), jax.random.key(0))
  (places,) = np.nonzero(np.asarray(example.weights_BT)[0])
  assert list(places) == [1, 6]  # before the last tokens of the first and the third


@EVERY
def test_a_row_of_padding_alone_has_no_weight(name):
  rows = batch(8, 1)
  nothing = np.zeros_like(rows['segments'])
  rows |= dict(segments=nothing, labels=nothing - 1)
  assert float(compiled(name)(rows, jax.random.key(0)).weights_BT.sum()) == 0


@EVERY
def test_no_target_is_visible_to_the_query_that_predicts_it(name):
  """Follows each text token by a unique id: where it is predicted, it is not seen."""
  tokens = np.arange(100, 100 + SEQ_LEN + 1)[None].repeat(8, 0)
  cfg = dataclasses.replace(config_of(name).objective, mask_split=(1.0, 0.0, 0.0))
  objective = objectives.make_objective(
    cfg, vocab=objectives.Vocab(1000), seq_len=SEQ_LEN
  )
  example = jax.jit(objective)(batch() | dict(tokens=tokens), jax.random.key(0))
  allowed = np.broadcast_to(
    example.mask.allowed(SEQ_LEN, SEQ_LEN), (8, SEQ_LEN, SEQ_LEN)
  )
  inputs, targets = np.asarray(example.inputs_BT), np.asarray(example.targets_BT)
  is_answer = inputs[:, None, :] == targets[:, :, None]
  is_text = (targets < 1000)[:, :, None]  # sentinels do repeat in the list, by design
  scored = (np.asarray(example.weights_BT) > 0)[:, :, None]
  assert scored.any()
  assert not np.any(allowed & is_answer & is_text & scored)


def test_a_misspelt_objective_names_the_nearest_one():
  with pytest.raises(ConfigError, match="did you mean 'masked_lm'"):
    build('mask_lm')
