"""Programs in place of SLURM's: they write down their calls and answer from files."""

import argparse
import os

from gpt_jax.launchers import slurm

PROGRAM = """#!/bin/bash
echo "{name} $*" >> {folder}/calls
cat > {folder}/{name}.stdin
[ -e {folder}/{name}.does ] && . {folder}/{name}.does
exit 0
"""
SINFO = 'debug|2|debug*'


class Programs:
  """Stand-ins in a folder that is put before the others of PATH."""

  def __init__(self, folder, monkeypatch):
    self._folder = folder
    for name in (*slurm.PROGRAMS, 'sacctmgr'):
      path = folder / name
      path.write_text(PROGRAM.format(name=name, folder=folder))
      path.chmod(0o755)
    monkeypatch.setenv('PATH', f'{folder}{os.pathsep}{os.environ["PATH"]}')
    self.does('sinfo', f"echo '{SINFO}'")

  def does(self, name, program):
    """Makes `name` run lines of bash, whose $* are its arguments."""
    (self._folder / f'{name}.does').write_text(program)

  def calls(self):
    path = self._folder / 'calls'
    return path.read_text().splitlines() if path.exists() else []

  def stdin(self, name):
    return (self._folder / f'{name}.stdin').read_text()


def flags(*words):
  """Returns the parsed flags of the place, with those that all places have."""
  parser = argparse.ArgumentParser()
  slurm.add_arguments(parser)
  parser.set_defaults(
    where='slurm', wait=False, dry_run=False, log_dir=None, max_restarts=2
  )
  return parser.parse_args(words)
