"""Parameters and states from the checkpoints of a run: which step, averaged or not."""

import shlex

import jax
import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError
from gpt_jax.program.adapted_checkpoints import read_adapted
from gpt_jax.program.base import Base
from gpt_jax.program.reference_errors import named_reference
from gpt_jax.workdir.paths import Workdir


def choose_step(store, step=None):
  """Returns `step`, or the newest valid one; CheckpointError where there is none."""
  step = store.latest_valid_step() if step is None else step
  if step is None:
    workdir = shlex.quote(str(store.directory.parent))
    raise CheckpointError(
      f'{store.directory} holds no finished step. `gpt-jax train` with'
      f' --workdir={workdir} saves them, and resumes where it was.'
    )
  return step


def load_params(store, abstract_params, *, step=None, tokenizer=None, averaged=True):
  """Returns (parameters, step) from the checkpoints `store` of a run.

  Args:
    abstract_params: ShapeDtypeStructs with shardings.
    step: default: the newest valid one.
    tokenizer: has to be that of the checkpoint; None: not compared.
    averaged: prefer the exponential moving average, where the run keeps one.
  """
  step = choose_step(store, step)
  if tokenizer is not None:
    check_tokenizer(store, step, tokenizer)
  item = 'ema' if averaged and 'ema' in store.items(step) else 'params'
  if (base := Base.of_step(store, step)) is not None:
    leaves = dict(pytree.named_leaves(abstract_params))
    return pytree.nested(read_adapted(store, step, item, base, leaves)), step
  if item == 'ema':  # float32, whatever the parameters are (optimizers.ema_init)
    abstract_params = jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(
        leaf.shape, jnp.float32, sharding=leaf.sharding
      ),
      abstract_params,
    )
  return store.restore(step, {item: abstract_params})[item], step


def load_references(program, tokenizer):
  """Returns (parameters of the objective's references or None, steps), both by name.

  Raises CheckpointError for one that another tokenizer has trained.
  """
  from gpt_jax.checkpoints.reader import CheckpointReader  # Orbax, only where needed

  paths = program.references
  if not paths:
    return None, {}
  wanted, found, steps = program.abstract_state.references, {}, {}
  for name, path in paths.items():
    with named_reference(name, path):
      with CheckpointReader(Workdir(path).checkpoints) as store:
        step = choose_step(store)
        theirs = store.read_meta(step)['fingerprints']['tokenizer']
        if theirs != tokenizer.fingerprint:
          raise CheckpointError(
            f'trained with another tokenizer (fingerprint {theirs[:12]}, here'
            f' {tokenizer.fingerprint[:12]}): its ids mean other text; use a run that'
            ' shares the tokenizer.'
          )
        found[name], steps[name] = load_params(store, wanted[name], step=step)
  return found, steps


def load_items(store, step, abstract_items):
  """Returns (items of a train state saved at `step`, whether any became float32).

  Optimizer states that are saved in half precision, as they were for parameters in half
  precision, become float32: the others are restored as they are.
  """
  wanted = abstract_items['train']
  saved = dict(pytree.named_leaves(store.abstract(step, 'train')))

  def as_saved(name, leaf):
    dtype = saved.get(name, leaf).dtype
    if leaf.dtype != jnp.float32 or dtype not in (jnp.bfloat16, jnp.float16):
      return leaf
    return jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=leaf.sharding)

  as_saved_items = abstract_items | {'train': pytree.map_named(as_saved, wanted)}
  items = store.restore(step, as_saved_items)
  items['train'] = jax.tree.map(
    lambda leaf, like: leaf.astype(like.dtype), items['train'], wanted
  )
  is_widened = jax.tree.leaves(as_saved_items['train']) != jax.tree.leaves(wanted)
  return items, is_widened


def check_tokenizer(store, step, tokenizer):
  """Raises CheckpointError when `tokenizer` is not that of the checkpoint `step`."""
  trained = store.read_meta(step)['fingerprints']['tokenizer']
  if trained != tokenizer.fingerprint:
    folder = Workdir(store.directory.parent).tokenizer
    raise CheckpointError(
      f'{folder} ({tokenizer.name}, {tokenizer.vocab_size} ids) is not the tokenizer'
      f' that the checkpoint was trained with: fingerprint {trained[:12]} ->'
      f' {tokenizer.fingerprint[:12]}. Bring the old folder back.'
    )


def embedding_rows(store, step):
  """Returns the rows of the embedding saved at `step`, padding included."""
  if Base.of_step(store, step) is not None:  # a step of what trains alone
    return store.read_meta(step)['config']['model']['vocab_size']
  return store.abstract(step, 'params')['embed']['embedding'].shape[0]
