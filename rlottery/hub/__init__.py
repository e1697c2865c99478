"""Runs and studies on the Hub of Hugging Face: what is uploaded, its model card, and how it comes back."""
