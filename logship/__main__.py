"""`python -m logship`: the `logship` command, where its script is not on PATH."""

from logship._cli import main

main(prog_name="python -m logship")
