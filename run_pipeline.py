"""Train dense agents, create pruning masks, train lottery tickets, and compare them.

Edit the call below, or set the same choices on the command line, where they override it:

    python run_pipeline.py --pruning-method gradient
"""

from rlottery.pipeline import script_main as main  # `main`, plus the flags of this script's command line

if __name__ == "__main__":
    main(
        train_agent=True,
        create_ticket=True,
        run_ticket=True,
        pruning_method="magnitude",  # Change to "gradient" for better performance
    )
