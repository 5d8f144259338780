"""Background work on the ledger: due jobs, lost deliveries, dead runners, old rows."""
