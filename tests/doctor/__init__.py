"""`logship doctor` against sidecars that are well, ill and something else."""
