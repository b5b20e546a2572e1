"""`python -m fedpers` is the same as `fedpers`."""

from fedpers.cli import main

main()
