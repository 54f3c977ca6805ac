"""Folders of documents."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.retrieval import documents


def test_a_folder_is_walked_without_what_is_hidden(tmp_path):
  for name in ('b.md', 'sub/a.TXT', '.git/c.md', 'sub/.d.md', 'picture.png'):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('x')
  found, others = documents.files_of(tmp_path)
  assert list(found) == ['b.md', 'sub/a.TXT'] and others == ['picture.png']
  assert documents.files_of(tmp_path / 'b.md') == ({'b.md': tmp_path / 'b.md'}, [])


@pytest.mark.parametrize('names, said', [((), 'it is empty'), (('a.pdf',), 'a.pdf')])
def test_a_folder_without_documents_is_refused(tmp_path, names, said):
  for name in names:
    (tmp_path / name).write_text('x')
  with pytest.raises(DataError, match=said):
    documents.files_of(tmp_path)
  with pytest.raises(DataError, match='no such folder'):
    documents.files_of(tmp_path / 'gone')


@pytest.mark.parametrize(
  'content, said', [(b'a\xff', 'byte 1 is not UTF-8'), (b'a\0b', 'byte 0 is in it')]
)
def test_what_is_no_text_is_named(tmp_path, content, said):
  path = tmp_path / 'a.txt'
  path.write_bytes(content)
  with pytest.raises(DataError, match=f'a.txt: is no text .{said}'):
    documents.read('a.txt', path, content)


def test_a_mark_of_byte_order_is_no_text(tmp_path):
  document = documents.read('a.txt', tmp_path / 'a.txt', b'\xef\xbb\xbfone')
  assert document.sections[0].paragraphs == ('one',)
