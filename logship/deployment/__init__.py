"""Will a deployment hold? `logship lint` reads its files, `logship doctor` looks from inside."""
