"""The oracle: the same model in float64 NumPy, one head at a time.

It takes the parameters of the model without `scan_layers` and shares no code with it.
"""

import dataclasses
import math

import numpy as np


def forward(params, cfg, tokens_T, *, attention=None, allowed_TS=None):
  """Returns the logits [T, V] of one sequence.

  Args:
    attention: AttentionConfig; None: no soft-cap, scale 1/sqrt(K).
    allowed_TS: which keys each query sees before layer windows; None: causal.
  """
  T = len(tokens_T)
  if allowed_TS is None:
    allowed_TS = np.tril(np.ones((T, T), bool))
  params = _as_float64(params)
  x_TD = params['embed']['embedding'][tokens_T]
  if cfg.scale_embeddings:
    x_TD = x_TD * math.sqrt(cfg.d_model)
  if cfg.position == 'learned':
    x_TD = x_TD + params['position']['embedding'][:T]
  if cfg.position == 'sinusoidal':
    x_TD = x_TD + sinusoids(T, cfg.d_model)
  if cfg.token_types:
    x_TD = x_TD + params['token_type']['embedding'][0]
  if cfg.norm_position == 'post':
    x_TD = norm(params['embed_norm'], x_TD, cfg)
  for i in range(cfg.num_layers):
    group, member = divmod(i, len(cfg.layer_pattern))
    layer = params[f'layers_{group}'][f'block_{member}']
    kind = cfg.layer_pattern[member]
    x_TD = block(_of_layer(cfg, kind), layer, x_TD, attention, _band(allowed_TS, kind))
  if cfg.norm_position != 'post':
    x_TD = norm(params['final_norm'], x_TD, cfg)
  if cfg.head == 'transform':
    transform = params['head_transform']
    y_TD = ACTIVATIONS[cfg.activation](_linear(transform['dense'], x_TD))
    x_TD = norm(transform['out_norm'], y_TD, cfg)
  if cfg.tie_embeddings:
    logits_TV = x_TD @ params['embed']['embedding'].T
  else:
    logits_TV = x_TD @ params['head']['kernel']
  logits_TV = logits_TV + params.get('head_bias', 0.0)
  if cfg.init == 'mup':
    logits_TV = logits_TV * cfg.mup_base_width / cfg.d_model
  if cfg.logit_softcap:
    logits_TV = cfg.logit_softcap * np.tanh(logits_TV / cfg.logit_softcap)
  return logits_TV


def _of_layer(cfg, kind):
  """Returns `cfg` with the rotary base of a layer of this kind."""
  if kind == 'global' or cfg.rope_local_theta is None:
    return cfg
  return dataclasses.replace(cfg, rope_theta=cfg.rope_local_theta)


def block(cfg, params, x_TD, attention, allowed_TS):
  def normed(name, y_TD):
    return norm(params[name], y_TD, cfg)

  def attend(y_TD):
    return attend_all_heads(params['attention'], cfg, y_TD, attention, allowed_TS)

  def feed_forward(y_TD):
    return mlp(params['mlp'], cfg, y_TD)

  if cfg.block == 'parallel':
    y_TD = normed('attention_norm', x_TD)
    return x_TD + attend(y_TD) + feed_forward(y_TD)
  if cfg.block == 'parallel_norms':
    y_TD = attend(normed('attention_norm', x_TD))
    return x_TD + y_TD + feed_forward(normed('mlp_norm', x_TD))
  sublayers = [('attention_norm', attend), ('mlp_norm', feed_forward)]
  for name, sublayer in sublayers[: 1 if cfg.block == 'attention_only' else 2]:
    if cfg.norm_position == 'post':
      x_TD = normed(name, x_TD + sublayer(x_TD))
    elif cfg.norm_position == 'sandwich':
      x_TD = x_TD + normed(f'{name}_out', sublayer(normed(name, x_TD)))
    else:
      x_TD = x_TD + sublayer(normed(name, x_TD))
  return x_TD


def attend_all_heads(params, cfg, x_TD, attention, allowed_TS):
  out_TD = np.zeros_like(x_TD)
  for h in range(cfg.num_heads):
    g = h * cfg.num_kv_heads // cfg.num_heads
    q_TK = _project(params['query'], x_TD, h)
    k_SK = _project(params['key'], x_TD, g)
    v_SK = _project(params['value'], x_TD, g)
    if cfg.qk_norm != 'none':
      q_TK = norm(params['query_norm'], q_TK, cfg, cfg.qk_norm)
      k_SK = norm(params['key_norm'], k_SK, cfg, cfg.qk_norm)
    if cfg.position == 'rope':
      R = round(cfg.rope_fraction * cfg.head_dim)
      for x_TK in (q_TK, k_SK):
        x_TK[:, :R] = rotate(x_TK[:, :R], cfg.rope_theta)
    slope = alibi_slope(h, cfg.num_heads) if cfg.position == 'alibi' else 0.0
    scale = 1 / cfg.head_dim if cfg.init == 'mup' else 1 / math.sqrt(cfg.head_dim)
    if attention is not None and attention.scale is not None:
      scale = attention.scale
    out_TK = attend_one_head(
      q_TK, k_SK, v_SK, allowed_TS, scale=scale, slope=slope,
      softcap=attention.softcap if attention else 0.0,
    )  # fmt: skip
    out_TD = out_TD + out_TK @ params['out']['kernel'][h]
  return out_TD + params['out'].get('bias', 0.0)


def attend_one_head(q_TK, k_SK, v_SK, allowed_TS, *, scale, softcap=0.0, slope=0.0):
  """Returns softmax(scores) values, [T, K], row by row; zeros where nothing is seen."""
  out_TK = np.zeros_like(q_TK)
  for t in range(len(q_TK)):
    seen = np.flatnonzero(allowed_TS[t])
    if not len(seen):
      continue
    scores = k_SK[seen] @ q_TK[t] * scale
    if softcap:
      scores = softcap * np.tanh(scores / softcap)
    scores = scores - slope * np.abs(t - seen)
    weights = np.exp(scores - scores.max())
    out_TK[t] = weights / weights.sum() @ v_SK[seen]
  return out_TK


def mlp(params, cfg, x_TD):
  up_TF = _linear(params['up'], x_TD)
  if cfg.activation in ('swiglu', 'geglu', 'reglu'):
    hidden_TF = ACTIVATIONS[cfg.activation](_linear(params['gate'], x_TD)) * up_TF
  else:
    hidden_TF = ACTIVATIONS[cfg.activation](up_TF)
  return _linear(params['down'], hidden_TF)


def norm(params, x, cfg, kind=None):
  """Returns the norm `kind`, None for `cfg.norm`, of each row."""
  if (kind or cfg.norm) == 'layernorm':
    x = x - x.mean(-1, keepdims=True)
  x = x / np.sqrt((x**2).mean(-1, keepdims=True) + cfg.norm_eps)
  scale = params['scale'] + (1 if cfg.norm_zero_centered else 0)
  return x * scale + params.get('bias', 0.0)


def rotate(x_TK, theta):
  """Returns each pair (i, i + K/2), as a complex number, rotated by its position."""
  T, K = x_TK.shape
  z = x_TK[:, : K // 2] + 1j * x_TK[:, K // 2 :]
  angle = np.arange(T)[:, None] / theta ** (np.arange(K // 2) * 2 / K)
  z = z * np.exp(1j * angle)
  return np.concatenate([z.real, z.imag], axis=1)


def sinusoids(length, width):
  embedding = np.zeros((length, width))
  for t in range(length):
    for i in range(width // 2):
      angle = t / 10_000 ** (2 * i / width)
      embedding[t, i], embedding[t, i + width // 2] = math.sin(angle), math.cos(angle)
  return embedding


def alibi_slope(head, num_heads):
  """Returns 2^(-8 (h + 1) / H): the paper's rule for powers of two."""
  return 2.0 ** (-8.0 * (head + 1) / num_heads)


def _gelu_tanh(x):
  return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _gelu_exact(x):
  return x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def _relu(x):
  return np.where(x > 0, x, 0.0)


def _silu(x):
  return x / (1 + np.exp(-x))


ACTIVATIONS = {
  'gelu': _gelu_tanh, 'gelu_exact': _gelu_exact, 'relu': _relu, 'silu': _silu,
  'relu2': lambda x: _relu(x) ** 2,
  'swiglu': _silu, 'geglu': _gelu_tanh, 'reglu': _relu,
}  # fmt: skip


def _linear(params, x):
  return x @ params['kernel'] + params.get('bias', 0.0)


def _project(params, x_TD, head):
  bias = params['bias'][head] if 'bias' in params else 0.0
  return x_TD @ params['kernel'][:, head] + bias


def _band(allowed_TS, layer):
  if layer == 'global':
    return allowed_TS
  width = int(layer.removeprefix('local:'))
  index = np.arange(len(allowed_TS))
  return allowed_TS & (np.abs(index[:, None] - index[None]) < width)


def _as_float64(tree):
  if isinstance(tree, dict):
    return {name: _as_float64(branch) for name, branch in tree.items()}
  return np.asarray(tree, np.float64)
