"""Train dense agents, make pruning masks, train lottery tickets, compare.

Edit the call at the bottom, or give the same choices on the command line, where they win over the values below:

    uv run python run_pipeline.py --pruning-method gradient
"""

from rlottery.pipeline import main, with_command_line

if __name__ == "__main__":
    main = with_command_line(main)
    main(
        train_agent=True,
        create_ticket=True,
        run_ticket=True,
        pruning_method="magnitude",  # Change to "gradient" to score weights by |w * dL/dw|; not read with `arms:`
    )
