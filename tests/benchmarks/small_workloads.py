"""Programs and workloads small enough to time in a test."""

import jax

from gpt_jax.benchmarks.workload import make_workload
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import inputs
from gpt_jax.program.build import build_program
from tests import tiny_runs

TINY_PEAK = (16, 4096)


def make_program(overrides=None):
  """Returns the Program of a tiny config with one layer, on one device."""
  config = tiny_runs.tiny_config({'model.num_layers': 1, **(overrides or {})})
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  return build_program(config, vocab=inputs.vocabulary(config), mesh=mesh)


def make_timed(workdir, overrides=None):
  """Returns the Workload of that Program."""
  program = make_program(overrides)
  shapes = inputs.abstract_batch(program)
  return make_workload(program, shapes, num_ids=16, workdir=workdir)
