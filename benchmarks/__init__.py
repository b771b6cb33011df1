"""The figures in the README, each against its yardstick in the same run: `make bench`."""
