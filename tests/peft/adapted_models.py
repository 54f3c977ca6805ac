"""Programs of small models with an adapter, none of whose parameters is zero.

`VARIANTS` are what the common tests of `test_methods.py` run over.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax import objectives, peft
from gpt_jax.core import pytree
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import adapter_of, build_program
from tests import tiny_runs

VARIANTS = {
  'lora': {'name': 'lora', 'options.rank': 2},
  'lora_everywhere': {
    'name': 'lora', 'options.rank': 2, 'options.targets': '', 'options.biases': 'all',
  },
  'rslora': {
    'name': 'lora', 'options.rank': 2, 'options.rank_stabilized': True,
    'options.targets': 'mlp', 'options.rank_pattern': {'down': 3},
  },
  'dora': {
    'name': 'lora', 'options.rank': 2, 'options.dora': True, 'options.targets': '',
  },
  'pissa': {
    'name': 'lora', 'options.rank': 2, 'options.init': 'pissa', 'options.targets': '',
  },
  'eva': {
    'name': 'lora', 'options.rank': 3, 'options.init': 'eva', 'options.targets': '',
    'options.init_batches': 2,
  },
  'adapters': {'name': 'adapters', 'options.size': 4},
  'pfeiffer': {
    'name': 'adapters', 'options.size': 4, 'options.placement': 'pfeiffer',
  },
  'parallel': {
    'name': 'adapters', 'options.size': 4, 'options.placement': 'parallel',
    'options.activation': 'silu',
  },
  'ia3': {'name': 'ia3'},
  'bitfit': {'name': 'bitfit'},
  'last_layers': {'name': 'last_layers', 'options.layers': 1},
  'vera': {'name': 'vera', 'options.rank': 5},
  'adalora': {
    'name': 'adalora', 'options.initial_rank': 3, 'options.target_rank': 2,
    'options.warmup_steps': 1, 'options.final_steps': 3, 'options.interval': 2,
  },
  'int8': {'name': 'lora', 'options.rank': 2, 'base_storage': 'int8'},
  'nf4': {
    'name': 'lora', 'options.rank': 2, 'options.dora': True, 'base_storage': 'nf4',
  },
  'prefix': {'name': 'prefix', 'options.length': 3, 'options.hidden': 4},
  'p_tuning_v2': {'name': 'p_tuning_v2', 'options.length': 3},
  'prompt': {'name': 'prompt', 'options.length': 3},
}  # fmt: skip
"""Name -> fields of the section `peft`."""

VOCAB = objectives.Vocab(size=32, eos_id=0)
SETTINGS = tiny_runs.SGD | {
  'optimizer.learning_rate': 0.1, 'model.num_kv_heads': 1, 'model.d_ff': 48,
  'model.activation': 'swiglu', 'model.bias': True, 'model.dtype': 'float32',
}  # fmt: skip
MESH = {'parallel.mesh.fsdp': 2, 'parallel.mesh.tensor': 1, 'parallel.mesh.data': 2}
PROGRAMS = {}


def build(variant, overrides=None, devices=1):
  """Returns the Program of a variant, None: of the plain model; made once."""
  key = repr((variant, sorted((overrides or {}).items()), devices))
  if key not in PROGRAMS:
    fields = {} if variant is None else VARIANTS[variant]
    fields = {f'peft.{name}': value for name, value in fields.items()}
    config = tiny_runs.tiny_config(SETTINGS | fields | (overrides or {}))
    mesh = make_mesh(config.parallel.mesh, jax.devices()[:devices])
    PROGRAMS[key] = build_program(config, vocab=VOCAB, mesh=mesh)
  return PROGRAMS[key]


def state_of(program, seed=0, is_trained=False):
  """Returns a state whose base is drawn by name, the same in every form.

  `is_trained`: what the adapter trains is away from where it starts.
  """
  state, adapter = program.init(seed), adapter_of(program.model)
  added = adapter.added if adapter else {}
  own = dict(pytree.named_leaves(state.params))
  params = pytree.map_named(
    lambda name, leaf: own[name] if name in added else drawn(name, leaf, seed),
    program.parameters,
  )
  if adapter and adapter.storage:
    params = adapter.storage.pack(params)
  if adapter and adapter.begin:
    made = adapter.begin(peft.in_full(adapter, params))
    params = pytree.map_named(
      lambda name, leaf: jnp.asarray(made.get(name, leaf), leaf.dtype), params
    )
  if is_trained:
    params = pytree.map_named(
      lambda name, leaf: (
        leaf + 0.3 * drawn(name, leaf, seed + 1)
        if name in added and added[name].trains
        else leaf
      ),
      params,
    )
  shardings = jax.tree.map(lambda leaf: leaf.sharding, program.abstract_state.params)
  return state.replace(params=jax.device_put(params, shardings))


def drawn(name, leaf, seed):
  """Returns numbers by the name of a parameter, layer by layer."""
  rng = np.random.default_rng([seed, *name.encode()])
  center = 1.0 if name.endswith('scale') else 0.0
  return jnp.asarray(rng.normal(center, 0.2, leaf.shape), leaf.dtype)


def base_of(program, params):
  """Returns `params` without what the adapter adds, kernels in full."""
  adapter = adapter_of(program.model)
  leaves = peft.in_full(adapter, params)
  return pytree.nested(
    {name: leaf for name, leaf in leaves.items() if name not in adapter.added}
  )


def merged(program, params):
  return peft.merge_params(adapter_of(program.model), params)


def logits(program, params, seed=0):
  tokens_BT = np.random.default_rng(seed).integers(0, 32, (2, 16), np.int32)
  return np.asarray(program.model.apply({'params': params}, tokens_BT)[0])


def batch(seed=0):
  tokens = np.random.default_rng(seed).integers(0, 32, (8, 17))
  return {'tokens': tokens.astype(np.int32)}


def steps(program, state, count=3):
  """Returns (the state after `count` steps, the losses)."""
  losses = []
  for seed in range(count):
    state, metrics = program.step(state, batch(seed))
    losses.append(float(metrics['loss']))
  return state, losses
