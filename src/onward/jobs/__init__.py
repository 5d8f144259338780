"""Jobs: their rows in the ledger, their states, the runner that every backend ends in, their changes."""
