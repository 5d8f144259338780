"""What a job is: its row in the ledger, its states, the runner that every backend ends in, its changes."""
