"""How much faster a step of many runs together is than their steps one by one.

  python -m gpt_jax.execution.vectorized_bench experiments/entropy_floor.py --runs=1,4,8

The first point of the experiment with as many seeds, on random tokens: in each round
every run makes its step alone, in turn, then all make it together; medians over the
rounds are shown. Compilation, data and evaluation are not in it. The speed-up is one of
wall time, for idle cores; that of processor time is also right on a busy machine, and
says what a step of one run saves without its waiting for other cores.
"""

import argparse
import os
import statistics
import time

import jax
import numpy as np

from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import inputs
from gpt_jax.program import literals, stacked
from gpt_jax.program.batches import put_batch
from gpt_jax.sweeps import points
from gpt_jax.tracking import console


def measure(config, num_runs, rounds=5, steps=4):
  """Returns [(one by one, together)] of the rounds, for a step of all runs.

  Each is (ms on the clock, ms of all cores of this process).
  """
  program = inputs.make_program(
    config, make_mesh(config.parallel.mesh, jax.local_devices()[:1])
  )
  shapes = inputs.abstract_batch(program)
  rng = np.random.default_rng(0)
  ids = inputs.vocabulary(config).size
  rows = [
    {name: rng.integers(0, ids, s.shape, np.int32) for name, s in shapes.items()}
    for _ in range(num_runs)
  ]
  states = [program.init(seed) for seed in range(num_runs)]
  stack = stacked.Stack(states)
  strip = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
    (program.abstract_state, shapes),
  )
  traced = literals.trace(program.step.__wrapped__, *strip)
  batches, remat = dict(enumerate(rows)), program.config.model.remat

  def one_by_one():
    for i in range(num_runs):
      states[i], metrics = program.step(states[i], put_batch(program, rows[i]))
    return metrics

  def together():
    return stack.step('step', lambda: [traced] * num_runs, batches, remat)

  found = [[_ms(step, steps) for step in (one_by_one, together)] for _ in range(rounds)]
  return found[1:]  # the first round compiles


def _ms(step, steps):
  begin = time.perf_counter(), time.process_time()
  for _ in range(steps):
    metrics = step()
    jax.block_until_ready(metrics)
  end = time.perf_counter(), time.process_time()
  return [
    (after - before) / steps * 1e3 for before, after in zip(begin, end, strict=True)
  ]


def main(arguments=None):
  parser = argparse.ArgumentParser(
    prog='python -m gpt_jax.execution.vectorized_bench', description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )  # fmt: skip
  parser.add_argument('file', metavar='FILE', help='an experiment file')
  parser.add_argument('--size', default='quick')
  parser.add_argument('--runs', default='1,2,4,8', help='numbers of runs')
  parser.add_argument('--rounds', type=int, default=6)
  args = parser.parse_args(arguments)
  if hasattr(os, 'sched_getaffinity'):
    jax.config.update('jax_num_cpu_devices', len(os.sched_getaffinity(0)))
  point = points.open_study(args.file, args.size).points[0]
  table = []
  for num_runs in map(int, args.runs.split(',')):
    found = measure(point.config, num_runs, args.rounds)
    line = [num_runs]
    for clock in (0, 1):
      times = [(alone[clock], together[clock]) for alone, together in found]
      ratios = [alone / together for alone, together in times]
      line += [
        *map(statistics.median, zip(*times, strict=True)),
        statistics.median(ratios),
      ]
      line += [min(ratios), max(ratios)] if clock == 0 else []
    table.append(line)
  heads = [
    'runs', 'ms one by one', 'ms together', 'speed-up', 'least', 'most',
    'CPU ms one by one', 'CPU ms together', 'CPU speed-up',
  ]  # fmt: skip
  console.table(f'{point.name}: a step of all runs', heads, table)


if __name__ == '__main__':
  main()
