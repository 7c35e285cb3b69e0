"""How good is it: metrics and pictures."""
