"""spark-submit job: train on the normal rows of the config's source, then score it.

Arguments as for `vae-anomaly run`: --config FILE, --set dotted.key=value, --param name=value, --log auto|plain|json.
"""

import sys

from vae_model.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
