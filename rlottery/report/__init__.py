"""The closing report: tables for terminal and Markdown, and learning curves. It reads the store only."""
