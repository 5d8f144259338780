"""The application's own tables, users and items, beside the ledger's; `migrations/` creates them."""
