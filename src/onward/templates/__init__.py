"""The files that `onward new` writes. `project/` is a project that is checked and run; its names are replaced."""
