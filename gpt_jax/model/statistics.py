"""Statistics of what lies between a model's tokens and its loss, layer by layer.

`logging.statistics` names entries of STATISTICS or plug-ins. The model shows each the
places that it reduces (`Attention`, `Stream`; the program adds `Logits`), and keeps the
sums alone: no intermediate leaves its layer. A model that watches none is the same
program as before.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.attention import dense
from gpt_jax.attention.masks import Mask
from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.types import Array

COLLECTION = 'statistics'
_QUERIES = 512  # whose scores exist at once, about


@dataclasses.dataclass(frozen=True, eq=False)
class Statistic:
  """Sums over the intermediates of a batch, and the numbers that they make."""

  # Place ('attention', 'stream', 'logits') -> (its view) -> {name: float32 array}.
  reduce: Mapping[str, Callable[[Any], dict[str, Any]]]
  # Those of one layer as float64 -> {suffix of the name, '' for none: number}.
  finish: Callable[[dict[str, np.ndarray]], dict[str, float]]
  # Of parts of the batch, along the first axis of each array.
  combine: Callable[[Array], Array] = functools.partial(jnp.sum, axis=0)
  # {'layer_0/suffix': number} -> the number of the statistic as a whole.
  overall: Callable[[dict[str, float]], float] | None = None


Watched = tuple[
  tuple[str, Statistic], ...
]  # by the names under which they are recorded


@dataclasses.dataclass(frozen=True)
class Attention:
  """What attention reads: queries and keys after norm and rotation."""

  q_BHTK: Array
  k_BGTK: Array
  mask: Mask  # window and ALiBi's slopes included
  tokens_BT: Array
  scale: float
  softcap: float  # 0: none

  def by_queries(self, function, combine):
    """Returns `function(scores_BHTS, allowed_BTS, query_T)`, by blocks of queries.

    Args:
      function: of the float32 scores that the softmax reads (near the lowest float32
        where a key is hidden), which keys a query sees, and the queries' indices.
      combine: of the blocks, along a new first axis of its arrays.
    """
    B, H, T, _ = self.q_BHTK.shape
    size = max(n for n in range(1, min(T, _QUERIES) + 1) if T % n == 0)

    def of_block(start):
      q_BHTK = jax.lax.dynamic_slice_in_dim(self.q_BHTK, start, size, axis=2)
      mask = self.mask.tile(start, 0, size, T)
      scores = dense.masked_scores(
        q_BHTK, self.k_BGTK, mask, scale=self.scale, softcap=self.softcap
      )
      scores_BHTS = scores.reshape(B, H, size, T)
      return function(scores_BHTS, mask.allowed(size, T), start + jnp.arange(size))

    return jax.tree.map(combine, jax.lax.map(of_block, jnp.arange(0, T, size)))


@dataclasses.dataclass(frozen=True)
class Stream:
  """The residual stream, after the embedding or after a layer."""

  x_BTD: Array
  mask: Mask

  @property
  def weights_BT(self):
    """1.0 for a token, 0.0 for padding."""
    return weights(self.mask, self.x_BTD.shape[:2])


@dataclasses.dataclass(frozen=True)
class Logits:
  """Float32 logits over the vocabulary, ids that only pad it left out."""

  logits_BTV: Array
  weights_BT: Array  # 1.0 for a token, 0.0 for padding


def weights(mask, shape_BT):
  """Returns 1.0 for each token of a row and 0.0 for padding, float32 [B, T]."""
  if mask.segments_BT is None:
    return jnp.ones(shape_BT, jnp.float32)
  return (mask.segments_BT != 0).astype(jnp.float32)


def show(module, watched, place, make_view):
  """Sows the sums of `watched` at a place of the model, if there are any."""
  readers = [(name, one.reduce[place]) for name, one in watched if place in one.reduce]
  if readers and module.is_mutable_collection(COLLECTION):
    view = make_view()
    for name, reduce in readers:
      module.sow(
        COLLECTION, name, reduce(view), reduce_fn=lambda _, new: new, init_fn=dict
      )


def _highest(view):
  def of_block(scores_BHTS, allowed_BTS, query_T):
    del query_T
    seen_BHTS = jnp.broadcast_to(allowed_BTS[:, None], scores_BHTS.shape)
    return {'highest': jnp.max(scores_BHTS, where=seen_BHTS, initial=-jnp.inf)}

  return view.by_queries(of_block, _max)


def _squares(values_BTC, weights_BT):
  mean_BT = jnp.square(values_BTC.astype(jnp.float32)).mean(-1)
  return {'squares': jnp.sum(weights_BT * mean_BT), 'tokens': jnp.sum(weights_BT)}


def _prefix_matches(view):
  def of_block(scores_BHTS, allowed_BTS, query_T):
    # Key s stands after a token that equals the query's; both are visible to it.
    tokens_BS = view.tokens_BT
    before_BS = jnp.pad(tokens_BS[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    is_match_BTS = tokens_BS[:, query_T, None] == before_BS[:, None, :]
    is_match_BTS &= jnp.arange(tokens_BS.shape[1]) <= query_T[:, None]
    shown_before_BTS = jnp.pad(allowed_BTS[:, :, :-1], ((0, 0), (0, 0), (1, 0)))
    is_match_BTS &= allowed_BTS & shown_before_BTS
    weights_BHTS = jax.nn.softmax(scores_BHTS, axis=-1)
    matched_H = jnp.einsum(
      'BHTS,BTS->H', weights_BHTS, is_match_BTS.astype(jnp.float32)
    )
    queries = jnp.sum(is_match_BTS.any(-1).astype(jnp.float32))
    return {'matched': matched_H, 'queries': queries}

  return view.by_queries(of_block, functools.partial(jnp.sum, axis=0))


def _shares_of_heads(sums):
  shares = sums['matched'] / (sums['queries'] or np.nan)
  return {f'head_{i}': float(share) for i, share in enumerate(shares)}


def _log_z(view):
  log_z_BT = jax.nn.logsumexp(view.logits_BTV, axis=-1)

  def total(values_BT):
    return jnp.sum(view.weights_BT * values_BT)

  return dict(
    log_z=total(log_z_BT), squares=total(log_z_BT**2), tokens=view.weights_BT.sum()
  )


def _rms(sums):
  return float(np.sqrt(sums['squares'] / sums['tokens']))


_max = functools.partial(jnp.max, axis=0)

STATISTICS = {
  'max_attention_logit': Statistic(
    reduce={'attention': _highest},
    finish=lambda sums: {'': float(sums['highest'])},
    combine=_max,
    overall=lambda found: max(found.values()),
  ),
  'residual_rms': Statistic(
    reduce={
      'stream': lambda view: _squares(view.x_BTD, view.weights_BT),
      'logits': lambda view: _squares(view.logits_BTV, view.weights_BT),
    },
    finish=lambda sums: {'': _rms(sums)},
  ),
  'prefix_matching': Statistic(
    reduce={'attention': _prefix_matches},
    finish=_shares_of_heads,
    overall=lambda found: max(found.values()),
  ),
  'log_z': Statistic(
    reduce={'logits': _log_z},
    finish=lambda sums: {
      '': float(sums['log_z'] / sums['tokens']), 'rms': _rms(sums)
    },
    overall=lambda found: found['logits'],
  ),
}  # fmt: skip
"""max_attention_logit: the highest score that a softmax reads, scale, soft-cap and
ALiBi included (Wortsman et al., arXiv:2309.14322, section 3.1). residual_rms: of the
stream after the embedding and after each layer, and of the logits: the coordinate check
of muP (arXiv:2203.03466, appendix D). prefix_matching: of each head, the attention from
a token to those that followed its earlier occurrences in the row, mean over tokens that
have any (Olsson et al., arXiv:2209.11895). log_z: mean and root mean square of the
logits' log-sum-exp."""


def choose(names):
  """Returns the entries that `logging.statistics` lists, as Watched."""
  found = {}
  for name in names:
    entry = registry.lookup(STATISTICS, name, 'logging.statistics')
    if not isinstance(entry, Statistic):
      raise ConfigError(
        f'logging.statistics={name!r}: is a {type(entry).__name__}; expected a'
        ' gpt_jax.model.statistics.Statistic.'
      )
    found[name.rpartition(':')[2]] = entry
  return tuple(found.items())


def finished(watched, sown, logits, pattern_length):
  """Returns `{'statistics/NAME/PLACE/SUFFIX': number}`, plain floats.

  PLACE is embed, layer_0, layer_1, ... or logits; the number of a whole statistic has
  its NAME alone.

  Args:
    sown: the collection after a forward pass, as NumPy arrays.
    logits: `{name: sums}` of the logits.
    pattern_length: how many layers a group has, `len(cfg.layer_pattern)`.
  """
  places = _places(sown, pattern_length)
  result = {}
  for name, statistic in watched:
    sums = places.get(name, {})
    if name in logits:
      sums = sums | {'logits': logits[name]}
    found = {}
    for place, values in sums.items():
      values = {key: np.asarray(value, np.float64) for key, value in values.items()}
      for suffix, number in statistic.finish(values).items():
        found[f'{place}/{suffix}' if suffix else place] = float(number)
    result |= {f'statistics/{name}/{place}': number for place, number in found.items()}
    if statistic.overall is not None and found:
      result[f'statistics/{name}'] = float(statistic.overall(found))
  return result


def _places(sown, pattern_length):
  """Returns `{name: {place: {key: array}}}`, layers in their order."""
  found: dict[str, dict[int, dict[str, Any]]] = {}

  def add(name, layer, key, value):
    found.setdefault(name, {}).setdefault(layer, {})[key] = value

  for path, value in jax.tree_util.tree_leaves_with_path(sown):
    *modules, name, key = (part.key for part in path)
    if not modules:
      add(name, -1, key, value)
      continue
    group, member = modules[0], int(modules[1].removeprefix('block_'))
    if group == 'layers':  # scanned: the first axis
      for i, part in enumerate(value):
        add(name, i * pattern_length + member, key, part)
    else:
      first = int(group.removeprefix('layers_')) * pattern_length
      add(name, first + member, key, value)
  return {
    name: {
      'embed' if layer < 0 else f'layer_{layer}': sums
      for layer, sums in sorted(layers.items())
    }
    for name, layers in found.items()
  }
