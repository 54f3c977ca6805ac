"""What may not be said, shown or kept: personal data, a policy's rules, an audit log.

Read `redaction.py` first: it replaces e-mail addresses, telephone numbers and other
`KINDS` (`kinds.py`) by labels. `policy.py` is a policy file at work: `rules.py` makes a
detector of each rule, `policy_file.py` reads and checks them. A detector reads a text
piece by piece and finds spans; `span_filter.py` shows what no detector may still want.
`audit_log.py` writes records that hashes chain, `audit_check.py` verifies them.
Nothing here needs JAX: models are callables that the caller gives.
"""
