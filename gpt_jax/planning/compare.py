"""Two plans side by side: metric by metric, and the second over the first."""

METRICS = {
  'GiB per device': 'memory_gib_per_chip',
  'matmul FLOPs a device': 'matmul_flops_per_chip',
  'compute ms': 'compute_ms',
  'kernel ms': 'kernel_ms',
  'network ms': 'network_ms',
  '  exposed': 'exposed_network_ms',
  'step ms': 'step_ms_bound',
  'tokens per second': 'tokens_per_second_bound',
  'MFU': 'mfu_bound',
  'days to the budget': 'days_bound',
  'chip-hours': 'chip_hours_bound',
  'compile seconds': 'compile_seconds',
}
"""Line of the table -> key of `Plan.to_dict()`."""


def rows(first, second):
  """Returns (metric, of the first, of the second, ratio) for two Plans.

  None where a plan lacks the metric; classes of memory come before the rest.
  """
  plans = first.to_dict(), second.to_dict()
  classes = [plan['memory_gib_by_class'] for plan in plans]
  found = [
    (f'{name} GiB', *(gib.get(name) for gib in classes))
    for name in dict.fromkeys(name for gib in classes for name in gib)
  ]
  wire = [plan['wire_bytes'] for plan in plans]
  gib = [sum(sizes.values()) / 2**30 if sizes else None for sizes in wire]
  found.append(('wire GiB', *gib))
  found += [(line, *(plan[key] for plan in plans)) for line, key in METRICS.items()]
  return [
    (line, a, b, b / a if a and b is not None else None)
    for line, a, b in found
    if a or b
  ]
