"""A model with its parameters bound: what losses and metrics call."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from gpt_jax.core.types import PyTree
from gpt_jax.model import exits, statistics
from gpt_jax.model.gpt import GPT
from gpt_jax.program import embedding_hook


@dataclasses.dataclass(frozen=True, eq=False)
class Forward:
  """`forward(inputs_BT, mask, positions_BT)` returns the model's outputs, float32.

  They are [B, T, V] logits, or the [B, T, C] outputs of the task head.
  """

  model: GPT
  params: PyTree
  dropout_rng: jax.Array | None = None  # None: no dropout
  step: jax.Array | None = None  # of the training; None: an evaluation
  has_auxiliary_losses: bool = False
  references: Mapping[str, 'Forward'] = dataclasses.field(default_factory=dict)
  """Other models by name, such as a teacher; they get no gradient."""
  embedding_changes: tuple[Callable, ...] = ()
  """Of the embedded tokens, in this order; see `embedding_hook.applied`."""
  _auxiliary: list = dataclasses.field(default_factory=list)
  _watched: list | None = None  # the streams of its call; None: nobody watches

  def __call__(self, inputs_BT, mask=None, positions_BT=None, token_types_BT=None):
    return self._apply(inputs_BT, mask, positions_BT, None, token_types_BT)[0]

  def hidden(self, inputs_BT, mask=None, positions_BT=None, token_types_BT=None):
    """Returns (x_BTD, head_VD): the stream after the last norm, and `GPT.hidden`'s."""
    inputs = inputs_BT, mask, positions_BT, None, token_types_BT  # without a cache
    return self._apply(*inputs, method='hidden')[:2]

  def streams(self, inputs_BT, mask=None, positions_BT=None, drop_rate_L=None):
    """Returns (streams_LBTD, what `hidden` returns): the stream after each layer.

    In training, rows skip whole layers at `drop_rate_L`.
    """
    model = self.model.clone(watched=exits.WATCHED)
    (x_BTD, head_VD, _), sown = self._apply(
      inputs_BT, mask, positions_BT, method='hidden', model=model,
      sown=(statistics.COLLECTION,), drop_rate_L=drop_rate_L,
    )  # fmt: skip
    streams_LBTD = exits.stack(sown[statistics.COLLECTION], model.cfg)
    return streams_LBTD, (x_BTD, head_VD)

  def watching(self):
    """Returns this Forward, whose one call of the model leaves its `streams_LBTD`."""
    model = self.model.clone(watched=exits.WATCHED)
    return dataclasses.replace(self, model=model, _watched=[])

  @property
  def streams_LBTD(self):
    """The stream after each layer, of the call that was watched."""
    assert self._watched is not None
    (streams_LBTD,) = self._watched
    return streams_LBTD

  def task_head(self, x):
    """Returns the task head's outputs for a pooled stream, [..., D] -> [..., C]."""
    return self.model.apply({'params': self.params}, x, method='apply_task_head')

  def with_changes(self, *changes):
    """Returns this Forward with `changes` of embeddings before those it has."""
    changes = (*changes, *self.embedding_changes)
    return dataclasses.replace(self, embedding_changes=changes)

  def with_dropout(self, rng):
    """Returns a Forward with its own dropout and auxiliary loss."""
    return dataclasses.replace(self, dropout_rng=rng, _auxiliary=[])

  def add_auxiliary_loss(self, value):
    """Counts `value` as if a module had sown it."""
    self._auxiliary.append(value)

  @property
  def auxiliary_loss(self):
    """The sum of what modules have sown into 'losses' in all calls until now."""
    return sum(self._auxiliary, 0.0)

  def _apply(self, *inputs, method='__call__', model=None, sown=(), **settings):
    """Returns the result of `method`; with `sown`, (it, these collections)."""
    watches = [] if self._watched is None else [statistics.COLLECTION]
    mutable = [*sown, *watches, *(['losses'] if self.has_auxiliary_losses else [])]
    with embedding_hook.applied(self.embedding_changes):
      result = (model or self.model).apply(
        {'params': self.params},
        *inputs,
        deterministic=self.dropout_rng is None,
        rngs=None if self.dropout_rng is None else {'dropout': self.dropout_rng},
        mutable=mutable or False,
        method=method,
        **settings,
      )
    if not mutable:
      return result
    result, variables = result
    if self.has_auxiliary_losses:
      leaves = jax.tree.leaves(variables.get('losses', {}))
      self._auxiliary.append(sum(jnp.sum(leaf) for leaf in leaves))
    if self._watched is not None:
      sown_now = variables[statistics.COLLECTION]
      self._watched.append(exits.stack(sown_now, self.model.cfg))
    return (result, variables) if sown else result
