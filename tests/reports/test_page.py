"""The HTML page: whole, offline, escaped, and it says what the report says."""

import html.parser
import re

import pytest

from gpt_jax.plots import figures, palette
from gpt_jax.reports import page, report
from gpt_jax.sweeps import Claim, Figure, Outcome
from tests.sweeps import fake_study

VOID = {'meta', 'br', 'hr', 'img', 'link', 'input'}
HOSTILE = '<script>alert(1)</script> & "base"'


class Reader(html.parser.HTMLParser):
  """Collects tags, attributes and text, and fails on tags that do not pair."""

  def __init__(self):
    super().__init__()
    self.open, self.tags, self.attributes, self.text = [], [], [], []

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += [(tag, name, value or '') for name, value in attrs]
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += [(tag, name, value or '') for name, value in attrs]

  def handle_endtag(self, tag):
    assert self.open and self.open.pop() == tag, f'{tag} ends, {self.open} is open'

  def handle_data(self, data):
    if not {'script', 'style'} & set(self.open):
      self.text.append(data)


def read(text):
  reader = Reader()
  reader.feed(text)
  reader.close()
  assert not reader.open
  return reader


def claim(name, holds=True, kind='floor'):
  return Claim(
    name, f'The text of {name}.', 'Table 2', kind, 'C', 'mean over seeds',
    lambda results: Outcome(holds, {f'number of {name}': 0.125 * len(results)}),
  )  # fmt: skip


CLAIMS = (
  claim('holds'), claim('fails', holds=False), claim('told', kind='report_only'),
  claim(HOSTILE),
)  # fmt: skip
ROWS = {'base': {}, HOSTILE: {'optimizer.weight_decay': 0.5}}


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  folder = tmp_path_factory.mktemp('page')
  study = fake_study.make(
    folder, lambda p: 1.0 + p.config.seed, rows=ROWS, claims=CLAIMS,
    figures=(Figure('losses', f'Loss of {HOSTILE}'),),
  )  # fmt: skip
  return report.make_report(study), folder


@pytest.fixture(scope='module')
def bare(made):
  return page.render(made[0], [])


def test_a_page_is_whole_and_asks_for_nothing_else(bare):
  reader = read(bare)
  assert not {'link', 'img', 'iframe'} & set(reader.tags)
  assert not [a for a in reader.attributes if a[1] in ('src', 'href', 'srcset')]
  assert not re.search(r'https?:|url\((?!#)|@import', bare)


def test_a_page_has_every_claim_with_its_verdict_and_numbers(bare):
  text = ' '.join(' '.join(read(bare).text).split())
  for name, verdict in (
    ('holds', 'reproduced'), ('fails', 'not reproduced'), ('told', 'reported'),
  ):  # fmt: skip
    assert f'{name} ✓ {verdict}' in text or f' {verdict} The text of {name}.' in text
    assert f'number of {name} 0.75' in text
  assert '✓ 2 reproduced' in text and '✗ 1 not reproduced' in text
  assert 'A question that no run has answered.' in text


def test_what_the_study_says_is_escaped(bare):
  reader = read(bare)
  assert reader.tags.count('script') == 1  # that of the page
  assert 'alert(1)</script>' not in bare
  assert HOSTILE in ''.join(reader.text)


def test_a_page_has_headings_in_order_and_a_language(bare):
  reader = read(bare)
  levels = [int(tag[1]) for tag in reader.tags if re.fullmatch('h[1-6]', tag)]
  assert levels[0] == 1 and levels.count(1) == 1
  assert all(
    after - before <= 1 for before, after in zip(levels, levels[1:], strict=False)
  )
  assert ('html', 'lang', 'en') in reader.attributes


def test_both_themes_set_every_variable_that_is_used(bare):
  light, dark = bare.split('@media (prefers-color-scheme:dark)')[:2]
  for name in {*re.findall(r'var\((--[\w-]+)\)', bare)}:
    assert f'{name}:' in light and f'{name}:' in dark, name


def test_rows_that_differ_say_how(bare):
  text = ' '.join(' '.join(read(bare).text).split())
  assert 'optimizer.weight_decay' in text


@pytest.mark.slow
def test_figures_stand_in_the_page_in_colors_of_its_theme(made):
  found, folder = made
  drawn = figures.save_all(found.results, folder / 'figures')
  text = page.render(found, [*drawn, *drawn])
  reader = read(text)
  assert reader.tags.count('svg') == 2
  labels = [
    v for tag, name, v in reader.attributes if (tag, name) == ('svg', 'aria-label')
  ]
  assert labels == [drawn[0].alt] * 2 and HOSTILE in labels[0]
  assert f'var(--c-{palette.SERIES[0][1:]})' in text
  assert not re.search(r'https?:|url\((?!#)', text)
  inside = text[text.index('<svg') : text.rindex('</svg>')]
  assert not [color for color in palette.DARK if color in inside]
  used = {*re.findall(r'(?:url\(#|href="#)([^)"]+)', inside)}
  assert used and used <= {*re.findall(r'id="([^"]+)"', inside)}
  assert reader.tags.count('script') == 1


def test_code_in_prose_is_code_and_the_rest_is_escaped():
  assert page.prose('`a<b` and c<d') == '<code>a&lt;b</code> and c&lt;d'
  assert page.prose('a lonely ` stays') == 'a lonely  stays'
