"""Many runs as one program: their states stacked, a step of all of them at once.

Runs are spread over the devices, each with its share, and never talk to each other. On
an accelerator a device computes its runs together, by `vmap`; on CPU cores one after
the other, since matmuls with a batch of weights are slower there than single ones.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt_jax.parallel.compiler_options import options_for
from gpt_jax.program import literals

RUNS = 'runs'


class Stack:
  """The states of runs of one structure, one array for each leaf, over the devices."""

  def __init__(self, states, devices=None):
    devices = (jax.local_devices() if devices is None else devices)[: len(states)]
    self.mesh = Mesh(np.asarray(devices), (RUNS,))
    self.num_runs = len(states)
    # Of equal shares on all devices; those added are never active.
    self.size = -(-len(states) // len(devices)) * len(devices)
    self._over_runs = NamedSharding(self.mesh, PartitionSpec(RUNS))
    self._everywhere = NamedSharding(self.mesh, PartitionSpec())
    self._home = jax.tree.map(lambda leaf: leaf.sharding, states[0])
    self._take = jax.jit(_take, out_shardings=self._everywhere)
    self._put = jax.jit(_put, donate_argnums=0, out_shardings=self._over_runs)
    self._programs = {}
    padded = [*states, *[states[0]] * (self.size - self.num_runs)]
    self._states = jax.device_put(jax.jit(_stack)(*padded), self._over_runs)

  def take(self, index):
    """Returns the state of the run at `index`, where that run would have it alone."""
    return jax.device_put(self._take(self._states, index), self._home)

  def put(self, index, state):
    """Replaces the state of the run at `index`."""
    state = jax.device_put(state, self._everywhere)
    self._states = self._put(self._states, index, state)

  def step(self, key, trace_all, batches, remat='none'):
    """Returns the metrics of all runs, stacked, after a step of some.

    Args:
      key: of the program, which is compiled at its first use.
      trace_all: `() -> literals.Traced` of the step of each run, asked for only then.
      batches: {index of a run: its batch on the host}; the others stay as they are.
      remat: model.remat of the runs.
    """
    if key not in self._programs:
      self._programs[key] = self._compile(trace_all(), remat)
    program, numbers = self._programs[key]
    template = next(iter(batches.values()))
    rows = [batches.get(i, template) for i in range(self.size)]
    batch = {name: np.stack([one[name] for one in rows]) for name in template}
    active = np.array([i in batches for i in range(self.size)])
    batch, active = jax.device_put((batch, active), self._over_runs)
    self._states, metrics = program(numbers, self._states, batch, active)
    return metrics

  def _compile(self, traced, remat):
    # Shardings of a single run, on its device, say nothing of the devices of all.
    lifted = literals.lift(traced, keeps_shardings=False)
    of_runs = [lifted.numbers(one) for one in traced]
    of_runs += of_runs[:1] * (self.size - self.num_runs)
    numbers = jax.tree.map(lambda *leaves: np.stack(leaves), *of_runs)
    one_by_one = self.mesh.devices.flat[0].platform == 'cpu'
    share = functools.partial(_in_turn if one_by_one else _at_once, lifted)
    spec = PartitionSpec(RUNS)
    program = jax.shard_map(
      share, mesh=self.mesh, in_specs=spec, out_specs=spec, check_vma=False
    )
    options = options_for(self.mesh, remat)
    jitted = jax.jit(program, donate_argnums=1, compiler_options=options)
    return jitted, jax.device_put(numbers, self._over_runs)


def _at_once(lifted, numbers, states, batches, active):
  """Returns (states, metrics) after a step of the active runs of a device."""

  def step(numbers, state, batch, is_active):
    after, metrics = lifted(numbers, state, batch)
    pick = functools.partial(jnp.where, is_active)
    return jax.tree.map(pick, after, state), metrics

  return jax.vmap(step)(numbers, states, batches, active)


def _in_turn(lifted, numbers, states, batches, active):
  """As `_at_once`, one run after the other; those that are not active cost nothing."""

  def step(run):
    numbers, state, batch, is_active = run
    shapes = jax.eval_shape(lifted, numbers, state, batch)[1]

    def stay(numbers, state, batch):
      return state, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    return jax.lax.cond(is_active, lifted, stay, numbers, state, batch)

  return jax.lax.map(step, (numbers, states, batches, active))


def _stack(*states):
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def _take(stacked, index):
  return jax.tree.map(lambda leaf: leaf[index], stacked)


def _put(stacked, index, state):
  return jax.tree.map(lambda leaf, new: leaf.at[index].set(new), stacked, state)
