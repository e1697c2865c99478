"""What a study needs: its arms, its jobs, and which of them are done."""
