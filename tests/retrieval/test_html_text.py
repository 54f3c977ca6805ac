"""Headings and paragraphs of HTML."""

from gpt_jax.retrieval import html_text


def test_what_is_not_read_by_people_is_left_out():
  page = """<head><title>t</title></head><body><script>x = '<p>'</script>
  <h1>Help &amp; more</h1><p>One <b>bold</b>
  line.<ul><li>a<li>b</ul><style>p {}</style></body>"""
  assert html_text.blocks(page) == [
    (1, 'Help & more'), (0, 'One bold line.'), (0, 'a'), (0, 'b'),
  ]  # fmt: skip


def test_cells_of_a_row_are_words_apart():
  assert html_text.blocks('<table><tr><td>a</td><td>b</td></tr></table>') == [
    (0, 'a b')
  ]


def test_a_page_that_breaks_off_is_read_so_far():
  assert html_text.blocks('<p>one</p><p>tw') == [(0, 'one'), (0, 'tw')]
