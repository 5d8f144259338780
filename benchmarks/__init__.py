"""Each figure of Onward beside its rival's, measured in turn on one machine: `./onward bench`."""
