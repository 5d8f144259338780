"""How an accepted job gets to where it runs."""
