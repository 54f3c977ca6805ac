"""The log of verdicts in a bucket: of reports that write at once none is lost."""

import dataclasses
import threading

import pytest

from gpt_jax.analysis import verdict_log
from gpt_jax.storage.places import place

pytestmark = pytest.mark.slow


@dataclasses.dataclass
class Entries:
  """Appends one entry by itself, as a report does."""

  path: object

  def add(self, number):
    entry = dict(claim=f'c{number}', date='', digest='', verdict='x', version=1)
    entry |= dict(numbers={}, points={'a': 'b'})
    verdict_log._append_object(self.path, [entry])


def test_verdicts_of_reports_at_once_are_all_kept(bucket):
  path = place(bucket[0]) / verdict_log.FILE
  log = Entries(path)
  threads = [threading.Thread(target=log.add, args=(n,)) for n in range(6)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  log.add(0)  # as it is known already, it is not written again
  found = verdict_log.read(place(bucket[0]))
  assert sorted(entry['claim'] for entry in found) == [f'c{n}' for n in range(6)]
