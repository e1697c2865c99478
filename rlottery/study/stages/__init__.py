"""What a worker does: train a dense agent, make a mask, train a ticket. Each reads and writes files."""
