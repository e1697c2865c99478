"""What keeps text, files and folders of other people harmless. It imports nothing of rlottery, and nothing slow."""
