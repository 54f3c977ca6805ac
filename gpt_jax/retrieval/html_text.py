"""The headings and paragraphs of an HTML page, by the standard library's parser."""

import html.parser

HEADINGS = {f'h{level}': level for level in range(1, 7)}
_UNREAD = {'script', 'style', 'template', 'noscript', 'svg', 'head'}
_BLOCKS = {
  'p', 'div', 'section', 'article', 'header', 'footer', 'main', 'aside', 'nav', 'ul',
  'ol', 'table', 'tr', 'blockquote', 'pre', 'dl', 'dt', 'dd', 'figure', 'figcaption',
  'form', 'fieldset', 'hr', 'body', 'html', 'details', 'summary', 'li',
}  # fmt: skip


class PageParser(html.parser.HTMLParser):
  """Collects `blocks`: (level of a heading, or 0, text) in the order of the page."""

  def __init__(self):
    super().__init__(convert_charrefs=True)
    self.blocks: list[tuple[int, str]] = []
    self._pieces: list[str] = []
    self._level = 0
    self._unread: list[str] = []

  def handle_starttag(self, tag, attrs):
    if tag in _UNREAD:
      self._unread.append(tag)
    elif tag in HEADINGS:
      self._end_block()
      self._level = HEADINGS[tag]
    elif tag in _BLOCKS:
      self._end_block()
    elif tag == 'br' or tag in ('td', 'th'):
      self._pieces.append(' ')

  def handle_endtag(self, tag):
    if tag in self._unread:  # what was opened inside of it is closed, too
      del self._unread[self._unread.index(tag) :]
    elif tag in HEADINGS or tag in _BLOCKS:
      self._end_block()

  def handle_data(self, data):
    if not self._unread:
      self._pieces.append(data)

  def close(self):
    super().close()
    self._end_block()

  def _end_block(self):
    text = ' '.join(''.join(self._pieces).split())
    if text:
      self.blocks.append((self._level, text))
    self._pieces, self._level = [], 0


def blocks(text):
  """Returns [(level of a heading, 0 for a paragraph; text)] of a page."""
  parser = PageParser()
  parser.feed(text)
  parser.close()
  return parser.blocks
