"""Two plans side by side: figure by figure, and the second over the first."""

FIGURES = {
  'GiB per device': 'memory_gib_per_chip',
  'matmul TFLOPs a device': 'matmul_flops_per_chip',
  'compute ms': 'compute_ms',
  'kernel ms': 'kernel_ms',
  'network ms': 'network_ms',
  '  that nothing hides': 'exposed_network_ms',
  'step ms': 'step_ms_bound',
  'tokens per second': 'tokens_per_second_bound',
  'MFU': 'mfu_bound',
  'days to the budget': 'days_bound',
  'chip-hours': 'chip_hours_bound',
  'compile seconds': 'compile_seconds',
}
"""Line of the table -> field of Plan."""


def rows(first, second):
  """Returns (figure, of the first, of the second, ratio) for two Plans.

  None where a plan does not have the figure; classes of memory come before the rest.
  """
  names = [*first.memory_gib_by_class, *second.memory_gib_by_class]
  pairs = [
    (f'{name} GiB', *(plan.memory_gib_by_class.get(name) for plan in (first, second)))
    for name in dict.fromkeys(names)
  ]
  wire = [
    sum(plan.wire_bytes.values()) / 2**30 if plan.wire_bytes else None
    for plan in (first, second)
  ]
  pairs.append(('wire GiB', *wire))
  pairs += [
    (line, getattr(first, field), getattr(second, field))
    for line, field in FIGURES.items()
  ]
  shown = [pair for pair in pairs if pair[1] or pair[2]]
  return [(line, a, b, b / a if a and b is not None else None) for line, a, b in shown]
