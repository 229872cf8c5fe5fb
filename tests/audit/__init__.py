"""The judge: what `logship audit` reads, concludes and says."""
