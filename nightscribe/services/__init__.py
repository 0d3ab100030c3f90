"""Use cases as functions: they take values and return values; doors only show them."""
