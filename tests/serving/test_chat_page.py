"""The files of the chat page: closed to other hosts, to inline code and to markup."""

import re

import pytest

from gpt_jax.serving import chat_page


@pytest.fixture(scope='module')
def files():
  return chat_page.files()


def test_only_three_files_can_be_asked_for(files):
  assert list(files) == ['/', '/static/chat.css', '/static/chat.js']


def test_nothing_comes_from_another_host(files):
  for path, file in files.items():
    text = file.body.decode().replace('http://www.w3.org/2000/svg', '')
    assert not re.search(r'https?:|//\w+\.\w|@import|url\(', text), path


def test_the_page_has_no_inline_code(files):
  page = files['/'].body.decode()
  assert not re.search(r'\son\w+=|javascript:|<style|style=', page)
  assert re.findall(r'<script([^>]*)>([^<]*)', page) == [(' src="static/chat.js"', '')]


def test_the_script_never_makes_markup_of_text(files):
  script = files['/static/chat.js'].body.decode()
  unsafe = r'innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\('
  assert not re.search(unsafe, script)


def test_the_policy_allows_nothing_by_default(files):
  policy = files['/'].headers['Content-Security-Policy']
  assert policy.startswith("default-src 'none'")
  assert 'unsafe' not in policy and '*' not in policy


def test_a_browser_that_has_the_file_gets_no_body(files):
  file = files['/static/chat.js']
  tag = file.headers['ETag']
  assert chat_page.answer(file, f'W/{tag}, "other"')[::2] == (304, b'')
  assert chat_page.answer(file, '"other"')[::2] == (200, file.body)


def test_every_control_of_the_page_has_a_label(files):
  page = files['/'].body.decode()
  for tag, attributes in re.findall(r'<(input|textarea|select)\b([^>]*)', page):
    name = re.search(r'id="([\w-]+)"', attributes)[1]
    is_within = re.search(
      rf'<label[^>]*>(?:(?!</label>).)*<{tag} id="{name}"', page, re.S
    )
    assert f'for="{name}"' in page or is_within, name
