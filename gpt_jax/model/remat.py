"""What the backward pass recomputes (`model.remat`), and when it may begin."""

import flax.linen as nn
import jax

from gpt_jax.model.statistics import COLLECTION

# Value of `model.remat` -> what is saved: nothing, matmul results, named arrays.
POLICIES = {
  'full': None,
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  'names': jax.checkpoint_policies.save_only_these_names(
    'query', 'key', 'value', 'attended', 'mlp_up', 'mlp_gate'
  ),
}

ALL_BUT_CONSTANTS = 'all but constants'
"""`none` for a model with kernels that are unpacked where they are used: they are made
again. Else the backward pass would have those of all layers in full."""


def _is_saved(primitive, *avals, **params):
  # A call with a derivative of its own is one operation to a policy where nothing is
  # differentiated by its inputs, and has become its forward pass elsewhere. To name an
  # array does not do: what the name is given to would be saved.
  del avals, params
  return primitive.name != 'custom_vjp_call'


_POLICIES = POLICIES | {ALL_BUT_CONSTANTS: _is_saved}


def remat_block(block_class, cfg, i):
  """Returns `block_class` with the config's remat, for place `i` of the pattern."""
  if cfg.remat not in _POLICIES:
    return block_class
  # The barrier keeps XLA from merging what is recomputed with the forward pass, which
  # a scan keeps apart anyway, and from recomputing a block before its turn. The last
  # one of the pattern comes first there: it would only delay its weights' gather.
  last = i == len(cfg.layer_pattern) - 1
  prevent_cse = not (cfg.scan_layers and last)
  return nn.remat(block_class, policy=_POLICIES[cfg.remat], prevent_cse=prevent_cse)


def apply_scanned(model, layers, x_BTD, caches, *rest):
  """Returns `layers(x_BTD, caches, *rest)` of a GPT whose layers are scanned.

  Across TPU slices with remat full, gradients through dropout have to be taken inside a
  jit or scan, not around one, since flax closes over its key.
  """
  # Other remat policies lose by it (experiments/LOG.md), and flax would drop gradients
  # through captured intermediates and auxiliary losses.
  captured = any(
    map(model.is_mutable_collection, ('intermediates', 'losses', COLLECTION))
  )
  across_slices = model.rules is not None and model.rules.spans_slices
  if across_slices and model.cfg.remat == 'full' and caches is None and not captured:
    return _with_late_backward(layers, x_BTD, *rest), None
  return layers(x_BTD, caches, *rest)


def _with_late_backward(layers, x_BTD, *rest):
  # Between slices XLA:TPU peels the first iteration off the backward loop and gathers
  # its weights as soon as they are at hand: before the loss, among too little work to
  # hide that. A barrier holds all that the backward pass reads until its cotangent is
  # there. Weights are cast again then, instead of being kept in the dtype of the
  # matmuls from the forward pass (numbers: experiments/LOG.md).

  def run(layers, x_BTD, *rest):
    return layers(x_BTD, None, *rest)[0]

  def backward(vjp, cotangent_BTD):
    vjp, cotangent_BTD = jax.lax.optimization_barrier((vjp, cotangent_BTD))
    return vjp(cotangent_BTD)

  def forward(*primals):
    return nn.vjp(run, *primals)

  return nn.custom_vjp(run, forward, backward)(layers, x_BTD, *rest)
