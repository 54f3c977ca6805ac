"""BERT's 15 % and 80/10/10, on plain and on packed rows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.objectives import Vocab, masked_lm

CFG = dataclasses.replace(
  load.resolve(base.get_config()).objective, options=masked_lm.MaskedLM()
)
SPECIAL = {'[PAD]': 0, '[CLS]': 1, '[MASK]': 3, '[SEP]': 999}
VOCAB = Vocab(size=1000, eos_id=999, special_tokens=SPECIAL)
OWN = masked_lm.MaskedLM(mask_token='[MASK]')


def examples(batch, **fields):
  cfg = dataclasses.replace(CFG, **fields)
  objective = masked_lm.make(cfg, vocab=VOCAB, seq_len=batch['tokens'].shape[1] - 1)
  return jax.jit(objective)(batch, jax.random.key(0))


def text(rows=400, seq_len=256):
  shape = (rows, seq_len + 1)
  return dict(tokens=np.random.default_rng(1).integers(0, 500, shape).astype(np.int32))


def test_selected_masked_random_and_kept_shares_are_as_given():
  batch = text()
  got = examples(batch)
  original = np.asarray(batch['tokens'][:, :-1])
  inputs, selected = np.asarray(got.inputs_BT), np.asarray(got.weights_BT) == 1
  np.testing.assert_array_equal(got.targets_BT, original)
  np.testing.assert_array_equal(inputs[~selected], original[~selected])
  # 102400 draws: the share's standard deviation is 0.0011; of 15400 selected, 0.0032.
  assert abs(selected.mean() - 0.15) < 0.005
  is_mask = (inputs == VOCAB.size)[selected]
  is_kept = (inputs == original)[selected]
  assert abs(is_mask.mean() - 0.8) < 0.015
  assert abs(is_kept.mean() - 0.1) < 0.015
  drawn = inputs[selected][~is_mask & ~is_kept]
  # Text uses ids below 500; replacements come from all of the vocabulary.
  assert abs((drawn >= 500).mean() - 0.5) < 0.07 and drawn.max() < VOCAB.size


@pytest.mark.parametrize(
  'split, shown', [((1.0, 0.0, 0.0), 'mask'), ((0.0, 0.0, 1.0), 'itself')]
)
def test_a_split_of_one_share_treats_all_selected_tokens_alike(split, shown):
  batch = text(8, 64)
  got = examples(batch, mask_rate=1.0, mask_split=split)
  assert np.all(np.asarray(got.weights_BT) == 1)
  want = VOCAB.size if shown == 'mask' else batch['tokens'][:, :-1]
  np.testing.assert_array_equal(got.inputs_BT, jnp.broadcast_to(want, (8, 64)))


def test_neither_padding_nor_end_tokens_are_selected():
  tokens = jnp.array([[1, 2, 999, 3, 4, 999, 0, 0, 0]])
  segments = jnp.array([[1, 1, 1, 2, 2, 2, 0, 0, 0]])
  positions = jnp.array([[0, 1, 2, 0, 1, 2, 0, 0, 0]])
  batch = dict(tokens=tokens, segments=segments, positions=positions)
  got = examples(batch, mask_rate=1.0)
  np.testing.assert_array_equal(got.weights_BT, [[1, 1, 0, 1, 1, 0, 0, 0]])
  np.testing.assert_array_equal(got.positions_BT, positions[:, :-1])
  allowed = np.asarray(got.mask.allowed(8, 8)[0])
  assert allowed[:3, :3].all() and allowed[3:6, 3:6].all() and allowed.sum() == 18


@pytest.mark.parametrize('split', [(0.8, 0.1), (0.8, 0.1, 0.2), (1.1, 0.0, -0.1)])
def test_splits_that_are_no_three_shares_are_refused(split):
  with pytest.raises(ConfigError, match='objective.mask_split'):
    examples(text(1, 8), mask_split=split)


def test_a_rate_of_zero_is_refused():
  with pytest.raises(ConfigError, match='objective.mask_rate=0.0'):
    examples(text(1, 8), mask_rate=0.0)


def test_tokens_without_loss_are_never_selected():
  batch = text(8, 64)
  batch['loss_mask'] = np.tile(np.arange(65) % 3 == 0, (8, 1)).astype(np.int32)
  got = examples(batch, mask_rate=1.0)
  np.testing.assert_array_equal(got.weights_BT, batch['loss_mask'][:, :-1])
  spared = batch['loss_mask'][:, :-1] == 0
  np.testing.assert_array_equal(
    np.asarray(got.inputs_BT)[spared], batch['tokens'][:, :-1][spared]
  )


def test_a_mask_token_of_the_tokenizer_adds_no_id():
  batch = text(8, 64)
  got = examples(batch, options=OWN, mask_rate=1.0, mask_split=(1.0, 0.0, 0.0))
  is_spared = np.isin(batch['tokens'][:, :-1], list(SPECIAL.values()))
  np.testing.assert_array_equal(got.weights_BT, ~is_spared)
  assert np.all(np.asarray(got.inputs_BT)[~is_spared] == SPECIAL['[MASK]'])
  cfg = dataclasses.replace(CFG, options=OWN)
  assert masked_lm.make(cfg, vocab=VOCAB, seq_len=8).extra_tokens == 0
  unknown = masked_lm.make(cfg, vocab=Vocab(size=1), seq_len=8)  # of a plan
  assert unknown.extra_tokens == 0
  unknown(text(1, 8), jax.random.key(0))


def test_a_mask_token_that_the_tokenizer_lacks_is_refused():
  with pytest.raises(ConfigError, match=r"mask_token='<m>'.*\[CLS\], \[MASK\]"):
    examples(text(1, 8), options=masked_lm.MaskedLM(mask_token='<m>'))
