"""Checkpoints of runs that train few parameters: with their base, or merged into it."""

import contextlib
import functools
import os
import shlex

import jax

from gpt_jax import peft
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError
from gpt_jax.interop import open_model
from gpt_jax.model.gpt import GPT
from gpt_jax.model.heads import make_head
from gpt_jax.objectives import describe
from gpt_jax.program import build, init_from, setup
from gpt_jax.program.base import Base
from gpt_jax.program.converted_reader import ConvertedReader
from gpt_jax.program.unpacked_reader import UnpackedReader
from gpt_jax.quantization import packed
from gpt_jax.storage import objects
from gpt_jax.workdir.paths import Workdir


def open_source(path, dtype=None):
  """Returns the open checkpoints of a run, or a pretrained model of others.

  A run with an adapter is its plain model, kernels in few bits are in full. `dtype`:
  of the parameters of a pretrained one.
  """
  if open_model.is_model(path):
    return open_model.open_model(path, dtype)
  store, saved = open_run(path), Workdir(path).read_config() or {}
  if not saved.get('peft', {}).get('name'):
    is_stored = saved.get('model', {}).get('quantization', 'none') != 'none'
    if is_stored or saved.get('model', {}).get('quantized_embedding'):
      return UnpackedReader(store, saved['model']['param_dtype'])
    return store
  return MergedReader(store, setup.read_config(path))


def open_run(path):
  """Returns the open checkpoints of a run, as they are saved."""
  folder = Workdir(path).checkpoints
  if not objects.is_folder(folder):
    raise CheckpointError(
      f'init_from={path!r}: no checkpoints there; expected the workdir of a run, the'
      ' folder of a Hugging Face model, or a GGUF file.'
    )
  kept = (Workdir(path).read_config() or {}).get('checkpoint', {})
  return CheckpointReader(
    folder,
    kept.get('best_metric', ''),
    kept.get('keep_best', 0),
    kept.get('best_mode', 'min'),
  )


def read_adapted(store, step, item, base, leaves):
  """Returns {name: array} of a step that holds only what trains, and of its Base.

  Args:
    item: 'params' or 'ema', in which frozen ones that the adapter adds are missing.
    leaves: ShapeDtypeStructs with shardings, by name; own dtypes are as saved.
  """
  found = {}
  for each in dict.fromkeys(('params', item)):
    saved = dict(pytree.named_leaves(store.abstract(step, each)))
    own = {
      name: jax.ShapeDtypeStruct(
        saved[name].shape, saved[name].dtype, sharding=leaf.sharding
      )
      for name, leaf in leaves.items()
      if name in saved
    }
    if own.keys() == saved.keys():  # a store that writes, too, reads whole items only
      tree = store.restore(step, {each: pytree.nested(own)})[each]
      found |= dict(pytree.named_leaves(tree))
    elif own:
      found |= store.restore_leaves(step, each, own)
  rest = {name: leaf for name, leaf in leaves.items() if name not in found}
  wanted = [name for name in rest if not packed.is_part(name)]
  if unknown := [name for name in wanted if name not in base.sources]:
    raise CheckpointError(f'{store.directory}/{step}: has no {unknown[0]}.')
  if not rest:
    return found
  return found | read_base(base, path_of_base(store), rest, store.directory.parent)


def path_of_base(store):
  """Returns init_from of the run of `store`, which may have moved since it began."""
  return (Workdir(store.directory.parent).read_config() or {}).get('init_from', '')


def read_base(base, path, leaves, place):
  """Returns {name: array} of parameters of a Base, placed as `leaves` say.

  `path`: where it is now; '': where it was. `place`: the run, for errors.
  """
  path = path or base.source
  with _named(place, path), open_source(path, base.dtype) as source:
    return base.read(source, path, leaves)


@contextlib.contextmanager
def _named(place, path):
  """Says of a CheckpointError whose base it is about, and how to name another place."""
  try:
    yield
  except CheckpointError as error:
    way_out = f'gpt-jax checkpoint rebase --workdir={shlex.quote(str(place))}'
    if 'checkpoint rebase' in str(error):  # of the base's own base
      raise
    is_relative = '://' not in str(path) and not os.path.isabs(path)
    raise CheckpointError(
      f'{place}: its base cannot be read from {path}'
      + (f', seen from {os.getcwd()}' if is_relative else '')
      + f': {error} If it is elsewhere now, say so once: {way_out} --base=MODEL'
    ) from error


class MergedReader(ConvertedReader):
  """What a CheckpointReader has, with the adapter merged into the base.

  Its steps, records and best step are those of the run. Raises CheckpointError where
  the adapter cannot be merged.
  """

  def __init__(self, store, config):
    """Takes an open CheckpointReader and the Config of its run."""
    adapter = peft.make_adapter(config)
    assert adapter
    if adapter.merged is None:
      raise CheckpointError(
        f'{store.directory.parent}: peft.name={config.peft.name!r} cannot be merged'
        ' into a plain model: it computes what no plain model does. Evaluate, predict'
        ' and generate take the run as it is; to train it on:'
        f' --config.peft.init_from={store.directory.parent}, without init_from; of'
        ' prefixes and prompts gpt-jax export --format=peft writes the adapter.'
      )
    if adapter.storage is not None:
      raise CheckpointError(
        f'{store.directory.parent}: peft.base_storage={config.peft.base_storage!r}: the'
        ' adapter was trained beside kernels in few bits; merged into the base in full'
        ' it would be another model than the one that was scored. Evaluate, predict,'
        ' generate and gpt_jax.load take the run as it is; to train it on, use'
        f' --config.peft.init_from={store.directory.parent}, without init_from. For a'
        ' model to merge, train it with --config.peft.base_storage=as_is, in a new'
        ' workdir.'
      )
    super().__init__(store)
    self._adapter, self._merges = adapter, adapter.merged
    head = make_head(config, describe(config).num_outputs)
    model = GPT(config.model, task_head=head)
    plain = jax.eval_shape(functools.partial(build.init_params, model=model), 0)
    self._plain = dict(pytree.named_leaves(plain))

  def abstract(self, step, item, sharding=None):
    """Returns the tree of ShapeDtypeStructs of the plain model."""
    del step, item
    return pytree.nested(
      {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
        for name, leaf in self._plain.items()
      }
    )

  def restore_leaves(self, step, item, leaves):
    """Returns `{name: array}` of some parameters, placed as ShapeDtypeStructs say."""
    merges, found = self._merges, {}
    parts = {one for name in leaves if name in merges for one in merges[name].names}
    everywhere = init_from.replicated(next(iter(leaves.values())).sharding)
    wanted = {
      name: jax.ShapeDtypeStruct(
        leaf.shape,
        leaf.dtype,
        sharding=leaves[name].sharding if name in leaves else everywhere,
      )
      for name, leaf in (self._plain | dict(self._adapter.added)).items()
      if name in parts or name in leaves
    }
    base = Base.of_step(self._store, step)
    arrays = read_adapted(self._store, step, item, base, wanted)
    for name, leaf in leaves.items():
      if name in merges:
        make = jax.jit(merges[name].make, out_shardings=leaf.sharding)
        found[name] = make(*(arrays[one] for one in merges[name].names))
      else:
        found[name] = arrays[name]
    return found
