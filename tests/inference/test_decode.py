"""The pure functions of decoding; `test_engine.py` has what they come to together."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.inference import decode
from gpt_jax.inference.guide import Guidance
from gpt_jax.inference.sampling import SamplingRows
from gpt_jax.inference.settings import Sampling
from tests import small_models as small

CONFIG = small.resolve(model__max_seq_len=64, model__scan_layers=False)
MODEL = small.make_gpt(CONFIG)


@functools.cache
def params():
  return small.random_params(MODEL)


PREFILL = jax.jit(
  functools.partial(decode.prefill, model=MODEL, cache_len=32, visibility='causal')
)
REREAD = jax.jit(
  functools.partial(decode.reread, model=MODEL, cache_len=32, visibility='causal')
)
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
