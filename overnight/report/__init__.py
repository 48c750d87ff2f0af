"""What the ledger says, for people; modules are imported one by one, since some commands must start fast."""
