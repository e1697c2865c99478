"""The stages of a job: train a dense agent, make a mask, train a ticket. Each reads files and writes files."""
