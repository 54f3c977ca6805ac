"""Checks this machine and installation, and a run's folder if one is given.

Versions against those that gpt_jax requires, devices and a small matmul on each,
extras, the compilation cache, data sets, disk, memory. Each line is ok, warn or fail,
with the fix. The exit code is 1 after a fail. Nothing is installed or downloaded.

examples:
  gpt-jax doctor --workdir=runs/tiny
  gpt-jax doctor --json
"""

import dataclasses
import json

from gpt_jax.commands import flags

FAILED = 1


def add_arguments(parser):
  flags.add_workdir(parser, help='check this run too', required=False)
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  from gpt_jax.commands import diagnostics

  findings = diagnostics.examine(cache_dir=flags.cache_folder(), workdir=args.workdir)
  failed = [finding for finding in findings if finding.status == diagnostics.FAIL]
  for finding in findings:
    print(f'{finding.status:<5} {finding.name:<22} {finding.detail}')
    if finding.fix:
      print(f'{"":<5} {"":<22} -> {finding.fix}')
  warned = sum(finding.status == diagnostics.WARN for finding in findings)
  print(f'{len(findings)} checks: {len(failed)} fail, {warned} warn')
  if args.json:
    rows = [dataclasses.asdict(finding) for finding in findings]
    print(json.dumps({'ok': not failed, 'findings': rows}))
  return FAILED if failed else 0
