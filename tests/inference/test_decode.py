"""The pure functions of decoding; `test_engine.py` has what they come to together."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.inference import decode
from gpt_jax.inference.sampling import Sampling
from tests import small_models as small

CONFIG = small.resolve(model__max_seq_len=64, model__scan_layers=False)
MODEL = small.make_gpt(CONFIG)


@functools.cache
def params():
  return small.random_params(MODEL)


PREFILL = jax.jit(
  functools.partial(decode.prefill, model=MODEL, cache_len=32, visibility='causal')
)
DECODE = jax.jit(
  functools.partial(decode.decode, model=MODEL, sampling=Sampling()),
)
FORWARD = jax.jit(
  functools.partial(
    decode.forward, model=MODEL, visibility='bidirectional', vocab_limit=None
  )
)


def prefilled(prompts, width=16):
  """Returns the DecodeState of lists of ids, padded to `width` with id 7."""
  tokens_BT = np.full((len(prompts), width), 7, np.int32)
  for row, ids in enumerate(prompts):
    tokens_BT[row, : len(ids)] = ids
  length_B = np.array([len(ids) for ids in prompts], np.int32)
  identity_B2 = np.zeros((len(prompts), 2), np.uint32)
  return PREFILL(params(), tokens_BT, length_B, np.uint32(0), identity_B2)


def decoded(state, limit, stop=-1):
  return DECODE(params(), state, limit, jnp.array([stop], jnp.int32))


def test_prefill_leaves_the_last_token_of_each_prompt_unread():
  state = prefilled([[3, 1, 4], [5]])
  assert state.token_B.tolist() == [4, 5]
  assert state.cache['length_B'].tolist() == [2, 0]
  assert int(state.count) == 0


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
  state, _, is_over = decoded(prefilled([[3, 1, 4]]), 8, stop)
  assert is_over and int(state.count) <= 2


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
