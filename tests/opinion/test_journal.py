"""The journal: what was accepted is read once, across files and restarts."""

from gpt_jax.opinion.journal import Journal


def read_all(journal):
  found = []
  while batch := journal.read(3):
    found += [line for _, line in batch]
  return found


def test_lines_come_in_order_across_files_which_are_removed(tmp_path):
  journal = Journal(tmp_path, segment_bytes=40)
  for i in range(20):
    journal.append([b'line %d' % i, b'with\nbreak'])
  assert len(list(tmp_path.glob('*.jsonl'))) > 3
  found = read_all(journal)
  assert found[::2] == [b'line %d' % i for i in range(20)]
  assert set(found[1::2]) == {b'with break'}
  assert journal.backlog() == 0
  journal.committed()
  assert len(list(tmp_path.glob('*.jsonl'))) <= 2
  journal.append([b'later'])
  assert read_all(journal) == [b'later']


def test_a_restart_reads_what_was_not_committed_again(tmp_path):
  journal = Journal(tmp_path, segment_bytes=40)
  journal.append([b'line %d' % i for i in range(8)])
  journal.append([b'more'])
  journal.read(3)
  position = journal.position
  journal.read(3)  # and killed before the counts were saved
  again = Journal(tmp_path, position, segment_bytes=40)
  assert read_all(again) == [*(b'line %d' % i for i in range(3, 8)), b'more']


def test_half_a_line_of_a_kill_does_not_join_the_next(tmp_path):
  Journal(tmp_path).append([b'whole'])
  with open(next(tmp_path.glob('*.jsonl')), 'ab') as file:
    file.write(b'{"text": "hal')
  journal = Journal(tmp_path)
  journal.append([b'next'])
  assert read_all(journal) == [b'whole', b'{"text": "hal', b'next']
