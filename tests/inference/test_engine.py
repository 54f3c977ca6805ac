"""Decoding with the cache equals the full forward pass, for every kind of model."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import masks
from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.engine import CHUNK, Engine, bucket
from gpt_jax.inference.sampling import Sampling
from gpt_jax.model import stacking
from gpt_jax.model.gpt import GPT
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharding import make_sharding_rules
from gpt_jax.program.build import shapes_and_shardings
from tests import small_models as small
from tests import tiny_runs

MAX_LEN = 64
NUM_NEW = CHUNK + 5  # crosses the border of a chunk
DRAW = Sampling(temperature=1.0, top_k=12, top_p=0.95)
VARIANTS = {
  'learned': dict(),
  'gqa, untied': dict(num_kv_heads=2, tie_embeddings=False, position='learned'),
  'sinusoidal, post norm': dict(position='sinusoidal', norm_position='post'),
  'rope, sandwich, mqa': dict(
    position='rope', norm_position='sandwich', num_kv_heads=1, qk_norm='rmsnorm',
    norm='rmsnorm', activation='swiglu', logit_softcap=3.0,
  ),
  'alibi, parallel': dict(position='alibi', block='parallel'),
  'no positions, local layers': dict(
    position='none', layer_pattern=('local:3', 'global'), num_layers=4
  ),
  'unrolled': dict(scan_layers=False),
}  # fmt: skip
PROMPTS = [np.array([3, 1, 4, 1, 5, 9, 2]), np.array([6]), np.array([5, 3, 5])]


@functools.cache
def make(variant='learned', seed=0, **options):
  """Returns (config, params, engine) of a small model."""
  fields = {f'model__{k}': v for k, v in VARIANTS[variant].items()}
  config = small.resolve(model__max_seq_len=MAX_LEN, **fields)
  params = small.random_params(small.make_gpt(config), seed)
  return config, params, Engine(config.model, params, **options)


@functools.cache
def full_logits(variant='learned'):
  """Returns `(tokens, mask=None) -> logits [T, V]` by a full forward pass, no cache."""
  config, params, _ = make(variant)
  apply = small.logits_of(small.make_gpt(config))

  def logits(ids, mask=None):
    # Padded to one length for one compilation; causal, so pads change nothing before.
    tokens_BT = np.zeros((1, MAX_LEN), np.int32)
    tokens_BT[0, : len(ids)] = ids
    return np.asarray(apply(params, tokens_BT, mask))[0, : len(ids)]

  return logits


def greedy(prompt, num_new, variant='learned', mask=None, limit=None):
  """Returns greedy ids, each by a full forward pass."""
  ids = list(prompt)
  for _ in range(num_new):
    ids.append(int(full_logits(variant)(ids, mask)[-1, :limit].argmax()))
  return ids[len(prompt) :]


FAST = ('gqa, untied', 'rope, sandwich, mqa', 'unrolled')


@pytest.mark.parametrize('variant', tiny_runs.mostly_slow(VARIANTS, *FAST))
def test_cached_decoding_matches_the_full_forward(variant):
  _, _, engine = make(variant)
  texts = engine.generate(PROMPTS, max_new_tokens=NUM_NEW)
  assert [list(ids) for ids in texts] == [greedy(p, NUM_NEW, variant) for p in PROMPTS]


@pytest.mark.parametrize('sampling', [Sampling(), DRAW])
def test_a_text_does_not_depend_on_other_prompts(sampling):
  _, _, engine = make()
  generate = functools.partial(
    engine.generate, max_new_tokens=NUM_NEW, sampling=sampling, seed=7
  )
  together = generate(PROMPTS)
  for prompt, ids in zip(PROMPTS, together, strict=True):
    np.testing.assert_array_equal(generate([prompt])[0], ids)
  for ids, reversed_ids in zip(together, generate(PROMPTS[::-1])[::-1], strict=True):
    np.testing.assert_array_equal(ids, reversed_ids)


def test_a_prompt_given_twice_gets_two_samples():
  _, _, engine = make()
  prompts = [PROMPTS[0]] * 3
  texts = engine.generate(prompts, max_new_tokens=NUM_NEW, sampling=DRAW)
  assert len({tuple(ids) for ids in texts}) == 3


def test_the_seed_decides_the_text():
  _, _, engine = make()
  generate = functools.partial(
    engine.generate, PROMPTS, max_new_tokens=NUM_NEW, sampling=DRAW
  )
  one, again, other = generate(seed=1), generate(seed=1), generate(seed=2)
  assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
  assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize('sampling', [Sampling(), DRAW])
def test_streaming_yields_the_ids_of_the_batch(sampling):
  _, _, engine = make()
  settings = dict(max_new_tokens=NUM_NEW, sampling=sampling, seed=3)
  texts = engine.generate(PROMPTS, **settings)
  for prompt, ids in zip(PROMPTS, texts, strict=True):
    assert list(engine.stream(prompt, **settings)) == list(ids)


def test_a_stop_id_ends_its_own_text_only():
  _, _, engine = make()
  free = [list(ids) for ids in engine.generate(PROMPTS, max_new_tokens=NUM_NEW)]
  stop = free[0][3]
  expected = [ids[: ids.index(stop)] if stop in ids else ids for ids in free]
  stopped = engine.generate(PROMPTS, max_new_tokens=NUM_NEW, stop_ids=[stop])
  assert [list(ids) for ids in stopped] == expected
  assert (
    list(engine.stream(PROMPTS[0], max_new_tokens=NUM_NEW, stop_ids=[stop]))
    == expected[0]
  )


def test_a_shorter_text_is_the_beginning_of_a_longer_one():
  _, _, engine = make()
  short = engine.generate(PROMPTS, max_new_tokens=30)
  long = engine.generate(PROMPTS, max_new_tokens=NUM_NEW)
  assert [list(ids) for ids in short] == [list(ids[:30]) for ids in long]


def test_no_prompts_or_no_tokens_give_empty_results():
  _, _, engine = make()
  assert engine.generate([], max_new_tokens=5) == []
  (ids,) = engine.generate([PROMPTS[0]], max_new_tokens=0)
  assert ids.shape == (0,) and ids.dtype == np.int32


def test_the_score_is_the_sum_of_the_log_probabilities():
  _, _, engine = make()
  context, continuation = PROMPTS[0], np.array([2, 6, 5])
  logits_TV = full_logits()(np.concatenate([context, continuation]))
  log_probs_TV = jax.nn.log_softmax(logits_TV, axis=-1)
  expected = sum(
    float(log_probs_TV[len(context) - 1 + i, token])
    for i, token in enumerate(continuation)
  )
  # float32 logits of size 10 carry errors of 1e-6 each.
  assert engine.score(context, continuation) == pytest.approx(expected, abs=1e-5)


def test_probabilities_of_the_real_ids_sum_to_one():
  engine = make(vocab_limit=13)[2]
  total = sum(np.exp(engine.score(PROMPTS[0], [i])) for i in range(13))
  assert total == pytest.approx(1.0, abs=1e-5)
  assert engine.score(PROMPTS[0], []) == 0.0


def test_logits_are_those_of_the_model_without_padding_ids():
  engine = make(vocab_limit=13)[2]
  tokens_BT = small.random_tokens(2, 9, 13)
  logits_BTV = engine.logits(tokens_BT)
  assert logits_BTV.shape == (2, 9, 13) and logits_BTV.dtype == jnp.float32
  for row, logits_TV in zip(tokens_BT, logits_BTV, strict=True):
    # The tolerance of float32 sums in another order.
    np.testing.assert_allclose(logits_TV, full_logits()(row)[:, :13], atol=1e-5)


def test_padding_ids_are_never_written():
  engine = make(vocab_limit=5)[2]
  (ids,) = engine.generate([np.array([3])], max_new_tokens=NUM_NEW)
  assert list(ids) == greedy([3], NUM_NEW, limit=5)


def test_a_prefix_model_attends_to_its_prompt_bidirectionally():
  config, params, _ = make()
  engine = Engine(config.model, params, visibility='prefix')
  texts = engine.generate(PROMPTS, max_new_tokens=NUM_NEW)
  for prompt, ids in zip(PROMPTS, texts, strict=True):
    mask = masks.prefix(np.array([len(prompt)], np.int32))
    assert list(ids) == greedy(prompt, NUM_NEW, mask=mask)
  mask = masks.prefix(np.array([len(PROMPTS[0])], np.int32))
  logits_TV = full_logits()([*PROMPTS[0], 8], mask)
  expected = float(jax.nn.log_softmax(logits_TV[len(PROMPTS[0]) - 1])[8])
  assert engine.score(PROMPTS[0], [8]) == pytest.approx(expected, abs=1e-5)


def test_a_bidirectional_model_gives_logits_but_no_text():
  config, params, _ = make()
  engine = Engine(config.model, params, visibility='bidirectional')
  tokens_BT = small.random_tokens(1, 9, 16)
  expected = small.logits_of(small.make_gpt(config))(
    params, tokens_BT, masks.bidirectional()
  )
  np.testing.assert_allclose(engine.logits(tokens_BT), expected, atol=1e-5)
  with pytest.raises(ConfigError, match='masked_lm'):
    engine.generate(PROMPTS, max_new_tokens=3)
  with pytest.raises(ConfigError, match='masked_lm'):
    engine.score(PROMPTS[0], PROMPTS[1])


def test_casting_parameters_once_leaves_logits_bit_equal():
  config = small.resolve(model__dtype='bfloat16', model__qk_norm='rmsnorm')
  model = small.make_gpt(config)
  params = small.random_params(model)
  engine = Engine(config.model, params)
  tokens_BT = small.random_tokens(2, 8)
  logits_BTV = engine.logits(tokens_BT)
  assert engine.params['embed']['embedding'].dtype == jnp.bfloat16
  engine.params = jax.jit(stacking.unstack)(params)
  np.testing.assert_array_equal(logits_BTV, engine.logits(tokens_BT))


def test_new_parameters_take_effect_without_compilation():
  config, params, _ = make()
  engine = Engine(config.model, params)
  before = engine.logits(PROMPTS[0][None])
  other = jax.tree.map(lambda leaf: leaf * 1.5, params)
  engine.set_params(other)
  assert not np.allclose(engine.logits(PROMPTS[0][None]), before)
  engine.release()
  engine.set_params(params)
  np.testing.assert_array_equal(engine.logits(PROMPTS[0][None]), before)
  assert engine._forward._cache_size() == 1


def test_sharded_parameters_write_the_same_text():
  config, params, engine = make()
  rules = make_sharding_rules(
    config.parallel, make_mesh(dict(data=1, fsdp=2, tensor=4, sequence=1, expert=1))
  )
  _, shardings = shapes_and_shardings(GPT(config.model, rules=rules))
  sharded = Engine(config.model, jax.device_put(params, shardings))
  expected = engine.generate(PROMPTS, max_new_tokens=NUM_NEW)
  found = sharded.generate(PROMPTS, max_new_tokens=NUM_NEW)
  assert [list(ids) for ids in found] == [list(ids) for ids in expected]


def test_running_out_of_learned_positions_names_the_limits():
  _, _, engine = make()
  prompt = np.zeros(60, np.int32)
  assert engine.max_new_tokens_for(60) == 4
  assert len(engine.generate([prompt], max_new_tokens=4)[0]) == 4
  with pytest.raises(ConfigError, match=r'60 .*65.*model.max_seq_len=64.*at most 4'):
    engine.generate([prompt], max_new_tokens=5)
  with pytest.raises(ConfigError, match='model.max_seq_len=64'):
    engine.logits(np.zeros((1, 65), np.int32))
  with pytest.raises(ConfigError, match='model.max_seq_len=64'):
    engine.score(prompt, prompt)


def test_other_positions_reach_past_the_training_length():
  _, _, engine = make('alibi, parallel')
  assert engine.max_new_tokens_for(60) == math.inf
  assert len(engine.generate([np.zeros(60, np.int32)], max_new_tokens=12)[0]) == 12


@pytest.mark.parametrize(
  'prompt, message', [([], 'no token'), ([3, 16], 'id 16'), ([-1], 'id -1')]
)
def test_prompts_that_cannot_be_read_are_named(prompt, message):
  _, _, engine = make()
  with pytest.raises(ConfigError, match=message):
    engine.generate([PROMPTS[0], np.array(prompt, np.int32)], max_new_tokens=3)


def test_a_negative_number_of_tokens_is_named():
  with pytest.raises(ConfigError, match='max_new_tokens=-1'):
    make()[2].generate(PROMPTS, max_new_tokens=-1)


@pytest.mark.parametrize('length, size', [(1, 16), (16, 16), (17, 32), (1000, 1024)])
def test_lengths_are_rounded_up_to_powers_of_two(length, size):
  assert bucket(length) == size
