"""XLA:TPU's own forms, written by hand after what libtpu prints."""


def entry(*lines, computations=''):
  body = '\n'.join(f'  {line}' for line in lines)
  return (
    f'HloModule m, num_partitions=4\n\n{computations}\n'
    f'ENTRY %main (x: bf16[4,8]) -> bf16[4,8] {{\n'
    f'  %x = bf16[4,8]{{1,0:T(8,128)(2,1)}} parameter(0)\n{body}\n}}\n'
  )


BODY = """\
%body (state: (s32[], bf16[4,8])) -> (s32[], bf16[4,8]) {
  %state = (s32[], bf16[4,8]) parameter(0)
  %work = bf16[4,8] fusion(%state), kind=kLoop, calls=%inner, backend_config={"estimated_cycles":"100"}
  ROOT %sum = (s32[], bf16[4,8]) custom-call(%work), custom_call_target="tpu_custom_call", backend_config={"cost_estimate":{"flops":"7"}}
}

%inner (state.1: (s32[], bf16[4,8])) -> bf16[4,8] {
  %state.1 = (s32[], bf16[4,8]) parameter(0)
  ROOT %sub = bf16[4,8] negate(%state.1), backend_config={"estimated_cycles":"9999"}
}

%condition (state.2: (s32[], bf16[4,8])) -> pred[] {
  %state.2 = (s32[], bf16[4,8]) parameter(0)
  ROOT %unknown = pred[] custom-call(%state.2), custom_call_target="Unknown"
}
"""  # noqa: E501


def loop_of(trips):
  known = f', backend_config={{"known_trip_count":{{"n":"{trips}"}}}}' if trips else ''
  return entry(
    '%begin = (s32[], bf16[4,8]) custom-call(%x), custom_call_target="Begin"',
    '%copy = bf16[4,8] copy(%x), backend_config={"estimated_cycles":"11"}',
    '%loop = (s32[], bf16[4,8]) while(%begin), condition=%condition, body=%body'
    + known,
    'ROOT %out = bf16[4,8] get-tuple-element(%loop), index=1',
    computations=BODY,
  )
