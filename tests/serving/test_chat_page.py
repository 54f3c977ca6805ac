"""The files of the chat page: closed to other hosts, to inline code and to markup."""

import asyncio
import re

import pytest

from gpt_jax.serving import chat_page


@pytest.fixture(scope='module')
def page():
  return chat_page.read('index.html').decode()


def test_nothing_comes_from_another_host():
  for name, _ in chat_page.FILES.values():
    text = chat_page.read(name).decode().replace('http://www.w3.org/2000/svg', '')
    assert not re.search(r'https?:|//\w+\.\w|@import|url\(', text), name


def test_the_page_has_no_inline_code(page):
  assert not re.search(r'\son\w+=|javascript:|<style|style=', page)
  assert re.findall(r'<script([^>]*)>([^<]*)', page) == [(' src="static/chat.js"', '')]


def test_the_script_never_makes_markup_of_text():
  unsafe = r'innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\('
  assert not re.search(unsafe, chat_page.read('chat.js').decode())


def test_the_policy_allows_nothing_by_default():
  assert chat_page.POLICY.startswith("default-src 'none'")
  assert 'unsafe' not in chat_page.POLICY and '*' not in chat_page.POLICY


def test_the_routes_need_no_key_and_carry_the_policy(page):
  routes = {route.path: route for route in chat_page.routes()}
  assert set(routes) == set(chat_page.FILES)
  assert all(route.is_open and route.method == 'GET' for route in routes.values())
  content, kind, headers = asyncio.run(routes['/'].answer(None))
  assert content.decode() == page and kind == 'text/html; charset=utf-8'
  assert dict(headers)['content-security-policy'] == chat_page.POLICY


def test_every_control_of_the_page_has_a_label(page):
  for tag, attributes in re.findall(r'<(input|textarea|select)\b([^>]*)', page):
    name = re.search(r'id="([\w-]+)"', attributes)[1]
    is_within = re.search(
      rf'<label[^>]*>(?:(?!</label>).)*<{tag} id="{name}"', page, re.S
    )
    assert f'for="{name}"' in page or is_within, name
