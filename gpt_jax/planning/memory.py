"""What a step needs of a device: memory by class and buffer, and what is too much."""

import dataclasses
import os
import re

import jax

from gpt_jax.core import pytree
from gpt_jax.hlo import liveness, parser
from gpt_jax.optimizers import trainable

GIB = 2**30
LARGEST = 10
_UNITS = {'K': 2**-20, 'M': 2**-10, 'G': 1.0, 'T': 2**10}  # in GiB


@dataclasses.dataclass(frozen=True)
class Buffer:
  gib: float
  type: str
  kind: str  # 'argument', 'activation' or 'temporary'
  origin: str  # path of a parameter, or of the operation in the model
  source: str
  instruction: str


@dataclasses.dataclass(frozen=True)
class Memory:
  """Memory of one device; None: not known, as the step does not fit."""

  fits: bool
  hbm_gib: float
  total_gib: float | None
  """Arguments, results that do not replace them, and temporaries; without the code."""
  short_gib: float | None
  gib_by_class: dict[str, float]
  largest_buffers: tuple[Buffer, ...] = ()
  schedule_peak_gib: float | None = None
  """Sum of the temporaries that are live together at the peak, by the schedule; what
  XLA takes beyond it is fragmentation."""


def of_compiled(executable, text, arguments, topology):
  """Returns the Memory of a compiled step; `arguments` is `of_arguments`."""
  # The total is XLA's own; activations are read from the schedule in `text`.
  live = liveness.analyze(parser.parse(text), text)
  xla = executable.memory_analysis()
  saved = min(live.saved_bytes, xla.temp_size_in_bytes)
  results = xla.output_size_in_bytes - xla.alias_size_in_bytes
  added = dict(
    activations=saved / GIB,
    temporaries=(xla.temp_size_in_bytes - saved) / GIB,
    results=max(0, results) / GIB,
  )
  total, hbm_gib = sum((arguments | added).values()), _hbm_gib(topology)
  # XLA checks TPUs itself; of CPUs, virtual devices share the memory of the host.
  is_checked = topology.chip is not None
  return Memory(
    fits=is_checked or total <= hbm_gib,
    hbm_gib=hbm_gib,
    total_gib=total,
    short_gib=0.0 if is_checked else max(0.0, total - hbm_gib),
    gib_by_class=arguments | added | dict(code=xla.generated_code_size_in_bytes / GIB),
    largest_buffers=_largest(live),
    schedule_peak_gib=live.peak_bytes / GIB,
  )


def of_error(error, arguments, topology):
  """Returns the Memory of a step that XLA did not compile, None for other errors."""
  message = str(error)
  if 'RESOURCE_EXHAUSTED' not in message and 'Hbm' not in message:
    return None
  short, needed = shortage(message)
  return Memory(False, _hbm_gib(topology), needed, short, arguments)


def of_arguments(state, batch, frozen=frozenset()):
  """Returns {class: GiB on a device} of a train state and a batch, by shape.

  `frozen`: names of the parameters that do not train, a class of their own.
  """
  kept = [leaf for name, leaf in pytree.named_leaves(state.params) if name in frozen]
  return dict(
    parameters=_gib_per_device(trainable.select(state.params, frozen)),
    frozen=_gib_per_device(kept),
    optimizer=_gib_per_device(state.opt_state),
    average=_gib_per_device(state.ema),
    references=_gib_per_device((state.references, state.start)),
    batch=_gib_per_device(batch),
  )


def shortage(message):
  """Returns (GiB missing, GiB needed) on a device, from XLA's refusal to compile.

  Either is None where the message has no number. XLA gives up at the first sum that is
  too large, so both are lower bounds.
  """
  size = r'\(?(\d+(?:\.\d+)?)([KMGT])\)?'
  found = re.search(rf'[Uu]sed {size} of {size}', message) or re.search(
    rf'{size}[^.()]*exceeds[^.()]*{size}', message
  )
  if not found:
    return None, None
  needed, available = (float(found[i]) * _UNITS[found[i + 1]] for i in (1, 3))
  return needed - available, needed


def _largest(live):
  """Returns the LARGEST Buffers at the peak of a step, arguments included."""
  saved = {(buffer.name, buffer.type) for buffer in live.saved}
  found = [('argument', each) for each in live.arguments] + [
    ('activation' if (each.name, each.type) in saved else 'temporary', each)
    for each in live.at_peak
  ]
  found.sort(key=lambda pair: -pair[1].bytes)
  return tuple(
    Buffer(each.bytes / GIB, each.type, kind, each.origin, each.source, each.name)
    for kind, each in found[:LARGEST]
  )


def _hbm_gib(topology):
  """Returns the memory of a device; CPU devices share the host's."""
  if topology.chip is not None:
    return topology.chip.hbm_gib
  if limit := (topology.devices[0].memory_stats() or {}).get('bytes_limit'):
    return limit / GIB
  host = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / GIB
  return host / len(topology.devices)


def _gib_per_device(tree):
  return sum(
    pytree.array_bytes(leaf.sharding.shard_shape(leaf.shape), leaf.dtype)
    for leaf in jax.tree.leaves(tree)
  ) / GIB  # fmt: skip
