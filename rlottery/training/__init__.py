"""One run: the loop, what learns in it, evaluation, replay, checkpoints, saliency, dynamic sparse training."""
