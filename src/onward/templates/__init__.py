"""The files that `onward new` writes into a project. `sample/` holds them as code that is checked and run."""
