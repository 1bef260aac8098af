"""Weights of ML programs in fewer bits: what the operators of the family ``constexpr`` can hold."""
