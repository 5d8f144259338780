"""What `./onward new` writes into a project: `sample/` holds it, as code that can be read, checked and run."""
