"""Reading what other tools wrote: their agents, replay buffers and weights. Nothing in a file is executed."""
