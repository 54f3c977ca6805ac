"""Decoding with the cache equals the full forward pass, for every kind of model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import masks
from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.engine import CHUNK, Engine, bucket
from gpt_jax.inference.request import Request, make_requests
from gpt_jax.inference.settings import Sampling
from gpt_jax.model import joined, stacking
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
  'attention only': dict(block='attention_only', position='rope', num_kv_heads=2),
}  # fmt: skip
PROMPTS = [np.array([3, 1, 4, 1, 5, 9, 2]), np.array([6]), np.array([5, 3, 5])]


@functools.cache
def make(variant='learned', seed=0, **options):
  """Returns (config, params, engine) of a small model."""
  fields = {f'model__{k}': v for k, v in VARIANTS[variant].items()}
  config = small.resolve(model__max_seq_len=MAX_LEN, **fields)
  params = small.random_params(small.make_gpt(config), seed)
  return config, params, engine_of(config, params, **options)


def engine_of(config, params, **options):
  attend = small.make_gpt(config).attend
  return Engine(config.model, params, attend=attend, **options)


def generate(engine, prompts=None, **settings):
  """Returns what `engine` writes after each prompt, as lists of ids."""
  requests = make_requests(PROMPTS if prompts is None else prompts, **settings)
  return [list(ids) for ids in engine.generate(requests)]


@functools.cache
def full_logits(variant='learned'):
  """Returns `(tokens, mask=None) -> logits [T, V]` by a full forward pass, no cache."""
  config, params, _ = make(variant)
  apply = small.logits_of(small.make_gpt(config))

  def logits(ids, mask=None, length=MAX_LEN):
    # Padded to one length for one compilation; causal, so pads change nothing before.
    tokens_BT = np.zeros((1, length), np.int32)
    tokens_BT[0, : len(ids)] = ids
    return np.asarray(apply(params, tokens_BT, mask))[0, : len(ids)]

  return logits


def greedy(prompt, num_new, variant='learned', mask=None, limit=None, length=MAX_LEN):
  """Returns greedy ids, each by a full forward pass."""
  ids = list(prompt)
  for _ in range(num_new):
    ids.append(int(full_logits(variant)(ids, mask, length)[-1, :limit].argmax()))
  return ids[len(prompt) :]


FAST = ('gqa, untied', 'rope, sandwich, mqa', 'unrolled')


@pytest.mark.parametrize('variant', tiny_runs.mostly_slow(VARIANTS, *FAST))
def test_cached_decoding_matches_the_full_forward(variant):
  _, _, engine = make(variant)
  texts = generate(engine, max_new_tokens=NUM_NEW)
  assert texts == [greedy(p, NUM_NEW, variant) for p in PROMPTS]


@pytest.mark.parametrize('sampling', [Sampling(), DRAW])
def test_a_text_does_not_depend_on_other_prompts(sampling):
  write = functools.partial(
    generate, make()[2], max_new_tokens=NUM_NEW, sampling=sampling, seed=7
  )
  together = write(PROMPTS)
  assert [write([prompt])[0] for prompt in PROMPTS] == together
  assert write(PROMPTS[::-1])[::-1] == together


MIXED = [
  Request(prompt_ids=PROMPTS[0], max_new_tokens=NUM_NEW, sampling=DRAW, seed=5),
  Request(prompt_ids=PROMPTS[0], max_new_tokens=9),
  Request(prompt_ids=PROMPTS[1], max_new_tokens=0),
  Request(
    prompt_ids=PROMPTS[2], max_new_tokens=30, sampling=Sampling(temperature=2.0),
    seed=2**40 + 1, stop_ids=(3, 5, 7, 8, 9),
  ),
  Request(
    prompt_ids=PROMPTS[0], max_new_tokens=20, sampling=Sampling(temperature=1, top_k=3),
  ),
]  # fmt: skip


def test_requests_of_all_kinds_share_one_program():
  engine = engine_of(*make()[:2])
  found = [list(ids) for ids in engine.generate(MIXED)]
  again = [list(ids) for ids in engine.generate(MIXED[::-1])][::-1]
  assert found == again
  assert engine._decode._cache_size() == engine._prefill._cache_size() == 1


def test_the_same_request_gets_the_same_text_in_any_company():
  engine = make()[2]
  together = [list(ids) for ids in engine.generate(MIXED)]
  alone = [list(engine.generate([request])[0]) for request in MIXED]
  assert alone == together
  assert [len(ids) for ids in alone[:3]] == [NUM_NEW, 9, 0]
  assert [list(engine.stream(request)) for request in MIXED] == together


def test_a_prompt_given_twice_gets_two_samples():
  texts = generate(make()[2], [PROMPTS[0]] * 3, max_new_tokens=NUM_NEW, sampling=DRAW)
  assert len(set(map(tuple, texts))) == 3


def test_the_seed_decides_the_text():
  write = functools.partial(generate, make()[2], max_new_tokens=NUM_NEW, sampling=DRAW)
  one, again, other = write(seed=1), write(seed=1), write(seed=2)
  assert one == again
  assert not any(a == b for a, b in zip(one, other, strict=True))


def test_a_stop_id_ends_its_own_text_only():
  engine = make()[2]
  free = generate(engine, max_new_tokens=NUM_NEW)
  stop = free[0][3]
  expected = [ids[: ids.index(stop)] if stop in ids else ids for ids in free]
  assert generate(engine, max_new_tokens=NUM_NEW, stop_ids=(stop,)) == expected


def test_a_shorter_text_is_the_beginning_of_a_longer_one():
  short = generate(make()[2], max_new_tokens=30)
  long = generate(make()[2], max_new_tokens=NUM_NEW)
  assert short == [ids[:30] for ids in long]


def test_no_prompts_or_no_tokens_give_empty_results():
  _, _, engine = make()
  assert engine.generate([]) == []
  (ids,) = engine.generate(make_requests([PROMPTS[0]], max_new_tokens=0))
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
  assert generate(engine, [[3]], max_new_tokens=NUM_NEW) == [
    greedy([3], NUM_NEW, limit=5)
  ]


def test_a_prefix_model_attends_to_its_prompt_bidirectionally():
  config, params, _ = make()
  engine = engine_of(config, params, visibility='prefix')
  texts = generate(engine, max_new_tokens=NUM_NEW)
  for prompt, ids in zip(PROMPTS, texts, strict=True):
    mask = masks.prefix(np.array([len(prompt)], np.int32))
    assert ids == greedy(prompt, NUM_NEW, mask=mask)
  mask = masks.prefix(np.array([len(PROMPTS[0])], np.int32))
  logits_TV = full_logits()([*PROMPTS[0], 8], mask)
  expected = float(jax.nn.log_softmax(logits_TV[len(PROMPTS[0]) - 1])[8])
  assert engine.score(PROMPTS[0], [8]) == pytest.approx(expected, abs=1e-5)


def test_a_bidirectional_model_gives_logits_but_no_text():
  config, params, _ = make()
  engine = engine_of(config, params, visibility='bidirectional')
  tokens_BT = small.random_tokens(1, 9, 16)
  expected = small.logits_of(small.make_gpt(config))(
    params, tokens_BT, masks.bidirectional()
  )
  np.testing.assert_allclose(engine.logits(tokens_BT), expected, atol=1e-5)
  with pytest.raises(ConfigError, match='masked_lm'):
    generate(engine, max_new_tokens=3)
  with pytest.raises(ConfigError, match='masked_lm'):
    engine.score(PROMPTS[0], PROMPTS[1])


def test_casting_parameters_once_leaves_logits_bit_equal():
  config = small.resolve(model__dtype='bfloat16', model__qk_norm='rmsnorm')
  model = small.make_gpt(config)
  params = small.random_params(model)
  engine = engine_of(config, params)
  tokens_BT = small.random_tokens(2, 8)
  logits_BTV = engine.logits(tokens_BT)
  assert engine.params['embed']['embedding'].dtype == jnp.bfloat16
  engine.params = joined.join(jax.jit(stacking.unstack)(params))
  np.testing.assert_array_equal(logits_BTV, engine.logits(tokens_BT))


def test_new_parameters_take_effect_without_compilation():
  config, params, _ = make()
  engine = engine_of(config, params)
  before = engine.logits(PROMPTS[0][None])
  other = jax.tree.map(lambda leaf: leaf * 1.5, params)
  engine.set_params(other)
  assert not np.allclose(engine.logits(PROMPTS[0][None]), before)
  engine.release()
  engine.set_params(params)
  np.testing.assert_array_equal(engine.logits(PROMPTS[0][None]), before)
  assert engine._forward._cache_size() == 1


def windowed(prompt, num_new, visibility='causal'):
  """Returns greedy ids by full forward passes over what a table of MAX_LEN shows."""
  ids, start = list(prompt), max(0, len(prompt) - MAX_LEN)
  for _ in range(num_new):
    if len(ids) - start > MAX_LEN:
      start = len(ids) - MAX_LEN // 2
    mask = None
    if visibility == 'prefix':
      mask = masks.prefix(np.array([max(0, len(prompt) - start)], np.int32))
    ids.append(int(full_logits()(ids[start:], mask)[-1].argmax()))
  return ids[len(prompt) :]


LONG = [
  np.array([3, 1, 4]),
  small.random_tokens(1, 150)[0],
  small.random_tokens(1, 60)[0],
]


@pytest.mark.parametrize(
  'visibility', tiny_runs.mostly_slow(['causal', 'prefix'], 'causal')
)
def test_past_the_table_the_last_part_of_the_context_is_read(visibility):
  config, params, _ = make()
  engine = engine_of(config, params, visibility=visibility)
  new = 2 * MAX_LEN + 3
  expected = [windowed(prompt, new, visibility) for prompt in LONG]
  assert generate(engine, LONG, max_new_tokens=new) == expected
  (request,) = make_requests([LONG[2]], max_new_tokens=new)
  assert list(engine.stream(request)) == expected[2]
  assert engine._reread._cache_size() == 2  # for batches of three and of one


@pytest.mark.slow
def test_drawing_past_the_table_is_reproducible_in_any_company():
  settings = dict(max_new_tokens=100, sampling=DRAW, seed=4)
  together = generate(make()[2], LONG, **settings)
  assert [generate(make()[2], [prompt], **settings)[0] for prompt in LONG] == together


def test_a_full_table_has_room_for_one_more_token():
  engine = make()[2]
  prompt = small.random_tokens(1, MAX_LEN)[0]
  (ids,) = generate(engine, [prompt], max_new_tokens=1)
  logits_TV = full_logits()(prompt)
  assert ids == [logits_TV[-1].argmax()]
  score = engine.score(prompt[:-1], [prompt[-1], ids[0]])
  log_probs_TV = np.asarray(jax.nn.log_softmax(logits_TV, axis=-1))
  expected = log_probs_TV[-2, prompt[-1]] + log_probs_TV[-1, ids[0]]
  assert score == pytest.approx(expected, abs=1e-5)


def test_what_is_read_at_once_has_to_fit_the_table():
  engine = make()[2]
  with pytest.raises(ConfigError, match='logits.* 65 .*model.max_seq_len=64'):
    engine.logits(np.zeros((1, 65), np.int32))
  with pytest.raises(ConfigError, match='score.* 65 .*model.max_seq_len=64'):
    engine.score(np.zeros(60, np.int32), np.zeros(6, np.int32))


def test_other_positions_reach_past_the_training_length():
  engine = make('alibi, parallel')[2]
  (ids,) = generate(engine, [np.zeros(60, np.int32)], max_new_tokens=12)
  assert ids == greedy([0] * 60, 12, 'alibi, parallel', length=128)


@pytest.mark.parametrize(
  'prompt, message', [([], 'no token'), ([3, 16], 'id 16'), ([-1], 'id -1')]
)
def test_prompts_that_cannot_be_read_are_named(prompt, message):
  with pytest.raises(ConfigError, match=message):
    generate(make()[2], [PROMPTS[0], prompt], max_new_tokens=3)


@pytest.mark.parametrize('length, size', [(1, 16), (16, 16), (17, 32), (1000, 1024)])
def test_lengths_are_rounded_up_to_powers_of_two(length, size):
  assert bucket(length) == size
