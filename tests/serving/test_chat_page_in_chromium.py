"""The chat page as people use it, in headless Chromium before a server of the test."""

import re

import pytest

from tests.serving.browser import open_browser
from tests.serving.fake_server import FakeServer, serving

MARKUP = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'

pytestmark = [pytest.mark.extra, pytest.mark.slow]


@pytest.fixture(scope='module')
def server():
  fake = FakeServer()
  with serving(fake.app()) as url:
    fake.url = url
    yield fake


@pytest.fixture(scope='module')
def browser():
  with open_browser() as made:
    yield made


@pytest.fixture
def page(browser, server):
  """Returns the open page; fails the test for a script error or a broken policy."""
  vars(server).update(vars(FakeServer()) | {'url': server.url})
  context = browser.new_context(color_scheme='light')
  context.set_default_timeout(10_000)
  page, wrong = context.new_page(), []
  page.on('pageerror', lambda error: wrong.append(str(error)))
  page.on(
    'console',
    lambda said: wrong.append(said.text) if 'Policy' in said.text else None,
  )
  page.on(
    'request',
    lambda request: request.url.startswith(server.url) or wrong.append(request.url),
  )
  page.goto(server.url)
  wait_for_model(page)
  yield page
  context.close()
  assert not wrong


def wait_for_model(page):
  page.locator('#model:enabled').wait_for()


def ask(page, text):
  page.fill('#prompt', text)
  page.press('#prompt', 'Enter')


def last(page, part):
  return page.locator(f'.message >> nth=-1 >> {part}')


def answered(page, text):
  """Waits for the end of an answer; returns the article's numbers."""
  last(page, '.again >> nth=0').wait_for()
  assert last(page, '.text').text_content() == text
  return last(page, '.numbers').text_content()


def test_an_answer_streams_and_tells_its_numbers(page, server):
  server.delay = 0.05
  ask(page, 'Hi')
  numbers = answered(page, 'Hello there!')
  pattern = r'3 tokens · \d+(\.\d)? tokens/s · first after \d\.\d\d s · prompt: 5'
  assert re.fullmatch(pattern, numbers)


def test_the_model_is_described_before_the_first_question(page):
  said = page.text_content('#explanation')
  assert said == 'small-chat, step 1,500, 2,048 tokens of context.'


def test_the_whole_conversation_and_settings_are_sent(page, server):
  page.click('#open-settings')
  page.fill('#system', 'Be brief.')
  page.fill('#temperature', '0')
  page.fill('#max_tokens', '32')
  page.click('#close-settings')
  ask(page, 'One')
  answered(page, 'Hello there!')
  ask(page, 'Two')
  answered(page, 'Hello there!')
  path, body, headers = server.requests[-1]
  assert path == '/v1/chat/completions' and 'authorization' not in headers
  assert body == {
    'model': 'small-chat', 'stream': True, 'stream_options': {'include_usage': True},
    'temperature': 0, 'top_p': 1, 'max_tokens': 32,
    'messages': [
      {'role': 'system', 'content': 'Be brief.'},
      {'role': 'user', 'content': 'One'},
      {'role': 'assistant', 'content': 'Hello there!'},
      {'role': 'user', 'content': 'Two'},
    ],
  }  # fmt: skip


@pytest.mark.parametrize('how', ['button', 'Escape'])
def test_stopping_keeps_what_was_written(page, server, how):
  server.pieces, server.delay = ['word '] * 400, 0.02
  ask(page, 'Count')
  page.locator('.message.assistant .text:not(:empty)').wait_for()
  page.click('#stop') if how == 'button' else page.keyboard.press('Escape')
  last(page, '.again >> nth=0').wait_for()
  assert 'stopped' in last(page, '.numbers').text_content()
  assert last(page, '.text').text_content().startswith('word ')
  page.wait_for_timeout(200)
  assert server.gone == 1  # the server saw it at once


def test_a_reload_keeps_the_conversation_and_new_forgets_it(page):
  ask(page, 'Hi')
  answered(page, 'Hello there!')
  page.reload()
  wait_for_model(page)
  assert page.locator('.message .text').all_text_contents() == ['Hi', 'Hello there!']
  page.click('#new')
  page.reload()
  assert page.locator('.message').count() == 0


def test_markup_is_shown_as_text_wherever_it_comes_from(page, server):
  server.models = {MARKUP: ('chat',)}
  server.pieces = ['```html\n', MARKUP, '\n```\n', MARKUP]
  page.reload()
  wait_for_model(page)
  ask(page, MARKUP)
  last(page, '.again >> nth=0').wait_for()
  server.failure = (400, MARKUP, {})
  ask(page, MARKUP)
  last(page, '.problem').wait_for()
  page.reload()
  wait_for_model(page)
  assert page.evaluate('window.hacked') is None
  assert page.locator('img, .message script').count() == 0
  assert page.locator('.message pre').text_content() == MARKUP
  assert last(page, '.problem').text_content() == MARKUP


def test_a_model_without_template_continues_texts(page, server):
  page.select_option('#model', 'plain')
  assert 'no chat template' in page.text_content('#explanation')
  ask(page, 'Once')
  answered(page, 'Hello there!')
  last(page, 'text=Go on').click()
  page.locator('.message >> nth=3').wait_for()
  answered(page, 'Hello there!')
  paths, bodies, _ = zip(*server.requests, strict=True)
  assert set(paths) == {'/v1/completions'}
  assert [body['prompt'] for body in bodies] == ['Once', 'OnceHello there!']
  assert {body['max_tokens'] for body in bodies} == {256}


def test_a_key_is_asked_for_and_kept_in_the_tab_only(page, server):
  server.key = 'secret-key'
  page.reload()
  page.wait_for_selector('#notice:not([hidden])')
  assert 'asks for a key' in page.text_content('#notice')
  assert page.evaluate('document.activeElement.id') == 'key'
  page.fill('#key', 'secret-key')
  page.press('#key', 'Enter')
  wait_for_model(page)
  page.click('#close-settings')
  ask(page, 'Hi')
  answered(page, 'Hello there!')
  assert server.requests[-1][2]['authorization'] == 'Bearer secret-key'
  assert 'secret-key' not in page.evaluate('JSON.stringify(localStorage)')
  assert page.evaluate("sessionStorage.getItem('key')") and not page.context.cookies()


def test_a_limit_is_told_with_its_time(page, server):
  server.failure = (429, 'Ten a minute.', {'Retry-After': '1'})
  ask(page, 'Hi')
  last(page, '.problem').wait_for()
  said = 'Too many requests for now. Try again in 1 s. Ten a minute.'
  assert last(page, '.problem').text_content() == said
  assert last(page, '.again >> nth=0').is_disabled()
  last(page, '.again:enabled').click()
  answered(page, 'Hello there!')
  messages = server.requests[-1][1]['messages']
  assert messages == [{'role': 'user', 'content': 'Hi'}]


def test_a_question_without_answer_joins_the_next(page, server):
  server.failure = (503, 'Busy.', {})
  ask(page, 'One')
  last(page, '.problem').wait_for()
  ask(page, 'Two')
  answered(page, 'Hello there!')
  messages = server.requests[-1][1]['messages']
  assert messages == [{'role': 'user', 'content': 'One\n\nTwo'}]


def test_a_broken_connection_is_told_and_keeps_the_text(page, server):
  server.breaks_off = True
  ask(page, 'Hi')
  answered(page, 'Hello there!')
  assert 'not complete' in last(page, '.problem').text_content()


def test_a_server_that_is_gone_is_told_in_words(page):
  page.route('**/v1/**', lambda route: route.abort())
  ask(page, 'Hi')
  last(page, '.problem').wait_for()
  assert 'cannot be reached' in last(page, '.problem').text_content()


def test_enter_sends_but_not_within_a_line_or_a_character(page, server):
  page.fill('#prompt', 'One')
  page.press('#prompt', 'Shift+Enter')
  page.type('#prompt', 'Two')
  page.evaluate(
    "document.getElementById('prompt').dispatchEvent(new KeyboardEvent('keydown',"
    " {key: 'Enter', isComposing: true, bubbles: true}))"
  )
  assert not server.requests
  page.press('#prompt', 'Enter')
  answered(page, 'Hello there!')
  assert server.requests[-1][1]['messages'][0]['content'] == 'One\nTwo'


def test_an_answer_is_copied_as_it_was_written(page):
  page.context.grant_permissions(['clipboard-read', 'clipboard-write'])
  ask(page, 'Hi')
  answered(page, 'Hello there!')
  last(page, '.copy').click()
  last(page, 'text=Copied').wait_for()
  assert page.evaluate('navigator.clipboard.readText()') == 'Hello there!'


def test_colours_follow_the_system_until_they_are_chosen(page):
  def paper():
    return page.evaluate('getComputedStyle(document.body).backgroundColor')

  light = paper()
  page.emulate_media(color_scheme='dark')
  dark = paper()
  assert light != dark
  page.click('#theme')
  assert paper() == light and page.title() == 'gpt-jax'
  page.click('#theme')
  page.emulate_media(color_scheme='light')
  page.reload()
  assert paper() == dark


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_texts_stand_out_from_what_is_behind_them(page, scheme):
  page.emulate_media(color_scheme=scheme)
  names = ['paper', 'raised', 'mine', 'ink', 'muted', 'accent', 'on-accent', 'wrong',
           'wrong-paper']  # fmt: skip
  values = page.evaluate(
    '(names) => names.map((name) => getComputedStyle(document.documentElement)'
    ".getPropertyValue('--' + name).trim())",
    names,
  )
  color = dict(zip(names, values, strict=True))
  pairs = [
    ('ink', 'paper'), ('ink', 'raised'), ('ink', 'mine'), ('muted', 'paper'),
    ('accent', 'paper'), ('on-accent', 'accent'), ('wrong', 'wrong-paper'),
  ]  # fmt: skip
  for text, behind in pairs:
    # WCAG 2.2, 1.4.3: 4.5 for text.
    assert contrast(color[text], color[behind]) >= 4.5, (text, behind)


def contrast(one, other):
  low, high = sorted(map(luminance, (one, other)))
  return (high + 0.05) / (low + 0.05)


def luminance(color):
  values = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
  red, green, blue = (
    v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values
  )
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_narrow_screen_shows_all_without_scrolling_sideways(page, server):
  server.pieces = ['```\n' + 'long ' * 60 + '\n```\n' + 'x' * 300]
  page.set_viewport_size({'width': 320, 'height': 600})
  ask(page, 'y' * 200)
  last(page, '.again >> nth=0').wait_for()
  wide = page.evaluate('document.documentElement.scrollWidth')
  assert wide <= 320 and page.locator('#send').is_visible()


def test_the_tab_key_reaches_every_control_visibly(page):
  page.click('#open-settings')
  page.focus('#model')
  reached = set()
  for _ in range(16):
    name, outline, is_field = page.evaluate(
      '(() => { const e = document.activeElement, s = getComputedStyle(e);'
      " return [e.id, s.outlineStyle, Boolean(e.closest('.field'))]; })()"
    )
    reached.add(name)
    assert outline != 'none' or is_field or not name, name
    page.keyboard.press('Tab')
  assert reached >= {'model', 'new', 'theme', 'prompt', 'close-settings', 'key', 'seed'}
