"""Accepts jobs into the ledger and delivers them to their backend."""
