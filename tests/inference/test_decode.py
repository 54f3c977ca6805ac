"""The pure functions of decoding; `test_engine.py` has what they come to together."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.inference import decode
from gpt_jax.inference.guide import Guidance
from gpt_jax.inference.sampling import SamplingRows
from gpt_jax.inference.settings import Sampling
from gpt_jax.model.cache import empty_cache
from tests import small_models as small

CONFIG = small.resolve(model__max_seq_len=64, model__scan_layers=False)
MODEL = small.make_gpt(CONFIG)


@functools.cache
def params():
  return small.random_params(MODEL)


PREFILL = jax.jit(
  functools.partial(decode.prefill, model=MODEL, cache_len=32, visibility='causal')
)
REREAD = jax.jit(functools.partial(decode.reread, model=MODEL, visibility='causal'))
DECODE = jax.jit(functools.partial(decode.decode, model=MODEL, vocab_limit=16))
FORWARD = jax.jit(
  functools.partial(
    decode.forward, model=MODEL, visibility='bidirectional', vocab_limit=None
  )
)


def prefilled(prompts, width=16, stop=-1):
  """Returns the DecodeState of lists of ids, padded to `width` with id 7."""
  tokens_BT = np.full((len(prompts), width), 7, np.int32)
  for row, ids in enumerate(prompts):
    tokens_BT[row, : len(ids)] = ids
  length_B = np.array([len(ids) for ids in prompts], np.int32)
  B = len(prompts)
  settings = decode.RowSettings(
    SamplingRows.of([Sampling()] * B),
    np.full(B, 99),
    np.full((B, 1), stop),
    np.zeros(B, bool),
  )
  identity_B2 = np.zeros((B, 2), np.uint32)
  return PREFILL(
    params(), tokens_BT, length_B, length_B, np.zeros(B, np.uint32), identity_B2,
    settings,
  )  # fmt: skip


def decoded(state, limit):
  state, written, is_over = DECODE(
    params(), state, limit, Guidance.none(len(state.token_B), 16)
  )
  return state, written.ids_BC, is_over


def test_prefill_leaves_the_last_token_of_each_prompt_unread():
  state = prefilled([[3, 1, 4], [5]])
  assert state.token_B.tolist() == [4, 5]
  assert state.cache['length_B'].tolist() == [2, 0]
  assert state.count_B.tolist() == [0, 0]


def test_two_calls_of_decode_write_what_one_does():
  state, first_BC, _ = decoded(prefilled([[3, 1, 4]]), 4)
  _, second_BC, _ = decoded(state, 3)
  _, together_BC, _ = decoded(prefilled([[3, 1, 4]]), 7)
  parts = np.concatenate([first_BC[:, :4], second_BC[:, :3]], axis=1)
  np.testing.assert_array_equal(parts, together_BC[:, :7])


def test_the_loop_ends_once_all_rows_have_stopped():
  _, ids_BC, is_over = decoded(prefilled([[3, 1, 4]]), 8)
  assert not is_over
  stop = int(ids_BC[0, 1])
  state, _, is_over = decoded(prefilled([[3, 1, 4]], stop=stop), 8)
  assert is_over and int(state.count_B[0]) <= 2


def test_rereading_a_row_leaves_the_others_as_they_were():
  state, _, _ = decoded(prefilled([[3, 1, 4], [5, 9]]), 4)
  tokens_BT = np.zeros((2, 16), np.int32)
  tokens_BT[0, :2] = 8, int(state.token_B[0])
  lengths_B, first_B = np.array([2, 1]), np.array([True, False])
  cropped = REREAD(params(), state, tokens_BT, lengths_B, lengths_B, first_B)
  assert cropped.cache['length_B'].tolist() == [1, int(state.cache['length_B'][1])]
  _, ids_BC, _ = decoded(cropped, 3)
  _, kept_BC, _ = decoded(state, 3)
  _, fresh_BC, _ = decoded(prefilled([[8, int(state.token_B[0])]]), 3)
  assert ids_BC[:, :3].tolist() == [fresh_BC[0, :3].tolist(), kept_BC[1, :3].tolist()]


def test_padding_after_the_text_changes_no_bidirectional_logit():
  short_BT = small.random_tokens(2, 5)
  length_B = np.full(2, 5, np.int32)
  padded_BT = np.pad(short_BT, ((0, 0), (0, 3)), constant_values=7)
  expected = FORWARD(params(), short_BT, length_B)
  found = FORWARD(params(), padded_BT, length_B)[:, :5]
  # The tolerance of float32 sums in another order.
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_norms_keep_their_dtype_when_parameters_are_prepared():
  prepared = decode.prepare_params(params(), dtype=jnp.bfloat16)
  for name, leaf in small.pytree.named_leaves(prepared):
    assert leaf.dtype == (jnp.float32 if '_norm' in name else jnp.bfloat16), name


LOCAL = small.make_gpt(
  small.resolve(
    model__layer_pattern=('local:5', 'global'),
    model__position='rope',
    model__num_kv_heads=2,
    model__scan_layers=False,
  )  # fmt: skip
)
EXTEND = small.jit(
  functools.partial(decode.extend, model=LOCAL, places=16, logits='all')
)


@functools.cache
def local_params():
  return small.random_params(LOCAL)


def read(cache, tokens_RT, slots, starts, counts):
  return EXTEND(
    local_params(), cache, tokens_RT, *map(np.array, (slots, starts, counts))
  )


def padded(ids, width=4):
  return np.pad(ids, (0, width - len(ids)), constant_values=7)[None]


def test_prompts_read_in_chunks_give_the_logits_of_the_whole():
  tokens_BT = small.random_tokens(2, 15)
  full_BTV = small.logits_of(LOCAL)(local_params(), tokens_BT)
  cache = empty_cache(LOCAL.cfg, 3, 16)
  assert cache['layers'][0]['block_0'].k_BGSK.shape == (3, 2, 5, 4)
  # Row 2 holds the first text, row 0 the second; chunks of one to four tokens.
  for row, slot, counts in ((0, 2, (4, 3, 4, 4)), (1, 0, (1, 4, 2, 4, 4))):
    start = 0
    for count in counts:
      ids = tokens_BT[row, start : start + count]
      cache, logits_RTV = read(cache, padded(ids), [slot], [start], [count])
      expected_TV = full_BTV[row, start : start + count]
      # float32 sums over other sets of hidden keys.
      np.testing.assert_allclose(logits_RTV[0, :count], expected_TV, atol=1e-5)
      start += count
  assert cache['length_B'].tolist() == [15, 0, 15]


def test_a_row_without_a_slot_changes_nothing():
  tokens_RT = small.random_tokens(2, 4)
  cache, _ = read(empty_cache(LOCAL.cfg, 3, 16), tokens_RT, [1, 3], [0, 0], [4, 4])
  alone, _ = read(empty_cache(LOCAL.cfg, 3, 16), tokens_RT[:1], [1], [0], [4])
  for one, other in zip(jax.tree.leaves(cache), jax.tree.leaves(alone), strict=True):
    np.testing.assert_array_equal(one[::2], other[::2])
    # Products of two rows and of one may round differently.
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_reading_from_an_earlier_place_forgets_the_rest():
  tokens_BT = small.random_tokens(2, 12)
  cache = empty_cache(MODEL.cfg, 1, 16)
  extend = small.jit(
    functools.partial(decode.extend, model=MODEL, places=16, logits='last')
  )

  def last(cache, ids, start):
    row = np.array([0]), np.array([start]), np.array([len(ids)])
    return extend(params(), cache, padded(ids, 8), *row)

  cache, _ = last(cache, tokens_BT[0, :8], 0)
  cache, logits_1V = last(cache, tokens_BT[1, 5:10], 5)
  ids = np.concatenate([tokens_BT[0, :5], tokens_BT[1, 5:10]])
  expected_V = small.logits_of(MODEL)(params(), ids[None])[0, -1]
  np.testing.assert_allclose(logits_1V[0], expected_V, atol=1e-5)
