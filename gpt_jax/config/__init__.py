"""From a config file to a frozen Config: schema, loading, checks, differences."""
