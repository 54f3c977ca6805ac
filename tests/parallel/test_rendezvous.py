"""Processes that come together: all of them, one too few, one twice, a stranger."""

import concurrent.futures
import socket
import time

import pytest

from gpt_jax.core.errors import UserError
from gpt_jax.launchers import processes
from gpt_jax.parallel import rendezvous
from gpt_jax.parallel.evidence import Evidence

HERE = socket.gethostname()
NODES = ('n1', 'n2', 'n3', 'n4')


@pytest.fixture
def address():
  return f'127.0.0.1:{processes._free_port()}'


def evidence(address, index, count=4, hosts=NODES):
  return Evidence('slurm', {'SLURM_PROCID': str(index)}, address, count, index, hosts)


def meet(all_evidence, timeout_seconds=0.4, notice_seconds=60.0):
  """Returns the error of each process, or None; each is a thread."""

  def one(mine):
    try:
      rendezvous.meet(
        mine, timeout_seconds=timeout_seconds, notice_seconds=notice_seconds
      )
    except UserError as error:
      return str(error)
    return None

  with concurrent.futures.ThreadPoolExecutor(len(all_evidence)) as pool:
    return list(pool.map(one, all_evidence))


@pytest.mark.parametrize('order', [(0, 1, 2, 3), (3, 2, 1, 0)])
def test_all_go_once_all_are_there(address, order):
  assert meet([evidence(address, i) for i in order], 20) == [None] * 4
  rendezvous._listen(evidence(address, 0)).close()  # and the port is free for jax


def test_after_the_timeout_all_know_who_is_missing(address, capfd):
  # Long enough for threads of a busy machine to connect before the notice.
  errors = meet([evidence(address, i) for i in (0, 1, 3)], 4.0, notice_seconds=3.0)
  for index, error in zip((0, 1, 3), errors, strict=True):
    assert f'this process ({index} of 4)' in error
    assert f'slurm: SLURM_PROCID={index}' in error
    assert '1 of 4 processes missing: 2 (n3); there: 0 (n1), 1 (n2), 3 (n4)' in error
    assert '--join_seconds' in error and 'GPT_JAX_NUM_PROCESSES=1' in error
  lines = capfd.readouterr().err.splitlines()
  assert len(lines) == 3  # of each process one
  assert all('1 of 4 processes missing: 2 (n3); there: 0' in line for line in lines)
  assert all('waiting for 1 s more' in line for line in lines)


def test_a_missing_first_process_is_named_by_the_others(address, capfd):
  (error,) = meet([evidence(address, 2)], notice_seconds=0.1)
  assert f'process 0 (n1) is missing: {address} cannot be reached' in error
  assert 'refused' in error and 'there: 2 (n3)' in error
  assert 'process 0 (n1) is missing' in capfd.readouterr().err


def test_hosts_that_nothing_names_are_told_by_number(address):
  errors = meet([evidence(address, i, hosts=()) for i in (0, 2)])
  expected = f'2 of 4 processes missing: 1, 3; there: 0 ({HERE}), 2 ({HERE})'
  assert all(expected in text for text in errors)


def test_two_processes_with_one_index_are_refused_at_once(address):
  start = time.monotonic()
  errors = meet([evidence(address, i) for i in (0, 1, 1)], 20)
  assert time.monotonic() - start < 10
  assert all('two processes say that they are process 1' in text for text in errors)
  assert all('give each an index of its own' in text for text in errors)


def test_processes_that_count_differently_are_refused(address):
  errors = meet([evidence(address, 0), evidence(address, 1, count=8, hosts=())], 20)
  assert all('the run has 8 processes, and' in text for text in errors)
  assert all('that it has 4' in text for text in errors)


def test_strangers_are_ignored_and_who_leaves_is_missing(address):
  host, port = address.split(':')

  def disturb():
    for line in (
      b'GET / HTTP/1.1\r\n\r\n',
      b'{"process": "1"}\n',
      b'[]\n',
      b'\x00' * (rendezvous.LONGEST_LINE + 1),
      b'{"process": 1, "of": 4, "host": "n2", "pid": 5}\n',
    ):
      while True:
        try:
          with socket.create_connection((host, int(port))) as there:
            there.sendall(line)
          break
        except OSError:
          time.sleep(0.01)

  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    pool.submit(disturb)
    (error,) = meet([evidence(address, 0)])
  assert '3 of 4 processes missing: 1 (n2), 2 (n3), 3 (n4)' in error


def test_another_server_at_the_address_is_told(address):
  host, port = address.split(':')
  with socket.create_server((host, int(port))) as server:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

      def answer():
        connection, _ = server.accept()
        connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
        connection.close()

      pool.submit(answer)
      (error,) = meet([evidence(address, 1)], 0.0)
  assert rendezvous.FOREIGN in error


def test_a_taken_port_of_the_first_process_is_an_error(address):
  host, port = address.split(':')
  with socket.create_server((host, int(port))):
    (error,) = meet([evidence(address, 0)])
  assert f'cannot listen on port {port}' in error and 'in use' in error


def test_long_lists_of_processes_are_cut(address):
  (error,) = meet([evidence(address, 0, count=1000, hosts=())], 0.0)
  assert '999 of 1000 processes missing: 1, 2,' in error
  assert 'and 935 more; there: 0 (' in error
