"""Damage in any file of a step is noticed when a run opens it."""

import random

import pytest

from gpt_jax.checkpoints import digests
from tests.faults import flips


@pytest.fixture(scope='module')
def template(tmp_path_factory):
  return flips.make_steps(tmp_path_factory.mktemp('steps') / 'undamaged')


@pytest.mark.slow
def test_damage_to_each_file_is_noticed_or_harmless(template, tmp_path):
  rng = random.Random(0)
  latest = template / str(flips.STEPS[-1])
  for number, path in enumerate(flips.files_of(latest)):
    file = path.relative_to(latest)
    damages = list(flips.DAMAGES)
    is_late = str(file) in digests.LATE
    # tests/checkpoints/test_digests.py compares all three, without restoring.
    for damage in damages if is_late else [damages[number % len(damages)]]:
      result, text = flips.outcome(template, tmp_path / 'it', file, damage, rng)
      assert result == ('harmless' if is_late else 'noticed'), (file, damage, text)


def test_a_row_of_the_fault_table_counts_its_tries():
  row = flips.run_flips(6, seed=1)
  assert row['tries'] == 6 == sum(row['outcomes'].values())
  assert row['nothing_lost'] and 'is damaged' in row['message']


def test_the_lane_reports_damage_that_goes_unnoticed(template, tmp_path, monkeypatch):
  monkeypatch.setattr(digests, 'verify', lambda *_, **__: [])
  name = template / '3' / 'params' / '_METADATA'
  file, rng = name.relative_to(template / '3'), random.Random(0)
  result, _ = flips.outcome(template, tmp_path / 'it', file, 'deleted', rng)
  assert result == 'LOST'
