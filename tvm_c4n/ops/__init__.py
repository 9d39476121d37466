"""The operators of a C4n model: attributes, plain definitions, packed layout, float64 oracles."""
