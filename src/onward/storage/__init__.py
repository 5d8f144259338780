"""The ledger's database: engine, tables, the writer that folds concurrent writes into one commit, migrations."""
