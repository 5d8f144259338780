"""Text from outside: its normal form, characters that hide or mislead, patterns. A leaf; every cost is linear."""
