"""The schedule of ring attention: nothing is left out or done twice, equal work."""

import numpy as np
import pytest

from gpt_jax.attention import masks, ring_schedule

CAUSAL = masks.causal()
WINDOW = masks.causal().with_window(40)
MASKS = {
  'causal': CAUSAL,
  'window': WINDOW,
  'window of a block': masks.causal().with_window(5),
  'window of nearly all': masks.causal().with_window(250),
  'bidirectional': masks.bidirectional(),
  'window both sides': masks.bidirectional().with_window(9),
}
T = 256


def schedule_of(mask, devices, length=T, block=4):
  return ring_schedule.make_schedule(mask, devices, length, length, (block, block))


def visited(schedule):
  """Returns (query, key) of the visible blocks that each device visits."""
  devices = [[] for _ in range(schedule.queries.num_devices)]
  for r, visits_DN2 in enumerate(schedule.visits_RDN2):
    for device, (pairs_N2, visible) in enumerate(
      zip(visits_DN2, schedule.visible_RD[r], strict=True)
    ):
      for t, s in pairs_N2[:visible]:
        owner = (device - r) % len(devices)
        pair = schedule.queries.index(device, t), schedule.keys.index(owner, s)
        devices[device].append((int(pair[0]), int(pair[1])))
  return devices


@pytest.mark.parametrize('devices', [2, 3, 4, 8])
@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
def test_every_visible_pair_is_visited_once(mask, devices):
  length = 16 * devices * 4 // 2
  allowed_TS = np.asarray(mask.allowed(length, length)[0])
  expected = [
    (t, s)
    for t in range(0, length, 4)
    for s in range(0, length, 4)
    if allowed_TS[t : t + 4, s : s + 4].any()
  ]
  pairs = sum(visited(schedule_of(mask, devices, length)), [])
  assert sorted(pairs) == expected


@pytest.mark.parametrize('devices', [2, 3, 4, 8, 64])
def test_a_causal_mask_gives_devices_equal_work_at_every_step(devices):
  """The diagonal costs a little more; later steps are half of all pairs, no more."""
  schedule = schedule_of(CAUSAL, devices, 16 * devices)
  assert (schedule.visible_RD == schedule.visible_RD[:, :1]).all()
  share = 16 // 4
  assert schedule.visible_RD[0, 0] == share * (share + 1) / 2
  assert (schedule.visible_RD[1:] == share**2 / 2).all()
  # So no list is padded: all that is visited is visible.
  for visits_DN2, visible_D in zip(
    schedule.visits_RDN2, schedule.visible_RD, strict=True
  ):
    assert visits_DN2.shape[1] == visible_D[0]


def test_adjacent_chunks_would_leave_the_last_device_the_most():
  contiguous = ring_schedule._schedule(CAUSAL, 8, T, T, (4, 4), zigzag=False)
  per_device_D = contiguous.visible_RD.sum(0)
  assert per_device_D.max() / per_device_D.min() > 10
  zigzag = schedule_of(CAUSAL, 8)
  assert zigzag.queries.zigzag
  assert zigzag.cost[0] < 0.6 * contiguous.cost[0]


def test_keys_travel_only_as_far_as_the_window():
  schedule = schedule_of(WINDOW, 8)  # 32 tokens on a device
  assert not schedule.queries.zigzag
  assert schedule.num_steps == 3
  per_device_D = schedule.visible_RD.sum(0)
  assert (per_device_D[2:] == per_device_D.max()).all()  # the first see less: they are
  assert schedule.cost[0] == per_device_D.max()  # at the beginning of the row


def test_traced_mask_parts_hide_no_pair():
  for mask in (masks.prefix(np.array([3])), masks.Mask(query_start_B=np.array([3]))):
    schedule = schedule_of(mask, 4, 32)
    assert (schedule.visible_RD == 4).all() and schedule.num_steps == 4


@pytest.mark.parametrize('devices', [2, 3, 8])
def test_zigzag_gives_each_device_an_early_and_a_late_chunk(devices):
  shards = ring_schedule.Shards(devices, 4, zigzag=True)
  t = np.arange(8)
  held = [shards.index(device, t) for device in range(devices)]
  assert sorted(np.concatenate(held)) == list(range(8 * devices))
  for device, tokens in enumerate(held):
    chunks = {int(token) // 4 for token in tokens}
    assert chunks == {device, 2 * devices - 1 - device}
    assert {shards.owner(chunk) for chunk in chunks} == {device}


@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
def test_stages_are_the_steps_in_order(mask):
  schedule = schedule_of(mask, 8)
  stages = schedule.stages()
  assert stages[0].num_steps == stages[-1].num_steps == 1
  listed = [
    stage.patterns_PN2[stage.pattern_RD[i]]
    for stage in stages
    for i in range(stage.num_steps)
  ]
  assert [stage.first for stage in stages] == list(
    np.cumsum([0] + [stage.num_steps for stage in stages[:-1]])
  )
  for visits_DN2, expected in zip(listed, schedule.visits_RDN2, strict=True):
    np.testing.assert_array_equal(visits_DN2, expected)


def test_a_program_for_64_devices_is_no_longer():
  stages = schedule_of(CAUSAL, 64, 64 * 64).stages()
  assert [stage.num_steps for stage in stages] == [1, 62, 1]
  # Keys from before and keys from behind: two lists for all devices and steps.
  assert len(stages[1].patterns_PN2) == 2
