"""Plain text as examples."""

from gpt_jax.examples import plain_text


def test_a_line_is_an_example_or_a_file_is(write):
  paths = [write('a.txt', 'one\n\n two \r\n'), write('b.txt', 'three')]
  found = list(plain_text.read_lines(paths, 'utf-8'))
  assert [record.values['text'] for record in found] == ['one', ' two ', 'three']
  assert found[1].place == f'{paths[0]}, line 3'
  found = list(plain_text.read_files(paths, 'utf-8'))
  assert [record.values['text'] for record in found] == ['one\n\n two \n', 'three']
  assert found[1].place == str(paths[1])
