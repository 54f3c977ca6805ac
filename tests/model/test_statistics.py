"""Statistics of intermediates against the model recomputed in NumPy."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import masks
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import statistics
from gpt_jax.model.stacking import stack
from tests import numpy_gpt
from tests import small_models as small

WATCHED = statistics.choose(['max_attention_logit', 'residual_rms', 'prefix_matching'])


def measured(config, params, tokens_BT, mask=None, **fields):
  """Returns the finished statistics of a forward pass, logits apart."""
  model = small.make_gpt(config).clone(watched=WATCHED, **fields)

  def run(params, tokens_BT):
    return model.apply(
      {'params': params}, tokens_BT, mask, mutable=['statistics'], method='hidden'
    )[1]['statistics']

  sown = jax.device_get(small.jit(run)(params, tokens_BT))
  return statistics.finished(WATCHED, sown, {}, len(config.model.layer_pattern))


def recomputed(config, params, tokens_BT, monkeypatch):
  """Returns the same numbers from the oracle, one head and one query at a time."""
  cfg, highest, matched, streams = config.model, {}, {}, {}
  heads, blocks, attend, block = [], [], numpy_gpt.attend_one_head, numpy_gpt.block

  def recording_attend(*args, **fields):
    heads.append((*args, fields))
    return attend(*args, **fields)

  def recording_block(*args):
    blocks.append(block(*args))
    return blocks[-1]

  monkeypatch.setattr(numpy_gpt, 'attend_one_head', recording_attend)
  monkeypatch.setattr(numpy_gpt, 'block', recording_block)
  for tokens_T in tokens_BT:
    numpy_gpt.forward(params, cfg, tokens_T, attention=config.attention)
    for i, x_TD in enumerate(blocks):
      streams.setdefault(i, []).append((x_TD**2).mean(-1))
    for i, (q_TK, k_SK, _, allowed_TS, fields) in enumerate(heads):
      place = divmod(i, cfg.num_heads)
      for t, token in enumerate(tokens_T):
        seen = np.flatnonzero(allowed_TS[t])
        scores = k_SK[seen] @ q_TK[t] * fields['scale']
        if fields['softcap']:
          scores = fields['softcap'] * np.tanh(scores / fields['softcap'])
        scores = scores - fields['slope'] * (t - seen)
        highest.setdefault(place[0], []).append(scores.max())
        weights = np.exp(scores) / np.exp(scores).sum()
        after = [s - 1 in seen and tokens_T[s - 1] == token for s in seen]
        if any(after):
          matched.setdefault(place, []).append(weights[after].sum())
    heads.clear()
    blocks.clear()
  result = {
    f'statistics/max_attention_logit/layer_{i}': max(v) for i, v in highest.items()
  }
  for i, squares in streams.items():
    result[f'statistics/residual_rms/layer_{i}'] = math.sqrt(np.mean(squares))
  for (i, head), shares in matched.items():
    name = f'statistics/prefix_matching/layer_{i}/head_{head}'
    result[name] = np.mean(shares)
  return result


def check(monkeypatch, **overrides):
  config = small.resolve(**{'model__scan_layers': False, **overrides})
  params = small.random_params(small.make_gpt(config))
  tokens_BT = small.random_tokens(vocab=4)  # with repetitions
  found = measured(config, params, tokens_BT)
  expected = recomputed(config, params, tokens_BT, monkeypatch)
  for name, value in expected.items():
    assert found[name] == pytest.approx(value, rel=2e-5), name
  embed = params['embed']['embedding'][tokens_BT]
  if config.model.position == 'rope':
    rms = math.sqrt(np.mean(np.square(embed)))
    assert found['statistics/residual_rms/embed'] == pytest.approx(rms, rel=1e-5)
  best = max(v for k, v in expected.items() if 'prefix' in k)
  assert found['statistics/prefix_matching'] == pytest.approx(best, rel=2e-5)
  highest = max(v for k, v in expected.items() if 'logit' in k)
  assert found['statistics/max_attention_logit'] == pytest.approx(highest, rel=2e-5)
  return config, params, tokens_BT, found


def test_statistics_match_a_recomputed_model(monkeypatch):
  config, params, tokens_BT, found = check(
    monkeypatch, attention__softcap=0.5, model__position='rope',
    model__num_kv_heads=2, model__layer_pattern=('global', 'local:3'),
  )  # fmt: skip
  scanned = dataclasses.replace(config.model, scan_layers=True)
  config = dataclasses.replace(config, model=scanned)
  assert found == pytest.approx(measured(config, stack(params), tokens_BT), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
  'overrides',
  [
    dict(model__position='alibi', model__block='attention_only'),
    dict(model__qk_norm='rmsnorm', model__norm_position='post'),
    dict(model__block='parallel', attention__scale=0.7),
    dict(model__init='mup', model__norm_position='sandwich'),
  ],
)
def test_statistics_of_other_models_match_as_well(overrides, monkeypatch):
  check(monkeypatch, **overrides)


def view(T, mask):
  rng = np.random.default_rng(0)
  q, k = rng.normal(size=(2, 2, 2, T, 4)).astype(np.float32)
  tokens_BT = jnp.asarray(rng.integers(0, 3, (2, T)))
  return statistics.Attention(q, k, mask, tokens_BT, 0.5, 0.0)


def sums_of(name, shown):
  return statistics.STATISTICS[name].reduce['attention'](shown)


@pytest.mark.parametrize('name', ['max_attention_logit', 'prefix_matching'])
def test_queries_in_blocks_give_the_same_sums(name, monkeypatch):
  segments = jnp.array([[1] * 5 + [2] * 7, [1] * 9 + [0] * 3])
  shown = view(12, masks.causal(segments).with_window(6))
  whole = sums_of(name, shown)
  monkeypatch.setattr(statistics, '_QUERIES', 4)
  parts = sums_of(name, shown)
  for key, value in whole.items():
    np.testing.assert_allclose(parts[key], value, rtol=1e-6)


def test_a_hidden_key_raises_no_maximum():
  shown = view(6, masks.causal())
  k = np.array(shown.k_BGTK)
  k[:, :, -1] = 1e3 * np.sign(shown.q_BHTK[:, :, 0])  # a future key of query 0
  q = np.array(shown.q_BHTK)
  q[:, :, -1] = 0
  changed = dataclasses.replace(shown, q_BHTK=q, k_BGTK=k)
  assert sums_of('max_attention_logit', changed)['highest'] < 10


def test_a_perfect_induction_head_scores_one():
  T, period = 12, 4
  tokens_BT = jnp.tile(jnp.arange(period), (1, T // period))
  k = np.eye(T, dtype=np.float32)[None, None]
  target = np.maximum(np.arange(T) - period + 1, 0)
  q = 100 * k[:, :, target]
  shown = statistics.Attention(q, k, masks.causal(), tokens_BT, 1.0, 0.0)
  sums = sums_of('prefix_matching', shown)
  assert float(sums['queries']) == T - period
  assert float(sums['matched'][0]) == pytest.approx(T - period)


@pytest.mark.slow
def test_padding_counts_in_no_statistic():
  config = small.resolve(model__scan_layers=False)
  params = small.random_params(small.make_gpt(config))
  tokens_BT = small.random_tokens(vocab=4)
  mask = masks.causal(
    jnp.asarray(np.arange(8)[None] < 5).astype(jnp.int32).repeat(2, 0)
  )
  padded = measured(config, params, tokens_BT, mask)
  short = measured(config, params, tokens_BT[:, :5])
  assert padded == pytest.approx(short, rel=1e-5)


def test_no_repeated_token_gives_no_prefix_score():
  sums = {'matched': np.zeros(2), 'queries': np.array(0.0)}
  found = statistics.STATISTICS['prefix_matching'].finish(sums)
  assert all(math.isnan(value) for value in found.values())


def test_a_plug_in_of_another_type_is_refused():
  with pytest.raises(ConfigError, match='is a dict; expected a'):
    statistics.choose(['gpt_jax.model.statistics:STATISTICS'])
