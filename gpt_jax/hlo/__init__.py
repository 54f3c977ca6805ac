"""XLA's compiled programs read as text: ops, costs, collectives, live arrays."""
